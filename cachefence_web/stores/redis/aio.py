"""The Redis store for event loops: in each loop one line that all coroutines share, and one listener."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from redis.exceptions import ReadOnlyError

from cachefence_web.core.effects import Read, StoreEffect, Wait
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.aiolistener import AsyncListener
from cachefence_web.stores.redis.commands import Commands, OnRestart, repeatable
from cachefence_web.stores.redis.line import Line, Talk
from cachefence_web.stores.redis.opening import Opening, opening
from cachefence_web.stores.redis.refusals import unavailable
from cachefence_web.stores.redis.scripts import Command, just

A = TypeVar("A")

_TRIES = 2
"""A line that is about to hang up may still take the first, and cuts it off."""


class AsyncRedisStore:
    """A store for event loops over one Redis; any number of loops, which may come and go, in any threads.

    where, timeout, on_restart: as `RedisStore`'s.
    """

    _speaking: type[Commands] = Commands

    def __init__(
        self, where: Any, namespace: str, *, timeout: float = 1.0, on_restart: OnRestart = "new_epoch"
    ) -> None:
        self._way = self._way_to(where)
        self._identity = f"redis:{self._way.place}/{namespace}"
        self._timeout = timeout
        self._commands = self._speaking(namespace, timeout, on_restart)
        self._ends: dict[asyncio.AbstractEventLoop, tuple[Talk, AsyncListener]] = {}
        _all.add(self)

    def _way_to(self, where: Any) -> Opening:
        return opening(where, asynchronous=True)

    @property
    def identity(self) -> str:
        """Equal for two stores that hold the same data."""
        return self._identity

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called whenever the server says that there is something to sweep."""
        self._commands.on_leftovers(tell)

    async def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step."""
        line, listener = self._here()
        if type(effect) is Read:
            try:
                return cast("A", await line.read(effect.key))
            except StoreUnavailable as refused:
                return cast("A", await self._again(refused, partial(line.read, effect.key)))
        if isinstance(effect, Wait):
            return cast("A", await listener.wait(effect))
        ask = partial(line.run, partial(self._commands.steps, effect), repeat=repeatable(effect))
        try:
            return cast("A", await ask())
        except StoreUnavailable as refused:
            return cast("A", await self._again(refused, ask))

    async def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in one round trip where possible; a StoreUnavailable is an answer."""
        line, _ = self._here()
        ask = partial(line.run, partial(self._commands.all, effects), repeat=all(map(repeatable, effects)))
        try:
            answers: list[Any] = await ask()
            refused = next((one for one in answers if isinstance(one, StoreUnavailable) and _by_a_replica(one)), None)
            return answers if refused is None else await self._again(refused, ask)
        except StoreUnavailable as error:
            return [error] * len(effects)

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""
        cursor = 0
        while True:
            line, _ = self._here()
            cursor, keys = await line.run(partial(self._commands.scan, cursor, pattern), repeat=True)
            if keys:
                yield keys
            if cursor == 0:
                return

    async def _again(self, refused: StoreUnavailable, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask once more, if it was refused by a primary that has become a replica, which takes nothing."""
        try:
            async with asyncio.timeout(self._timeout):
                for _ in range(_TRIES):
                    if not _by_a_replica(refused):
                        break
                    try:
                        return await ask()
                    except StoreUnavailable as error:
                        refused = error
        except TimeoutError as late:
            raise unavailable(late) from late
        raise refused

    async def aclose(self) -> None:
        """Let go of what belongs to the running loop; a later call opens it again."""
        ends = self._ends.pop(asyncio.get_running_loop(), None)
        if ends is not None:
            line, listener = ends
            await listener.aclose()
            await line.aclose()

    def abandon(self) -> None:
        """In a forked child: begin anew. To close the copies would take the parent's out of its selector."""
        _left_to_the_parent.append(self._ends)
        self._ends = {}

    def _here(self) -> tuple[Talk, AsyncListener]:
        """The line and the listener of the running loop."""
        loop = asyncio.get_running_loop()
        ends = self._ends.get(loop)
        if ends is None:
            for other in [other for other in list(self._ends) if other.is_closed()]:
                self._ends.pop(other, None)
            line = self._line(loop)
            listener = AsyncListener(self._commands.names, self._connect_to_listen, self._timeout, self._asking(line))
            ends = self._ends[loop] = line, listener
        return ends

    def _line(self, loop: asyncio.AbstractEventLoop) -> Talk:
        return Line(self._way, self._commands, self._timeout, loop)

    def _connect_to_listen(self) -> Any:
        return self._way.kind(**self._way.settings)

    def _asking(self, line: Talk) -> Callable[[Command], Awaitable[Any]]:
        return partial(_ask, line)


def _by_a_replica(refused: StoreUnavailable) -> bool:
    return isinstance(refused.__cause__, ReadOnlyError)


def _ask(line: Talk, command: Command) -> Awaitable[Any]:
    return line.run(partial(just, command), repeat=True)


_all: weakref.WeakSet[AsyncRedisStore] = weakref.WeakSet()
_left_to_the_parent: list[Any] = []


def _after_fork() -> None:
    for store in list(_all):
        store.abandon()


os.register_at_fork(after_in_child=_after_fork)
