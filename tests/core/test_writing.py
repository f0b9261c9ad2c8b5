"""Values stored by themselves, numbers, and many plans side by side."""

from __future__ import annotations

from typing import Any

import pytest

from cachefence_web.core import plans, writing
from cachefence_web.core.effects import (
    Add,
    Amend,
    Delete,
    Filed,
    Look,
    Plan,
    Put,
    Read,
    Settle,
    Swap,
    TakeInstant,
)
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.flight import (
    Computed,
    Decode,
    Together,
)
from cachefence_web.core.lockstep import lockstep
from cachefence_web.core.tags import Instant, Lease, TagRecord, Times
from cachefence_web.errors import StoreUnavailable
from tests.core.transcripts import (
    AWAY,
    DONE,
    LATER,
    MISS,
    NOW,
    POLICY,
    SECOND,
    L,
    entry,
    look,
    play,
)


def test_a_put_is_dated_by_the_call_unless_it_says_since_when() -> None:
    put = writing.put("k", DONE, POLICY, None)
    until = Instant(NOW + 60 * SECOND)
    made = Entry(LATER, until, until, until, 0, ("a",), b"new")
    assert play(put, (TakeInstant(), LATER), (Put("k", made, 60.0, plans.ANY), Filed.ADMITTED)) is Filed.ADMITTED
    play(writing.put("k", DONE, POLICY, LATER), (Put("k", made, 60.0, plans.ANY), Filed.ADMITTED))


def test_many_puts_share_a_date_and_each_is_told_of_if_it_failed() -> None:
    puts = writing.put_all([("a", DONE, POLICY), ("b", DONE, POLICY)])
    until = Instant(NOW + 60 * SECOND)
    made = Entry(LATER, until, until, until, 0, ("a",), b"new")
    both = Together((Put("a", made, 60.0, plans.ANY), Put("b", made, 60.0, plans.ANY)))
    assert play(puts, (TakeInstant(), LATER), (both, (Filed.ADMITTED, Filed.INVALIDATED))) is None
    for failed in (AWAY, Filed.LATE):
        with pytest.raises(StoreUnavailable):
            play(writing.put_all([("a", DONE, POLICY), ("b", DONE, POLICY)]), (TakeInstant(), LATER),
                 (both, (Filed.ADMITTED, failed)))
    assert play(writing.put_all([])) is None


def test_add_stores_only_over_what_it_judged_unusable() -> None:
    assert play(writing.add("k", DONE, POLICY), (Read("k"), look(entry())), (Decode, ("old",))) is False
    assert play(writing.add("k", DONE, POLICY), MISS, (TakeInstant(), LATER), (Put, Filed.CONFLICT), MISS,
                (TakeInstant(), LATER), (Put, Filed.ADMITTED)) is True


def test_a_value_stored_to_slide_knows_the_life_that_a_hit_gives_it_again() -> None:
    sliding = POLICY.but({"sliding": True, "negative_ttl": 5})
    for policy, value, renewal in (
            (sliding, "new", 60), (sliding.but({"ttl": 8}), "new", 8), (sliding, None, 5), (POLICY, "new", 0),
            (sliding.but({"ttl": None}), "new", 0)):
        made, _ = writing.entry_of(policy, Computed(value, b"", ()), LATER, Instant(NOW))
        assert made.renewal == renewal * SECOND
        assert Entry.decode(made.encode()) == made


