"""A bounded pool of links: the one that came back last goes out first, and waiting for one has a deadline."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Generic, Protocol, TypeVar

from cachefence_web.errors import StoreUnavailable


class Pooled(Protocol):
    """A link, as far as the pool knows it: broken is for good, and used is what has been in the pool."""

    broken: bool
    used: bool

    def close(self) -> None:
        """Disconnect."""


L = TypeVar("L", bound=Pooled)


class Pool(Generic[L]):
    """At most `most` links, made by `connect(deadline)`."""

    def __init__(self, connect: Callable[[float], L], most: int) -> None:
        self._connect = connect
        self._most = most
        self._idle: deque[L] = deque()
        self._made = 0
        self._waiting = 0
        self._changed = threading.Condition()

    def take(self, deadline: float) -> L:
        """An idle link, or a new one, or the first to come back.

        Raises:
            StoreUnavailable: if none came back by the deadline.
            RedisError, OSError: if a new one could not be made.
        """
        try:
            return self._idle.pop()
        except IndexError:
            return self._wait(deadline) or self._make(deadline)

    def give(self, link: L) -> None:
        """Take a link back; a broken one is closed."""
        if link.broken:
            link.close()
            self._lost()
            return
        link.used = True
        self._idle.append(link)
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def drain(self) -> None:
        """Close what is idle; the server that it led to may be gone."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
                self._lost()

    def abandon(self) -> None:
        """In a forked child: close the copies, unsaid. The parent talks on."""
        while self._idle:
            self._idle.pop().close()

    def _wait(self, deadline: float) -> L | None:
        """An idle link; None for the right to make one."""
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    with suppress(IndexError):
                        return self._idle.pop()
                    if self._made < self._most:
                        self._made += 1
                        return None
                    left = deadline - monotonic()
                    if left <= 0:
                        raise StoreUnavailable(
                            f"all {self._most} connections were in use until the deadline; raise `max_connections`")
                    self._changed.wait(left)
            finally:
                self._waiting -= 1

    def _make(self, deadline: float) -> L:
        try:
            return self._connect(deadline)
        except BaseException:
            self._lost()
            raise

    def _lost(self) -> None:
        with self._changed:
            self._made -= 1
            self._changed.notify()
