"""Decisions about values that somebody already has: stored, added, begun anew, added to."""

from __future__ import annotations

from typing import TypeVar

from cachefence_web.core.effects import ANY, Add, Amend, Anything, Effect, Filed, Plan, Put, Read, TakeInstant
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.flight import Computed, Draw
from cachefence_web.core.judging import appraise
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Instant, Lease
from cachefence_web.errors import StoreUnavailable

R = TypeVar("R")

_MICRO = 1_000_000


def entry_of(
    policy: Policy, done: Computed, lease: Lease, began: Instant, chance: float = 1.0
) -> tuple[Entry, float | None]:
    """The entry of a computed value, and for how many seconds the store must keep it."""
    cost = int(done.elapsed * _MICRO)
    ttl = policy.negative_ttl if done.value is None and policy.negative_ttl is not None else policy.ttl
    if ttl is None:
        fresh_until = Instant(NEVER - int(max(policy.stale_for, policy.stale_if_error) * _MICRO))
        stale_until = Instant(fresh_until + int(policy.stale_for * _MICRO))
        error_until = Instant(fresh_until + int(policy.stale_if_error * _MICRO))
        return Entry(
            lease, fresh_until, stale_until, error_until, cost, done.tags, done.payload or b"", done.kind), None
    fresh = max(0.001, ttl * (1 - policy.jitter * chance)) if policy.jitter else ttl
    now = began + cost
    fresh_until = Instant(now + int(fresh * _MICRO))
    stale_until = Instant(fresh_until + int(policy.stale_for * _MICRO))
    error_until = Instant(fresh_until + int(policy.stale_if_error * _MICRO))
    life = fresh + max(policy.stale_for, policy.stale_if_error)
    return Entry(lease, fresh_until, stale_until, error_until, cost, done.tags, done.payload or b"", done.kind), life


def put(
    key: str, done: Computed, policy: Policy, since: Lease | None, expected: Lease | Anything | None = ANY
) -> Plan[Filed]:
    """Store a value that somebody already has, dated at the call or at `since`."""
    lease = since if since is not None else (yield from TakeInstant())
    chance = (yield from Draw()) if policy.jitter else 1.0
    entry, life = entry_of(policy, done, lease, lease.instant, chance)
    filed = yield from Put(key, entry, life, expected)
    if filed is Filed.LATE:
        raise StoreUnavailable(f"the store heard of the new value of {key!r} too late to take it; set it again")
    return filed


def add(key: str, done: Computed, policy: Policy) -> Plan[bool]:
    """Store a value unless there is a usable one; False if there was."""
    while True:
        found = yield from appraise((yield from Read(key)), policy, early=False)
        if found.fresh is not None:
            return False
        filed = yield from put(key, done, policy, None, found.seen)
        if filed is not Filed.CONFLICT:
            return filed is Filed.ADMITTED


def touch(key: str, policy: Policy) -> Plan[bool]:
    """Begin the entry's life again; False if there is none to be served."""
    look = yield from Read(key)
    if look.entry is None:
        return False
    found = yield from appraise(look, policy, early=False)
    if found.fresh is None:
        return False
    done = Computed(found.fresh.value, b"", (), elapsed=0.0)
    dated, life = entry_of(policy, done, look.entry.lease, look.times.now)
    return (yield from Amend(
        key, look.entry.lease, dated.fresh_until, dated.stale_until, dated.error_until, life))


def increment(key: str, delta: int, policy: Policy, *, create: bool) -> Plan[int | None]:
    """Add to a number, atomically; None if there is none and it is not to be created.

    Raises:
        TypeError: if the value is no integer.
    """
    while True:
        look = yield from Read(key)
        found = yield from appraise(look, policy, early=False)
        if found.fresh is None or look.entry is None:
            if not create:
                return None
            done = Computed(delta, b"%d" % delta, (), kind=Kind.NUMBER)
            if (yield from put(key, done, policy, None, found.seen)) is Filed.ADMITTED:
                return delta
            continue
        if look.entry.kind is not Kind.NUMBER:
            raise TypeError(f"the value under {key!r} is no integer: incr() adds to integers only")
        total = yield from Add(key, look.entry.lease, delta)
        if total is not None:
            return total


def just(effect: Effect[R]) -> Plan[R]:
    """One effect, where a plan is asked for."""
    return (yield from effect)
