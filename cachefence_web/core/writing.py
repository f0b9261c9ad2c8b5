"""Decisions about values that somebody already has: stored, added, begun anew, added to, changed, removed."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, TypeVar

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Anything,
    Delete,
    Effect,
    Filed,
    Look,
    Plan,
    Put,
    Read,
    Swap,
    TakeInstant,
)
from cachefence_web.core.entry import ENDLESS, NEVER, Entry, Kind
from cachefence_web.core.flight import Computed, Draw, Together
from cachefence_web.core.judging import appraise, dates_of, judge
from cachefence_web.core.policy import SHORTEST, Consistency, Policy
from cachefence_web.core.tags import Instant, Lease, Standing
from cachefence_web.errors import StoreUnavailable

R = TypeVar("R")

_MICRO = 1_000_000
_AS_IT_STANDS = Policy()
"""How a writer looks at what it is about to change: a strict reader must not be served it, but it is there."""


def entry_of(
    policy: Policy, done: Computed, lease: Lease, began: Instant, chance: float = 1.0
) -> tuple[Entry, float | None]:
    """The entry of a computed value, and for how many seconds the store must keep it."""
    cost = int(done.elapsed * _MICRO)
    ttl = policy.negative_ttl if done.value is None and policy.negative_ttl is not None else policy.ttl
    if ttl is not None and policy.jitter:
        ttl = max(SHORTEST, ttl * (1 - policy.jitter * chance))
    fresh = None if ttl is None else int(ttl * _MICRO)
    dates, life = _dates(began + cost, fresh, int(policy.stale_for * _MICRO), int(policy.stale_if_error * _MICRO))
    renewal = fresh if policy.sliding and fresh is not None else 0
    return Entry(lease, *dates, cost, done.tags, done.payload or b"", done.kind, renewal), life


def _dates(
    now: int, fresh: int | None, stale: int, error: int
) -> tuple[tuple[Instant, Instant, Instant], float | None]:
    """The three dates of what is fresh from now on and stale after that, by microseconds; how long it is to be kept."""
    most = max(stale, error)
    fresh_until = NEVER - most if fresh is None else now + fresh
    life = None if fresh is None else (fresh + most) / _MICRO
    return (Instant(fresh_until), Instant(fresh_until + stale), Instant(fresh_until + error)), life


def put(
    key: str, done: Computed, policy: Policy, since: Lease | None, expected: Lease | Anything | None = ANY
) -> Plan[Filed]:
    """Store a value that somebody already has, dated at the call or at `since`."""
    lease = since if since is not None else (yield from TakeInstant())
    stored = yield from _dated_put(key, done, policy, lease, expected)
    return _in_time(key, (yield from stored))


def put_all(values: Sequence[tuple[str, Computed, Policy]]) -> Plan[None]:
    """Store many values, all dated at the call."""
    if not values:
        return
    lease = yield from TakeInstant()
    puts = []
    for key, done, policy in values:
        puts.append((yield from _dated_put(key, done, policy, lease, ANY)))
    for stored, filed in zip(puts, (yield from Together(tuple(puts))), strict=True):
        _in_time(stored.key, filed)


def _dated_put(
    key: str, done: Computed, policy: Policy, lease: Lease, expected: Lease | Anything | None
) -> Plan[Put]:
    chance = (yield from Draw()) if policy.jitter else 1.0
    entry, life = entry_of(policy, done, lease, lease.instant, chance)
    return Put(key, entry, life, expected)


def _in_time(key: str, filed: Filed | StoreUnavailable) -> Filed:
    """What became of it.

    Raises:
        StoreUnavailable: if the store did not answer, or heard of it when the caller had given up.
    """
    if isinstance(filed, StoreUnavailable):
        raise filed
    if filed is Filed.LATE:
        raise StoreUnavailable(f"the store heard of the new value of {key!r} too late to take it; set it again")
    return filed


def add(key: str, done: Computed, policy: Policy) -> Plan[bool]:
    """Store a value unless there is a usable one; False if there was."""
    return (yield from _put_where(key, done, policy, present=False))


def replace(key: str, done: Computed, policy: Policy) -> Plan[bool]:
    """Store a value where there is a usable one; False if there was none."""
    return (yield from _put_where(key, done, policy, present=True))


def _put_where(key: str, done: Computed, policy: Policy, *, present: bool) -> Plan[bool]:
    while True:
        found = yield from appraise((yield from Read(key)), _AS_IT_STANDS, early=False)
        if (found.fresh is not None) is not present:
            return False
        filed = yield from put(key, done, policy, None, found.seen)
        if filed is not Filed.CONFLICT:
            return filed is Filed.ADMITTED


def touch(key: str, policy: Policy, said: Container[str] = ()) -> Plan[bool]:
    """Begin the entry's life again, for the policy's `ttl` to the letter; False if there is none to be served.

    It may be stale for as long as before; where `said` names `stale_for` or `stale_if_error`, as the policy has it.
    """
    return (yield from _begin_anew(key, policy, policy, said))


def renew(key: str, policy: Policy) -> Plan[bool]:
    """Begin the life again that the entry was stored with, if hits are to renew it."""
    return (yield from _begin_anew(key, policy, None, ()))


def _begin_anew(key: str, policy: Policy, life: Policy | None, said: Container[str]) -> Plan[bool]:
    look = yield from Read(key)
    found = yield from appraise(look, policy, early=False)
    entry = look.entry
    if found.fresh is None or entry is None:
        return False
    stale, error = entry.stale_until - entry.fresh_until, entry.error_until - entry.fresh_until
    fresh: int | None = entry.renewal
    if life is not None:
        fresh = None if life.ttl is None else int(life.ttl * _MICRO)
        stale = int(life.stale_for * _MICRO) if "stale_for" in said else stale
        error = int(life.stale_if_error * _MICRO) if "stale_if_error" in said else error
    elif not fresh:
        return False
    dates, kept = _dates(look.times.now, fresh, stale, error)
    return (yield from Amend(key, entry.lease, *dates, kept, fresh or 0))


def move(key: str, to: str) -> Plan[bool]:
    """Store the entry under another key as it is, with all its dates, and remove it here; False if there is none."""
    look = yield from Read(key)
    found = yield from appraise(look, _AS_IT_STANDS, early=False)
    entry = look.entry
    if found.fresh is None or entry is None:
        return False
    until = max(entry.fresh_until, entry.stale_until, entry.error_until)
    life = None if entry.fresh_until >= ENDLESS else (until - look.times.now) / _MICRO
    filed = _in_time(to, (yield from Put(to, entry, life, ANY)))
    if to != key:
        yield from Delete(key)
    return filed is Filed.ADMITTED


def increment(key: str, delta: int, policy: Policy, *, create: bool) -> Plan[int | None]:
    """Add to a number, atomically; None if there is none and it is not to be created.

    Raises:
        TypeError: if the value is no integer, or no value.
    """
    while True:
        look = yield from Read(key)
        found = yield from appraise(look, _AS_IT_STANDS, early=False)
        if found.fresh is None or look.entry is None:
            if not create:
                return None
            done = Computed(delta, b"%d" % delta, (), kind=Kind.NUMBER)
            if (yield from _begun(key, done, policy, found.seen)):
                return delta
            continue
        if look.entry.kind is not Kind.NUMBER:
            raise TypeError(f"the value under {key!r} is no integer: incr() adds to integers only")
        total = yield from Add(key, look.entry.lease, delta)
        if total is not None:
            return total


def modify(
    key: str, change: Callable[[Any], Computed], policy: Policy, initial: Callable[[], Computed] | None = None
) -> Plan[Computed | None]:
    """Make another value of the one there is, by compare-and-set, so that no change is lost; None if there is none.

    The new value keeps the lease of the old one, of which it was made, and so its tags, dates and life.
    change: may be called more than once; initial: makes what to store where there is none.
    """
    while True:
        look = yield from Read(key)
        found = yield from appraise(look, _AS_IT_STANDS, early=False)
        if found.fresh is not None and look.entry is not None:
            done = change(found.fresh.value)
            if (yield from Swap(key, look.entry, done.payload or b"", done.kind)):
                return done
        elif initial is None:
            return None
        else:
            done = initial()
            if (yield from _begun(key, done, policy, found.seen)):
                return done


def _begun(key: str, done: Computed, policy: Policy, seen: Lease | None) -> Plan[bool]:
    """Store what others are to be made of; False if something else came between."""
    filed = yield from put(key, done, policy, None, seen)
    if filed is Filed.OCCUPIED:
        raise TypeError(f"what is kept under {key!r} is no value of the cache: nothing can be added to it")
    return filed is Filed.ADMITTED


def remove(keys: Sequence[str]) -> Plan[int]:
    """Delete keys in the round trip that looks at them; how many had a value to be served.

    Looked at before they are deleted; whether anything was deleted then tells of two who remove one key which did.
    """
    looks: tuple[Effect[Any], ...] = tuple([Read(key) for key in keys])
    answers = yield from Together((*looks, *[Delete(key) for key in keys]))
    for answer in answers:
        if isinstance(answer, StoreUnavailable):
            raise answer
    removed = 0
    for look, deleted in zip(answers[:len(keys)], answers[len(keys):], strict=True):
        removed += deleted and (yield from _was_there(look))
    return removed


def _was_there(look: Look) -> Plan[bool]:
    """Whether what was removed was of use to anybody; what the look did not see came, or is, no entry: it was."""
    entry = look.entry
    if entry is None:
        return True
    try:
        stands, times = yield from judge(entry, look.times, Consistency.COMMITTED)
    except StoreUnavailable:
        return True
    return stands is not Standing.GONE and times.now < dates_of(entry, times, stands)[0]


def just(effect: Effect[R]) -> Plan[R]:
    """One effect, where a plan is asked for."""
    return (yield from effect)
