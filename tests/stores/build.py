"""What the tests of the stores are built from: entries, and any store behind one blocking face."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import uuid4

from cachefence_web.core.effects import Claim, Filed, Fill, Look, Read, StoreEffect
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.tags import Lease
from cachefence_web.stores.base import AsyncStore

A = TypeVar("A")

PATIENT = 20.0
"""Seconds that an operation may take where the test is not about that: a busy machine is no failure."""


def entry_of(lease: Lease, *tags: str, payload: bytes = b"v", kind: Kind = Kind.VALUE) -> Entry:
    """An entry without end."""
    return Entry(lease, NEVER, NEVER, NEVER, 0, tags, payload, kind)


def granted(store: Any, key: str, holder: str = "t", life: float = 60.0) -> Lease:
    """The lease of a key that is free, whatever entry stands there."""
    entry = store.perform(Read(key)).entry
    lease: Lease | None = store.perform(Claim(key, holder, life, entry.lease if entry else None)).lease
    assert lease is not None
    return lease


def fill(store: Any, key: str, *tags: str, payload: bytes = b"v", life: float | None = 60.0) -> Filed:
    """Claim and fill."""
    lease = granted(store, key)
    filed: Filed = store.perform(Fill(key, "t", entry_of(lease, *tags, payload=payload), life))
    return filed


def servable(look: Look) -> bool:
    """Whether a reader would be served what was found."""
    entry, times = look.entry, look.times
    if entry is None or entry.lease.epoch != times.epoch:
        return False
    records = [times.records[tag] for tag in entry.tags]
    return all(record is not None and entry.lease.instant > record.invalidated
               and not (record.pending and record.soonest <= times.now) for record in records)


def some_key(name: str = "k") -> str:
    """A key that no other test uses, with all that must be encoded in it."""
    return f"{name}:{{%7B}} {uuid4().hex[:8]}"


def named(url: str, name: str) -> str:
    """The same way to a Redis, under a name by which its connections can be told from those of other tests."""
    return f"{url}{'&' if '?' in url else '?'}client_name={name}"


def hurry(store: Any, timeout: float) -> None:
    """Give each operation so many seconds from now on: fewer, once the server is silent that had to answer before."""
    store = store.store if isinstance(store, Blocking) else store
    store._timeout = timeout
    for line, _ in getattr(store, "_ends", {}).values():
        line._timeout = timeout
        if line._timer is not None:
            line._timer.cancel()
            line._timer = None


class Blocking:
    """A store for event loops, one step at a time, in a loop of its own."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.runner = asyncio.Runner()

    def perform(self, effect: StoreEffect[A]) -> A:
        """As `Store.perform`."""
        return self.runner.run(self.store.perform(effect))

    def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """As `Store.perform_all`."""
        return self.runner.run(self.store.perform_all(effects))

    def scan(self, pattern: str) -> list[list[str]]:
        """As `Store.scan`, to its end."""
        async def collected() -> list[list[str]]:
            return [batch async for batch in self.store.scan(pattern)]

        return self.runner.run(collected())

    def close(self) -> None:
        """As `Store.close`."""
        self.runner.run(self.store.aclose())
        self.runner.close()
