"""What an operator asks of a cache: how much of what is in it, what becomes of one key, whether it works at all.

Everything here looks at the store as it is, past the flights and counters of this process, which has only just begun.
"""

from __future__ import annotations

import re
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
from cachefence_web.django.alias import VIEWS, decoded_by, entry_of, name_of, store_of
from cachefence_web.django.backend import RedisCache
from cachefence_web.django.checks import TAG
from cachefence_web.django.draining import drain
from cachefence_web.django.raw import AWAY, Raw
from cachefence_web.django.serverchecks import server_info
from cachefence_web.errors import CacheFenceError, StoreUnavailable
from cachefence_web.stores.base import Store
from cachefence_web.stores.redis.names import Names

_ALIAS = re.compile(r'CACHES\["([^"]+)"\]')
_MOST_TAGS_SHOWN = 10
_LONGEST_VALUE = 500
_ROUND_TRIPS = 20
_COUNT = {"set": "scard", "zset": "zcard", "hash": "hlen", "list": "llen"}
_SAID_OF_A_SERVER = (
    "redis_version", "used_memory", "maxmemory", "maxmemory_policy", "evicted_keys", "expired_keys",
    "connected_clients")

Progress = Callable[[int], None]
"""Told how many entries have been seen."""


@dataclass(slots=True)
class Stats:
    """What a namespace holds, whichever process asks: the store is looked at, and no process's counters.

    epoch: what a clear() replaces, in hexadecimal digits.
    entries, pages: all there are, cached views among them; those are counted by their names.
    structures: sets, sorted sets and hashes of Redis, which are no entries: nothing is said of them beyond this.
    sampled: how many entries were read; what follows is said of these alone.
    states: how many of them are fresh, stale, invalidated, or expired; the last two wait for Redis to drop them.
    payload_bytes: of their values, as they are stored.
    endless: how many of them stay until they are invalidated.
    tags: those that most of them carry, and how many do. tags_in_all: how many different ones.
    pending: which of their tags have a fence: a commit is under way, or its writer died.
    server: what the server says of itself, with all that others keep there; empty for a store within the process.
    """

    namespace: str
    store: str
    epoch: str
    entries: int = 0
    structures: int = 0
    pages: int = 0
    sampled: int = 0
    payload_bytes: int = 0
    endless: int = 0
    states: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)
    tags_in_all: int = 0
    pending: list[str] = field(default_factory=list)
    server: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inspected:
    """What stands under a key, and whether a caller would get it.

    state: "fresh", "stale", "expired", "invalidated", "missing", or "structure" for a set, a sorted set or a hash of
        Redis, of which the kind, the number of its parts and fresh_for are told.
    age: seconds since it was computed, or since that began.
    fresh_for, stale_for, compute: seconds, of what is left and of what it took; fresh_for is None without end.
    tags: what each of them says of the entry: "valid", "invalidated", "expired", "pending", or "lost".
    """

    key: str
    name: str
    state: str
    kind: str | None = None
    value: str | None = None
    payload_bytes: int = 0
    age: float = 0.0
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


def stats(backend: RedisCache, progress: Progress, sample: int) -> Stats:
    """A walk over the names of a whole namespace, of whose entries the first `sample` are read as well.

    Redis tells names in no order, so that the first are as good as any.

    Raises:
        StoreUnavailable: if it stops answering.
    """
    fence, store = backend.fence, store_of(backend.fence)
    found = Stats(fence.namespace, store.identity, f"{fence.instant().epoch:016x}")
    states: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    pending: set[str] = set()
    for batch in store.scan("*"):
        structures = _structures_among(backend, batch)
        names = [name for name in batch if name not in structures]
        found.structures += len(structures)
        found.entries += len(names)
        found.pages += sum(name.startswith(VIEWS) for name in names)
        for look in _looks(store, names[:max(0, sample - found.sampled)]):
            if (entry := look.entry) is None:
                found.entries -= 1  # it went away between the two
                continue
            found.sampled += 1
            found.payload_bytes += len(entry.payload)
            found.endless += entry.fresh_until >= ENDLESS
            states[_state(entry, look)] += 1
            tags.update(entry.tags)
            pending.update([tag for tag, record in look.times.records.items() if record and record.pending])
        progress(found.entries)
    found.states, found.pending = dict(states), sorted(pending)
    found.tags, found.tags_in_all = dict(tags.most_common(_MOST_TAGS_SHOWN)), len(tags)
    found.server = _of_the_server(backend)
    return found


def _looks(store: Store, names: list[str]) -> Iterator[Look]:
    for look in store.perform_all([Read(name) for name in names]) if names else ():
        if isinstance(look, StoreUnavailable):
            raise look
        yield look


def _of_the_server(backend: RedisCache) -> dict[str, Any]:
    raw = entry_of(backend).raw
    info = server_info(raw) if raw.exists else {}
    return {name: info[name] for name in _SAID_OF_A_SERVER if name in info} if isinstance(info, dict) else {}


