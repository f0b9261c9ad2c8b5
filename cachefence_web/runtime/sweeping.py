"""The sweep in the background: one daemon thread for a cache and process, for as long as there is something to sweep.

That there is stands in the store, which tells it to whoever uses it; so it does not matter who cleared, who was elected
and died, or in whom a sweep broke off: the thread of each process that was told ends when the store says that all is
done.

It is a thread for event loops too: theirs end with each `asyncio.run`, and what they had begun with them.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, TypeVar

from cachefence_web.core import sweeping
from cachefence_web.core.effects import Effect, Plan, StoreEffect
from cachefence_web.core.flight import Together
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.engine import log
from cachefence_web.stores.base import Store

R = TypeVar("R")

AT_FIRST = 1.0
"""Seconds between the first word of it and the sweep: right after a `clear` everybody computes."""

APART = 10.0
"""Seconds between two sweeps of one process, however often somebody clears, and between two looks at another's."""

MOST_APART = 300.0
"""Seconds between two tries where one after the other fails."""

SHARE = 3.0
"""How much longer than a batch took the sweeper rests after it."""


class Sweeper:
    """Sweeps a namespace when the store says that it should be.

    at_first, apart: seconds, as the constants of those names.
    """

    def __init__(self, store: Store, *, at_first: float = AT_FIRST, apart: float = APART) -> None:
        self._store = store
        self._at_first = at_first
        self._apart = apart
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._not_before = 0.0
        self._used = False

    @property
    def is_used(self) -> bool:
        """Whether there is, or was, a thread, and a connection that it made."""
        return self._used

    def want(self) -> None:
        """Sweep before long: the store told that there is something to sweep."""
        with self._lock:
            self._wanted = True
            if self._thread is None and not self._closing.is_set():
                self._used = True
                self._thread = threading.Thread(target=self._work, name="cachefence-sweep", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread, and let go of its connection; the store's next word starts another."""
        with self._lock:
            thread = self._thread
            self._closing.set()
        if thread is not None:
            thread.join()
        self._closing.clear()
        if self._used:
            self._used = False
            self._store.close()

    def _work(self) -> None:
        failures = 0
        while True:
            done = False
            if not self._closing.wait(max(self._at_first, self._not_before - monotonic())):
                self._wanted = False
                try:
                    done = self._sweep()
                    failures = 0
                except StoreUnavailable as error:
                    failures += 1
                    log.info("the sweep of what was cleared did not come to its end: %s", error)
                except Exception:
                    failures += 1
                    log.exception("the sweep of what was cleared broke")
                self._not_before = monotonic() + min(self._apart * 2 ** min(failures, 10), MOST_APART)
            with self._lock:
                if self._closing.is_set() or (done and not self._wanted):
                    self._thread = None
                    return

    def _sweep(self) -> bool:
        """Sweep if that is still wanted and nobody else does; whether all is done then."""
        if not self._run(sweeping.is_wanted()):
            return True
        token = secrets.token_hex(16)
        epoch = self._run(sweeping.elect(token))
        if epoch is None:
            return False
        removed = 0
        try:
            for keys in self._batches():
                began = monotonic()
                some = self._run(sweeping.sweep_elected(keys, token))
                if some is None or self._closing.wait((monotonic() - began) * SHARE):
                    return False
                removed += some
            self._run(sweeping.finish(epoch))
        finally:
            self._run(sweeping.resign(token))
        log.debug("swept %d entries that were gone", removed)
        self._wanted = False  # of what it asked for itself, it was told itself
        return not self._run(sweeping.is_wanted())

    def _batches(self) -> Iterator[Sequence[str]]:
        for keys in self._store.scan("*"):
            yield from sweeping.batches(keys)

    def _run(self, plan: Plan[R]) -> R:
        """Perform a plan that asks nothing but the store."""
        try:
            effect = plan.send(None)
            while True:
                effect = plan.send(self._answer(effect))
        except StopIteration as done:
            result: R = done.value
            return result

    def _answer(self, effect: Effect[Any]) -> Any:
        match effect:
            case Together(effects):
                return tuple(self._store.perform_all([each for each in effects if isinstance(each, StoreEffect)]))
            case StoreEffect():
                return self._store.perform(effect)
        raise TypeError(f"a sweep does not ask for {effect!r}")


_all: weakref.WeakSet[Sweeper] = weakref.WeakSet()


def _after_fork() -> None:
    """The child has none of its parent's threads; the parent sweeps."""
    for sweeper in list(_all):
        sweeper._reset()


os.register_at_fork(after_in_child=_after_fork)
