"""The Redis store for threads: a small pool of connections, and one listener for all who wait."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, TypeVar, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cachefence_web.core.effects import StoreEffect, Wait
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.opening import MOST_CONNECTIONS
from cachefence_web.stores.redis.commands import Commands, OnRestart, repeatable
from cachefence_web.stores.redis.link import Link, bounded, link
from cachefence_web.stores.redis.listener import Listener
from cachefence_web.stores.redis.opening import Opening, opening
from cachefence_web.stores.redis.pool import Pool
from cachefence_web.stores.redis.refusals import BROKEN, unavailable
from cachefence_web.stores.redis.scripts import Command, Steps, just

A = TypeVar("A")


class RedisStore:
    """A store for threads over one Redis.

    where: a URL, or a client of redis-py's whose settings are taken over; its connections are not.
    timeout: seconds, the deadline of each operation, in which it may have to connect.
    max_connections: how many operations can be on their way at once; others wait for their turn.
    on_restart: "new_epoch" forgets everything when the server turns out to be another, or an older self.
    """

    _speaking: type[Commands] = Commands

    def __init__(
        self, where: Any, namespace: str, *, timeout: float = 1.0, max_connections: int = MOST_CONNECTIONS,
        on_restart: OnRestart = "new_epoch",
    ) -> None:
        self._way = self._way_to(where)
        self._identity = f"redis:{self._way.place}/{namespace}"
        self._timeout = timeout
        self._most = max_connections
        self._commands = self._speaking(namespace, timeout, on_restart)
        self._begin()
        _all.add(self)

    def _way_to(self, where: Any) -> Opening:
        return bounded(opening(where, asynchronous=False))

    def _begin(self) -> None:
        self._pool: Pool[Any] = Pool(self._connect, self._most)
        self._listener = Listener(self._commands.names, self._connect_to_listen, self._ask)

    @property
    def identity(self) -> str:
        """Equal for two stores that hold the same data."""
        return self._identity

    @property
    def place(self) -> str:
        """Equal for equal servers and databases."""
        return self._way.place

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called whenever the server says that there is something to sweep."""
        self._commands.on_leftovers(tell)

    def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step."""
        if isinstance(effect, Wait):
            return cast("A", self._listener.wait(effect))
        answer: A = self._run(partial(self._commands.steps, effect), repeat=repeatable(effect))
        return answer

    def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in one round trip where possible; a StoreUnavailable is an answer."""
        try:
            answers: list[Any] = self._run(
                partial(self._commands.all, effects), repeat=all(map(repeatable, effects)))
        except StoreUnavailable as error:
            return [error] * len(effects)
        return answers

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""
        cursor = 0
        while True:
            cursor, keys = self._run(partial(self._commands.scan, cursor, pattern), repeat=True)
            if keys:
                yield keys
            if cursor == 0:
                return

    def close(self) -> None:
        """Let go of connections and threads; a later call opens them again."""
        self._listener.close()
        self._pool.drain()

    def abandon(self) -> None:
        """In a forked child: begin anew, and leave alone what the parent talks on."""
        self._pool.abandon()
        self._listener.abandon()
        self._begin()

    def _run(self, begin: Callable[[], Steps], *, repeat: bool, within: float | None = None) -> Any:
        """Take steps to their answer.

        repeat: whether they may be begun anew when it is unknown how far they came.
        within: seconds that are left of the operation's time, if some of it was spent elsewhere.
        """
        deadline = monotonic() + (self._timeout if within is None else within)
        try:
            try:
                return self._on_a_link(begin, deadline, repeat=repeat)
            except _Stale:
                self._pool.drain()
                return self._on_a_link(begin, deadline, repeat=repeat, again=True)
        except BROKEN as error:
            raise unavailable(error) from error

    def _on_a_link(
        self, begin: Callable[[], Steps], deadline: float, *, repeat: bool, again: bool = False
    ) -> Any:
        pool = self._pool
        taken = self._take(pool, deadline)
        used = taken.used
        try:
            if used and not repeat and taken.is_lost():
                taken.close()
                raise _Stale
            answer = taken.run(begin(), deadline)
        except (RedisTimeoutError, TimeoutError):
            if used:
                # What lay idle leads to the same silent server: who comes next shall see who has taken over.
                pool.drain()
            raise
        except StoreUnavailable as error:
            if taken.broken and not again:
                # It was refused by a primary that has become a replica, which takes nothing: to repeat it is safe.
                raise _Stale from error
            raise
        except BROKEN as error:
            if used and repeat:
                raise _Stale(*error.args) from error
            raise
        else:
            if taken.broken and not again:
                raise _Stale
            return answer
        finally:
            pool.give(taken)

    def _take(self, pool: Pool[Any], deadline: float) -> Any:
        """A link to the server last met: one to another may lead to a primary that was demoted, and does not say so."""
        while True:
            taken = pool.take(deadline)
            if not taken.used or taken.met == self._commands.server:
                return taken
            taken.close()
            pool.give(taken)

    def _connect(self, deadline: float) -> Link:
        """A new link, on which the server was greeted before anything else is asked."""
        made = link(self._way, deadline)
        try:
            made.met = made.run(self._commands.greet(), deadline)
        except BaseException:
            made.close()
            raise
        return made

    def _connect_to_listen(self) -> Link:
        return Link(self._way, monotonic() + self._timeout)

    def _ask(self, command: Command) -> Any:
        return self._run(partial(just, command), repeat=True)


class _Stale(RedisConnectionError):
    """The server of a link restarted while it lay idle, or has become a replica: worth another try."""


_all: weakref.WeakSet[RedisStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in list(_all):
        store.abandon()


os.register_at_fork(after_in_child=_after_fork)