def inspect(backend: RedisCache, key: str, version: int | None) -> Inspected:
    """One key, with the reason for which it is served, or not."""
    name = name_of(backend, key, version)
    look = store_of(backend.fence).perform(Read(name))
    entry = look.entry
    if entry is None:
        return _structure(backend, key, name)
    decoded = decoded_by(backend.fence, entry) if entry.kind in (Kind.VALUE, Kind.NUMBER) else None
    value = f"{len(entry.payload)} bytes that are no value here" if decoded is None else repr(decoded[0])
    now = look.times.now
    return Inspected(
        key, name, _state(entry, look), entry.kind.name.lower(),
        value if len(value) <= _LONGEST_VALUE else value[:_LONGEST_VALUE] + "...", len(entry.payload),
        max(0.0, (now - entry.lease.instant) / 1e6),
        None if entry.fresh_until >= ENDLESS else max(0.0, (entry.fresh_until - now) / 1e6),
        0.0 if entry.stale_until >= ENDLESS else max(0.0, (entry.stale_until - max(now, entry.fresh_until)) / 1e6),
        entry.cost / 1e6, {tag: _verdict(entry.lease, look.times.records.get(tag)) for tag in entry.tags})


def _structures_among(backend: RedisCache, names: list[str]) -> dict[str, str]:
    """Which of these names are structures of Redis, and of what kind."""
    if not names or not entry_of(backend).raw.exists:
        return {}
    found = _asked(backend, names, lambda pipeline, place: pipeline.type(place))
    kinds = [kind if isinstance(kind, str) else kind.decode() for kind in found]
    return {name: kind for name, kind in zip(names, kinds, strict=True) if kind in _COUNT}


def _structure(backend: RedisCache, key: str, name: str) -> Inspected:
    kind = _structures_among(backend, [name]).get(name)
    if kind is None:
        return Inspected(key, name, "missing")
    parts = _asked(backend, [name], lambda pipeline, place: getattr(pipeline, _COUNT[kind])(place))[0]
    left = _asked(backend, [name], lambda pipeline, place: pipeline.pttl(place))[0]
    return Inspected(key, name, "structure", kind, f"{parts:,} in it", fresh_for=None if left < 0 else left / 1000)


def _asked(backend: RedisCache, names: list[str], ask: Callable[[Any, str], object]) -> list[Any]:
    place = Names(backend.fence.namespace).entry
    try:
        pipeline = entry_of(backend).raw.client().pipeline(transaction=False)
        for name in names:
            ask(pipeline, place(name))
        return list(pipeline.execute())
    except AWAY as error:
        raise StoreUnavailable(f"the server stopped answering: {error}") from error


def doctor(backends: dict[str, RedisCache], only: str | None = None) -> Iterator[Finding]:
    """The system checks, those for a deployment too, and for each alias whether it does what a cache is for.

    only: an alias; what the checks say of others alone is left out.
    """
    for message in checks.run_checks(tags=[TAG], include_deployment_checks=True):
        named = _ALIAS.findall(message.msg)
        if only is not None and named and only not in named:
            continue
        level = "error" if message.level >= checks.ERROR else "warning"
        yield Finding(str(message.id), level, message.msg, message.hint or "")
    for alias, backend in backends.items():
        try:
            yield _speed(alias, backend)
            yield _round(alias, backend)
        except CacheFenceError as failed:
            yield Finding(alias, "error", f"the store did not do what it was asked: {failed}",
                          "Check LOCATION, and that the server is up and may be reached from here.")


def drained(backend: RedisCache) -> dict[str, int]:
    """Tell a cache of the commits that wait in the outboxes for it: how many, by database.

    Raises:
        StoreUnavailable: its store is away; they wait on.
        DatabaseError: a database could not be looked into.
    """
    return drain(backend.fence)


def as_data(found: object) -> Any:
    """What JSON can write."""
    return asdict(found)  # type: ignore[call-overload]


def _speed(alias: str, backend: RedisCache) -> Finding:
    took = []
    reach(backend)  # connects, which is no round trip like the others
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        reach(backend)
        took.append((time.perf_counter() - began) * 1000)
    patience = _patience(entry_of(backend).raw)
    text = f"a round trip takes {statistics.median(took):.2f} ms, {max(took):.2f} ms at worst of {len(took)}"
    if patience is not None and max(took) > patience * 500:
        return Finding(alias, "warning", text, f'OPTIONS["timeout"] is {patience:g} s: that is too near.')
    return Finding(alias, "ok", text)


def _patience(raw: Raw) -> float | None:
    """Seconds that an operation may take; None if there is no such bound."""
    return raw.client().get_connection_kwargs().get("socket_timeout") if raw.exists else None


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
