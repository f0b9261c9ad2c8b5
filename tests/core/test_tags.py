"""Tags that cannot work are refused; records survive their bytes, and damage counts as lost; dates decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Instant, Lease, Standing, TagRecord, Times, check_tags, standing
from cachefence_web.errors import ConfigurationError

instants = st.integers(0, 10**16 - 1).map(Instant)
records = st.builds(TagRecord, instants, instants, st.integers(0, 999_999), instants, instants)


@pytest.mark.parametrize("tag", ["t" * 201, "\N{SNOWMAN}" * 67, "slug:" + "x" * 5_000])
def test_a_tag_too_long_to_be_written_is_the_same_short_one_for_all(tag: str) -> None:
    (short,) = check_tags([tag])
    assert len(short.encode()) <= 200
    assert short.startswith(tag[:40])
    assert check_tags([tag]) == check_tags([short]) == (short,)
    assert check_tags([tag + "x", "book"]) not in ((short, "book"), ())
    assert len(set(check_tags([tag, tag + "x", tag + "y"]))) == 3


@pytest.mark.parametrize(("tags", "words"), [
    ("book", r"write \['book'\]"),
    ([3], "a tag is a text"),
    ([""], "not an empty one"),
    (["a b"], "white space"),
    (["a\x00"], "control"),
    (["a\ud800"], "control"),
    (["{a}"], "braces"),
    (["*"], "final"),
    (["book*"], "final"),
    (["book:*:1"], "final"),
    ([str(number) for number in range(10_001)], "10001 tags.*name the table"),
])
def test_tags_that_cannot_work_are_refused(tags: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_tags(tags)


def test_tags_keep_their_order_and_are_not_repeated() -> None:
    assert check_tags(["b:1", "a", "b:1", "b:*", "\N{SNOWMAN}"]) == ("b:1", "a", "b:*", "\N{SNOWMAN}")
    assert check_tags(iter(["a"])) == ("a",)


@given(records)
def test_a_record_survives_its_bytes(record: TagRecord) -> None:
    assert len(record.encode()) == TagRecord.WIDTH
    assert TagRecord.decode(record.encode()) == record


@pytest.mark.parametrize("raw", [None, b"", b"1" * 69, b"1" * 71, b"x" * 70, b" " * 70, b"-" + b"1" * 69])
def test_p5_a_damaged_record_is_a_lost_one(raw: bytes | None) -> None:
    assert TagRecord.decode(raw) is None


LEASE = Lease(Instant(100), 7)


def stands(record: TagRecord | None, *, now: int = 200, epoch: int | None = 7, settled: bool = False,
           consistency: Consistency = Consistency.COMMITTED) -> Standing:
    return standing(LEASE, ("a",), Times(epoch, {"a": record}, Instant(now), settled), consistency)


def record_of(invalidated: int, **fields: int) -> TagRecord:
    return TagRecord(Instant(invalidated), **{name: Instant(value) for name, value in fields.items()})


def test_p2_a_lease_stands_only_after_the_last_invalidation() -> None:
    assert stands(record_of(99)) is Standing.VALID
    assert stands(record_of(100)) is Standing.GONE
    assert stands(record_of(101)) is Standing.GONE


def test_p5_what_is_lost_does_not_stand() -> None:
    assert stands(None) is Standing.GONE
    assert stands(record_of(1), epoch=None) is Standing.GONE
    assert stands(record_of(1), epoch=8) is Standing.GONE


def test_p4_a_passed_deadline_is_asked_about_and_then_counts() -> None:
    fenced = record_of(1, pending=1, soonest=150, latest=150)
    assert stands(fenced, now=149) is Standing.VALID
    assert stands(fenced, now=150) is Standing.UNSETTLED
    assert stands(fenced, now=150, settled=True) is Standing.GONE


def test_p3_only_a_strict_read_refuses_what_is_pending() -> None:
    fenced = record_of(1, pending=1, soonest=300, latest=300)
    assert stands(fenced) is Standing.VALID
    assert stands(fenced, consistency=Consistency.STRICT) is Standing.PENDING


def test_expired_is_stale_and_no_more() -> None:
    assert stands(record_of(1, expired=99)) is Standing.VALID
    assert stands(record_of(1, expired=100)) is Standing.EXPIRED


def test_the_worst_of_several_tags_decides() -> None:
    times = Times(7, {"a": record_of(1, expired=150), "b": record_of(150)}, Instant(200))
    assert standing(LEASE, ("a", "b"), times, Consistency.COMMITTED) is Standing.GONE
