"""Decisions only: a plan yields effects and never performs one. These are the callers'.

What may be served is judged in `judging.py`; whoever is to compute goes on in `leading.py`; values that are simply
written are `writing.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from msgspec.structs import replace

from cachefence_web.core import leading
from cachefence_web.core.effects import ANY, Anything, Plan, Read
from cachefence_web.core.flight import (
    Abandoned,
    Again,
    Ask,
    Board,
    Captain,
    Computed,
    ComputeMany,
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
)
from cachefence_web.core.judging import NOTHING, Found, appraise, fitness_of, is_refused, suited
from cachefence_web.core.lockstep import lockstep
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Lease
from cachefence_web.core.writing import renew
from cachefence_web.errors import StoreUnavailable

R = TypeVar("R")

_MICRO = 1_000_000


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
                    return leading.nobody(ask)
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
                    return usable or leading.nobody(ask)
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
        landing = yield from leading.approach(ask, token, seen, patient=patient, takeover=takeover, refused=refused)
    except StoreUnavailable as error:
        yield from Land(captain.flight, Again())
        return Again(error)
    except GeneratorExit:
        raise
    except BaseException:
        yield from Land(captain.flight, Again())
        yield from leading.let_go(ask.key, token)
        raise
    if isinstance(landing, Granted):
        return Lead(ask, landing, captain.flight)
    if landing is None:
        return Lead(ask, None, captain.flight, (yield from RollCall(ask.key)))
    yield from Land(captain.flight, landing)
    return landing


def finish(led: Lead, result: Computed | Raised) -> Plan[Landing]:
    """End a begun compute with what came of it."""
    try:
        landing = yield from _conclude(led, result)
    except GeneratorExit:
        raise
    except BaseException:
        yield from Land(led.flight, Again())
        raise
    yield from Land(led.flight, landing)
    return landing


def _conclude(led: Lead, result: Computed | Raised) -> Plan[Landing]:
    if led.granted is not None:
        return (yield from leading.conclude(led.ask, led.granted, result))
    match result:
        case Computed():
            return leading.unstored(result, led.covers)
        case Raised():
            return leading.unstored_failure(result, led.covers)


def abort(led: Lead, *, unshareable: bool = False) -> Plan[None]:
    """Give a begun compute up: somebody else may take it over, or, if unshareable, everybody goes their own way."""
    landing: Landing = Again()
    try:
        if unshareable:
            if led.granted is not None:
                yield from leading.pass_by(led.ask, led.granted)
            # Whoever computes after this landing began later than the lease: an older date is always a safe one.
            since = led.granted.lease if led.granted is not None else None
            landing = PassBy((yield from RollCall(led.ask.key)), since)
        elif led.granted is not None:
            yield from leading.let_go(led.ask.key, led.granted.token)
    except GeneratorExit:
        raise
    except BaseException:
        yield from Land(led.flight, Again())
        raise
    yield from Land(led.flight, landing)


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


def _end(led: Lead, result: Computed | Raised | Abandoned | None) -> Plan[Served | Failed | Again]:
    match result:
        case Computed() | Raised():
            landing = yield from finish(led, result)
            return Again() if isinstance(landing, PassBy) else landing
        case Abandoned(error):
            yield from abort(led)
            return Again(error)
        case None:
            yield from abort(led)
            return Again()


def _undo(begun: Served | Failed | Lead | PassBy | Again) -> Plan[None]:
    if isinstance(begun, Lead):
        yield from abort(begun)
