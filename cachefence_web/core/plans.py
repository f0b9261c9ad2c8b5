"""Decisions only: a plan yields effects and never performs one.

Read from top to bottom: leading a compute, what callers do. What may be served is judged in `judging.py`; values that
are simply written are `writing.py`'s.

Two rules carry the promises. A compute is dated *before* it reads anything (`Granted.lease`), so whatever is
invalidated later outdates it. And a value is handed only to callers for whom it is true: `RollCall` counts them
before the request that makes it true is sent, and who joined after that looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from cachefence_web.core.effects import (
    ANY,
    Anything,
    Claim,
    Effect,
    Filed,
    Fill,
    Plan,
    Read,
    Release,
    Wait,
)
from cachefence_web.core.entry import ENDLESS, NEVER, Entry, Kind
from cachefence_web.core.flight import (
    Abandoned,
    Again,
    Ask,
    Board,
    Captain,
    Compute,
    Computed,
    ComputeMany,
    Draw,
    Failed,
    Fitness,
    Fly,
    Granted,
    Land,
    Landing,
    Lead,
    NewToken,
    Overdue,
    PassBy,
    Raised,
    Refresh,
    RollCall,
    Served,
    Status,
    Together,
)
from cachefence_web.core.judging import NOTHING, Found, appraise, fitness_of, is_refused, judge, suited, unless_refused
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import MOST_TAGS, Instant, Lease, Standing
from cachefence_web.core.writing import entry_of, renew
from cachefence_web.errors import ComputeFailed, LeaseTimeout, StoreUnavailable

R = TypeVar("R")

BACK_OFF = 1.0
"""Seconds, before jitter, for which a failed compute is not tried again."""

PASS_FOR = 10.0
"""Seconds for which a key whose answers cannot be shared is passed by."""

_MICRO = 1_000_000


# Leading a compute.


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
        yield from _let_go(ask.key, token)
        raise
    if granted is None:
        return (yield from alone(ask))
    if not isinstance(granted, Granted):
        return granted
    result = yield from Compute(ask, granted)
    return (yield from conclude(ask, granted, result))


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
                return _nobody(ask, covers)
            takeover, patience = claimed.holder, ask.policy.wait


def _gated(failure: Entry, found: Found, covers: int) -> Landing:
    if failure.kind is Kind.PASS:
        return PassBy(covers, failure.lease)  # a look's `now` is an upper bound: too late a date to give to a value
    if found.last_good is not None:
        return replace(found.last_good, covers=covers)
    message = failure.payload.decode("utf-8", "replace")
    return Failed(ComputeFailed(f"the last compute failed with {message}"), failure.tags, covers, failure.lease)


def conclude(ask: Ask, granted: Granted, result: Computed | Raised | Abandoned) -> Plan[Landing]:
    """Store what came of a compute, and say for whom it is true."""
    match result:
        case Computed():
            return (yield from _store(ask, granted, result))
        case Raised():
            return (yield from _fail(ask, granted, result))
        case Abandoned(error):
            yield from _let_go(ask.key, granted.token)
            return Again(error)


def _store(ask: Ask, granted: Granted, done: Computed) -> Plan[Landing]:
    """Those aboard before the lease have their value; who came during the compute only if the store admits it now."""
    served = unstored(done, granted.covers)
    if done.private or not done.storable or len(done.tags) > MOST_TAGS:
        yield from _let_go(ask.key, granted.token)
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
        yield from _let_go(ask.key, granted.token)
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


def _unstored_failure(failed: Raised, covers: int) -> Failed:
    return Failed(
        failed.error, failed.tags, 0 if failed.private else covers, spoiled=not failed.storable or failed.lag > 0)


def behind(lease: Lease, lag: float) -> Lease:
    """The date of what was read where everything is up to `lag` seconds late."""
    return Lease(Instant(max(0, lease.instant - int(lag * _MICRO))), lease.epoch) if lag else lease


def _fail(ask: Ask, granted: Granted, failed: Raised) -> Plan[Landing]:
    """One failure is everybody's answer, and gates the next try."""
    if failed.private or not failed.storable or len(failed.tags) > MOST_TAGS:
        yield from _let_go(ask.key, granted.token)
        return _unstored_failure(failed, granted.covers)
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
        yield from _let_go(ask.key, granted.token)
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
            return _unstored_failure(failed, covers)
        case Abandoned(error):
            return Again(error)


