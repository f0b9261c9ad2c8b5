"""What a caller does with what it finds: hits, stale values, early refreshes, patience."""

from __future__ import annotations

from typing import Any

import pytest

from cachefence_web.core import plans
from cachefence_web.core.effects import (
    Amend,
    Plan,
    Read,
    Settle,
)
from cachefence_web.core.flight import (
    Again,
    Ask,
    Decode,
    Draw,
    Failed,
    Fly,
    Overdue,
    PassBy,
    Refresh,
    Served,
    Status,
)
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Instant, TagRecord, Times
from cachefence_web.errors import LeaseTimeout
from tests.core.transcripts import (
    ASK,
    AWAY,
    MISS,
    NOW,
    POLICY,
    SECOND,
    L,
    entry,
    look,
    play,
)


def test_a_hit_asks_for_nothing_but_the_read() -> None:
    served = play(plans.get_or_set(ASK), (Read("k"), look(entry())), (Decode, ("old",)))
    assert (served.value, served.status, served.remaining, served.age) == ("old", Status.HIT, 50.0, 10.0)


def test_a_value_without_end_has_no_remaining_time() -> None:
    served = play(plans.get_or_set(ASK), (Read("k"), look(entry(None))), (Decode, ("old",)))
    assert served.remaining is None


def test_none_is_a_value() -> None:
    served = play(plans.get_or_set(ASK), (Read("k"), look(entry())), (Decode, (None,)))
    assert served.value is None


def test_p12_a_payload_that_is_no_value_is_a_miss() -> None:
    landing = Served("new", (), Status.STORED)
    assert play(plans.get_or_set(ASK), (Read("k"), look(entry())), (Decode, None),
                (Fly(ASK, L, POLICY.wait), landing)) is landing


@pytest.mark.parametrize("record", [None, TagRecord(L.instant)])
def test_p2_what_is_invalidated_is_not_even_decoded(record: TagRecord | None) -> None:
    landing = Served("new", (), Status.STORED)
    assert play(plans.get_or_set(ASK), (Read("k"), look(entry(stale=99.0), record)),
                (Fly(ASK, L, POLICY.wait), landing)) is landing


def test_p4_a_deadline_that_may_have_passed_is_asked_about() -> None:
    fenced = TagRecord(Instant(1), pending=1, soonest=Instant(NOW - 1), latest=Instant(NOW - 1))
    settled = Times(7, {"a": TagRecord(Instant(NOW - 1))}, Instant(NOW), settled=True)
    landing = Served("new", (), Status.STORED)
    assert play(plans.get_or_set(ASK), (Read("k"), look(entry(), fenced)), (Settle(("a",)), settled),
                (Fly, landing)) is landing


def test_p3_a_strict_read_computes_for_itself_while_a_commit_is_pending() -> None:
    fenced = TagRecord(Instant(1), pending=1, soonest=Instant(NOW + 9), latest=Instant(NOW + 9))
    ask = Ask("k", POLICY.but({"consistency": Consistency.STRICT}))
    landing = Served("new", (), Status.UNSTORED)
    assert play(plans.get_or_set(ask), (Read("k"), look(entry(), fenced)),
                (Fly(ask, L, POLICY.wait, alone=True), landing)) is landing


def test_a_stale_value_is_served_while_one_refresh_runs() -> None:
    served = play(plans.get_or_set(ASK), (Read("k"), look(entry(-5.0, stale=10.0))), (Decode, ("old",)),
                  (Refresh(ASK, L), None))
    assert (served.value, served.status, served.remaining) == ("old", Status.STALE, 0.0)


def test_an_expired_tag_makes_stale_as_of_then() -> None:
    record = TagRecord(Instant(1), expired=Instant(NOW - 5 * SECOND))
    served = play(plans.get_or_set(ASK), (Read("k"), look(entry(50.0, stale=10.0), record)), (Decode, ("old",)),
                  (Refresh(ASK, L), None))
    assert served.status is Status.STALE


def test_an_expired_tag_past_what_may_be_served_stale_is_a_miss() -> None:
    record = TagRecord(Instant(1), expired=Instant(NOW - 5 * SECOND))
    landing = Served("new", (), Status.STORED)
    assert play(plans.get_or_set(ASK), (Read("k"), look(entry(50.0, stale=4.0), record)), (Decode, ("old",)),
                (Fly, landing)) is landing


