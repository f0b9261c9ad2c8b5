"""Whatever bytes are read, they are refused or are a value; they never run, and never raise anything else."""

from __future__ import annotations

import contextlib
import hmac
import pickle
import random
import struct
import zlib
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers import (
    Compressed,
    Json,
    MessagePack,
    Pickle,
    Serializer,
)
from tests.faces.values import (
    PARIS,
    REGISTERED,
    SECRET,
    exactly,
    thoroughly,
    values,
)

exploded: list[str] = []


def explode() -> None:
    exploded.append("code from bytes has run")


class Bomb:
    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return explode, ()


def damaged(data: bytes, chance: random.Random) -> bytes:
    match chance.randrange(6):
        case 0:
            return data[: chance.randrange(len(data))]
        case 1:
            at = chance.randrange(len(data))
            return data[:at] + bytes((data[at] ^ (1 << chance.randrange(8)),)) + data[at + 1 :]
        case 2:
            return chance.randbytes(chance.randrange(64))
        case 3:
            return data + chance.randbytes(1 + chance.randrange(4))
        case 4:
            return data[:1] + chance.randbytes(chance.randrange(100))
        case _:
            at = chance.randrange(len(data))
            return data[:at] + chance.randbytes(5) + data[at:]


FOREIGN = [
    b"",
    b"\x00",
    b"plain text",
    b'{"a": 1, "b": NaN',
    b"\x91" * 100_000,
    b"[" * 100_000,
    b"9" * 10_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xc1" + zlib.compress(b"\x91" * 100_000),
    b"\xc2\x28\xb5\x2f\xfd\x00",
    pickle.dumps(Bomb()),
    b"\xc0" + bytes(32) + pickle.dumps(Bomb()),
    b"\xc1" + zlib.compress(b"\xc0" + bytes(32) + pickle.dumps(Bomb())),
]


@pytest.mark.parametrize(
    "serializer",
    [
        MessagePack(types=REGISTERED),
        Pickle(secret=SECRET),
        Compressed(MessagePack(types=REGISTERED), over=0),
        Compressed(Pickle(secret=SECRET), over=0, algorithm="zstd"),
    ],
    ids=lambda serializer: serializer.name,
)
def test_p12_ten_thousand_damaged_or_foreign_inputs_are_refused_and_nothing_runs(serializer: Serializer) -> None:
    exploded.clear()
    chance = random.Random(7)
    originals: list[object] = [
        7,
        "text",
        {"id": 1, "tags": ["a", "b"] * 40},
        [(1, 2), {3}, Decimal("1.5"), datetime(2026, 1, 1, tzinfo=PARIS), 2**80],
    ]
    samples = [serializer.dumps(value) for value in originals]
    refused = 0
    while refused < 10_000:
        original = chance.randrange(len(samples))
        if (broken := damaged(samples[original], chance)) in samples:
            continue
        try:
            value = serializer.loads(broken)
        except SerializationError:
            refused += 1
        else:  # compressed frames have bits that mean nothing: flipping one of those changes no value
            assert serializer.name.endswith(("+zlib", "+zstd"))
            assert exactly(value) == exactly(originals[original])
    for data in FOREIGN:
        with pytest.raises(SerializationError):
            serializer.loads(data)
    assert not exploded


def test_p12_ten_thousand_inputs_to_json_are_values_or_refused() -> None:
    chance = random.Random(7)
    sample = Json().dumps({"id": 1.5, "tags": ["ä", None, True] * 5})
    refused = 0
    for data in [*FOREIGN, *(damaged(sample, chance) for _ in range(10_000))]:
        try:
            Json().loads(data)
        except SerializationError:
            refused += 1
    assert refused > 5_000


def forged(body: bytes) -> bytes:
    """A document that is not ours but has the right checksum, as one who can write to the store would make it."""
    framed = b"\x92" + body + b"\xce"
    return framed + struct.pack("<I", zlib.crc32(framed))


@thoroughly
@given(
    st.integers(-128, 127),
    st.one_of(st.binary(max_size=40), values.map(lambda value: MessagePack().dumps(value)[1:-5])),
)
def test_p12_a_forged_extension_is_a_harmless_value_or_refused(code: int, part: bytes) -> None:
    data = forged(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, part)))
    with contextlib.suppress(SerializationError):
        MessagePack(types=REGISTERED).loads(data)


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 100_000,
        msgspec.msgpack.encode(msgspec.msgpack.Ext(6, msgspec.msgpack.encode(10**12))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(2, msgspec.msgpack.encode([[1]]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(7, msgspec.msgpack.encode(["2026-01-01", 0, "../../etc/passwd"]))),
        b"\xdd\xff\xff\xff\xff",
    ],
    ids=["nested too deeply", "a terabyte", "an unhashable member", "a path as a zone", "a length of four billion"],
)
def test_p12_forged_documents_are_refused(body: bytes) -> None:
    with pytest.raises(SerializationError):
        MessagePack().loads(forged(body))


def test_p12_a_pickle_runs_only_when_signed_with_the_secret() -> None:
    exploded.clear()
    bomb = Pickle(secret="another application's secret").dumps(Bomb())
    with pytest.raises(SerializationError, match="not signed"):
        Pickle(secret=SECRET).loads(bomb)
    assert not exploded
    Pickle(secret="another application's secret").loads(bomb)
    assert exploded, "the bomb is a dud, so its silence above proves nothing"


def test_p12_rotation_reads_the_old_secret_and_signs_with_the_new() -> None:
    old, rotated = Pickle(secret="old " * 8), Pickle(secret=SECRET, fallbacks=["older " * 4, "old " * 8])
    assert rotated.loads(old.dumps((1,))) == (1,)
    assert Pickle(secret=SECRET.encode()).loads(rotated.dumps((1,))) == (1,)
    with pytest.raises(SerializationError, match="fallbacks"):
        old.loads(rotated.dumps((1,)))


def test_p12_the_signing_key_is_not_the_secret_itself() -> None:
    body = pickle.dumps(1)
    elsewhere = b"\xc0" + hmac.digest(SECRET.encode(), body, "sha256") + body
    with pytest.raises(SerializationError, match="not signed"):
        Pickle(secret=SECRET).loads(elsewhere)


@pytest.mark.parametrize("secret", [None, "", "too short", b"fifteen bytes.."])
def test_p12_a_missing_or_guessable_secret_is_refused_at_once(secret: str | bytes | None) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        Pickle(secret=secret)
    with pytest.raises(ConfigurationError, match="secret"):
        Pickle(secret=SECRET, fallbacks=[secret])  # type: ignore[list-item]


def test_what_cannot_be_pickled_is_a_clear_error() -> None:
    with pytest.raises(SerializationError, match="function"):
        Pickle(secret=SECRET).dumps(lambda: None)
