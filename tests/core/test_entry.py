"""An entry survives its bytes, and any damage to them is a miss: never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachefence_web.core.entry import DATES_AT, LEASE_AT, MAGIC, NEVER, Entry, Kind, dates, lease_bytes, renewal_bytes
from cachefence_web.core.tags import Instant, Lease

unsigned = st.integers(0, 2**64 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
entries = st.builds(
    Entry, st.builds(Lease, unsigned.map(Instant), unsigned), unsigned.map(Instant), unsigned.map(Instant),
    unsigned.map(Instant), st.integers(0, 2**32 - 1), st.lists(names, max_size=5).map(tuple), st.binary(max_size=60),
    st.sampled_from(Kind), st.just(0) | unsigned)


@given(entries)
def test_an_entry_survives_its_bytes(entry: Entry) -> None:
    assert Entry.decode(entry.encode()) == entry


@given(entries)
def test_an_entry_adds_at_most_64_bytes_and_its_tags(entry: Entry) -> None:
    tags = sum(len(name.encode()) + 1 for name in entry.tags)
    assert len(entry.encode()) - len(entry.payload) - tags <= 64


@pytest.mark.timeout(600)
@settings(max_examples=10_000)
@given(entries, st.data())
def test_p12_damaged_bytes_are_an_entry_or_a_miss(entry: Entry, data: st.DataObject) -> None:
    raw = bytearray(entry.encode())
    match data.draw(st.sampled_from(["cut", "flip", "grow", "replace"])):
        case "cut":
            del raw[data.draw(st.integers(0, len(raw) - 1)):]
        case "flip":
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        case "grow":
            at = data.draw(st.integers(0, len(raw)))
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        case _:
            raw = bytearray(data.draw(st.binary(max_size=80)))
    found = Entry.decode(bytes(raw))
    if found is not None:
        assert Entry.decode(found.encode()) == found


@given(st.binary(max_size=80))
def test_p12_foreign_bytes_under_our_first_byte_are_a_miss_or_an_entry(raw: bytes) -> None:
    Entry.decode(bytes([MAGIC, 1]) + raw)


def test_what_is_not_ours_is_a_miss() -> None:
    entry = Entry(Lease(Instant(1), 2), NEVER, NEVER, NEVER, 3, ("a",), b"v")
    raw = entry.encode()
    assert Entry.decode(None) is None
    assert Entry.decode(b"17") is None
    assert Entry.decode(raw[:1] + b"\x02" + raw[2:]) is None
    assert Entry.decode(raw[:2] + b"\xff" + raw[3:]) is None
    assert Entry.decode(raw[:-2]) is None


def test_lease_and_dates_stand_where_the_scripts_look_for_them() -> None:
    lease = Lease(Instant(2**40), 2**63 + 1)
    raw = Entry(lease, Instant(5), Instant(6), Instant(7), 0, (), b"").encode()
    assert raw[LEASE_AT:LEASE_AT + 16] == lease_bytes(lease)
    assert raw[DATES_AT:DATES_AT + 24] == dates(Instant(5), Instant(6), Instant(7))
    renewed = Entry(lease, Instant(5), Instant(6), Instant(7), 0, ("a",), b"payload", renewal=2**60).encode()
    assert (raw[3], renewed[3]) == (0, 1)
    assert renewed.endswith(renewal_bytes(2**60) + b"payload")


def test_a_cost_beyond_an_hour_is_kept_as_the_most_there_is() -> None:
    entry = Entry(Lease(Instant(1), 2), NEVER, NEVER, NEVER, 2**40, (), b"")
    found = Entry.decode(entry.encode())
    assert found is not None
    assert found.cost == 2**32 - 1
