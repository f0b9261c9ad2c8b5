"""Values stored by themselves, numbers, and many plans side by side."""

from __future__ import annotations

import pytest

from cachefence_web.core import plans, writing
from cachefence_web.core.effects import (
    Add,
    Filed,
    Plan,
    Put,
    Read,
    TakeInstant,
)
from cachefence_web.core.entry import Entry, Kind
from cachefence_web.core.flight import (
    Decode,
    Together,
)
from cachefence_web.core.tags import Instant
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


def test_add_stores_only_over_what_it_judged_unusable() -> None:
    assert play(writing.add("k", DONE, POLICY), (Read("k"), look(entry())), (Decode, ("old",))) is False
    assert play(writing.add("k", DONE, POLICY), MISS, (TakeInstant(), LATER), (Put, Filed.CONFLICT), MISS,
                (TakeInstant(), LATER), (Put, Filed.ADMITTED)) is True


def test_counting_adds_in_place_and_begins_over_when_the_number_was_replaced() -> None:
    number = entry(payload=b"3", kind=Kind.NUMBER)
    found = [(Read("k"), look(number)), (Decode, (3,))]
    assert play(writing.increment("k", 2, POLICY, create=False), *found, (Add("k", L, 2), None), *found,
                (Add("k", L, 2), 5)) == 5
    assert play(writing.increment("k", 2, POLICY, create=False), MISS) is None
    made = play(writing.increment("k", 2, POLICY, create=True), MISS, (TakeInstant(), LATER), (Put, Filed.ADMITTED))
    assert made == 2


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
        plans.lockstep([asking("a", "b"), asking("c"), asking("d", "e"), asking()]),
        (Together((Read("a"), Read("c"), Read("d"))), (look(None), look(None), AWAY)),
        (Together((Read("b"),)), (look(None),)),
    ) == ["b", "c", "d away", ""]
