"""Work behind an answer, in threads that end when there is no more of it: nobody has to stop them."""

from __future__ import annotations

import contextvars
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from cachefence_web.runtime.background import MOST, WORKERS
from cachefence_web.runtime.engine import log

Work: TypeAlias = Callable[[], object]


class Threads:
    """A few threads, apart from those of the cache: what runs here may wait for work that the cache does there."""

    def __init__(self) -> None:
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._running = 0
        # Garbage may be collected, and its work submitted, wherever memory is taken: in the block of this lock, too.
        self._lock = threading.RLock()

    def offer(self, work: Work) -> bool:
        """Have it done in a copy of the caller's context; False if there is no room for it."""
        return len(self._waiting) < MOST and self._add(work, contextvars.copy_context())

    def submit(self, work: Work) -> bool:
        """Have it done, room or not, in a context of its own; False if the interpreter is going down."""
        return self._add(work, contextvars.Context())

    def _add(self, work: Work, context: contextvars.Context) -> bool:
        def run() -> None:
            try:
                context.run(do, work)
            except BaseException:
                log.exception("a thread was asked to end by what it did behind an answer")

        with self._lock:
            self._waiting.append(run)
            if self._running >= WORKERS:
                return True
            self._running += 1
        try:
            threading.Thread(target=self._work, name="cachefence-refresh").start()
        except RuntimeError:  # the interpreter is going down, or the system has no more threads
            with self._lock:
                self._running -= 1
                if run not in self._waiting:
                    return True
                self._waiting.remove(run)
            return False
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                run = self._waiting.popleft()
            run()
            del run  # an idle moment is not to keep a request alive


def do(work: Work) -> bool:
    """Do it now; what fails is told to the log, for whoever might have been told is gone."""
    try:
        work()
    except Exception:
        log.exception("what was left to be done after an answer has failed")
    return True


_all: weakref.WeakSet[Threads] = weakref.WeakSet()


def _after_fork() -> None:
    for threads in list(_all):
        threads._reset()


os.register_at_fork(after_in_child=_after_fork)
