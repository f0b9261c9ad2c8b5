"""What an invalidation costs when many entries carry the tag, and what an entry costs beside its payload."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import msgspec
from redis import Redis

from benchmarks import peers
from benchmarks.peers import OURS
from benchmarks.report import Bar, Figure, Measure
from cachefence_web import CacheFence

ROUNDS = 200
PEER_ENTRIES = 10_000
TAGS = ("row:42", "row")


def one_or_many(url: str, entries: int) -> Measure:
    """A tag that one entry carries, and a tag that very many carry."""
    alone, among_many = _ours(url, entries)
    peer_alone, peer_many = asyncio.run(_cashews(url, PEER_ENTRIES))
    return Measure(
        "invalidation", f"Invalidating a tag that 1 or {entries:,} entries carry",
        ("entries", "1 entry, µs", "many, µs", "many / 1"),
        (Figure(OURS, (entries, alone * 1e6, among_many * 1e6, among_many / alone)),
         Figure("cashews", (PEER_ENTRIES, peer_alone * 1e6, peer_many * 1e6, peer_many / peer_alone))),
        (Bar(f"invalidating a tag of {entries:,} entries, × a tag of one", among_many / alone, 1.2),),
        note=f"Ours: medians of {ROUNDS} invalidations in turns. cashews: of 5, with {PEER_ENTRIES:,} entries; it"
             " deletes each entry.")


def bytes_of_an_entry(url: str) -> Measure:
    """What an entry adds to its payload in Redis, the payload being plain MessagePack."""
    with CacheFence(url, namespace="bytes") as fence, Redis.from_url(url) as client:
        fence.set("bare", peers.VALUE, ttl=peers.TTL)
        fence.set("tagged", peers.VALUE, ttl=peers.TTL, tags=TAGS)
        payload = len(msgspec.msgpack.encode(peers.VALUE))
        added = {key: client.strlen(_stored("bytes", key)) - payload for key in ("bare", "tagged")}
    names = sum(map(len, TAGS))
    return Measure(
        "bytes", "Bytes that an entry adds to its payload in Redis", ("added", "of them tag names"),
        (Figure("no tags", (added["bare"], 0)), Figure("two tags", (added["tagged"], names))),
        (Bar("bytes an entry adds, tag names aside", added["tagged"] - names, 64),))


def _ours(url: str, entries: int) -> tuple[float, float]:
    with CacheFence(url, namespace="many", timeout=5) as fence, Redis.from_url(url) as client:
        fence.set("alone", peers.VALUE, ttl=peers.TTL, tags=["one"])
        fence.set("many-0", peers.VALUE, ttl=peers.TTL, tags=["many"])
        _copy(client, entries)
        sample = [f"many-{index}" for index in range(0, entries, max(1, entries // 100))]
        assert len(fence.get_many(sample)) == len(sample), "the copies are entries like any other"
        taken: dict[str, list[float]] = {"one": [], "many": []}
        for _ in range(ROUNDS):
            for tag, times in taken.items():
                began = time.perf_counter()
                fence.invalidate_tags(tag)
                times.append(time.perf_counter() - began)
        assert not fence.get_many(sample), "one invalidation ended them all"
        client.flushdb()
    return median(taken["one"]), median(taken["many"])


def _copy(client: Redis, entries: int) -> None:
    """Write the stored bytes under many more keys: each is an entry of its own that carries the same tag."""
    stored: Any = client.get(_stored("many", "many-0"))
    life = peers.TTL * 1000
    for numbers in _ranges(1, entries, 5_000):
        pipe = client.pipeline(transaction=False)
        for number in numbers:
            pipe.set(_stored("many", f"many-{number}"), stored, px=life)
        pipe.execute()


def _ranges(first: int, end: int, most: int) -> Iterator[range]:
    """The numbers from `first` up to `end`, at most so many at a time."""
    for start in range(first, end, most):
        yield range(start, min(start + most, end))


def _stored(namespace: str, key: str) -> str:
    """Where docs/protocol.md says that an entry lies."""
    return f"{namespace}:e:{{{key}}}"


async def _cashews(url: str, entries: int) -> tuple[float, float]:
    from cashews import Cache

    cache: Any = Cache()
    cache.setup(url)
    cache.register_tag("one", "one:{key}")
    cache.register_tag("many", "many:{key}")
    taken: dict[str, list[float]] = {"one": [], "many": []}
    for _ in range(5):
        await cache.set("one:0", peers.VALUE, expire=peers.TTL, tags=["one"])
        for numbers in _ranges(0, entries, 500):
            await asyncio.gather(*[
                cache.set(f"many:{number}", peers.VALUE, expire=peers.TTL, tags=["many"]) for number in numbers])
        for tag, times in taken.items():
            began = time.perf_counter()
            await cache.delete_tags(tag)
            times.append(time.perf_counter() - began)
    await cache.close()
    return median(taken["one"]), median(taken["many"])
