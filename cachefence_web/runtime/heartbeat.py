"""A lease lives on while its compute runs: one thread renews all of a store's leases, while there are any."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from cachefence_web.core.effects import Renew
from cachefence_web.stores.base import Store

IDLE = 5.0
"""Seconds that the thread waits for another lease before it ends."""


class Heartbeat:
    """Renews leases held by threads, each third of their life."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._wake = threading.Condition()
        self._due: dict[str, tuple[float, str, float]] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    @contextmanager
    def beating(self, key: str, token: str, life: float) -> Iterator[None]:
        """Keep the lease alive during the block."""
        due = time.monotonic() + life / 3
        with self._wake:
            first = not self._due or due < min(at for at, _, _ in self._due.values())
            self._due[token] = (due, key, life)
            if self._thread is None:
                self._closing = False
                self._thread = threading.Thread(target=self._beat, name="cachefence-heartbeat", daemon=True)
                self._thread.start()
            elif first:
                self._wake.notify()
        try:
            yield
        finally:
            with self._wake:
                self._due.pop(token, None)

    def close(self) -> None:
        """End the thread; a later lease starts another."""
        with self._wake:
            self._closing = True
            thread = self._thread
            self._wake.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _beat(self) -> None:
        while True:
            with self._wake:
                due = self._next()
                if due is None:
                    self._thread = None
                    return
            # All in one round trip: one after another, many leases on a slow store would outlive themselves.
            answers = self._store.perform_all([Renew(key, token, life) for token, key, life in due])
            with self._wake:
                for (token, _, _), held in zip(due, answers, strict=True):
                    if held is False:  # a StoreUnavailable is no answer: the next beat asks again
                        self._due.pop(token, None)

    def _next(self) -> list[tuple[str, str, float]] | None:
        """Wait for leases that are due and date them anew; None when there is nothing left to do."""
        while not self._closing:
            now = time.monotonic()
            due = [(token, key, life) for token, (at, key, life) in self._due.items() if at <= now]
            if due:
                for token, key, life in due:
                    self._due[token] = (now + life / 3, key, life)
                return due
            if self._due:
                self._wake.wait(min(at for at, _, _ in self._due.values()) - now)
            elif not self._wake.wait(IDLE) and not self._due:
                return None
        return None


_all: weakref.WeakSet[Heartbeat] = weakref.WeakSet()


def _after_fork() -> None:
    for heartbeat in list(_all):
        heartbeat._reset()


os.register_at_fork(after_in_child=_after_fork)
