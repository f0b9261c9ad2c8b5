"""The bytes of an entry: versioned, self-describing, and a miss whenever anything about them is wrong."""

from __future__ import annotations

import enum
import struct

from msgspec import Struct

from cachefence_web.core.tags import Instant, Lease

MAGIC = 0xCF
VERSION = 1
NEVER = Instant(2**63 - 1)
"""The date of what has no end."""
ENDLESS = Instant(2**62)
"""Dates from here on are as good as NEVER; below NEVER there is room for how long a value may be stale after it."""

_HEADER = struct.Struct(">BBBBQQQQQIHI")
# magic, version, kind, flags, lease instant, epoch, fresh, stale and error until, cost µs, tags, payload's offset
_RENEWAL = struct.Struct(">Q")
_RENEWED = 1
"""The flag of an entry with a renewal, which stands right before the payload."""
LEASE_AT, DATES_AT = 4, 20
"""Where the lease (16 bytes) and the three dates (24 bytes) stand, for the scripts that compare and amend them."""


class Kind(enum.IntEnum):
    """What the payload is."""

    VALUE = 0     # bytes of a serializer
    NUMBER = 1    # a decimal integer, so that the store itself can add to it
    FAILURE = 2   # an error record: what the failed compute said
    PASS = 3      # an error record: this key's answers cannot be shared; do not queue for it
    RAW = 4       # bytes as they are: a packed response


class Entry(Struct, frozen=True):
    """What is stored under a key.

    cost: how long the compute took, in microseconds (XFetch's delta).
    fresh_until, stale_until, error_until: instants on the namespace's clock; NEVER for no end.
    renewal: microseconds for which a hit makes it fresh again, where hits do; 0: they do not.
    """

    lease: Lease
    fresh_until: Instant
    stale_until: Instant
    error_until: Instant
    cost: int
    tags: tuple[str, ...]
    payload: bytes
    kind: Kind = Kind.VALUE
    renewal: int = 0

    def encode(self) -> bytes:
        """At most 64 bytes more than the payload, plus the tag names and a byte for each."""
        names = [name.encode() for name in self.tags]
        tags = b"".join([bytes((len(name),)) + name for name in names])
        if self.renewal:
            tags += _RENEWAL.pack(self.renewal)
        return _HEADER.pack(
            MAGIC, VERSION, self.kind, _RENEWED if self.renewal else 0, self.lease.instant, self.lease.epoch,
            self.fresh_until, self.stale_until, self.error_until, min(self.cost, 2**32 - 1), len(names),
            _HEADER.size + len(tags),
        ) + tags + self.payload

    @classmethod
    def decode(cls, raw: bytes | None) -> Entry | None:
        """The entry, or None for bytes that are not one: truncated, foreign, of another version."""
        if raw is None or len(raw) < _HEADER.size or raw[0] != MAGIC or raw[1] != VERSION:
            return None
        _, _, kind, flags, instant, epoch, fresh, stale, error, cost, count, offset = _HEADER.unpack_from(raw)
        if flags > _RENEWED or kind >= len(_KINDS) or offset > len(raw):
            return None
        end, renewal = offset, 0
        if flags:
            end = offset - _RENEWAL.size
            renewal = _RENEWAL.unpack_from(raw, end)[0] if end >= _HEADER.size else 0
            if not renewal:
                return None
        tags = _tags(raw, count, end) if count else () if end == _HEADER.size else None
        if tags is None:
            return None
        return cls(Lease(instant, epoch), fresh, stale, error, cost, tags, raw[offset:], _KINDS[kind], renewal)


_KINDS = tuple(Kind)


def dates(fresh_until: Instant, stale_until: Instant, error_until: Instant) -> bytes:
    """The three dates as they stand in an entry, for a store that amends them in place."""
    return struct.pack(">QQQ", fresh_until, stale_until, error_until)


def renewal_bytes(renewal: int) -> bytes:
    """The renewal as it stands in an entry, for a store that amends it in place."""
    return _RENEWAL.pack(renewal)


def lease_bytes(lease: Lease) -> bytes:
    """The lease as it stands in an entry, for a store that compares before it changes."""
    return struct.pack(">QQ", lease.instant, lease.epoch)


def _tags(raw: bytes, count: int, offset: int) -> tuple[str, ...] | None:
    names = []
    at = _HEADER.size
    for _ in range(count):
        end = at + 1 + raw[at] if at < offset else offset + 1
        if end > offset:
            return None
        try:
            names.append(raw[at + 1:end].decode())
        except UnicodeDecodeError:
            return None
        at = end
    return tuple(names) if at == offset else None
