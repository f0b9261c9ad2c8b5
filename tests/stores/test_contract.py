"""The laws of every atomic step in `core/effects.py`, held against every store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Claim,
    Clear,
    Delete,
    Expire,
    Fence,
    Filed,
    Fill,
    Glance,
    Invalidate,
    Keep,
    Lift,
    Outcome,
    Put,
    Read,
    Release,
    Renew,
    Settle,
    StoreEffect,
    Swap,
    Sweep,
    Swept,
    TakeInstant,
    Unswept,
    Wait,
)
from cachefence_web.core.entry import NEVER, Kind
from cachefence_web.core.tags import Instant, Lease
from cachefence_web.errors import StoreUnavailable
from tests.stores.build import entry_of, fill, granted, servable, some_key

MINUTE = 60.0


def test_the_first_fill_is_admitted_and_read_back_as_it_was(store: Any) -> None:
    lease = granted(store, "k")
    entry = replace(entry_of(lease, "a", "b:1", payload=b"\x00\xff{}", kind=Kind.RAW), cost=7, fresh_until=Instant(5))
    assert store.perform(Fill("k", "t", entry, MINUTE)) is Filed.ADMITTED
    look = store.perform(Read("k"))
    assert look.entry == entry
    assert servable(look)


def test_a_key_that_nobody_filled_is_a_miss(store: Any) -> None:
    assert store.perform(Read("k")).entry is None


def test_keys_that_look_alike_in_redis_are_different_keys(store: Any) -> None:
    keys = ["a{b", "a%7Bb", "a%257Bb", "a}b", "a:b", "a}:b{", "é", " ", "a\nb"]
    for number, key in enumerate(keys):
        fill(store, key, payload=b"%d" % number)
    found = [store.perform(Read(key)).entry.payload for key in keys]
    assert found == [b"%d" % number for number in range(len(keys))]


def test_instants_increase_and_no_look_is_dated_before_them(store: Any) -> None:
    instants = [store.perform(TakeInstant()).instant for _ in range(50)]
    instants.append(store.perform(Invalidate(("a",))))
    instants.append(granted(store, "k").instant)
    assert instants == sorted(set(instants))
    assert store.perform(Read("k")).times.now >= instants[-1]


# Claims.


def test_p1_a_lease_is_one_token_s_and_names_its_holder(store: Any) -> None:
    granted(store, "k", "first")
    refused = store.perform(Claim("k", "second", MINUTE))
    assert (refused.lease, refused.holder) == (None, "first")


def test_a_claim_that_is_repeated_is_granted_with_a_later_instant(store: Any) -> None:
    first = granted(store, "k")
    assert granted(store, "k").instant > first.instant


def test_p4_a_lease_is_taken_over_only_from_the_holder_that_was_named(store: Any) -> None:
    granted(store, "k", "first")
    assert store.perform(Claim("k", "second", MINUTE, takeover="another")).holder == "first"
    assert store.perform(Claim("k", "second", MINUTE, takeover="first")).lease is not None
    assert store.perform(Claim("k", "third", MINUTE, takeover="first")).holder == "second"


def test_p4_a_lease_ends_by_itself(store: Any) -> None:
    granted(store, "k", "first", life=0.01)
    assert store.perform(Wait("k", "first", MINUTE)) < MINUTE
    assert granted(store, "k", "second")


def test_p1_a_claim_looks_a_second_time(store: Any) -> None:
    fill(store, "k", "a", payload=b"new")
    claimed = store.perform(Claim("k", "late", MINUTE, seen=None))
    assert (claimed.lease, claimed.holder) == (None, None)
    assert claimed.look.entry.payload == b"new"
    assert servable(claimed.look)


def test_a_claim_after_the_entry_that_was_judged_is_granted(store: Any) -> None:
    fill(store, "k", "a")
    seen = store.perform(Read("k")).entry.lease
    assert store.perform(Claim("k", "u", MINUTE, Lease(Instant(seen.instant - 1), seen.epoch))).lease is None
    assert store.perform(Claim("k", "u", MINUTE, seen)).lease.instant > seen.instant


def test_a_claim_s_look_has_the_records_of_entry_and_error(store: Any) -> None:
    fill(store, "k", "a")
    lease = granted(store, "k")
    assert store.perform(Fill("k", "t", entry_of(lease, "e", kind=Kind.FAILURE), MINUTE)) is Filed.ADMITTED
    look = store.perform(Claim("k", "u", MINUTE)).look
    assert set(look.times.records) >= {"a", "e"}
    assert None not in (look.times.records["a"], look.times.records["e"])


# Errors.


def test_p8_a_failure_gates_the_next_claim_and_leaves_the_entry_alone(store: Any) -> None:
    fill(store, "k", "a", payload=b"good")
    seen = store.perform(Read("k")).entry.lease
    lease = granted(store, "k")
    failure = entry_of(lease, "a", payload=b"ValueError", kind=Kind.FAILURE)
    assert store.perform(Fill("k", "t", failure, MINUTE)) is Filed.ADMITTED
    gated = store.perform(Claim("k", "u", MINUTE, seen))
    assert (gated.lease, gated.holder, gated.look.failure) == (None, None, failure)
    assert store.perform(Read("k")).entry.payload == b"good"
    assert store.perform(Claim("k", "u", MINUTE, seen, spent=lease)).lease is not None


def test_p8_a_value_ends_the_failure(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Fill("k", "t", entry_of(lease, kind=Kind.PASS), MINUTE))
    again = store.perform(Claim("k", "t", MINUTE, spent=lease)).lease
    store.perform(Fill("k", "t", entry_of(again), MINUTE))
    assert store.perform(Claim("k", "u", MINUTE, again)).look.failure is None


def test_p2_a_failure_is_refused_like_a_value(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Invalidate(("a",)))
    assert store.perform(Fill("k", "t", entry_of(lease, "a", kind=Kind.FAILURE), MINUTE)) is Filed.INVALIDATED
    assert granted(store, "k", "u")


# Fills.


def test_p2_a_fill_begun_before_an_invalidation_is_refused(store: Any) -> None:
    fill(store, "other", "a")
    lease = granted(store, "k")
    store.perform(Invalidate(("a",)))
    assert store.perform(Fill("k", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED
    assert store.perform(Read("k")).entry is None


def test_p2_a_tag_that_had_no_record_is_remembered(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Invalidate(("never seen",)))
    assert store.perform(Fill("k", "t", entry_of(lease, "never seen"), MINUTE)) is Filed.INVALIDATED


def test_p2_what_was_filled_is_gone_once_a_tag_of_it_is_invalidated(store: Any) -> None:
    fill(store, "k", "a", "b")
    fill(store, "other", "c")
    store.perform(Invalidate(("b",)))
    assert not servable(store.perform(Read("k")))
    assert servable(store.perform(Read("other")))
    assert fill(store, "k", "a", "b") is Filed.ADMITTED
    assert servable(store.perform(Read("k")))


def test_a_refused_fill_ends_the_lease(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Invalidate(("a",)))
    store.perform(Fill("k", "t", entry_of(lease, "a"), MINUTE))
    assert granted(store, "k", "u")


def test_a_fill_ends_the_lease(store: Any) -> None:
    fill(store, "k")
    assert granted(store, "k", "u")


@pytest.mark.parametrize("how", ["delete", "put", "takeover"])
def test_p2_a_fill_whose_lease_was_revoked_is_refused(store: Any, how: str) -> None:
    lease = granted(store, "k")
    match how:
        case "delete":
            store.perform(Delete("k"))
        case "put":
            store.perform(Put("k", entry_of(store.perform(TakeInstant()), payload=b"put"), MINUTE, ANY))
        case _:
            granted_to_another = store.perform(Claim("k", "u", MINUTE, takeover="t"))
            assert granted_to_another.lease
    assert store.perform(Fill("k", "t", entry_of(lease, payload=b"old"), MINUTE)) is Filed.REVOKED
    entry = store.perform(Read("k")).entry
    assert entry is None or entry.payload == b"put"
    if how == "takeover":
        assert store.perform(Renew("k", "u", MINUTE))


def test_p2_a_fill_of_an_ended_epoch_is_refused(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Clear())
    assert store.perform(Fill("k", "t", entry_of(lease), MINUTE)) is Filed.INVALIDATED


def test_an_entry_ends_with_its_life(store: Any) -> None:
    fill(store, "k", life=0.005)
    watched = granted(store, "clock", life=0.02)
    store.perform(Wait("clock", "t", MINUTE))
    assert watched
    assert store.perform(Read("k")).entry is None


# Leases.


def test_a_lease_is_renewed_and_released_only_by_its_token(store: Any) -> None:
    granted(store, "k")
    assert not store.perform(Renew("k", "u", MINUTE))
    store.perform(Release("k", "u"))
    assert store.perform(Renew("k", "t", MINUTE))
    store.perform(Release("k", "t"))
    assert not store.perform(Renew("k", "t", MINUTE))
    assert granted(store, "k", "u")


# Puts and deletes.


def test_a_put_stores_whoever_computes(store: Any) -> None:
    granted(store, "k")
    lease = store.perform(TakeInstant())
    assert store.perform(Put("k", entry_of(lease, "a"), None, ANY)) is Filed.ADMITTED
    assert servable(store.perform(Read("k")))
    assert not store.perform(Renew("k", "t", MINUTE))


def test_p2_a_put_dated_before_an_invalidation_removes_what_is_there(store: Any) -> None:
    fill(store, "k")
    lease = store.perform(TakeInstant())
    store.perform(Invalidate(("a",)))
    assert store.perform(Put("k", entry_of(lease, "a"), MINUTE, ANY)) is Filed.INVALIDATED
    assert store.perform(Read("k")).entry is None


def test_a_put_may_ask_for_the_entry_that_it_expects(store: Any) -> None:
    first, second, third = (entry_of(store.perform(TakeInstant()), payload=b"%d" % number) for number in range(3))
    assert store.perform(Put("k", first, MINUTE, second.lease)) is Filed.CONFLICT
    assert store.perform(Put("k", first, MINUTE, None)) is Filed.ADMITTED
    assert store.perform(Put("k", second, MINUTE, None)) is Filed.CONFLICT
    assert store.perform(Put("k", second, MINUTE, third.lease)) is Filed.CONFLICT
    assert store.perform(Put("k", second, MINUTE, first.lease)) is Filed.ADMITTED
    assert store.perform(Read("k")).entry == second


def test_a_put_ends_a_failure(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Fill("k", "t", entry_of(lease, kind=Kind.FAILURE), MINUTE))
    put = entry_of(store.perform(TakeInstant()))
    store.perform(Put("k", put, MINUTE, ANY))
    assert store.perform(Claim("k", "u", MINUTE, put.lease)).lease is not None


def test_a_delete_says_whether_there_was_an_entry(store: Any) -> None:
    assert not store.perform(Delete("k"))
    fill(store, "k")
    assert store.perform(Delete("k"))
    assert store.perform(Read("k")).entry is None
    lease = granted(store, "k")
    store.perform(Fill("k", "t", entry_of(lease, kind=Kind.FAILURE), MINUTE))
    assert not store.perform(Delete("k"))
    assert granted(store, "k", "u")


@pytest.mark.parametrize("how", ["added to", "swapped"])
def test_p2_a_change_of_an_entry_revokes_the_lease_of_its_refresh(store: Any, how: str) -> None:
    seen = entry_of(granted(store, "n"), payload=b"10", kind=Kind.NUMBER)
    store.perform(Fill("n", "t", seen, MINUTE))
    refresh = store.perform(Claim("n", "u", MINUTE, seen.lease)).lease
    if how == "added to":
        assert store.perform(Add("n", seen.lease, 5)) == 15
    else:
        assert store.perform(Swap("n", seen, b"15", Kind.NUMBER))
    assert not store.perform(Renew("n", "u", MINUTE))
    assert store.perform(Fill("n", "u", entry_of(refresh, payload=b"10"), MINUTE)) is Filed.REVOKED
    assert store.perform(Read("n")).entry == replace(seen, payload=b"15")


@pytest.mark.parametrize("how", ["added to", "swapped"])
def test_a_change_that_is_not_made_revokes_nothing(store: Any, how: str) -> None:
    seen = entry_of(granted(store, "n"), payload=b"10", kind=Kind.NUMBER)
    store.perform(Fill("n", "t", seen, MINUTE))
    assert store.perform(Claim("n", "u", MINUTE, seen.lease)).lease is not None
    if how == "added to":
        assert store.perform(Add("n", Lease(Instant(1), 1), 5)) is None
        with pytest.raises(OverflowError):
            store.perform(Add("n", seen.lease, 2**63 - 1))
    else:
        assert not store.perform(Swap("n", replace(seen, cost=9), b"15", Kind.NUMBER))
    assert store.perform(Renew("n", "u", MINUTE))


# Amending and adding.


def test_an_amended_entry_has_new_dates_and_a_new_life(store: Any) -> None:
    fill(store, "k", "a", payload=b"v", life=MINUTE)
    entry = store.perform(Read("k")).entry
    dates = Instant(1), Instant(2), Instant(NEVER)
    assert not store.perform(Amend("k", Lease(Instant(1), 2), *dates, MINUTE))
    assert store.perform(Amend("k", entry.lease, *dates, None))
    fresh, stale, error = dates
    assert store.perform(Read("k")).entry == replace(entry, fresh_until=fresh, stale_until=stale, error_until=error)
    assert store.perform(Amend("k", entry.lease, *dates, 0.005))
    granted(store, "clock", life=0.02)
    store.perform(Wait("clock", "t", MINUTE))
    assert not store.perform(Amend("k", entry.lease, *dates, MINUTE))


@pytest.mark.parametrize("tags", [(), ("a", "b:1")], ids=repr)
def test_an_amended_entry_is_renewed_by_another_life_only_if_hits_renew_it(store: Any, tags: tuple[str, ...]) -> None:
    lease = store.perform(TakeInstant())
    plain = entry_of(lease, *tags, payload=b"41", kind=Kind.NUMBER)
    for key, entry in (("plain", plain), ("renewed", replace(plain, renewal=5_000_000))):
        store.perform(Put(key, entry, MINUTE, ANY))
        for renewal in (9_000_000, 0):
            assert store.perform(Amend(key, lease, NEVER, NEVER, Instant(NEVER - 1), MINUTE, renewal))
            expected = replace(entry, error_until=Instant(NEVER - 1), renewal=entry.renewal and 9_000_000)
            assert store.perform(Read(key)).entry == expected
        assert store.perform(Swap(key, expected, b"42", Kind.NUMBER))
        assert store.perform(Add(key, lease, 1)) == 43
        assert store.perform(Read(key)).entry == replace(expected, payload=b"43")


def test_a_number_is_added_to_exactly_in_64_bits(store: Any) -> None:
    lease = store.perform(TakeInstant())
    number = entry_of(lease, "a", payload=b"%d" % (2**53 + 1), kind=Kind.NUMBER)
    store.perform(Put("n", number, MINUTE, ANY))
    assert store.perform(Add("n", lease, 2**62)) == 2**62 + 2**53 + 1
    assert store.perform(Add("n", lease, -(2**63))) == 2**62 + 2**53 + 1 - 2**63
    assert store.perform(Read("n")).entry == replace(number, payload=b"%d" % (2**62 + 2**53 + 1 - 2**63))


@pytest.mark.parametrize("delta", [2**63 - 41, -(2**63) - 42, 2**64, -(2**70)])
def test_a_sum_that_does_not_fit_is_refused_and_changes_nothing(store: Any, delta: int) -> None:
    lease = store.perform(TakeInstant())
    store.perform(Put("n", entry_of(lease, payload=b"41", kind=Kind.NUMBER), MINUTE, ANY))
    with pytest.raises(OverflowError):
        store.perform(Add("n", lease, delta))
    assert store.perform(Add("n", lease, 1)) == 42


def test_only_the_number_that_was_seen_is_added_to(store: Any) -> None:
    lease = store.perform(TakeInstant())
    store.perform(Put("n", entry_of(lease, payload=b"1", kind=Kind.NUMBER), MINUTE, ANY))
    assert store.perform(Add("n", Lease(Instant(1), 1), 1)) is None
    assert store.perform(Add("missing", lease, 1)) is None
    store.perform(Put("n", entry_of(lease, payload=b"1"), MINUTE, ANY))
    assert store.perform(Add("n", lease, 1)) is None


# Tags.


def test_an_expired_tag_is_stale_and_not_gone(store: Any) -> None:
    fill(store, "k", "a")
    at = store.perform(Expire(("a", "unknown")))
    look = store.perform(Read("k"))
    assert servable(look)
    assert look.times.records["a"].expired == at > look.entry.lease.instant


def test_p2_expiring_a_tag_without_a_record_invalidates_it(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Expire(("a",)))
    assert store.perform(Fill("k", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED


def test_a_fence_leaves_what_is_stored_and_lets_it_be_filled(store: Any) -> None:
    fill(store, "k", "a")
    deadline = store.perform(Fence(("a", "b"), "w", MINUTE))
    look = store.perform(Read("k"))
    assert servable(look)
    record = look.times.records["a"]
    assert (record.pending, record.soonest, record.latest) == (1, deadline, deadline)
    assert fill(store, "new", "a", "b") is Filed.ADMITTED
    assert store.perform(Read("new")).times.records["b"].pending == 1


@pytest.mark.parametrize(("outcome", "stands", "pending"), [
    (Outcome.COMMITTED, False, 0), (Outcome.ROLLED_BACK, True, 0), (Outcome.UNKNOWN, False, 1)])
def test_p3_a_fence_is_lifted_as_its_commit_ended(store: Any, outcome: Outcome, stands: bool, pending: int) -> None:
    fill(store, "k", "a")
    store.perform(Fence(("a",), "w", MINUTE))
    store.perform(Lift(("a",), "w", outcome))
    look = store.perform(Read("k"))
    assert servable(look) is stands
    assert look.times.records["a"].pending == pending


def test_p3_the_lift_of_a_fence_refuses_the_fill_begun_before_it(store: Any) -> None:
    store.perform(Fence(("a",), "w", MINUTE))
    lease = granted(store, "k")
    store.perform(Lift(("a",), "w", Outcome.COMMITTED))
    assert store.perform(Fill("k", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED


def test_p4_a_fence_that_nobody_lifts_invalidates_at_its_deadline(store: Any) -> None:
    fill(store, "k", "a")
    lease = granted(store, "other")
    deadline = store.perform(Fence(("a",), "dead", 0.0))
    assert not servable(store.perform(Read("k")))
    assert store.perform(Fill("other", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED
    times = store.perform(Settle(("a", "never seen")))
    assert times.settled
    assert times.records["a"].invalidated == deadline
    assert times.records["a"].pending == 0
    assert times.records["never seen"] is None
    assert fill(store, "k", "a") is Filed.ADMITTED
    assert servable(store.perform(Read("k")))


def test_p4_a_fence_on_a_tag_that_nobody_has_read_counts_all_the_same(store: Any) -> None:
    lease = granted(store, "k")
    store.perform(Fence(("a",), "dead", 0.0))
    assert store.perform(Fill("k", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED


def test_fences_count_one_by_one(store: Any) -> None:
    fill(store, "k", "a")
    late = store.perform(Fence(("a",), "w1", 2 * MINUTE))
    soon = store.perform(Fence(("a",), "w2", MINUTE))
    record = store.perform(Read("k")).times.records["a"]
    assert (record.pending, record.soonest, record.latest) == (2, soon, late)
    store.perform(Lift(("a",), "w2", Outcome.ROLLED_BACK))
    record = store.perform(Read("k")).times.records["a"]
    assert (record.pending, record.soonest, record.latest) == (1, late, late)


def test_a_clear_outdates_everything_at_once(store: Any) -> None:
    fill(store, "k", "a")
    before = store.perform(TakeInstant())
    store.perform(Clear())
    after = store.perform(TakeInstant())
    assert not servable(store.perform(Read("k")))
    assert before.epoch != after.epoch
    assert before.instant < after.instant


# Many at once.


def test_several_steps_are_taken_in_their_order(store: Any) -> None:
    lease = store.perform(TakeInstant())
    answers = store.perform_all([
        Put("k", entry_of(lease, "a"), MINUTE, ANY), Read("k"), Invalidate(("a",)), Read("k"), Delete("k"),
        Read("k"), Delete("k")])
    assert answers[0] is Filed.ADMITTED
    assert answers[1].entry is not None
    assert not servable(answers[3])
    assert answers[4] is True
    assert answers[5].entry is None
    assert answers[6] is False
    assert store.perform_all([]) == []


def test_many_looks_at_once_are_those_of_each(store: Any) -> None:
    keys = [some_key(str(number)) for number in range(12)]
    for number, key in enumerate(keys[:10]):
        fill(store, key, *[f"{key}:{tag}" for tag in range(number % 4)], "shared", payload=b"%d" % number)
    asked = [keys[0], *keys, keys[3]]
    for _ in range(2):
        looks = store.perform_all([Read(key) for key in asked])
        assert [look.entry and look.entry.payload for look in looks] == [
            store.perform(Read(key)).entry and store.perform(Read(key)).entry.payload for key in asked]
        assert [servable(look) for look in looks] == [key in keys[:10] for key in asked]
        # New tags, which nobody remembers.
        for number, key in enumerate(keys[:10]):
            fill(store, key, f"new:{number}", payload=b"again")


@dataclass(frozen=True, slots=True)
class Told:
    """A pattern, and which of the keys it means."""

    pattern: str
    means: tuple[str, ...]


@pytest.mark.parametrize("told", [
    Told("user:*", ("user:1", "user:2", "user:{3}")),
    Told("user:?", ("user:1", "user:2")),
    Told("user:{?}", ("user:{3}",)),
    Told("user:[13]", ("user:1",)),
    Told("*%*", ("100%",)),
    Told("a[*]b", ("a*b",)),
    Told("nothing", ()),
], ids=lambda told: told.pattern)
def test_a_scan_finds_the_keys_that_a_glob_means(store: Any, told: Told) -> None:
    for key in ("user:1", "user:2", "user:{3}", "100%", "a*b", "axb", "book:1"):
        fill(store, key)
    assert sorted({key for batch in store.scan(told.pattern) for key in batch}) == sorted(told.means)


def test_what_would_be_raised_is_an_answer_among_several(store: Any) -> None:
    lease = store.perform(TakeInstant())
    store.perform(Put("n", entry_of(lease, payload=b"1", kind=Kind.NUMBER), MINUTE, ANY))
    steps: list[StoreEffect[Any]] = [Add("n", lease, 1), Add("n", lease, 1)]
    assert store.perform_all(steps) == [2, 3]
    assert not any(isinstance(answer, StoreUnavailable) for answer in store.perform_all([Read("n"), TakeInstant()]))


# Swaps and sweeps.


def test_a_swap_changes_the_payload_and_nothing_else(store: Any) -> None:
    fill(store, "k", "a", payload=b"old")
    seen = store.perform(Read("k")).entry
    assert store.perform(Swap("k", seen, b"12", Kind.NUMBER)) is True
    look = store.perform(Read("k"))
    assert look.entry == replace(seen, payload=b"12", kind=Kind.NUMBER)
    assert servable(look)
    store.perform(Invalidate(("a",)))
    assert not servable(store.perform(Read("k")))


@pytest.mark.parametrize("how", ["swapped", "added to", "amended", "put", "deleted"])
def test_a_swap_of_what_was_changed_since_changes_nothing(store: Any, how: str) -> None:
    lease = granted(store, "k")
    seen = entry_of(lease, payload=b"7", kind=Kind.NUMBER)
    store.perform(Fill("k", "t", seen, MINUTE))
    match how:
        case "swapped":
            assert store.perform(Swap("k", seen, b"8", Kind.NUMBER))
        case "added to":
            assert store.perform(Add("k", lease, 1)) == 8
        case "amended":
            assert store.perform(Amend("k", lease, Instant(9), Instant(9), Instant(9), MINUTE))
        case "put":
            store.perform(Put("k", entry_of(store.perform(TakeInstant()), payload=b"8"), MINUTE, ANY))
        case _:
            store.perform(Delete("k"))
    there = store.perform(Read("k")).entry
    assert store.perform(Swap("k", seen, b"9", Kind.NUMBER)) is False
    assert store.perform(Read("k")).entry == there


def test_a_glance_sees_all_of_an_entry_but_its_payload(store: Any) -> None:
    fill(store, "k", "book", "other", life=None)
    fill(store, "passing", life=MINUTE)
    glanced = store.perform(Glance("k"))
    look = store.perform(Read("k"))
    assert glanced.look.entry == replace(look.entry, payload=b"")
    assert glanced.endless is True
    assert (glanced.look.times.records, glanced.look.times.epoch) == (look.times.records, look.times.epoch)
    assert store.perform(Glance("passing")).endless is False
    assert store.perform(Glance("none")).look.entry is None


def test_a_sweep_removes_the_entry_that_was_looked_at_and_no_other(store: Any) -> None:
    fill(store, "k", life=None)
    lease = store.perform(Read("k")).entry.lease
    store.perform(Clear())
    fill(store, "k", payload=b"younger", life=None)
    younger = store.perform(Read("k")).entry.lease
    assert store.perform(Sweep("k", lease)) is False
    assert servable(store.perform(Read("k")))
    assert store.perform(Sweep("k", younger)) is True
    assert store.perform(Read("k")).entry is None
    assert store.perform(Sweep("k", younger)) is False


def test_records_that_are_kept_stand_and_those_that_are_not_there_stay_away(store: Any) -> None:
    fill(store, "k", "book", life=None)
    store.perform(Keep(("book", "none")))
    assert servable(store.perform(Read("k")))
    store.perform(Swept(store.perform(TakeInstant()).epoch))
    assert store.perform(Unswept()) is None
