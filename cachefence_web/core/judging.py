"""Whether what a look found may be served, and as what: fresh, early, stale, last good, or not at all."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from cachefence_web.core.effects import Look, Plan, Settle
from cachefence_web.core.entry import ENDLESS, Entry
from cachefence_web.core.flight import Ask, Decode, Draw, Fitness, Served, Status
from cachefence_web.core.policy import Consistency, Policy
from cachefence_web.core.tags import Lease, Standing, Times, outdating, standing

_MICRO = 1_000_000
_MOST_SURPRISING = 37.0
"""-ln of the smallest U that Draw can give: an entry with more left than this times its cost is never early."""


class Found(Struct, frozen=True):
    """What a look amounts to: at most one of `fresh` and `stale` is there to be served.

    seen: the lease of the entry looked at, usable or not; None if there was none.
    early: fresh, but chosen for refresh.
    pending: a strict read that must compute for itself.
    renewal: microseconds for which a hit makes it fresh again; 0: not at all.
    outdated: the tags whose invalidation has made an end of it, as far as they can be told.
    """

    seen: Lease | None = None
    fresh: Served | None = None
    stale: Served | None = None
    last_good: Served | None = None
    early: bool = False
    pending: bool = False
    renewal: int = 0
    outdated: tuple[str, ...] = ()

    @property
    def best(self) -> Served | None:
        """The best there is, as old as it may be."""
        return self.fresh or self.stale or self.last_good


NOTHING = Found()


def appraise(look: Look, policy: Policy, *, early: bool = True) -> Plan[Found]:
    """What the entry of a look is good for; `early` is for those who can have it refreshed."""
    entry = look.entry
    if entry is None:
        return NOTHING
    times = look.times
    stands = standing(entry.lease, entry.tags, times, policy.consistency)
    if stands is Standing.UNSETTLED:
        stands, times = yield from judge(entry, times, policy.consistency)
    if stands is Standing.GONE:
        return Found(entry.lease, outdated=outdating(entry.lease, entry.tags, times))
    if stands is Standing.PENDING:
        return Found(entry.lease, pending=True)
    decoded = yield from Decode(entry)
    if decoded is None:
        return Found(entry.lease)
    fresh_until, stale_until, error_until = dates_of(entry, times, stands)
    now = times.now
    if now < fresh_until:
        left = fresh_until - now
        hit = _serve(entry, decoded[0], Status.HIT, now, fresh_until)
        if early and left <= entry.cost * policy.early * _MOST_SURPRISING:
            chance = yield from Draw()
            return Found(entry.lease, hit, early=refreshes_early(entry, left, policy.early, chance),
                         renewal=entry.renewal)
        return Found(entry.lease, hit, renewal=entry.renewal)
    old = _serve(entry, decoded[0], Status.STALE, now, fresh_until)
    return Found(
        entry.lease,
        stale=old if now < stale_until else None,
        last_good=old if now < error_until else None,
    )


def fitness_of(found: Found, ask: Ask) -> Fitness:
    """What the caller makes of it; where nothing was to be served, it is not to be served later either."""
    if ask.fitness is None:
        return Fitness.FITS
    return ask.fitness(found.best) if found.best is not None else Fitness.UNFIT


def suited(found: Found, ask: Ask) -> Found | Served:
    """The answer if one suffices; otherwise what may be served by the policy: nothing, where what there is is unfit."""
    match fitness_of(found, ask):
        case Fitness.SUFFICES if found.best is not None:
            return found.best
        case Fitness.UNFIT:
            return Found(found.seen, last_good=found.best, pending=found.pending, outdated=found.outdated)
        case _:
            return found


def unless_refused(found: Found, refused: Lease | None) -> Found:
    """What a look is good for to one who has refused an entry: it is not made fit by being found again."""
    return Found(found.seen) if refused is not None and found.seen == refused else found


def is_refused(landing: object, refused: Lease | None) -> bool:
    """Whether a flight brings the very entry that this caller has refused: its leader may have found it fit."""
    return refused is not None and isinstance(landing, Served) and landing.lease == refused


def judge(entry: Entry, times: Times, consistency: Consistency) -> Plan[tuple[Standing, Times]]:
    """How the entry stands, asking the store where only its own clock can tell."""
    stands = standing(entry.lease, entry.tags, times, consistency)
    if stands is Standing.UNSETTLED:
        times = yield from Settle(entry.tags)
        stands = standing(entry.lease, entry.tags, times, consistency)
    return stands, times


def dates_of(entry: Entry, times: Times, stands: Standing) -> tuple[int, int, int]:
    """The entry's three dates; one whose tag was expired is as old as if its freshness had ended then."""
    if stands is not Standing.EXPIRED:
        return entry.fresh_until, entry.stale_until, entry.error_until
    records = (times.records.get(tag) for tag in entry.tags)
    ended = min(record.expired for record in records if record is not None and record.expired >= entry.lease.instant)
    since = min(ended, entry.fresh_until)
    return since, since + entry.stale_until - entry.fresh_until, since + entry.error_until - entry.fresh_until


def refreshes_early(entry: Entry, left: int, beta: float, chance: float) -> bool:
    """XFetch: the nearer the end, and the dearer the compute, the likelier (Vattani et al., VLDB 2015)."""
    return -entry.cost * beta * math.log(chance) >= left


def _serve(entry: Entry, value: Any, status: Status, now: int, fresh_until: int) -> Served:
    left = fresh_until - now
    remaining = None if fresh_until >= ENDLESS else left / _MICRO if left > 0 else 0.0
    age = max(0, now - entry.lease.instant - entry.cost) / _MICRO
    return Served(value, entry.tags, status, 1, remaining, age, 0.0 if left > 0 else -left / _MICRO, entry.lease)
