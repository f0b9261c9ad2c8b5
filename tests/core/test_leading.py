"""How a leader gets the value for everybody aboard, and for whom it is true."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from cachefence_web.core import leading, writing
from cachefence_web.core.effects import (
    Claim,
    Claimed,
    Filed,
    Fill,
    Read,
    Release,
    Wait,
)
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.flight import (
    Abandoned,
    Again,
    Ask,
    Compute,
    Computed,
    Decode,
    Draw,
    Failed,
    PassBy,
    Raised,
    RollCall,
    Served,
    Status,
)
from cachefence_web.core.tags import Instant, Lease, TagRecord
from cachefence_web.errors import ComputeFailed, LeaseTimeout
from tests.core.transcripts import (
    ASK,
    AWAY,
    DONE,
    GRANTED,
    LATER,
    NOW,
    POLICY,
    ROLL,
    SECOND,
    TOKEN,
    L,
    entry,
    granted,
    held,
    look,
    play,
)

NOTHING_YET = (ROLL, (Read("k"), look(None)))

def test_a_leader_dates_its_compute_before_it_begins_and_fills_under_that_date() -> None:
    until = Instant(NOW + 60 * SECOND)
    stored = Entry(LATER, until, until, until, 0, ("a",), b"new")
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim("k", "t", POLICY.lease), granted()),
                   (Compute(ASK, GRANTED), DONE), (RollCall("k"), 5), (Fill("k", "t", stored, 60.0), Filed.ADMITTED))
    assert landing == Served("new", ("a",), Status.STORED, covers=5, remaining=60.0)


def test_p6_a_fill_that_may_not_have_arrived_leaves_nobody_waiting_for_the_leases_end() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, granted()), (Compute, DONE), (RollCall("k"), 5),
                   (Fill, AWAY), (Release("k", "t"), None))
    assert landing == Served("new", ("a",), Status.UNSTORED, covers=2)


@pytest.mark.parametrize("filed", [Filed.INVALIDATED, Filed.REVOKED])
def test_p2_a_refused_fill_is_the_answer_of_those_only_who_came_before_the_lease(filed: Any) -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, granted()), (Compute, DONE), (RollCall("k"), 5),
                   (Fill, filed))
    assert landing == Served("new", ("a",), Status.UNSTORED, covers=2)


def test_p3_a_strict_answer_is_theirs_only_who_came_before_the_lease() -> None:
    ask = Ask("k", POLICY.but({"consistency": "strict"}))
    landing = play(leading.lead(ask, None), TOKEN, ROLL, (Claim, granted()), (Compute, DONE), (RollCall("k"), 5),
                   (Fill, Filed.ADMITTED))
    assert (landing.status, landing.covers) == (Status.STORED, 2)


def test_p1_a_value_that_appeared_meanwhile_is_not_computed_again() -> None:
    landing = play(
        leading.lead(ASK, None), TOKEN, ROLL, (Claim, Claimed(None, None, look(entry()))), (Decode, ("old",)))
    assert (landing.value, landing.status, landing.covers) == ("old", Status.HIT, 2)


def test_p1_who_finds_the_lease_held_waits_and_looks_again() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, held()), (Wait("k", "other", POLICY.wait), 1.0),
                   (RollCall("k"), 3), (Read("k"), look(entry())), (Decode, ("old",)))
    assert landing.covers == 3


def test_p1_who_finds_nothing_after_the_wait_claims_again() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, held()), (Wait("k", "other", POLICY.wait), 1.0),
                   *NOTHING_YET, (RollCall("k"), 3), (Claim, Claimed(None, None, look(entry()))), (Decode, ("old",)))
    assert landing.covers == 3


def test_p1_one_who_has_waited_long_enough_takes_the_lease_over() -> None:
    play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, held()), (Wait("k", "other", 30.0), 30.0), *NOTHING_YET, ROLL,
         (Claim("k", "t", POLICY.lease, takeover="other"), granted()), (Compute, DONE), ROLL, (Fill, Filed.ADMITTED))


def test_who_takes_over_in_vain_gives_up_after_as_long_again() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, held()), (Wait, 30.0), *NOTHING_YET,
                   ROLL, (Claim, held()), (Wait("k", "other", 30.0), 30.0), *NOTHING_YET)
    assert isinstance(landing.error, LeaseTimeout)


def test_p8_a_failure_is_dated_stored_for_a_back_off_and_everybodys() -> None:
    error = ValueError("broken")
    record = Entry(LATER, NEVER, NEVER, NEVER, 0, ("a",), b"ValueError: broken", Kind.FAILURE)
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, granted()), (Compute, Raised(error, ("a",))),
                   (Draw(), 0.5), (RollCall("k"), 5), (Fill("k", "t", record, 0.75), Filed.ADMITTED))
    assert landing == Failed(error, ("a",), 5, LATER)


def test_p8_a_failure_serves_the_last_good_value() -> None:
    ask = Ask("k", POLICY.but({"stale_if_error": 100}))
    landing = play(leading.lead(ask, L), TOKEN, ROLL, (Claim, granted(entry(-5.0, error=100.0))),
                   (Compute, Raised(ValueError("broken"), ())), (Draw(), 1.0), ROLL, (Fill, Filed.ADMITTED),
                   (RollCall("k"), 9), (Read("k"), look(entry(-5.0, error=100.0))), (Decode, ("old",)))
    assert (landing.value, landing.status, landing.covers) == ("old", Status.STALE, 9)


def failure(kind: Kind = Kind.FAILURE, lease: Lease = LATER) -> Entry:
    return Entry(lease, NEVER, NEVER, NEVER, 0, ("a",), b"ValueError: broken", kind)


def test_p8_a_back_off_of_another_process_is_a_failure_here() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, Claimed(None, None, look(None, failure=failure()))))
    assert isinstance(landing.error, ComputeFailed)
    assert "ValueError: broken" in str(landing.error)
    assert landing.lease == LATER


def test_p8_a_back_off_serves_the_last_good_value() -> None:
    ask = Ask("k", POLICY.but({"stale_if_error": 100}))
    found = look(entry(-5.0, error=100.0), failure=failure())
    landing = play(leading.lead(ask, L), TOKEN, ROLL, (Claim, Claimed(None, None, found)), (Decode, ("old",)))
    assert landing.status is Status.STALE


def test_p2_an_invalidated_failure_gates_nothing() -> None:
    gone = look(None, TagRecord(Instant(NOW)), failure=failure())
    play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, Claimed(None, None, gone)), ROLL,
         (Claim("k", "t", POLICY.lease, spent=LATER), granted()), (Compute, DONE), ROLL, (Fill, Filed.ADMITTED))


def test_a_pass_record_sends_everybody_their_own_way() -> None:
    found = look(None, failure=failure(Kind.PASS))
    assert play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, Claimed(None, None, found))) == PassBy(2, LATER)


def test_a_value_that_cannot_be_stored_is_handed_out_and_marked_to_be_passed_by() -> None:
    mark = Entry(LATER, NEVER, NEVER, NEVER, 0, ("a",), b"", Kind.PASS)
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, granted()), (Compute, replace(DONE, payload=None)),
                   (RollCall("k"), 5), (Fill("k", "t", mark, leading.PASS_FOR), Filed.ADMITTED))
    assert landing == Served("new", ("a",), Status.UNSTORED, covers=5)


def test_what_used_something_stale_is_not_stored() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, granted()), (Compute, replace(DONE, storable=False)),
                   (Release("k", "t"), None))
    assert landing.status is Status.UNSTORED


def test_p7_an_abandoned_compute_frees_the_lease_for_another() -> None:
    error = KeyboardInterrupt()
    assert play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, granted()), (Compute, Abandoned(error)),
                (Release("k", "t"), AWAY)) == Again(error)


def test_p7_a_leader_cancelled_while_it_waits_lets_go() -> None:
    plan = leading.lead(ASK, None)
    with pytest.raises(KeyboardInterrupt):
        play(plan, TOKEN, ROLL, (Claim, held()), (Wait, KeyboardInterrupt()), (Release("k", "t"), None))


def test_p6_a_claim_without_answer_is_computed_for_those_aboard() -> None:
    landing = play(leading.lead(ASK, None), TOKEN, ROLL, (Claim, AWAY), (RollCall("k"), 4), (Compute(ASK, None), DONE))
    assert landing == Served("new", ("a",), Status.UNSTORED, covers=4)


def test_a_refresh_never_waits() -> None:
    assert play(leading.refresh(ASK, L), TOKEN, ROLL, (Claim("k", "t", POLICY.lease, L), held())) == Again()


@pytest.mark.parametrize(("options", "value", "chance", "life"), [
    ({}, "v", 1.0, 60.0),
    ({"jitter": 0.5}, "v", 1.0, 30.0),
    ({"jitter": 0.5}, "v", 0.5, 45.0),
    ({"negative_ttl": 5}, None, 1.0, 5.0),
    ({"negative_ttl": 5}, "v", 1.0, 60.0),
    ({"stale_for": 10, "stale_if_error": 20}, "v", 1.0, 80.0),
    ({"ttl": None}, "v", 1.0, None),
    ({"ttl": 0.001, "jitter": 1.0}, "v", 1.0, 0.001),
])
def test_how_long_an_entry_is_kept(options: dict[str, Any], value: Any, chance: float, life: float | None) -> None:
    made, kept = writing.entry_of(POLICY.but(options), Computed(value, b"", (), elapsed=2.0), L, Instant(NOW), chance)
    assert kept == (pytest.approx(life) if life is not None else None)
    assert made.cost == 2 * SECOND
    assert made.fresh_until <= made.stale_until
    assert made.fresh_until <= made.error_until
