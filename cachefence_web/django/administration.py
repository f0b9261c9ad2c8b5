"""What an operator asks of a cache: how much of what is in it, what becomes of one key, whether it works at all.

Everything here looks at the store as it is, past the flights and counters of this process, which has only just begun.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core import checks

from cachefence_web.core.effects import Look, Read
from cachefence_web.core.entry import ENDLESS, Entry, Kind
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Lease, Standing, TagRecord, standing
from cachefence_web.django.alias import _VIEWS
from cachefence_web.django.backend import RedisCache
from cachefence_web.django.checks import TAG
from cachefence_web.django.serverchecks import server_info
from cachefence_web.errors import CacheFenceError, StoreUnavailable

_MOST_TAGS_SHOWN = 10
_LONGEST_VALUE = 500
_ROUND_TRIPS = 20

Progress = Callable[[int], None]
"""Told how many entries have been seen."""


@dataclass(slots=True)
class Stats:
    """What a namespace holds.

    states: how many entries are fresh, stale, invalidated, or expired and not yet swept away.
    payload_bytes: of all of them, as they are stored.
    endless: how many stay until they are invalidated.
    tags: those that most entries carry, and how many do.
    server: what the server says of itself; empty for a store within the process, and if it does not say.
    """

    namespace: str
    store: str
    entries: int = 0
    pages: int = 0
    payload_bytes: int = 0
    endless: int = 0
    states: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    server: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inspected:
    """What stands under a key, and whether a caller would get it.

    state: "fresh", "stale", "expired", "invalidated", or "missing".
    fresh_for, stale_for, compute: seconds, of what is left and of what it took; fresh_for is None without end.
    tags: what each of them says of the entry: "valid", "invalidated", "expired", "pending", or "lost".
    """

    key: str
    name: str
    state: str
    kind: str | None = None
    value: str | None = None
    payload_bytes: int = 0
    fresh_for: float | None = None
    stale_for: float = 0.0
    compute: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a doctor looked at.

    level: "ok", "warning" or "error".
    """

    what: str
    level: str
    text: str
    hint: str = ""


def reach(backend: RedisCache) -> None:
    """Talk to the store once: what reads find nothing of, and writes may only log, is an error to an operator.

    Raises:
        StoreUnavailable: if it does not answer.
    """
    backend.fence.instant()


def stats(backend: RedisCache, progress: Progress) -> Stats:
    """A walk over the whole namespace, a batch of entries at a time."""
    fence = backend.fence
    found = Stats(fence.namespace, fence._terms.store.identity)
    states: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    for names in fence._terms.store.scan("*"):
        for name, look in zip(names, fence._terms.store.perform_all([Read(name) for name in names]), strict=True):
            if isinstance(look, StoreUnavailable):
                raise look
            entry = look.entry
            if entry is None:
                continue
            found.entries += 1
            found.pages += name.startswith(_VIEWS)
            found.payload_bytes += len(entry.payload)
            found.endless += entry.fresh_until >= ENDLESS
            states[_state(entry, look)] += 1
            tags.update(entry.tags)
        progress(found.entries)
    found.states, found.tags = dict(states), dict(tags.most_common(_MOST_TAGS_SHOWN))
    if backend._entry.raw.exists and isinstance(info := server_info(backend._entry.raw), dict):
        wanted = ("redis_version", "used_memory", "maxmemory", "maxmemory_policy", "evicted_keys", "expired_keys")
        found.server = {name: info[name] for name in wanted if name in info}
    return found


def inspect(backend: RedisCache, key: str, version: int | None) -> Inspected:
    """One key, with the reason for which it is served, or not."""
    name = backend._name(key, version)
    terms = backend.fence._terms
    look = terms.store.perform(Read(name))
    entry = look.entry
    if entry is None:
        return Inspected(key, name, "missing")
    decoded = terms.engine.decode(entry) if entry.kind in (Kind.VALUE, Kind.NUMBER) else None
    value = f"{len(entry.payload)} bytes that are no value here" if decoded is None else repr(decoded[0])
    now = look.times.now
    return Inspected(
        key, name, _state(entry, look), entry.kind.name.lower(),
        value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "...", len(entry.payload),
        None if entry.fresh_until >= ENDLESS else max(0.0, (entry.fresh_until - now) / 1e6),
        0.0 if entry.stale_until >= ENDLESS else max(0.0, (entry.stale_until - max(now, entry.fresh_until)) / 1e6),
        entry.cost / 1e6, {tag: _verdict(entry.lease, look.times.records.get(tag)) for tag in entry.tags})


def doctor(backends: dict[str, RedisCache]) -> Iterator[Finding]:
    """The system checks, those for a deployment too, and for each alias whether it does what a cache is for."""
    for message in checks.run_checks(tags=[TAG], include_deployment_checks=True):
        level = "error" if message.level >= checks.ERROR else "warning"
        yield Finding(str(message.id), level, message.msg, message.hint or "")
    for alias, backend in backends.items():
        try:
            yield _speed(alias, backend)
            yield _round(alias, backend)
        except CacheFenceError as failed:
            yield Finding(alias, "error", f"the store did not do what it was asked: {failed}",
                          "Check LOCATION, and that the server is up and may be reached from here.")


def as_data(found: object) -> Any:
    """What JSON can write."""
    return asdict(found)  # type: ignore[call-overload]


def _speed(alias: str, backend: RedisCache) -> Finding:
    took = []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        reach(backend)
        took.append((time.perf_counter() - began) * 1000)
    patience = backend._entry.raw._settings["socket_timeout"]
    text = f"a round trip takes {statistics.median(took):.2f} ms, {max(took):.2f} ms at worst of {len(took)}"
    if max(took) > patience * 500:
        return Finding(alias, "warning", text, f'OPTIONS["timeout"] is {patience:g} s: that is too near.')
    return Finding(alias, "ok", text)


def _round(alias: str, backend: RedisCache) -> Finding:
    """Store, read, invalidate, read again, under a key and a tag of nobody else's."""
    key = tag = f"cachefence-doctor-{uuid.uuid4().hex}"
    fence = backend.fence
    try:
        fence.set(key, "value", ttl=60, tags=[tag])
        there = fence.get(key)
        fence.invalidate_tags(tag)
        gone = fence.get(key)
    finally:
        fence.delete(key)
    if there != "value":
        return Finding(alias, "error", f"what was stored came back as {there!r}",
                       "Is the server full, with maxmemory-policy noeviction, or a replica?")
    if gone is not None:
        return Finding(alias, "error", "what was invalidated was served", "Report this: it must not happen.")
    return Finding(alias, "ok", "values are stored and read, and not served once they are invalidated")


def _state(entry: Entry, look: Look) -> str:
    stands = standing(entry.lease, entry.tags, look.times, Consistency.COMMITTED)
    now = look.times.now
    if stands is Standing.GONE:
        return "invalidated"
    if now < entry.fresh_until and stands is not Standing.EXPIRED:
        return "fresh"
    return "stale" if now < entry.stale_until else "expired"


def _verdict(lease: Lease, record: TagRecord | None) -> str:
    if record is None:
        return "lost"
    if lease.instant <= record.invalidated:
        return "invalidated"
    if lease.instant <= record.expired:
        return "expired"
    return "pending" if record.pending else "valid"
