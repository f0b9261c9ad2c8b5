"""Whatever is done in whatever order, Redis and the memory answer alike; whatever is lost, Redis serves no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Claim,
    Claimed,
    Clear,
    Delete,
    Expire,
    Fence,
    Fill,
    Invalidate,
    Lift,
    Look,
    Outcome,
    Put,
    Read,
    Release,
    Renew,
    Settle,
    StoreEffect,
    Swap,
    TakeInstant,
)
from cachefence_web.core.entry import NEVER, Kind
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Instant, Lease, Times, standing
from cachefence_web.stores.memory import MemoryStore
from cachefence_web.stores.redis import open_store
from tests.servers import RedisServer
from tests.stores.build import PATIENT, entry_of

MINUTE = 60.0
KEYS, TAGS, TOKENS = ("k", "l{"), ("a", "b:*"), ("t", "u")
GONE_BY = Lease(Instant(1), 1)


@dataclass
class Side:
    """One of the two stores, and the leases that it has given out: dates differ, their order does not."""

    store: Any
    leases: list[Lease] = field(default_factory=list)

    def lease(self, number: int) -> Lease:
        """An earlier lease, or one of nobody's."""
        return self.leases[-1 - number] if number < len(self.leases) else GONE_BY

    def seen(self, key: str, honest: bool) -> Lease | None:
        """The lease of the entry that stands there, if it is to be told."""
        entry = self.store.perform(Read(key)).entry if honest else None
        return entry.lease if entry is not None else None

    def take(self, step: Step) -> object:
        """Take a step, and say what came of it in words that both sides share."""
        try:
            answer = self.store.perform(self.effect(step))
        except OverflowError:
            return "overflow"
        if isinstance(answer, Claimed) and answer.lease is not None:
            self.leases.append(answer.lease)
        if isinstance(answer, Lease):
            self.leases.append(answer)
        return plainly(answer)

    def effect(self, step: Step) -> StoreEffect[Any]:
        """The step, with this side's own dates."""
        key, tags, token, number = step.key, step.tags, step.token, step.number
        lease = self.lease(number)
        value = entry_of(lease, *tags, payload=b"%d" % (2**62 * (number % 3)), kind=step.kind)
        value = replace(value, renewal=step.honest * 5_000_000)
        match step.what:
            case "claim":
                return Claim(key, token, MINUTE, self.seen(key, step.honest), TOKENS[number % 2], lease)
            case "fill":
                return Fill(key, token, value, MINUTE)
            case "put":
                expected = ANY if number % 2 else self.seen(key, step.honest)
                return Put(key, entry_of(lease, *tags, payload=b"7", kind=Kind.NUMBER), MINUTE, expected)
            case "add":
                return Add(key, self.seen(key, honest=True) or lease, 2**62 - 7)
            case "amend":
                return Amend(key, self.seen(key, step.honest) or lease, NEVER, NEVER, NEVER, MINUTE, number * 1_000_000)
            case "swap":
                there = self.store.perform(Read(key)).entry if step.honest else None
                return Swap(key, there or value, b"%d" % number, Kind.NUMBER)
            case "fence":
                return Fence(tags, token, MINUTE if number else 0.0)
            case "lift":
                return Lift(tags, token, tuple(Outcome)[number % 3])
        return {
            "read": Read(key), "release": Release(key, token), "renew": Renew(key, token, MINUTE),
            "delete": Delete(key), "invalidate": Invalidate(tags), "expire": Expire(tags), "settle": Settle(tags),
            "instant": TakeInstant(), "clear": Clear(),
        }[step.what]


WHAT = ("claim", "fill", "put", "add", "swap", "amend", "fence", "lift", "read", "release", "renew", "delete",
        "invalidate", "expire", "settle", "instant", "claim", "fill", "read", "clear")


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do on both sides; `honest`: what stands there is named as it is."""

    what: str
    key: str
    tags: tuple[str, ...]
    token: str
    number: int
    honest: bool
    kind: Kind


STEPS = st.lists(st.builds(
    Step, st.sampled_from(WHAT), st.sampled_from(KEYS), st.sampled_from([(), TAGS[:1], TAGS[1:], TAGS]),
    st.sampled_from(TOKENS), st.integers(0, 3), st.booleans(), st.sampled_from([Kind.VALUE, Kind.NUMBER, Kind.FAILURE]),
), max_size=25)


def plainly(answer: object) -> object:
    """An answer without its dates."""
    match answer:
        case Look(entry, times, failure):
            found = (entry.payload, entry.kind, entry.renewal, stands(entry, times)) if entry is not None else None
            return found, failure is not None and stands(failure, times)
        case Claimed(lease, holder, look):
            return lease is not None, holder, plainly(look)
        case Times():
            return {tag: record and (record.pending, bool(record.expired)) for tag, record in answer.records.items()}
        case bool() | None:
            return answer
        case int():
            return answer if answer < 2**63 and answer > 2**61 else "a date"
        case Lease():
            return "a lease"
    return answer


def stands(entry: Any, times: Times) -> str:
    """What a reader makes of it."""
    return standing(entry.lease, entry.tags, times, Consistency.COMMITTED).value


def sides(url: str) -> tuple[Side, Side]:
    namespace = f"d{uuid4().hex[:10]}"
    return Side(MemoryStore(namespace)), Side(open_store(url, namespace, timeout=PATIENT))


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_redis_answers_as_the_memory_does(redis_server: RedisServer, data: st.DataObject) -> None:
    memory, remote = sides(redis_server.url)
    told = []
    for side in (memory, remote):
        side.take(Step("instant", "k", (), "t", 0, True, Kind.VALUE))
    for step in data.draw(STEPS):
        told.append((step, memory.take(step), remote.take(step)))
        assert told[-1][1] == told[-1][2], told
    remote.store.close()


LOSSES = st.sampled_from(["clock", "epoch", "recent", "t:a", "t:b:\\*", "f:a", "f:b:\\*", ""])


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(before=STEPS, after=STEPS, loss=LOSSES, key=st.sampled_from(KEYS), tags=st.sampled_from([TAGS[:1], TAGS]))
def test_p5_after_a_loss_redis_serves_nothing_that_a_memory_without_loss_would_not(
    redis_server: RedisServer, before: list[Step], after: list[Step], loss: str, key: str, tags: tuple[str, ...]
) -> None:
    """Two entries whose dates are known: one from before an invalidation, which must never be served again."""
    _, remote = sides(redis_server.url)
    store = remote.store
    for step in before:
        remote.take(step)
    old = store.perform(TakeInstant())
    store.perform(Put(key, entry_of(old, *tags, payload=b"old"), MINUTE, ANY))
    store.perform(Invalidate(tags))
    with redis.Redis.from_url(redis_server.url) as client:
        names = list(client.scan_iter(f"*{store._commands.names.metadata[0].split(':')[0]}:{loss}*", 10_000))
        client.delete(*names, "nothing")
    for step in after:
        remote.take(step)
        look = store.perform(Read(key))
        if look.entry is not None and look.entry.payload == b"old":
            assert stands(look.entry, look.times) in {"gone", "unsettled"}
    refill = entry_of(old, *tags, payload=b"old")
    store.perform(Claim("fresh key", "t", MINUTE))
    assert store.perform(Fill("fresh key", "t", refill, MINUTE)).value == "invalidated"
    store.close()
