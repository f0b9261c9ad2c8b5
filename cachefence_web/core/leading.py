"""Leading a compute: for all who are aboard, one of them claims the lease, computes, and stores what came of it.

A compute is dated *before* it reads anything (`Granted.lease`), so whatever is invalidated later outdates it. And a
value is handed only to callers for whom it is true: `RollCall` counts them before the request that makes it true is
sent, and who joined after that looks again.
"""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace

from cachefence_web.core.effects import Claim, Filed, Fill, Plan, Read, Release, Wait
from cachefence_web.core.entry import ENDLESS, NEVER, Entry, Kind
from cachefence_web.core.flight import (
    Abandoned,
    Again,
    Ask,
    Compute,
    Computed,
    Draw,
    Failed,
    Granted,
    Landing,
    NewToken,
    PassBy,
    Raised,
    RollCall,
    Served,
    Status,
)
from cachefence_web.core.judging import Found, appraise, judge, unless_refused
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import MOST_TAGS, Instant, Lease, Standing
from cachefence_web.core.writing import entry_of
from cachefence_web.errors import ComputeFailed, LeaseTimeout, StoreUnavailable

BACK_OFF = 1.0
"""Seconds, before jitter, for which a failed compute is not tried again."""

PASS_FOR = 10.0
"""Seconds for which a key whose answers cannot be shared is passed by."""

_MICRO = 1_000_000


def lead(ask: Ask, seen: Lease | None, *, takeover: str | None = None) -> Plan[Landing]:
    """Get the value for everybody aboard: from the store if it appears there, else by computing it."""
    token = yield from NewToken()
    try:
        granted = yield from approach(ask, token, seen, takeover=takeover)
    except StoreUnavailable:
        return (yield from alone(ask))
    except GeneratorExit:
        raise
    except BaseException:
        yield from let_go(ask.key, token)
        raise
    return (yield from _follow_up(ask, granted))


def approach(
    ask: Ask, token: str, seen: Lease | None, *, patient: bool = True, takeover: str | None = None,
    refused: Lease | None = None,
) -> Plan[Granted | Landing | None]:
    """Claim the right to compute, waiting while somebody else has it, until one or the other brings an answer.

    None if there is none for a strict caller, who must compute for itself.

    patient: False answers Again where it would have to wait.
    takeover: the token of a lease that was waited for long enough; any other is waited for anew.
    refused: the lease of an entry that is not for this caller, however often it is found.
    """
    patience = ask.policy.wait
    awaited: str | None = None
    spent: Lease | None = None
    while True:
        covers = yield from RollCall(ask.key)
        claimed = yield from Claim(ask.key, token, ask.policy.lease, seen, takeover, spent)
        if claimed.lease is not None:
            return Granted(token, claimed.lease, claimed.look.times.now, covers, ask.policy.lease)
        found = unless_refused((yield from appraise(claimed.look, ask.policy)), refused)
        if found.fresh is not None:
            return replace(found.fresh, covers=covers)
        if found.pending:
            return None
        failure = claimed.look.failure
        if failure is not None:
            stands, _ = yield from judge(failure, claimed.look.times, ask.policy.consistency)
            if stands is not Standing.GONE:
                return _gated(failure, found, covers)
            spent = failure.lease
        seen = found.seen
        if claimed.holder is None:
            continue
        if not patient:
            return Again()
        if takeover is None and awaited not in {None, claimed.holder}:
            takeover, patience = awaited, ask.policy.wait  # another took over: what is left was meant for the last one
        awaited = claimed.holder
        if patience > 0:
            patience -= yield from Wait(ask.key, claimed.holder, patience)
            covers = yield from RollCall(ask.key)
            found = unless_refused((yield from appraise((yield from Read(ask.key)), ask.policy)), refused)
            if found.fresh is not None:  # as it should be; a second claim would cost ten times as much
                return replace(found.fresh, covers=covers)
            seen = found.seen
        if patience <= 0:
            if takeover is not None:
                return nobody(ask, covers)
            takeover, patience = claimed.holder, ask.policy.wait


def _gated(failure: Entry, found: Found, covers: int) -> Landing:
    if failure.kind is Kind.PASS:
        return PassBy(covers, failure.lease)  # a look's `now` is an upper bound: too late a date to give to a value
    if found.last_good is not None:
        return replace(found.last_good, covers=covers)
    message = failure.payload.decode("utf-8", "replace")
    return Failed(ComputeFailed(f"the last compute failed with {message}"), failure.tags, covers, failure.lease)


def nobody(ask: Ask, covers: int = 1) -> Failed:
    return Failed(LeaseTimeout(
        f"nobody produced {ask.key!r} within twice its wait of {ask.policy.wait:g} s;"
        " raise `wait`, or give the key a `stale_for`"), covers=covers)


def _follow_up(ask: Ask, granted: Granted | Landing | None) -> Plan[Landing]:
    """Compute, where that is what came of the approach."""
    if granted is None:
        return (yield from alone(ask))
    if not isinstance(granted, Granted):
        return granted
    result = yield from Compute(ask, granted)
    return (yield from conclude(ask, granted, result))