def refresh(ask: Ask, seen: Lease) -> Plan[Landing]:
    """Compute the value anew behind those who are served the old one; never wait, never compute twice."""
    token = yield from NewToken()
    granted = yield from approach(ask, token, seen, patient=False)
    if granted is None:
        return (yield from alone(ask))
    if not isinstance(granted, Granted):
        return granted
    result = yield from Compute(ask, granted)
    return (yield from conclude(ask, granted, result))


def pass_by(ask: Ask, granted: Granted) -> Plan[bool]:
    """End the lease with the word that this key's answers cannot be shared, so that nobody queues for them.

    True if it was admitted: what was computed is true as of then.
    """
    record = replace(_blank(granted.lease, ask.tags), kind=Kind.PASS)
    try:
        return (yield from Fill(ask.key, granted.token, record, PASS_FOR)) is Filed.ADMITTED
    except StoreUnavailable:
        yield from _let_go(ask.key, granted.token)
        return False


def _let_go(key: str, token: str) -> Plan[None]:
    with suppress(StoreUnavailable):
        yield from Release(key, token)


def _blank(lease: Lease, tags: tuple[str, ...]) -> Entry:
    return Entry(lease, NEVER, NEVER, NEVER, 0, tags, b"")


# What callers do.


def get_or_set(ask: Ask, *, away: bool = False) -> Plan[Served | Failed | Again]:
    """The value: from the store, from a flight, or computed; Again if the compute that this caller led was given up.

    away: pass the store by, as if it were.
    """
    policy = ask.policy
    overdue: Overdue | None = None
    while True:
        looked = yield from _look(ask, away=away)
        away = looked is None
        found = looked or NOTHING
        if found.fresh is not None and found.seen is not None:
            if found.early:
                yield from Refresh(ask, found.seen)
            elif policy.sliding:
                yield from _slide(ask, found.fresh, found.renewal)
            return found.fresh
        if found.stale is not None and found.seen is not None and policy.soft_timeout is None:
            yield from Refresh(ask, found.seen)
            return found.stale
        soft = found.stale is not None and policy.soft_timeout is not None
        patience = policy.soft_timeout if soft and policy.soft_timeout is not None else policy.wait
        landing = yield from Fly(
            ask, found.seen, patience, alone=away or found.pending, detach=soft, overdue=overdue)
        match landing:
            case Served() | Again(BaseException()):
                return landing
            case Failed():
                return found.stale or landing
            case PassBy():
                away = True
            case Overdue():
                if found.stale is not None:
                    return found.stale
                if overdue is not None:
                    return _nobody(ask)
                overdue = landing
            case Again():
                pass


def _look(ask: Ask, *, away: bool) -> Plan[Found | None]:
    """What there is; None if the store is away, or was."""
    if away:
        return None
    try:
        return (yield from appraise((yield from Read(ask.key, _is_eventual(ask))), ask.policy))
    except StoreUnavailable:
        return None


def _is_eventual(ask: Ask) -> bool:
    """Whether a replica may answer the look of one caller; those aboard a flight, who may want more, never see it."""
    return ask.policy.consistency is Consistency.EVENTUAL


def _nobody(ask: Ask, covers: int = 1) -> Failed:
    return Failed(LeaseTimeout(
        f"nobody produced {ask.key!r} within twice its wait of {ask.policy.wait:g} s;"
        " raise `wait`, or give the key a `stale_for`"), covers=covers)


def _slide(ask: Ask, hit: Served, renewal: int) -> Plan[None]:
    """Renew the value's own life, once a tenth of it is over: a write for every hit would be wasted."""
    if hit.remaining is not None and hit.remaining * _MICRO < renewal * 0.9:
        with suppress(StoreUnavailable):
            yield from renew(ask.key, ask.policy)


def get(ask: Ask) -> Plan[Served | None]:
    """The value if there is one and it is fresh, or suffices for this caller; nothing is computed."""
    found = yield from appraise((yield from Read(ask.key, _is_eventual(ask))), ask.policy, early=False)
    match fitness_of(found, ask):
        case Fitness.SUFFICES:
            return found.best
        case Fitness.UNFIT:
            return None
        case Fitness.FITS:
            if found.fresh is not None and ask.policy.sliding:
                yield from _slide(ask, found.fresh, found.renewal)
            return found.fresh