@pytest.mark.parametrize(("options", "ends", "stale", "life"), [
    pytest.param({"ttl": 9}, 9.0, 30.0, 39.0, id="as long as it is said"),
    pytest.param({"ttl": 9, "negative_ttl": 1, "jitter": 1.0}, 9.0, 30.0, 39.0, id="to the letter"),
    pytest.param({"ttl": 9, "stale_for": 5}, 9.0, 5.0, 20.0, id="stale as it is said"),
    pytest.param({"ttl": None}, None, 30.0, None, id="without end"),
])
def test_a_touched_value_stays_stale_for_as_long_as_before(
    options: dict[str, Any], ends: float | None, stale: float, life: float | None
) -> None:
    found = entry(50.0, stale=30.0, error=11.0, renewal=7.0)
    fresh = NOW + int(ends * SECOND) if ends is not None else NEVER - int(30 * SECOND)
    until = fresh, fresh + int(stale * SECOND), fresh + 11 * SECOND
    play(writing.touch("k", POLICY.but(options), options), (Read("k"), look(found)), (Decode, (None,)),
         (Amend("k", L, *until, life, int((ends or 0) * SECOND)), True))


def test_what_is_moved_keeps_its_dates_and_goes_from_where_it_was() -> None:
    found = entry(50.0, stale=30.0, error=11.0, cost=2.0, renewal=7.0)
    assert play(writing.move("k", "to"), (Read("k"), look(found)), (Decode, ("old",)),
                (Put("to", found, 80.0, plans.ANY), Filed.ADMITTED), (Delete("k"), True)) is True
    endless = entry(None)
    assert play(writing.move("k", "to"), (Read("k"), look(endless)), (Decode, ("old",)),
                (Put("to", endless, None, plans.ANY), Filed.INVALIDATED), (Delete("k"), True)) is False
    assert play(writing.move("k", "to"), MISS) is False
    assert play(writing.move("k", "to"), (Read("k"), look(entry(-1.0, stale=9.0))), (Decode, ("old",))) is False
    with pytest.raises(StoreUnavailable):
        play(writing.move("k", "to"), (Read("k"), look(found)), (Decode, ("old",)), (Put, Filed.LATE))


def test_counting_adds_in_place_and_begins_over_when_the_number_was_replaced() -> None:
    number = entry(payload=b"3", kind=Kind.NUMBER)
    found = [(Read("k"), look(number)), (Decode, (3,))]
    assert play(writing.increment("k", 2, POLICY, create=False), *found, (Add("k", L, 2), None), *found,
                (Add("k", L, 2), 5)) == 5
    assert play(writing.increment("k", 2, POLICY, create=False), MISS) is None
    made = play(writing.increment("k", 2, POLICY, create=True), MISS, (TakeInstant(), LATER), (Put, Filed.ADMITTED))
    assert made == 2


def test_what_is_no_value_but_is_kept_under_the_key_is_left_alone() -> None:
    in_the_way = MISS, (TakeInstant(), LATER), (Put, Filed.OCCUPIED)
    assert play(writing.add("k", DONE, POLICY), *in_the_way) is False
    with pytest.raises(TypeError, match="no value of the cache"):
        play(writing.increment("k", 2, POLICY, create=True), *in_the_way)
    with pytest.raises(TypeError, match="no value of the cache"):
        play(writing.modify("k", lambda _: DONE, POLICY, lambda: DONE), *in_the_way)


def test_counting_what_is_no_number_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no integer"):
        play(writing.increment("k", 1, POLICY, create=True), (Read("k"), look(entry())), (Decode, ("old",)))


def test_lockstep_asks_together_what_its_plans_ask_alone() -> None:
    def asking(*keys: str) -> Plan[str]:
        for key in keys:
            try:
                yield from Read(key)
            except StoreUnavailable:
                return f"{key} away"
        return keys[-1] if keys else ""

    assert play(
        lockstep([asking("a", "b"), asking("c"), asking("d", "e"), asking()]),
        (Together((Read("a"), Read("c"), Read("d"))), (look(None), look(None), AWAY)),
        (Together((Read("b"),)), (look(None),)),
    ) == ["b", "c", "d away", ""]


