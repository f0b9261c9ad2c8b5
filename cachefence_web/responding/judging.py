"""Whether what is stored satisfies one request (RFC 9111 section 4); pure, for the cache asks in mid-decision."""

from __future__ import annotations

import math

from cachefence_web.core.flight import Fitness, Served, Status
from cachefence_web.http import Allowed, Request, Stored, Wishes, matches, unpack


class Judgement:
    """One request's judgement on stored responses; what was unpacked is remembered."""

    def __init__(self, request: Request, asked: Allowed) -> None:
        self._request = request
        self._asked = asked
        self._unpacked: tuple[object, Stored | None] = (None, None)

    def __call__(self, served: Served) -> Fitness:
        """Another variant SUFFICES: it tells where to look for the one that is wanted."""
        stored = self.stored(served)
        if stored is None:
            return Fitness.UNFIT
        if stored.selecting and not self.matches(stored):
            return Fitness.SUFFICES
        if self._asked.authorized and not stored.authorized:
            return Fitness.UNFIT
        if self._asked.wishes is None:
            return Fitness.UNFIT if _never_fresh(stored, served) else Fitness.FITS
        return _judged(self._asked.wishes, stored, served)

    def stored(self, served: Served) -> Stored | None:
        """The response; None for bytes that are none."""
        if self._unpacked[0] is not served.value:
            value = served.value
            self._unpacked = (value, unpack(value) if isinstance(value, bytes) else None)
        return self._unpacked[1]

    def matches(self, stored: Stored) -> bool:
        """Whether it is the variant that the request selects (RFC 9111 section 4.1)."""
        return matches(stored.selecting, self._request)

    @staticmethod
    def never_fresh(stored: Stored) -> bool:
        """Whether nobody but who had it made may have it unvalidated: `no-cache`, or stale when it came."""
        return stored.overdue is not None and not stored.bridges

    def fitting(self, served: Served) -> Stored | None:
        """The response, if it is the right variant."""
        stored = self.stored(served)
        return stored if stored is not None and self.matches(stored) else None


def _judged(wishes: Wishes, stored: Stored, served: Served) -> Fitness:
    age = stored.initial_age + served.age
    if wishes.no_cache:
        return Fitness.UNFIT
    if served.status is Status.STALE or stored.overdue is not None:
        late = served.late + (stored.overdue or 0.0)
        if wishes.max_stale > 0 and late <= wishes.max_stale and age <= wishes.max_age and not stored.strict:
            return Fitness.SUFFICES
        # Who says how fresh it is to be, wants nothing stale even where the response would permit it.
        demanding = wishes.max_stale > 0 or wishes.min_fresh > 0 or not math.isinf(wishes.max_age)
        return Fitness.UNFIT if demanding or _never_fresh(stored, served) else Fitness.FITS
    left = served.remaining
    enough = left is None or left >= wishes.min_fresh
    return Fitness.FITS if enough and age <= wishes.max_age else Fitness.UNFIT


def _never_fresh(stored: Stored, served: Served) -> bool:
    # The store knows no life that is over from the start: within the shortest there is, it calls it a hit.
    return Judgement.never_fresh(stored) and served.status is Status.HIT
