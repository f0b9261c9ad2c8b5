"""A store within the process: the ledger behind a lock, bounded, waking exactly those whose lease ended."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import secrets
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from cachefence_web.core.effects import Read, StoreEffect, Wait
from cachefence_web.stores.ledger import Ledger

A = TypeVar("A")

MOST_ENTRIES = 10_000
"""Entries that a store holds unless told otherwise; the least recently used go first."""

RECORDS_PER_ENTRY = 8
"""Tag records it holds for each of them; the eldest go first, which costs recomputes and no truth."""

BATCH = 500
"""Keys that `scan` hands out at a time."""

_COUNTS_SUSPENDED_TIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_in_microseconds() -> int:
    """A clock that never goes back, and counts the time for which the machine was suspended."""
    return time.clock_gettime_ns(_COUNTS_SUSPENDED_TIME) // 1000


def random_epoch() -> int:
    """64 bits that no epoch had before."""
    return secrets.randbits(64)


class MemoryStore:
    """A store for threads, in the memory of this process; a forked child goes on with a copy of its own.

    clock: microseconds; new_epoch: 64 random bits; lock, watches: for this module only.
    """

    def __init__(
        self, identity: str, *, entries: int = MOST_ENTRIES, clock: Callable[[], int] = now_in_microseconds,
        new_epoch: Callable[[], int] = random_epoch,
    ) -> None:
        self._identity = identity
        self._most = entries
        self._clock = clock
        self._new_epoch = new_epoch
        self._ledger = Ledger()
        self._entries = self._ledger.entries = OrderedDict()
        self._writes = 0
        self.lock = threading.Lock()
        self.watches: dict[str, list[Watch]] = {}
        with _registry:
            _all.add(self)

    @property
    def identity(self) -> str:
        """Equal for two stores that hold the same data."""
        return self._identity

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Nothing: this store frees by itself what is gone."""

    def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step; this store is always there."""
        if isinstance(effect, Wait):
            return cast("A", self._wait(effect))
        with self.lock:
            answer = self._ledger.perform(effect, self._clock(), self._new_epoch)
            if isinstance(effect, Read):
                if effect.key in self._entries:
                    self._entries.move_to_end(effect.key)
            else:
                self._after_writing(effect)
        return answer

    def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in their order."""
        return [self.perform(effect) for effect in effects]

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""
        matches = glob(pattern).fullmatch
        with self.lock:
            keys = [key for key in self._entries if matches(key)]
        for at in range(0, len(keys), BATCH):
            yield keys[at:at + BATCH]

    def close(self) -> None:
        """Nothing is held but memory, and that as long as somebody holds the store."""

    def watch(self, key: str, holder: str, wake: Callable[[], None]) -> Watch | None:
        """Have `wake` called when the lease is no longer the holder's; None if it is not even now."""
        with self.lock:
            held = self._ledger.holder(key, self._clock())
            if held is None or held.token != holder:
                return None
            watch = Watch(key, holder, wake, (held.ends - self._clock()) / 1_000_000)
            self.watches.setdefault(key, []).append(watch)
            return watch

    def unwatch(self, watch: Watch) -> None:
        """Stop watching."""
        with self.lock:
            watches = self.watches.get(watch.key, [])
            if watch in watches:
                watches.remove(watch)
            if not watches:
                self.watches.pop(watch.key, None)

    def _wait(self, effect: Wait) -> float:
        began = time.monotonic()
        while (left := effect.timeout - (time.monotonic() - began)) > 0:
            ended = threading.Event()
            watch = self.watch(effect.key, effect.holder, ended.set)
            if watch is None:
                break
            try:
                if ended.wait(min(left, watch.ends_in)):
                    break
            finally:
                self.unwatch(watch)
        return time.monotonic() - began

    def _after_writing(self, effect: StoreEffect[Any]) -> None:
        key = getattr(effect, "key", None)
        if key in self.watches:
            self._wake(key)
        self._writes += 1
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
        ledger = self._ledger
        if self._writes > max(1000, ledger.size()):  # so that sweeping costs each write the same, however full
            self._writes = 0
            ledger.sweep(self._clock())
        records = ledger.dates.records
        if len(records) > self._most * RECORDS_PER_ENTRY:
            for tag in list(itertools.islice(records, self._most)):
                ledger.dates.forget(tag)

    def _wake(self, key: str) -> None:
        held = self._ledger.leases.get(key)
        for watch in self.watches[key]:
            if held is None or held.token != watch.holder:
                watch.wake()


