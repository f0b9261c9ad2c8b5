"""Damaged bytes are a miss; sound ones come back as they were."""

from __future__ import annotations

import math
import struct
import zlib

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachefence_web.http import Response, Stored, pack, unpack
from cachefence_web.http.packing import VERSION
from tests.http.build import stored

_responses = st.builds(
    Response,
    st.integers(100, 999),
    st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=5).map(tuple),
    st.binary(max_size=300),
)
_seconds = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
_stored = st.builds(
    Stored,
    _responses,
    st.lists(st.tuples(st.binary(max_size=9), st.none() | st.binary(max_size=9)), max_size=3).map(tuple),
    _seconds,
    st.booleans(),
    st.booleans(),
    _seconds,
    st.none() | _seconds,
    st.booleans(),
)
_values = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEPT = stored("Content-Type: text/html", "Link: </a>", "Link: </b>", "Vary: Accept-Language")
SOUND = pack(KEPT)
RESPONSE = {"status": 200, "headers": [], "body": b""}


@given(_stored)
def test_what_is_stored_comes_back_as_it_was(kept: Stored) -> None:
    assert unpack(pack(kept)) == kept


def test_every_truncation_is_a_miss() -> None:
    assert [unpack(SOUND[:end]) for end in range(len(SOUND))] == [None] * len(SOUND)


def test_every_flipped_bit_is_a_miss() -> None:
    for bit in range(len(SOUND) * 8):
        flipped = bytearray(SOUND)
        flipped[bit // 8] ^= 1 << bit % 8
        assert unpack(bytes(flipped)) is None


@settings(max_examples=1000)
@given(st.binary())
@example(b"")
@example(b"\x80\x04\x95")
def test_p12_foreign_bytes_are_a_miss(data: bytes) -> None:
    assert unpack(data) is None


def sealed(fields: bytes, version: int = VERSION) -> bytes:
    """Bytes whose checksum is right."""
    return struct.pack(">BI", version, zlib.crc32(fields)) + fields


@settings(max_examples=1000)
@given(st.binary() | _values.map(msgspec.msgpack.encode))
def test_p12_foreign_bytes_with_a_right_checksum_are_a_miss(fields: bytes) -> None:
    assert unpack(sealed(fields)) is None


@pytest.mark.parametrize(
    "response",
    [
        {**RESPONSE, "status": "200"},
        {**RESPONSE, "headers": [["a", "b"]]},
        {**RESPONSE, "headers": [[b"a"]]},
        {**RESPONSE, "body": "text"},
        {"status": 200, "headers": []},
        {**RESPONSE, "status": 99},
        {**RESPONSE, "status": 1000},
        {**RESPONSE, "status": -200},
        None,
    ],
    ids=str,
)
def test_p12_a_response_of_another_shape_is_a_miss(response: object) -> None:
    assert unpack(sealed(msgspec.msgpack.encode({"response": RESPONSE}))) is not None
    assert unpack(sealed(msgspec.msgpack.encode({"response": response}))) is None


@pytest.mark.parametrize(
    "field",
    [
        {"selecting": [[b"accept", 7]]},
        {"selecting": [[b"accept"]]},
        {"selecting": b"accept"},
        {"initial_age": math.nan},
        {"initial_age": math.inf},
        {"initial_age": -1.0},
        {"initial_age": "0"},
        {"excuses": math.nan},
        {"excuses": -1.0},
        {"overdue": -1.0},
        {"overdue": math.nan},
        {"strict": 1},
        {"authorized": "yes"},
    ],
    ids=str,
)
def test_p12_what_is_known_of_it_in_another_shape_is_a_miss(field: dict[str, object]) -> None:
    assert unpack(sealed(msgspec.msgpack.encode({"response": RESPONSE, **field}))) is None


@pytest.mark.parametrize(
    "fields",
    [
        b"\x91" * 200_000 + b"\xc0",
        b"\x82\xa8response\x83\xa6status\xcc\xc8\xa7headers\x90\xa4body\xc4\x00\xa1x" + b"\x91" * 200_000 + b"\xc0",
        b"\x81\xa9selecting\xdd\xff\xff\xff\xff",
        b"\x81\xa8response\x81\xa4body\xc6\xff\xff\xff\xff",
    ],
    ids=["deep", "deep where nobody looks", "a list of billions", "a body of billions"],
)
def test_p12_bytes_that_ask_for_too_much_are_a_miss(fields: bytes) -> None:
    assert unpack(sealed(fields)) is None


def test_another_version_and_trailing_bytes_are_a_miss() -> None:
    fields = SOUND[5:]
    assert unpack(sealed(fields)) == KEPT
    assert unpack(sealed(fields, version=VERSION + 1)) is None
    assert unpack(sealed(fields + b"\xc0")) is None
