"""The bytes of a stored response: version, checksum, MessagePack; anything damaged or foreign is a miss."""

from __future__ import annotations

import math
import struct
import zlib

import msgspec

from cachefence_web.http.message import Stored

VERSION = 2
_HEADER = struct.Struct(">BI")  # version, CRC-32 of what follows

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode


def pack(stored: Stored) -> bytes:
    """The response as bytes that `unpack` reads."""
    fields = _encode(stored)
    return _HEADER.pack(VERSION, zlib.crc32(fields)) + fields


def unpack(packed: bytes) -> Stored | None:
    """The response, or None for bytes that are not one: truncated, flipped, foreign, of another version."""
    if len(packed) < _HEADER.size:
        return None
    version, checksum = _HEADER.unpack_from(packed)
    fields = packed[_HEADER.size:]
    if version != VERSION or checksum != zlib.crc32(fields):
        return None
    try:
        stored = _decode(fields)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return stored if _sound(stored) else None


def _sound(stored: Stored) -> bool:
    seconds = (stored.initial_age, stored.excuses, stored.overdue or 0.0)
    return 100 <= stored.response.status <= 999 and stored.initial_age < math.inf and all(each >= 0 for each in seconds)