class Watch:
    """One who waits for a lease to end; by itself it ends in `ends_in` seconds, unless it is renewed."""

    __slots__ = ("ends_in", "holder", "key", "wake")

    def __init__(self, key: str, holder: str, wake: Callable[[], None], ends_in: float) -> None:
        self.key = key
        self.holder = holder
        self.wake = wake
        self.ends_in = max(0.0, ends_in)


class AsyncMemoryStore:
    """The same store for event loops: no step blocks, and waiting is a future of the caller's loop."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @property
    def identity(self) -> str:
        """Equal to that of the store for threads: they share flights."""
        return self._store.identity

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Nothing: this store frees by itself what is gone."""

    async def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step."""
        if isinstance(effect, Wait):
            return cast("A", await self._wait(effect))
        return self._store.perform(effect)

    async def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in their order."""
        return [await self.perform(effect) for effect in effects]

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""
        for batch in self._store.scan(pattern):
            yield batch

    async def aclose(self) -> None:
        """Nothing of this belongs to a loop."""

    async def _wait(self, effect: Wait) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while (left := effect.timeout - (loop.time() - began)) > 0:
            ended: asyncio.Future[None] = loop.create_future()
            watch = self._store.watch(effect.key, effect.holder, partial(_wake_in, loop, ended))
            if watch is None:
                break
            timer = loop.call_later(min(left, watch.ends_in), ended.cancel, "time is over")
            try:
                await asyncio.wait([ended])
                if not ended.cancelled():
                    break
            finally:
                timer.cancel()
                self._store.unwatch(watch)
        return loop.time() - began


def _wake_in(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    """Wake a coroutine from whichever thread; one whose loop has ended needs no waking."""
    try:
        loop.call_soon_threadsafe(_finish, ended)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def open_memory(name: str = "", namespace: str = "", *, entries: int = MOST_ENTRIES) -> MemoryStore:
    """The store of a name, shared by whoever opens it in this process; without a name, one of its own.

    entries: how many a new store holds; a store that is there already keeps its bound.
    """
    if not name:
        return MemoryStore(f"memory:{next(_unnamed)}", entries=entries)
    with _registry:
        store = _named.get((name, namespace))
        if store is None:
            store = _named[name, namespace] = MemoryStore(f"memory://{name}/{namespace}", entries=entries)
        return store


def forget_memory(namespace: str) -> None:
    """Let go of the stores of a namespace, and of those whose namespaces begin with it and a dot.

    Whoever holds one goes on with it; whoever opens it again gets a new one.
    """
    with _registry:
        for each in [each for each in _named if f"{each[1]}.".startswith(f"{namespace}.")]:
            del _named[each]


def glob(pattern: str) -> re.Pattern[str]:
    """A glob as Redis reads it: `*`, `?`, `[abc]`, `[^abc]`, `[a-z]`, and a backslash before any of these."""
    return re.compile("".join([_part(part) for part in _GLOB.findall(pattern)]), re.DOTALL)


_GLOB = re.compile(r"\\.|\[\^?[^\]]*\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)


def _part(part: str) -> str:
    if part in {"*", "?"}:
        return ".*" if part == "*" else "."
    if part[0] != "[" or part == "[":
        return re.escape(part[-1])
    inside = part[1:-1].removeprefix("^")
    choices = [f"{re.escape(min(low, high))}-{re.escape(max(low, high))}" if low else re.escape(one)
               for low, high, one in _RANGE.findall(inside)]
    if not choices:
        return "." if part == "[^]" else "(?!)"
    return f"[{'^' if part[1] == '^' else ''}{''.join(choices)}]"


_all: weakref.WeakSet[MemoryStore] = weakref.WeakSet()
_named: dict[tuple[str, str], MemoryStore] = {}
_unnamed = itertools.count(1)
_registry = threading.RLock()
_forking: list[MemoryStore] = []


def _before_fork() -> None:
    """Hold every lock, so that the child's copies are whole."""
    _registry.acquire()
    _forking.extend(_all)
    for store in _forking:
        store.lock.acquire()


def _after_fork_in_parent() -> None:
    for store in _forking:
        store.lock.release()
    _forking.clear()
    _registry.release()


def _after_fork_in_child() -> None:
    """The child has none of the threads that waited."""
    for store in _forking:
        store.watches.clear()
    _after_fork_in_parent()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
