"""The Redis store for event loops: in each loop one line that all coroutines share, and one listener."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from cachefence_web.core.effects import Read, StoreEffect, Wait
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.aiolistener import AsyncListener
from cachefence_web.stores.redis.commands import Commands, OnRestart, repeatable
from cachefence_web.stores.redis.line import Line
from cachefence_web.stores.redis.opening import opening
from cachefence_web.stores.redis.scripts import Command, just

A = TypeVar("A")


class AsyncRedisStore:
    """A store for event loops over one Redis; any number of loops, which may come and go, in any threads.

    where, timeout, on_restart: as `RedisStore`'s.
    """

    def __init__(
        self, where: Any, namespace: str, *, timeout: float = 1.0, on_restart: OnRestart = "new_epoch"
    ) -> None:
        self._way = opening(where, asynchronous=True)
        self._identity = f"redis:{self._way.place}/{namespace}"
        self._timeout = timeout
        self._commands = Commands(namespace, timeout, on_restart)
        self._ends: dict[asyncio.AbstractEventLoop, tuple[Line, AsyncListener]] = {}
        _all.add(self)

    @property
    def identity(self) -> str:
        """Equal for two stores that hold the same data."""
        return self._identity

    async def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step."""
        line, listener = self._here()
        if type(effect) is Read:
            return cast("A", await line.read(effect.key))
        if isinstance(effect, Wait):
            return cast("A", await listener.wait(effect))
        answer: A = await line.run(partial(self._commands.steps, effect), repeat=repeatable(effect))
        return answer

    async def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in one round trip where possible; a StoreUnavailable is an answer."""
        line, _ = self._here()
        try:
            answers: list[Any] = await line.run(
                partial(self._commands.all, effects), repeat=all(map(repeatable, effects)))
        except StoreUnavailable as error:
            return [error] * len(effects)
        return answers

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

    def _here(self) -> tuple[Line, AsyncListener]:
        """The line and the listener of the running loop."""
        loop = asyncio.get_running_loop()
        ends = self._ends.get(loop)
        if ends is None:
            for other in [other for other in list(self._ends) if other.is_closed()]:
                self._ends.pop(other, None)
            line = Line(self._way, self._commands, self._timeout, loop)
            listener = AsyncListener(self._commands.names, self._way, self._timeout, partial(_ask, line))
            ends = self._ends[loop] = line, listener
        return ends


def _ask(line: Line, command: Command) -> Awaitable[Any]:
    return line.run(partial(just, command), repeat=True)


_all: weakref.WeakSet[AsyncRedisStore] = weakref.WeakSet()
_left_to_the_parent: list[Any] = []


def _after_fork() -> None:
    for store in list(_all):
        store.abandon()


os.register_at_fork(after_in_child=_after_fork)