def conclude(ask: Ask, granted: Granted, result: Computed | Raised | Abandoned) -> Plan[Landing]:
    """Store what came of a compute, and say for whom it is true."""
    match result:
        case Computed():
            return (yield from _store(ask, granted, result))
        case Raised():
            return (yield from _fail(ask, granted, result))
        case Abandoned(error):
            yield from let_go(ask.key, granted.token)
            return Again(error)


def _store(ask: Ask, granted: Granted, done: Computed) -> Plan[Landing]:
    """Those aboard before the lease have their value; who came during the compute only if the store admits it now."""
    served = unstored(done, granted.covers)
    if done.private or not done.storable or len(done.tags) > MOST_TAGS:
        yield from let_go(ask.key, granted.token)
        return served
    if done.payload is None:
        aboard = yield from RollCall(ask.key)
        admitted = yield from pass_by(replace(ask, tags=done.tags), granted)
        return replace(served, covers=_covered(ask, granted, aboard)) if admitted else served
    chance = (yield from Draw()) if ask.policy.jitter else 1.0
    entry, life = entry_of(ask.policy, done, behind(granted.lease, done.lag), granted.now, chance)
    aboard = yield from RollCall(ask.key)
    try:
        filed = yield from Fill(ask.key, granted.token, entry, life)
    except StoreUnavailable:  # away, or a value that it will not take: nobody is to wait for the lease's end
        yield from let_go(ask.key, granted.token)
        return served
    if filed is not Filed.ADMITTED:
        return served
    remaining = None if entry.fresh_until >= ENDLESS else (entry.fresh_until - granted.now) / _MICRO
    return replace(
        served, status=Status.STORED, remaining=remaining, covers=_covered(ask, granted, aboard), spoiled=False)


def unstored(done: Computed, covers: int) -> Served:
    """The value for those it is true for, and no store."""
    return Served(
        done.value, done.tags, Status.UNSTORED, 0 if done.private else covers,
        spoiled=not done.storable or done.lag > 0)


def unstored_failure(failed: Raised, covers: int) -> Failed:
    return Failed(
        failed.error, failed.tags, 0 if failed.private else covers, spoiled=not failed.storable or failed.lag > 0)


def behind(lease: Lease, lag: float) -> Lease:
    """The date of what was read where everything is up to `lag` seconds late."""
    return Lease(Instant(max(0, lease.instant - int(lag * _MICRO))), lease.epoch) if lag else lease


def _fail(ask: Ask, granted: Granted, failed: Raised) -> Plan[Landing]:
    """One failure is everybody's answer, and gates the next try."""
    if failed.private or not failed.storable or len(failed.tags) > MOST_TAGS:
        yield from let_go(ask.key, granted.token)
        return unstored_failure(failed, granted.covers)
    message = f"{type(failed.error).__name__}: {failed.error}"[:500]
    dated = _blank(behind(granted.lease, failed.lag), failed.tags)
    record = replace(dated, payload=message.encode("utf-8", "replace"), kind=Kind.FAILURE)
    chance = yield from Draw()
    aboard = yield from RollCall(ask.key)
    covers = granted.covers
    try:
        filed = yield from Fill(ask.key, granted.token, record, BACK_OFF * (0.5 + chance / 2))
        if filed is Filed.ADMITTED:
            covers = _covered(ask, granted, aboard)
        if ask.policy.stale_if_error:
            aboard = yield from RollCall(ask.key)
            found = yield from appraise((yield from Read(ask.key)), ask.policy)
            good = found.fresh or found.last_good
            if good is not None:
                return replace(good, covers=aboard)
    except StoreUnavailable:
        yield from let_go(ask.key, granted.token)
    return Failed(failed.error, failed.tags, covers, granted.lease)


def _covered(ask: Ask, granted: Granted, aboard: int) -> int:
    """An admission proves the value true as of its sending; a strict reader must know it of the compute's start."""
    return granted.covers if ask.policy.consistency is Consistency.STRICT else aboard


def alone(ask: Ask) -> Plan[Landing]:
    """Compute for those aboard and store nothing: the store is away, or a strict reader must not trust it now."""
    covers = yield from RollCall(ask.key)
    match (yield from Compute(ask, None)):
        case Computed() as done:
            return unstored(done, covers)
        case Raised() as failed:
            return unstored_failure(failed, covers)
        case Abandoned(error):
            return Again(error)


def refresh(ask: Ask, seen: Lease) -> Plan[Landing]:
    """Compute the value anew behind those who are served the old one; never wait, never compute twice."""
    token = yield from NewToken()
    granted = yield from approach(ask, token, seen, patient=False)
    return (yield from _follow_up(ask, granted))


def pass_by(ask: Ask, granted: Granted) -> Plan[bool]:
    """End the lease with the word that this key's answers cannot be shared, so that nobody queues for them.

    True if it was admitted: what was computed is true as of then.
    """
    record = replace(_blank(granted.lease, ask.tags), kind=Kind.PASS)
    try:
        return (yield from Fill(ask.key, granted.token, record, PASS_FOR)) is Filed.ADMITTED
    except StoreUnavailable:
        yield from let_go(ask.key, granted.token)
        return False


def let_go(key: str, token: str) -> Plan[None]:
    with suppress(StoreUnavailable):
        yield from Release(key, token)


def _blank(lease: Lease, tags: tuple[str, ...]) -> Entry:
    return Entry(lease, NEVER, NEVER, NEVER, 0, tags, b"")
