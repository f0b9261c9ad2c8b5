"""A caller may judge what its look finds: as good as the policy says, enough as it is, or not for it at all."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cachefence_web.core import plans
from cachefence_web.core.effects import Claim, Claimed, Look, Plan, Read, Wait
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.flight import (
    Again,
    Ask,
    Board,
    Captain,
    Decode,
    Draw,
    Failed,
    Fitness,
    Land,
    Lead,
    PassBy,
    RollCall,
    Served,
    Status,
)
from cachefence_web.core.tags import Instant, Lease, TagRecord
from tests.core.transcripts import (
    ASK,
    AWAY,
    GRANTED,
    LATER,
    NOW,
    POLICY,
    ROLL,
    TOKEN,
    L,
    entry,
    granted,
    held,
    look,
    play,
)

FRESH = (Read("k"), look(entry()))
STALE = (Read("k"), look(entry(-5.0, stale=10.0)))
LAST = (Read("k"), look(entry(-5.0, error=10.0)))
OLD = (Decode, ("old",))
CAPTAIN = (Board, Captain("flight"))
NEWER = look(entry(lease=LATER, payload=b"newer"))


def judging(fitness: Fitness, **policy: Any) -> Ask:
    """A caller who finds everything so."""
    return Ask("k", POLICY.but(policy), fitness=lambda _: fitness)


REFUSING = judging(Fitness.UNFIT)


@pytest.mark.parametrize(("found", "status"), [
    pytest.param(FRESH, Status.HIT, id="fresh"),
    pytest.param(STALE, Status.STALE, id="stale"),
    pytest.param(LAST, Status.STALE, id="last good"),
])
def test_what_suffices_is_handed_out_at_once_however_old(found: tuple[object, Any], status: Status) -> None:
    served = play(plans.begin(judging(Fitness.SUFFICES)), found, OLD)
    assert (served.value, served.status, served.lease) == ("old", status, L)


def test_what_suffices_is_handed_out_even_if_it_was_chosen_for_an_early_refresh() -> None:
    dear = (Read("k"), look(entry(1.0, cost=50.0)))
    served = play(plans.begin(judging(Fitness.SUFFICES, early=100)), dear, OLD, (Draw(), 1e-9))
    assert served.status is Status.HIT


@pytest.mark.parametrize(("found", "turns", "stale"), [
    pytest.param(STALE, (CAPTAIN, TOKEN, ROLL, (Claim, granted())), True, id="stale"),
    pytest.param(LAST, (CAPTAIN, TOKEN, ROLL, (Claim, granted())), False, id="last good"),
])
def test_what_fits_is_led_as_the_policy_says(found: tuple[object, Any], turns: Any, stale: bool) -> None:
    lead = play(plans.begin(judging(Fitness.FITS)), found, OLD, *turns)
    assert (lead.stale is not None, lead.last_good.value) == (stale, "old")


def test_what_fits_and_is_fresh_is_a_hit() -> None:
    assert play(plans.begin(judging(Fitness.FITS)), FRESH, OLD).status is Status.HIT


@pytest.mark.parametrize("found", [
    pytest.param(FRESH, id="fresh"), pytest.param(STALE, id="stale"), pytest.param(LAST, id="last good"),
])
def test_what_is_unfit_is_led_as_if_it_were_missing_and_is_there_to_be_validated(found: tuple[object, Any]) -> None:
    claim = Claim("k", "t", POLICY.lease, L)
    lead = play(plans.begin(REFUSING), found, OLD, (Board(REFUSING, POLICY.wait), Captain("flight")),
                TOKEN, ROLL, (claim, granted(found[1].entry)))
    assert isinstance(lead, Lead)
    assert (lead.granted, lead.stale, lead.last_good.value) == (GRANTED, None, "old")


def test_what_is_unfit_is_not_handed_out_while_another_holds_the_lease() -> None:
    found = (Read("k"), look(entry()))
    served = play(plans.begin(REFUSING), FRESH, OLD, CAPTAIN, TOKEN, ROLL, (Claim, held(entry())), OLD,
                  (Wait("k", "other", POLICY.wait), 1.0), ROLL, found, OLD,
                  ROLL, (Claim("k", "t", POLICY.lease, L), held(entry())), OLD, (Wait, 1.0),
                  (RollCall("k"), 3), (Read("k"), NEWER), (Decode, ("newer",)),
                  (Land("flight", Served("newer", ("a",), Status.HIT, 3, 50.0, 0.0, 0.0, LATER)), None))
    assert served.value == "newer"


def test_what_is_unfit_and_left_by_the_holder_of_the_lease_is_led() -> None:
    lead = play(plans.begin(REFUSING), FRESH, OLD, CAPTAIN, TOKEN, ROLL, (Claim, held(entry())), OLD, (Wait, 1.0),
                ROLL, (Read("k"), look(entry())), OLD, ROLL, (Claim("k", "t", POLICY.lease, L), granted(entry())))
    assert lead.granted == GRANTED


def test_p8_what_is_unfit_does_not_stand_in_for_a_failure() -> None:
    failure = Entry(LATER, NEVER, NEVER, NEVER, 0, ("a",), b"ValueError: broken", Kind.FAILURE)
    gated = Claimed(None, None, look(entry(-5.0, error=10.0), failure=failure))
    ended = play(plans.begin(REFUSING), LAST, OLD, CAPTAIN, TOKEN, ROLL, (Claim, gated), OLD, (Land, None))
    assert isinstance(ended, Failed)


def old_news(lease: Lease | None = L) -> Served:
    return Served("old", ("a",), Status.HIT, 9, 50.0, lease=lease)


def test_what_is_unfit_is_not_taken_from_a_flight_whose_leader_found_it_fit() -> None:
    lead = play(plans.begin(REFUSING), FRESH, OLD, (Board, old_news()),
                FRESH, OLD, CAPTAIN, TOKEN, ROLL, (Claim, granted(entry())))
    assert lead.last_good.value == "old"


@pytest.mark.parametrize("lease", [None, LATER])
def test_what_a_flight_brings_otherwise_needs_no_judging(lease: Lease | None) -> None:
    landing = old_news(lease)
    assert play(plans.begin(REFUSING), FRESH, OLD, (Board, landing)) is landing


def test_what_was_stored_since_the_first_look_needs_no_judging() -> None:
    assert play(plans.begin(REFUSING), (Read("k"), look(None)), (Board, Again()),
                (Read("k"), NEWER), (Decode, ("newer",))).value == "newer"


def test_what_was_refused_stays_so_when_it_is_gone_from_the_store() -> None:
    assert isinstance(play(
        plans.begin(REFUSING), FRESH, OLD, (Board, Again()), (Read("k"), look(None)), (Board, old_news()),
        (Read("k"), look(None)), CAPTAIN, TOKEN, ROLL, (Claim, granted())), Lead)


def test_an_entry_that_could_not_be_served_at_first_is_not_served_later_without_judging() -> None:
    past = (Read("k"), look(entry(-5.0)))
    plan = plans.begin(REFUSING)
    touched = held(entry())
    assert play(plan, past, OLD, CAPTAIN, TOKEN, ROLL, (Claim, touched), OLD, (Wait, 1.0),
                ROLL, (Read("k"), NEWER), (Decode, ("newer",)), (Land, None)).value == "newer"


def test_p6_without_a_store_there_is_nothing_to_judge() -> None:
    lead = play(plans.begin(REFUSING), (Read("k"), AWAY), CAPTAIN, (RollCall("k"), 4))
    assert (lead.granted, lead.covers) == (None, 4)


def test_the_function_is_asked_about_each_entry_with_what_is_known_of_it() -> None:
    asked: list[Served] = []

    def fitness(found: Served) -> Fitness:
        asked.append(found)
        return Fitness.SUFFICES

    play(plans.begin(replace(ASK, fitness=fitness)), STALE, OLD)
    assert asked == [Served("old", ("a",), Status.STALE, 1, 0.0, 10.0, 5.0, L)]


@pytest.mark.parametrize(("found", "fitness", "value"), [
    pytest.param(FRESH, Fitness.FITS, "old", id="fresh, fits"),
    pytest.param(STALE, Fitness.FITS, None, id="stale, fits"),
    pytest.param(FRESH, Fitness.SUFFICES, "old", id="fresh, suffices"),
    pytest.param(STALE, Fitness.SUFFICES, "old", id="stale, suffices"),
    pytest.param(LAST, Fitness.SUFFICES, "old", id="last good, suffices"),
    pytest.param(FRESH, Fitness.UNFIT, None, id="fresh, unfit"),
    pytest.param(LAST, Fitness.UNFIT, None, id="last good, unfit"),
])
def test_a_look_without_a_compute_is_judged_alike(
    found: tuple[object, Any], fitness: Fitness, value: str | None
) -> None:
    served = play(plans.get(judging(fitness)), found, OLD)
    assert (served.value if served is not None else None) == value


def pending(found: Entry | None) -> Look:
    return look(found, TagRecord(Instant(1), pending=1, soonest=Instant(NOW + 10**9)))


def test_p3_a_strict_request_that_learns_of_a_fence_with_its_claim_leads_and_stores_nothing() -> None:
    ask = Ask("k", POLICY.but({"consistency": "strict"}))
    plan: Plan[Any] = plans.begin(ask)
    lead = play(plan, (Read("k"), look(None)), CAPTAIN, TOKEN, ROLL,
                (Claim, Claimed(None, None, pending(entry()))), (RollCall("k"), 4))
    assert lead == Lead(ask, None, "flight", covers=4)


def test_p2_the_date_of_a_passed_by_key_is_that_of_its_record() -> None:
    """A look's `now` runs ahead of the store's clock: what is invalidated right after it could be dated before it."""
    mark = Entry(L, NEVER, NEVER, NEVER, 0, ("a",), b"", Kind.PASS)
    begun = play(plans.begin(ASK), (Read("k"), look(None)), CAPTAIN, TOKEN, ROLL,
                 (Claim, Claimed(None, None, look(None, failure=mark))), (Land("flight", PassBy(2, L)), None))
    assert begun == PassBy(2, L)


def test_p6_a_lead_without_a_lease_that_is_passed_by_has_no_date() -> None:
    lead = Lead(ASK, None, "flight", covers=4)
    play(plans.abort(lead, unshareable=True), (RollCall("k"), 3), (Land("flight", PassBy(3)), None))