def get_many(asks: Sequence[Ask]) -> Plan[list[Served | StoreUnavailable | None]]:
    """Like `get`, for many keys side by side; StoreUnavailable for one that could not be looked up."""
    return (yield from lockstep([_unless_away(get(ask)) for ask in asks]))


def _unless_away(plan: Plan[R]) -> Plan[R | StoreUnavailable]:
    try:
        return (yield from plan)
    except StoreUnavailable as away:
        return away


def begin(
    ask: Ask, *, patient: bool = True, away: bool = False
) -> Plan[Served | Failed | Lead | PassBy | Again]:
    """For a compute that is no function: the value, or the right and the duty to bring it (`finish` or `abort`).

    A stale value is led by one caller and served to all others meanwhile. patient=False answers Again where it
    would have to wait for somebody else's compute. What the first look finds is the caller's to judge
    (`Ask.fitness`); what was stored since then, or is landed by a flight, was true after the caller had asked.

    away: pass the store by, as if it were.
    """
    overdue: Overdue | None = None
    first: Lease | Anything | None = ANY
    refused: Lease | None = None
    while True:
        looked = yield from _look(ask, away=away)
        away = looked is None
        found = looked or NOTHING
        if first is ANY:
            first = found.seen
        judged = suited(found, ask) if found.seen == first else found
        if isinstance(judged, Served):
            return judged
        if judged is not found:
            found, refused = judged, found.seen or refused
        if found.fresh is not None and not found.early:
            return found.fresh
        usable = found.fresh or found.stale
        waits = patient and usable is None
        answer = yield from _aboard(
            ask, found.seen, overdue, refused, patient=waits, alone=away or found.pending)
        match answer:
            case Overdue():
                if overdue is not None:
                    return usable or _nobody(ask)
                overdue = answer
            case Lead():
                return replace(
                    answer, stale=usable, last_good=usable or found.last_good, outdated=found.outdated)
            case Served():
                return answer
            case Failed() | PassBy():
                return usable or answer
            case Again(error):
                if isinstance(error, StoreUnavailable):
                    away = True
                elif usable is not None:
                    return usable
                elif not patient:
                    return answer


def _aboard(
    ask: Ask, seen: Lease | None, overdue: Overdue | None, refused: Lease | None, *, patient: bool, alone: bool
) -> Plan[Landing | Lead | Overdue]:
    """What the key's flight brings this caller, or its lead."""
    boarded = yield from Board(ask, ask.policy.wait if patient else 0.0, overdue, alone)
    if isinstance(boarded, Captain):
        return (yield from _as_captain(ask, boarded, seen, overdue, refused, patient=patient, alone=alone))
    if isinstance(boarded, Overdue) and not patient:
        return Again()
    return Again() if is_refused(boarded, refused) else boarded


def _as_captain(
    ask: Ask, captain: Captain, seen: Lease | None, overdue: Overdue | None, refused: Lease | None, *,
    patient: bool, alone: bool,
) -> Plan[Landing | Lead]:
    """Lead by hand: what there is to lead, or what landed the flight; Again with a StoreUnavailable if that did."""
    if alone:
        return Lead(ask, None, captain.flight, (yield from RollCall(ask.key)))
    token = yield from NewToken()
    try:
        takeover = overdue.holder if overdue is not None else None
        landing = yield from approach(ask, token, seen, patient=patient, takeover=takeover, refused=refused)
    except StoreUnavailable as error:
        yield from Land(captain.flight, Again())
        return Again(error)
    except GeneratorExit:
        raise
    except BaseException:
        yield from Land(captain.flight, Again())
        yield from _let_go(ask.key, token)
        raise
    if isinstance(landing, Granted):
        return Lead(ask, landing, captain.flight)
    if landing is None:
        return Lead(ask, None, captain.flight, (yield from RollCall(ask.key)))
    yield from Land(captain.flight, landing)
    return landing


def finish(leading: Lead, result: Computed | Raised) -> Plan[Landing]:
    """End a begun compute with what came of it."""
    try:
        landing = yield from _conclude(leading, result)
    except GeneratorExit:
        raise
    except BaseException:
        yield from Land(leading.flight, Again())
        raise
    yield from Land(leading.flight, landing)
    return landing


