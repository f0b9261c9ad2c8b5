"""Compression is told by the first byte, so old values stay readable when it is switched on or off."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Literal, assert_never, get_args

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers.base import Serializer

LARGEST = 256 * 2**20
"""The most bytes that one value may decompress to: half of what Redis allows a string to hold."""

Algorithm = Literal["zlib", "zstd"]

# No serializer of this package writes either as its first byte, and no UTF-8 text starts with C1.
_ZLIB = b"\xc1"
_ZSTD = b"\xc2"
_MARKS = (_ZLIB, _ZSTD)

_ZLIB_LEVEL = 3  # half the time of zlib's own default, for a tenth more bytes


class Compressed:
    """Another serializer whose larger values travel compressed.

    over: values of at most so many bytes stay as they are; 1,024 since one packet carries those anyway.
    largest: what would decompress to more bytes is refused, so that a few kilobytes cannot fill the memory.
    Raises: ConfigurationError when the algorithm is unknown or its library is missing.
    """

    def __init__(
        self,
        serializer: Serializer,
        *,
        over: int = 1024,
        algorithm: Algorithm = "zlib",
        largest: int = LARGEST,
    ) -> None:
        if isinstance(serializer, type) or not isinstance(serializer, Serializer):
            raise ConfigurationError(f"Compressed({serializer!r}): give a serializer such as MessagePack()")
        if isinstance(serializer, Compressed):
            raise ConfigurationError("Compressed(Compressed(...)): compress once")
        if over < 0 or largest < 1:
            raise ConfigurationError(f"over={over}, largest={largest}: numbers of bytes, largest at least 1")
        self._mark, self._squeeze = _squeezer(algorithm)
        self._serializer, self._over, self._largest = serializer, over, largest
        self.name = f"{serializer.name}+{algorithm}"

    def dumps(self, value: object) -> bytes:
        """The inner serializer's bytes, compressed where that makes them smaller.

        Raises: SerializationError as the inner one does.
        """
        plain = self._serializer.dumps(value)
        if plain[:1] in _MARKS:
            raise SerializationError(
                f"the serializer {self._serializer.name!r} begins a value with {plain[:1].hex()}, which "
                "marks a compressed one: let it put a byte of its own in front, or use it uncompressed"
            )
        if not self._over < len(plain) <= self._largest:
            return plain
        packed = self._mark + self._squeeze(plain)
        return packed if len(packed) < len(plain) else plain

    def loads(self, data: bytes) -> object:
        """The value, whether or not it was compressed, and with whichever algorithm.

        Raises: SerializationError for bytes that do not decompress, or to more than `largest`.
        """
        plain = unpacked(data, self._largest)
        if plain is not data and plain[:1] in _MARKS:
            raise SerializationError("compressed twice: not a value that was written here")
        return self._serializer.loads(plain)


def unpacked(data: bytes, largest: int = LARGEST) -> bytes:
    """The bytes as a serializer wrote them: decompressed if they carry the mark, else untouched.

    Raises: SerializationError for bytes that do not decompress, or to more than `largest`, or that need
        zstd where it is missing.
    """
    mark = data[:1]
    if mark not in _MARKS:
        return data
    try:
        return _unzlib(data, largest) if mark == _ZLIB else _unzstd(data, largest)
    except SerializationError:
        raise
    except ConfigurationError as error:
        raise SerializationError(f"a stored value is compressed with zstd: {error}") from error
    except Exception as error:
        raise SerializationError(f"damaged compressed value: {error}") from error


def _unzlib(data: bytes, largest: int) -> bytes:
    stream = zlib.decompressobj()
    plain = stream.decompress(data[1:], largest + 1)
    return _whole(plain, largest, ended=stream.eof and not stream.unused_data)


def _whole(plain: bytes, largest: int, *, ended: bool) -> bytes:
    if len(plain) > largest:
        raise _too_large(largest)
    if not ended:
        raise SerializationError("damaged compressed value: it is cut short, or bytes follow it")
    return plain


def _too_large(largest: int) -> SerializationError:
    return SerializationError(
        f"a compressed value of more than {largest} bytes: raise Compressed(largest=...) if it is yours"
    )


def _squeezer(algorithm: Algorithm) -> tuple[bytes, Callable[[bytes], bytes]]:
    if algorithm not in get_args(Algorithm):
        raise ConfigurationError(f'algorithm={algorithm!r}: choose "zlib" or "zstd"')
    if algorithm == "zlib":
        return _ZLIB, lambda plain: zlib.compress(plain, _ZLIB_LEVEL)
    if algorithm == "zstd":
        return _ZSTD, _zstd_squeezer()
    assert_never(algorithm)


if sys.version_info >= (3, 14):
    from compression import zstd

    def _zstd_squeezer() -> Callable[[bytes], bytes]:
        options = {zstd.CompressionParameter.checksum_flag: 1}
        return lambda plain: zstd.compress(plain, options=options)

    def _unzstd(data: bytes, largest: int) -> bytes:
        stream = zstd.ZstdDecompressor()
        plain = stream.decompress(data[1:], largest + 1)
        return _whole(plain, largest, ended=stream.eof and not stream.unused_data)

else:
    try:
        import zstandard
    except ImportError:
        zstandard = None  # type: ignore[assignment,unused-ignore]

    def _require_zstd() -> None:
        if zstandard is None:
            raise ConfigurationError('zstd needs a library: pip install "cachefence-web[zstd]"')

    def _zstd_squeezer() -> Callable[[bytes], bytes]:
        _require_zstd()
        # A compressor must not be shared by threads, so each value gets its own.
        return lambda plain: zstandard.ZstdCompressor(write_checksum=True).compress(plain)

    def _unzstd(data: bytes, largest: int) -> bytes:
        _require_zstd()
        body = data[1:]
        # The library allocates what the frame's header claims, before it looks at the data.
        size = zstandard.frame_content_size(body)
        if size > largest:
            raise _too_large(largest)
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=largest, allow_extra_data=False)
