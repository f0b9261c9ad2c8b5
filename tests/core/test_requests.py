"""A compute that is no function is begun, and finished or aborted, under the same flight and lease."""

from __future__ import annotations

from cachefence_web.core import plans
from cachefence_web.core.effects import (
    Claim,
    Filed,
    Fill,
    Read,
    Release,
)
from cachefence_web.core.flight import (
    Again,
    Board,
    Captain,
    Decode,
    Land,
    Lead,
    Overdue,
    PassBy,
    RollCall,
    Served,
    Status,
)
from cachefence_web.errors import LeaseTimeout
from tests.core.transcripts import (
    ASK,
    AWAY,
    DONE,
    GRANTED,
    LATER,
    MISS,
    POLICY,
    ROLL,
    TOKEN,
    entry,
    granted,
    look,
    play,
)

CAPTAIN = (Board, Captain("flight"))


def begun() -> Lead:
    lead = play(plans.begin(ASK), MISS, CAPTAIN, TOKEN, ROLL, (Claim, granted()))
    assert isinstance(lead, Lead)
    return lead


def test_begin_hands_out_the_hit_or_the_lead() -> None:
    assert play(plans.begin(ASK), (Read("k"), look(entry())), (Decode, ("old",))).status is Status.HIT
    assert begun() == Lead(ASK, GRANTED, "flight")


def test_finish_stores_and_lands() -> None:
    landing = play(plans.finish(begun(), DONE), (RollCall("k"), 5), (Fill, Filed.ADMITTED),
                   (Land("flight", Served("new", ("a",), Status.STORED, 5, 60.0)), None))
    assert landing.status is Status.STORED


def test_abort_lands_and_lets_another_lead() -> None:
    play(plans.abort(begun()), (Release("k", "t"), None), (Land("flight", Again()), None))


def test_an_unshareable_answer_tells_everybody_to_go_their_own_way() -> None:
    play(plans.abort(begun(), unshareable=True), (Fill, Filed.ADMITTED), (RollCall("k"), 3),
         (Land("flight", PassBy(3, LATER)), None))


def test_one_leads_a_stale_value_and_the_others_are_served_it() -> None:
    old = (Read("k"), look(entry(-5.0, stale=10.0)))
    lead = play(plans.begin(ASK), old, (Decode, ("old",)), CAPTAIN, TOKEN, ROLL, (Claim, granted()))
    assert lead.stale.value == "old"
    served = play(plans.begin(ASK), old, (Decode, ("old",)), (Board(ASK, 0.0), Again()))
    assert served.status is Status.STALE


def test_p6_begin_without_a_store_is_a_lead_that_stores_nothing() -> None:
    lead = play(plans.begin(ASK), (Read("k"), AWAY), (Board(ASK, POLICY.wait, None, True), Captain("flight")),
                (RollCall("k"), 4))
    assert lead == Lead(ASK, None, "flight", covers=4)
    served = Served("new", ("a",), Status.UNSTORED, 4)
    assert play(plans.finish(lead, DONE), (Land("flight", served), None)) == served
    assert play(plans.abort(lead), (Land("flight", Again()), None)) is None


def test_p6_whoever_comes_to_an_outage_second_waits_for_the_first() -> None:
    served = Served("new", ("a",), Status.UNSTORED, 4)
    assert play(plans.begin(ASK), (Read("k"), AWAY), (Board(ASK, POLICY.wait, None, True), served)) is served


def test_p1_whoever_has_waited_twice_computes_nothing_of_his_own() -> None:
    nothing, gone = (Read("k"), look(None)), Overdue("flight", "other")
    ended = play(plans.begin(ASK), nothing, (Board(ASK, POLICY.wait), gone),
                 nothing, (Board(ASK, POLICY.wait, gone), gone))
    assert isinstance(ended.error, LeaseTimeout)


def test_p8_a_key_that_is_passed_by_is_still_served_stale() -> None:
    old = (Read("k"), look(entry(-5.0, stale=10.0)))
    assert play(plans.begin(ASK), old, (Decode, ("old",)), (Board(ASK, 0.0), PassBy(9))).status is Status.STALE


def test_a_plan_that_is_dropped_asks_for_nothing_more() -> None:
    plan = plans.finish(begun(), DONE)
    next(plan)
    plan.close()
