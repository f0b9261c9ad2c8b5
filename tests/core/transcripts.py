"""Transcripts of plans: what each asks of the store and its driver, in order, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from cachefence_web.core.effects import (
    Claimed,
    Effect,
    Look,
    Plan,
    Read,
)
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.flight import (
    Ask,
    Computed,
    Granted,
    NewToken,
    RollCall,
)
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Instant, Lease, TagRecord, Times
from cachefence_web.errors import StoreUnavailable

SECOND = 1_000_000
NOW = 1000 * SECOND
L = Lease(Instant(NOW - 10 * SECOND), 7)
LATER = Lease(Instant(NOW), 7)
POLICY = Policy(ttl=60, early=0)
ASK = Ask("k", POLICY)
GRANTED = Granted("t", LATER, Instant(NOW), 2, POLICY.lease)
DONE = Computed("new", b"new", ("a",))
AWAY = StoreUnavailable("no answer")


def play(plan: Plan[Any], *turns: tuple[object, Any]) -> Any:
    """Run a plan against (what it must ask for, the answer): an effect, or only its type; an error is raised."""
    answer: Any = None
    for number, (expected, reply) in enumerate(turns):
        effect = _next(plan, answer)
        matches = isinstance(effect, expected) if isinstance(expected, type) else effect == expected
        assert matches, f"turn {number}: {effect} where {expected} was expected"
        answer = reply
    try:
        effect = _next(plan, answer)
    except StopIteration as done:
        return done.value
    raise AssertionError(f"the plan goes on with {effect}")


def _next(plan: Generator[Effect[Any], Any, Any], answer: Any) -> Effect[Any]:
    return plan.throw(answer) if isinstance(answer, BaseException) else plan.send(answer)


def entry(ends: float | None = 50.0, *, stale: float = 0.0, error: float = 0.0, lease: Lease = L, cost: float = 0.0,
          payload: bytes = b"old", kind: Kind = Kind.VALUE, renewal: float = 0.0) -> Entry:
    """An entry that is fresh for `ends` seconds from NOW (negative: it was), carrying the tag `a`."""
    fresh = NEVER if ends is None else Instant(NOW + int(ends * SECOND))
    return Entry(lease, fresh, Instant(min(NEVER, fresh + int(stale * SECOND))),
                 Instant(min(NEVER, fresh + int(error * SECOND))), int(cost * SECOND), ("a",), payload, kind,
                 int(renewal * SECOND))


VALID = TagRecord(Instant(1))


def look(found: Entry | None, record: TagRecord | None = VALID, **more: Any) -> Look:
    """What a read finds at NOW."""
    return Look(found, Times(7, {"a": record}, Instant(NOW)), **more)


def granted(found: Entry | None = None) -> Claimed:
    """The lease is the caller's."""
    return Claimed(LATER, None, look(found))


def held(found: Entry | None = None, **more: Any) -> Claimed:
    """The lease is another's."""
    return Claimed(None, "other", look(found, **more))


MISS = (Read("k"), look(None))
ROLL = (RollCall("k"), 2)
TOKEN = (NewToken(), "t")