def _conclude(leading: Lead, result: Computed | Raised) -> Plan[Landing]:
    if leading.granted is not None:
        return (yield from conclude(leading.ask, leading.granted, result))
    match result:
        case Computed():
            return unstored(result, leading.covers)
        case Raised():
            return _unstored_failure(result, leading.covers)


def abort(leading: Lead, *, unshareable: bool = False) -> Plan[None]:
    """Give a begun compute up: somebody else may take it over, or, if unshareable, everybody goes their own way."""
    landing: Landing = Again()
    try:
        if unshareable:
            if leading.granted is not None:
                yield from pass_by(leading.ask, leading.granted)
            # Whoever computes after this landing began later than the lease: an older date is always a safe one.
            since = leading.granted.lease if leading.granted is not None else None
            landing = PassBy((yield from RollCall(leading.ask.key)), since)
        elif leading.granted is not None:
            yield from _let_go(leading.ask.key, leading.granted.token)
    except GeneratorExit:
        raise
    except BaseException:
        yield from Land(leading.flight, Again())
        raise
    yield from Land(leading.flight, landing)


def get_or_set_many(
    asks: Sequence[Ask], compute: Callable[[list[str]], Any], *, away: bool = False
) -> Plan[list[Served | Failed | Again]]:
    """The values of many keys, all missing ones from one compute; Again for a key that its answer leaves out."""
    begun = yield from lockstep([begin(ask, patient=False, away=away) for ask in asks], _undo)
    led = [(index, lead) for index, lead in enumerate(begun) if isinstance(lead, Lead)]
    ended: dict[int, Served | Failed | Again] = {}
    if led:
        leads = tuple(lead for _, lead in led)
        results = yield from ComputeMany(leads, compute)
        landings = yield from lockstep([_end(lead, result) for lead, result in zip(leads, results, strict=True)])
        ended = dict(zip((index for index, _ in led), landings, strict=True))
    answers: list[Served | Failed | Again] = []
    for index, found in enumerate(begun):
        match found:
            case Lead():
                answers.append(ended[index])
            case Served() | Failed():
                answers.append(found)
            case PassBy() | Again():
                answers.append((yield from get_or_set(asks[index], away=away)))
    return answers


def _end(leading: Lead, result: Computed | Raised | Abandoned | None) -> Plan[Served | Failed | Again]:
    match result:
        case Computed() | Raised():
            landing = yield from finish(leading, result)
            return Again() if isinstance(landing, PassBy) else landing
        case Abandoned(error):
            yield from abort(leading)
            return Again(error)
        case None:
            yield from abort(leading)
            return Again()


def lockstep(plans: Sequence[Plan[R]], undo: Callable[[R], Plan[None]] | None = None) -> Plan[list[R]]:
    """Run plans side by side, the effects of each step together: many keys, one round trip a step.

    undo: what to do about those that have ended when the rest is interrupted.
    """
    results: dict[int, R] = {}
    asking: dict[int, Effect[Any]] = {}

    def advance(index: int, answer: Any) -> None:
        try:
            if isinstance(answer, StoreUnavailable):
                asking[index] = plans[index].throw(answer)
            else:
                asking[index] = plans[index].send(answer)
        except StopIteration as done:
            asking.pop(index, None)
            results[index] = done.value

    for index in range(len(plans)):
        advance(index, None)
    while asking:
        turn = list(asking.items())
        try:
            answers = yield from Together(tuple(effect for _, effect in turn))
        except GeneratorExit:
            raise
        except BaseException as error:
            for index, _ in turn:
                yield from _break_off(plans[index], error)
            if undo is not None:
                for result in results.values():
                    yield from undo(result)
            raise
        for (index, _), answer in zip(turn, answers, strict=True):
            advance(index, answer)
    return [results[index] for index in range(len(plans))]


def _break_off(plan: Plan[Any], error: BaseException) -> Plan[None]:
    """Let a plan clean up after what has interrupted it."""
    try:
        effect = plan.throw(error)
        while True:
            try:
                answer = yield effect
            except StoreUnavailable as away:
                effect = plan.throw(away)
            else:
                effect = plan.send(answer)
    except StopIteration:
        return
    except BaseException as raised:
        if raised is not error and not isinstance(raised, StoreUnavailable):
            raise


def _undo(begun: Served | Failed | Lead | PassBy | Again) -> Plan[None]:
    if isinstance(begun, Lead):
        yield from abort(begun)
