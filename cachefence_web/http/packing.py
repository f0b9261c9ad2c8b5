"""The bytes of a stored response: version, checksum, MessagePack; anything damaged or foreign is a miss."""

from __future__ import annotations

import struct
import zlib

import msgspec

from cachefence_web.http.message import Response

VERSION = 1
_HEADER = struct.Struct(">BI")  # version, CRC-32 of what follows

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Response).decode


def pack(response: Response) -> bytes:
    """The response as bytes that `unpack` reads."""
    fields = _encode(response)
    return _HEADER.pack(VERSION, zlib.crc32(fields)) + fields


def unpack(packed: bytes) -> Response | None:
    """The response, or None for bytes that are not one: truncated, flipped, foreign, of another version."""
    if len(packed) < _HEADER.size:
        return None
    version, checksum = _HEADER.unpack_from(packed)
    fields = packed[_HEADER.size:]
    if version != VERSION or checksum != zlib.crc32(fields):
        return None
    try:
        response = _decode(fields)
    except msgspec.MsgspecError:
        return None
    return response if 100 <= response.status <= 999 else None
