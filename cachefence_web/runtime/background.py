"""Work behind a caller's back, in threads: bounded, and refused rather than queued without end."""

from __future__ import annotations

import contextvars
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

WORKERS = 4
MOST = 64
"""Refreshes that may run or wait at once; one more is left to the next caller who finds the value old."""


class Background:
    """A few threads for refreshes, started when the first is needed."""

    def __init__(self) -> None:
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._room = threading.BoundedSemaphore(MOST)
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> bool:
        """Run `work` in a copy of the caller's context; False if there is no room for it."""
        if not self._room.acquire(blocking=False):
            return False
        context = contextvars.copy_context()
        room = self._room

        def run() -> None:
            try:
                context.run(work)
            finally:
                room.release()

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(WORKERS, "cachefence-refresh")
            try:
                self._pool.submit(run)
            except RuntimeError:  # the interpreter is going down
                room.release()
                return False
        return True

    def close(self) -> None:
        """Wait for what was submitted, and end the threads."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for background in list(_all):
        background._reset()


os.register_at_fork(after_in_child=_after_fork)
