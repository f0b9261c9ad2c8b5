"""Damaged bytes are a miss; sound ones come back as they were."""

from __future__ import annotations

import struct
import zlib

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cachefence_web.http import Response, pack, unpack
from cachefence_web.http.packing import VERSION
from tests.http.build import answer

_responses = st.builds(
    Response,
    st.integers(100, 999),
    st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=5).map(tuple),
    st.binary(max_size=300),
)
_values = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
SOUND = pack(answer("Content-Type: text/html", "Link: </a>", "Link: </b>"))


@given(_responses)
def test_a_response_comes_back_as_it_was(response: Response) -> None:
    assert unpack(pack(response)) == response


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
    "fields",
    [
        {"status": "200", "headers": [], "body": b""},
        {"status": 200, "headers": [["a", "b"]], "body": b""},
        {"status": 200, "headers": [[b"a"]], "body": b""},
        {"status": 200, "headers": [], "body": "text"},
        {"status": 200, "headers": []},
        {"status": 99, "headers": [], "body": b""},
        {"status": 1000, "headers": [], "body": b""},
        {"status": -200, "headers": [], "body": b""},
    ],
)
def test_p12_fields_of_another_shape_are_a_miss(fields: dict[str, object]) -> None:
    assert unpack(sealed(msgspec.msgpack.encode(fields))) is None


def test_another_version_and_trailing_bytes_are_a_miss() -> None:
    fields = SOUND[5:]
    assert unpack(sealed(fields)) is not None
    assert unpack(sealed(fields, version=VERSION + 1)) is None
    assert unpack(sealed(fields + b"\xc0")) is None