def test_replace_stores_only_over_what_it_judged_usable() -> None:
    found = [(Read("k"), look(entry())), (Decode, ("old",)), (TakeInstant(), LATER)]
    assert play(writing.replace("k", DONE, POLICY), MISS) is False
    assert play(writing.replace("k", DONE, POLICY), (Read("k"), look(entry(-1.0))), (Decode, ("old",))) is False
    conflict = (*found, (Put, Filed.CONFLICT))
    assert play(writing.replace("k", DONE, POLICY), *conflict, *found, (Put, Filed.ADMITTED)) is True
    assert play(writing.replace("k", DONE, POLICY), *conflict, MISS) is False


def test_what_a_commit_on_its_way_may_change_is_there_for_a_writer_however_strict() -> None:
    soon = Instant(NOW + SECOND)
    pending = look(entry(), TagRecord(Instant(1), pending=1, soonest=soon, latest=soon))
    strict = POLICY.but({"consistency": "strict"})
    assert play(writing.add("k", DONE, strict), (Read("k"), pending), (Decode, ("old",))) is False


def test_a_change_that_met_another_is_made_again_of_what_that_one_left() -> None:
    def plus_one(value: object) -> Computed:
        assert isinstance(value, float)
        return Computed(value + 1, b"%r" % value, ())

    first, second = entry(payload=b"1.5"), entry(payload=b"7.5")
    done = play(
        writing.modify("k", plus_one, POLICY),
        (Read("k"), look(first)), (Decode, (1.5,)), (Swap("k", first, b"1.5", Kind.VALUE), False),
        (Read("k"), look(second)), (Decode, (7.5,)), (Swap("k", second, b"7.5", Kind.VALUE), True))
    assert done.value == 8.5


def test_a_change_of_nothing_is_nothing_unless_there_is_something_to_begin_with() -> None:
    def first() -> Computed:
        return DONE

    assert play(writing.modify("k", lambda _: DONE, POLICY), MISS) is None
    assert play(writing.modify("k", lambda _: DONE, POLICY, first), MISS, (TakeInstant(), LATER), (Put, Filed.CONFLICT),
                MISS, (TakeInstant(), LATER), (Put, Filed.ADMITTED)) is DONE


@pytest.mark.parametrize(("seen", "deleted", "there"), [
    pytest.param(look(entry()), True, True, id="fresh"),
    pytest.param(look(entry(None)), True, True, id="without end"),
    pytest.param(look(entry()), False, False, id="another removed it in between"),
    pytest.param(look(None), False, False, id="nothing"),
    pytest.param(look(None), True, True, id="set in between, or no value but a set of Redis"),
    pytest.param(look(entry(-1.0, stale=60.0)), True, False, id="stale"),
    pytest.param(look(entry(lease=Lease(L.instant, 6))), True, False, id="cleared"),
    pytest.param(look(entry(), TagRecord(L.instant)), True, False, id="invalidated"),
    pytest.param(look(entry(), TagRecord(Instant(1), expired=L.instant)), True, False, id="expired by its tag"),
    pytest.param(look(entry(), None), True, False, id="record lost"),
])
def test_a_removal_tells_of_values_that_would_have_been_served(seen: Look, deleted: bool, there: bool) -> None:
    assert play(writing.remove(["k"]), (Together((Read("k"), Delete("k"))), (seen, deleted))) == int(there)


def test_a_removal_asks_of_many_keys_together_and_of_passed_fences_apart() -> None:
    passed = look(entry(), TagRecord(Instant(1), pending=1, soonest=Instant(NOW), latest=Instant(NOW)))
    settled = Times(7, {"a": TagRecord(Instant(NOW))}, Instant(NOW), settled=True)
    both = Together((Read("a"), Read("b"), Delete("a"), Delete("b")))
    assert play(writing.remove(["a", "b"]), (both, (passed, look(entry()), True, True)), (Settle(("a",)), settled)) == 1
    assert play(writing.remove(["a", "b"]), (both, (passed, look(None), True, False)), (Settle(("a",)), AWAY)) == 1
    with pytest.raises(StoreUnavailable):
        play(writing.remove(["a", "b"]), (both, (passed, AWAY, True, False)))
