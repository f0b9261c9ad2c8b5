"""Waiting for another's compute: how long, for whom, and that patience is spent on each holder alone."""

from __future__ import annotations

from typing import Any

from cachefence_web import LeaseTimeout, Policy
from cachefence_web.core import leading
from cachefence_web.core.effects import Claim, Claimed, Look, Read, Wait
from cachefence_web.core.flight import Ask, Failed, Granted, RollCall
from cachefence_web.core.tags import Instant, Lease, Times
from cachefence_web.runtime.flights import Flights

NOTHING = Look(None, Times(1, {}, Instant(1)))
ASK = Ask("book", Policy(wait=10))


class Approach:
    """A plan on its way to the lease, told what the store says."""

    def __init__(self, **terms: Any) -> None:
        self._plan = leading.approach(ASK, "mine", None, **terms)
        self.effect = self._plan.send(None)
        self.result: Any = None

    def hears(self, answer: object) -> Approach:
        """Go on to the next effect that matters."""
        try:
            self.effect = self._plan.send(answer)
            while isinstance(self.effect, RollCall):
                self.effect = self._plan.send(1)
        except StopIteration as done:
            self.result = done.value
        return self

    def claims(self, holder: str | None, *, takeover: str | None) -> Approach:
        """Its claim, made with this takeover, finds this holder."""
        assert isinstance(self.effect, Claim)
        assert self.effect.takeover == takeover
        lease = Lease(Instant(2), 1) if holder is None else None
        return self.hears(Claimed(lease, holder, NOTHING))

    def waits(self, holder: str, at_most: float, *, waited: float) -> Approach:
        """It waits for this holder, and so long."""
        assert isinstance(self.effect, Wait)
        assert (self.effect.holder, round(self.effect.timeout, 6)) == (holder, at_most)
        self.hears(waited)
        return self.hears(NOTHING) if isinstance(self.effect, Read) else self


def test_p4_patience_over_the_holder_s_lease_is_taken_over() -> None:
    approach = Approach().hears(1)
    approach.claims("hung", takeover=None).waits("hung", 10, waited=4).claims("hung", takeover=None)
    approach.waits("hung", 6, waited=6).claims(None, takeover="hung")
    assert isinstance(approach.result, Granted)


def test_p1_what_patience_is_left_for_one_holder_is_not_all_that_the_next_one_gets() -> None:
    """Somebody else took the hung one's lease over: to steal it after the half second that was left is a stampede."""
    approach = Approach().hears(1)
    approach.claims("hung", takeover=None).waits("hung", 10, waited=9.5).claims("elected", takeover=None)
    approach.waits("elected", 10, waited=10)
    assert isinstance(approach.result, Failed)
    assert isinstance(approach.result.error, LeaseTimeout)


def test_p1_whoever_loses_the_takeover_waits_for_the_winner_as_long_again() -> None:
    approach = Approach().hears(1)
    approach.claims("hung", takeover=None).waits("hung", 10, waited=10).claims("winner", takeover="hung")
    approach.waits("winner", 10, waited=10)
    assert isinstance(approach.result.error, LeaseTimeout)


def test_p1_a_caller_in_the_hung_one_s_process_takes_over_from_that_one_only() -> None:
    approach = Approach(takeover="hung").hears(1)
    approach.claims("elected elsewhere", takeover="hung").waits("elected elsewhere", 10, waited=3)
    approach.claims(None, takeover="hung")
    assert isinstance(approach.result, Granted)


def test_p1_a_flight_is_replaced_only_if_it_hangs_in_its_compute() -> None:
    flights = Flights()
    flight, launched = flights.board("book", 1)
    assert launched
    waiting_elsewhere = flight.overdue(patience=10.0)
    assert flights.board("book", 2, waiting_elsewhere)[0] is flight
    flight.computes("token")
    only_just_begun = flight.overdue(patience=10.0)
    assert flights.board("book", 3, only_just_begun)[0] is flight
    hung = flight.overdue(patience=0.0)
    assert hung.holder == "token"
    replacement, launched = flights.board("book", 4, hung)
    assert launched
    assert replacement is not flight
    assert flights.board("book", 5, hung)[0] is replacement, "once"