def test_a_soft_timeout_waits_a_little_and_then_serves_stale() -> None:
    ask = Ask("k", POLICY.but({"soft_timeout": 0.2}))
    served = play(plans.get_or_set(ask), (Read("k"), look(entry(-5.0, stale=10.0))), (Decode, ("old",)),
                  (Fly(ask, L, 0.2, detach=True), Overdue("flight", "other")))
    assert served.status is Status.STALE


def test_p8_a_failure_behind_a_stale_value_is_not_the_callers() -> None:
    ask = Ask("k", POLICY.but({"soft_timeout": 0.2}))
    served = play(plans.get_or_set(ask), (Read("k"), look(entry(-5.0, stale=10.0))), (Decode, ("old",)),
                  (Fly, Failed(ValueError("broken"))))
    assert served.value == "old"


def early(chance: float) -> tuple[Plan[Any], list[tuple[object, Any]]]:
    ask = Ask("k", POLICY.but({"early": 1.0}))
    return plans.get_or_set(ask), [(Read("k"), look(entry(2.0, cost=1.0))), (Decode, ("old",)), (Draw(), chance)]


def test_early_refresh_is_drawn_by_xfetch() -> None:
    plan, turns = early(0.1)      # -1 s * ln(0.1) = 2.3 s >= 2 s
    assert play(plan, *turns, (Refresh, None)).status is Status.HIT
    plan, turns = early(0.2)      # 1.6 s
    assert play(plan, *turns).status is Status.HIT


def test_a_value_far_from_its_end_does_not_even_draw() -> None:
    ask = Ask("k", POLICY.but({"early": 1.0}))
    served = play(plans.get_or_set(ask), (Read("k"), look(entry(50.0, cost=0.1))), (Decode, ("old",)))
    assert served.status is Status.HIT


def test_sliding_renews_once_a_tenth_of_the_life_is_over() -> None:
    ask = Ask("k", POLICY.but({"sliding": True}))
    until, stale = Instant(NOW + 20 * SECOND), Instant(NOW + 50 * SECOND)
    found = [(Read("k"), look(entry(17.0, stale=30.0, renewal=20.0))), (Decode, ("old",))]
    for plan in (plans.get_or_set(ask), plans.get(ask)):
        play(plan, *found, *found, (Amend("k", L, until, stale, until, 50.0, 20 * SECOND), True))
    play(plans.get_or_set(ask), (Read("k"), look(entry(19.0, renewal=20.0))), (Decode, ("old",)))


@pytest.mark.parametrize("ends", [5.0, None])
def test_a_hit_renews_nothing_but_a_life_that_is_known_and_ends(ends: float | None) -> None:
    ask = Ask("k", POLICY.but({"sliding": True}))
    play(plans.get(ask), (Read("k"), look(entry(ends))), (Decode, ("old",)))
    play(plans.get(ask), (Read("k"), look(entry(None, renewal=20.0))), (Decode, ("old",)))
    play(plans.get(Ask("k", POLICY)), (Read("k"), look(entry(5.0, renewal=20.0))), (Decode, ("old",)))


def test_p6_a_store_that_is_away_is_gone_around_by_one_flight() -> None:
    landing = Served("new", (), Status.UNSTORED)
    assert play(plans.get_or_set(ASK), (Read("k"), AWAY), (Fly(ASK, None, POLICY.wait, alone=True), landing)) is landing


def test_a_caller_whom_a_landing_does_not_cover_looks_again() -> None:
    served = play(plans.get_or_set(ASK), MISS, (Fly, Again()), (Read("k"), look(entry())), (Decode, ("old",)))
    assert served.status is Status.HIT


def test_a_key_whose_answers_cannot_be_shared_is_passed_by() -> None:
    landing = Served("mine", (), Status.UNSTORED)
    assert play(plans.get_or_set(ASK), MISS, (Fly, PassBy()),
                (Fly(ASK, None, POLICY.wait, alone=True), landing)) is landing


def test_patience_ends_with_a_flight_of_ones_own_and_then_with_an_error() -> None:
    overdue = Overdue("flight", "other")
    failed = play(plans.get_or_set(ASK), MISS, (Fly, overdue), MISS,
                  (Fly(ASK, None, POLICY.wait, overdue=overdue), overdue))
    assert isinstance(failed.error, LeaseTimeout)


def test_get_computes_nothing_and_serves_nothing_stale() -> None:
    assert play(plans.get(ASK), MISS) is None
    assert play(plans.get(ASK), (Read("k"), look(entry(-5.0, stale=10.0))), (Decode, ("old",))) is None
