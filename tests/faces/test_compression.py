"""Compressed or not, with whichever algorithm: stored values stay readable, and none fills the memory."""

from __future__ import annotations

import random
import zlib

import pytest

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers import (
    Compressed,
    Json,
    MessagePack,
    Pickle,
    Serializer,
    compression,
)
from tests.faces.values import (
    SECRET,
)

PLAIN = [MessagePack(), Json(), Pickle(secret=SECRET)]


@pytest.mark.parametrize("inner", PLAIN, ids=lambda serializer: serializer.name)
def test_values_stay_readable_when_compression_is_switched_on_off_or_over(inner: Serializer) -> None:
    value = {"text": "compressible " * 200}
    settings_over_time = [
        inner,
        Compressed(inner, algorithm="zlib"),
        Compressed(inner, algorithm="zstd"),
        Compressed(inner, over=10**6),
    ]
    sizes = [len(each.dumps(value)) for each in settings_over_time]
    assert max(sizes[1:3]) < min(sizes[0], sizes[3]) / 5
    for writer in settings_over_time:
        for reader in settings_over_time:
            assert reader.loads(writer.dumps(value)) == value


def test_small_and_incompressible_values_are_left_as_they_are() -> None:
    noise = random.Random(7).randbytes(5000)
    for value in (b"a" * 1000, noise):
        assert Compressed(MessagePack()).dumps(value) == MessagePack().dumps(value)


@pytest.mark.parametrize("algorithm", ["zlib", "zstd"])
def test_a_decompression_bomb_is_refused_before_it_fills_the_memory(algorithm: compression.Algorithm) -> None:
    bomb = Compressed(MessagePack(), algorithm=algorithm).dumps(bytes(10 * 2**20))
    assert len(bomb) < 100_000
    with pytest.raises(SerializationError, match="more than 1048576 bytes"):
        Compressed(MessagePack(), largest=2**20).loads(bomb)
    with pytest.raises(SerializationError, match="more than 1048576 bytes"):
        compression.unpacked(bomb, 2**20)


def test_a_bomb_within_a_bomb_is_refused() -> None:
    inner = Compressed(MessagePack()).dumps(bytes(10 * 2**20))
    with pytest.raises(SerializationError, match="twice"):
        Compressed(MessagePack(), largest=2**20).loads(b"\xc1" + zlib.compress(inner))


def test_what_is_too_large_to_be_read_back_is_not_compressed() -> None:
    modest = Compressed(MessagePack(), largest=2000)
    assert modest.loads(modest.dumps("a" * 5000)) == "a" * 5000


def test_without_its_library_zstd_names_the_extra_and_stored_values_are_misses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hasattr(compression, "zstandard"):
        pytest.skip("zstd is in the standard library here")
    stored = Compressed(MessagePack(), algorithm="zstd").dumps("a" * 5000)
    monkeypatch.setattr(compression, "zstandard", None)
    with pytest.raises(ConfigurationError, match=r"cachefence-web\[zstd\]"):
        Compressed(MessagePack(), algorithm="zstd")
    with pytest.raises(SerializationError, match=r"cachefence-web\[zstd\]"):
        Compressed(MessagePack()).loads(stored)
