"""Invalidation is a date: what a tag record says, and whether a lease granted at an instant still stands under it.

Each check is a function of its own, so that the tests can take any one of them out and watch a promise break.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from typing import NewType

from msgspec import Struct

from cachefence_web.core.policy import Consistency
from cachefence_web.errors import ConfigurationError

Instant = NewType("Instant", int)
"""A point on the namespace's clock: microseconds, strictly increasing as they are given out."""

LONGEST_TAG = 200
MOST_TAGS = 10_000


class Lease(Struct, frozen=True):
    """When, and in which epoch of the namespace, a compute was allowed to begin."""

    instant: Instant
    epoch: int


class TagRecord(Struct, frozen=True):
    """What a namespace remembers of one tag.

    invalidated: the instant of its last invalidation.
    expired: the instant of its last `expire`: entries before it are stale, not gone.
    pending, soonest, latest: how many fences are pending, and their soonest and latest deadlines (0: none).
    """

    invalidated: Instant
    expired: Instant = Instant(0)
    pending: int = 0
    soonest: Instant = Instant(0)
    latest: Instant = Instant(0)

    WIDTH = 70

    def encode(self) -> bytes:
        """Fixed-width decimal fields: a script reads them without losing a digit, in any Lua."""
        return b"%016d%016d%06d%016d%016d" % (
            self.invalidated, self.expired, min(self.pending, 999_999), self.soonest, self.latest)

    @classmethod
    def decode(cls, raw: bytes | None) -> TagRecord | None:
        """The record, or None for a lost or damaged one: both count as invalidated."""
        if raw is None or len(raw) != cls.WIDTH or not raw.isdigit():
            return None
        return cls(Instant(int(raw[:16])), Instant(int(raw[16:32])), int(raw[32:38]),
                   Instant(int(raw[38:54])), Instant(int(raw[54:])))


class Times(Struct, frozen=True):
    """One look at a namespace's dates.

    now: never earlier than the namespace's clock was at the look.
    settled: True when the store itself applied every fence whose deadline had passed.
    """

    epoch: int | None
    records: Mapping[str, TagRecord | None]
    now: Instant
    settled: bool = False


class Standing(enum.Enum):
    """What becomes of something computed under a lease."""

    VALID = "valid"
    EXPIRED = "expired"      # a tag was expired since: stale, but not untrue by decree
    PENDING = "pending"      # a commit on its way may change it, and the read is strict
    UNSETTLED = "unsettled"  # a fence's deadline may have passed: ask the store
    GONE = "gone"


def standing(lease: Lease, tags: Iterable[str], times: Times, consistency: Consistency) -> Standing:
    """Whether what was computed under `lease`, carrying `tags`, may be served now."""
    if not in_epoch(lease, times.epoch):
        return Standing.GONE
    found = Standing.VALID
    for tag in tags:
        record = times.records.get(tag)
        if record is None:
            if lost_counts_as_invalidated():
                return Standing.GONE
            continue
        if not after_invalidation(lease, record.invalidated):
            return Standing.GONE
        if record.pending:
            if deadline_passed(record, times.now):
                if not times.settled:
                    return Standing.UNSETTLED
                if not after_invalidation(lease, record.soonest):
                    return Standing.GONE
            if consistency is Consistency.STRICT and refuses_pending():
                found = Standing.PENDING
        if found is Standing.VALID and lease.instant <= record.expired:
            found = Standing.EXPIRED
    return found


def outdating(lease: Lease, tags: Iterable[str], times: Times) -> tuple[str, ...]:
    """Which of its tags were invalidated after `lease`; a lost record, or another epoch, names none."""
    if not in_epoch(lease, times.epoch):
        return ()
    known = [(tag, record) for tag in tags if (record := times.records.get(tag)) is not None]
    return tuple([
        tag for tag, record in known if not after_invalidation(lease, record.invalidated)
        or (record.pending and deadline_passed(record, times.now) and not after_invalidation(lease, record.soonest))])


def in_epoch(lease: Lease, epoch: int | None) -> bool:
    """No epoch, or another one: the store lost its memory, or was told to forget."""
    return epoch is not None and lease.epoch == epoch


def lost_counts_as_invalidated() -> bool:
    """An evicted record may have held an invalidation."""
    return True


def after_invalidation(lease: Lease, invalidated: Instant) -> bool:
    """The compute began after the invalidation, so it saw what the invalidation was about."""
    return lease.instant > invalidated


def deadline_passed(record: TagRecord, now: Instant) -> bool:
    """A writer that let its deadline pass is dead, and may have committed."""
    return record.soonest <= now


def refuses_pending() -> bool:
    """Between COMMIT and its return the database may already show what the entry does not."""
    return True


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, without repetition, in their order; one of over 200 bytes by its beginning and a digest of it all.

    Raises:
        ConfigurationError: for a tag that is no text, empty, holds white space, a control character or a brace, or a
            `*` that does not stand alone after the last colon (`book:*`).
    """
    if isinstance(tags, str):
        raise ConfigurationError(f"tags is a list of tags, not one text: write [{tags!r}]")
    if not isinstance(tags, Iterable):
        raise ConfigurationError(f"tags is a list of tags, such as ['book:42'], not {tags!r}")
    try:
        checked = tuple(dict.fromkeys(tags))
    except TypeError:
        raise ConfigurationError(f"a tag is a text such as 'book:42', not one of {tags!r:.80}") from None
    long = False
    for tag in checked:
        if tag not in _known_good:
            if _check_tag(tag):
                long = True
                continue
            if len(_known_good) > 10_000:
                _known_good.clear()
            _known_good.add(tag)
    if long:
        checked = tuple(dict.fromkeys([tag if tag in _known_good else shortened(tag) for tag in checked]))
    if len(checked) > MOST_TAGS:
        raise ConfigurationError(f"{len(checked)} tags on one entry; the most is {MOST_TAGS}: name the table instead")
    return checked


_known_good: set[str] = set()


def shortened(tag: str) -> str:
    """What stands for a tag too long to be written: made of values of the request, it can be as long as they are."""
    encoded = tag.encode("utf-8", "surrogatepass")
    if len(encoded) <= LONGEST_TAG:
        return tag
    digest = hashlib.blake2b(encoded, digest_size=20).hexdigest()
    return encoded[:LONGEST_TAG - len(digest) - 1].decode("utf-8", "ignore") + "~" + digest


def _check_tag(tag: object) -> bool:
    """Whether it is too long to be written as it is."""
    if not isinstance(tag, str):
        raise ConfigurationError(f"a tag is a text such as 'book:42', not {tag!r}")
    if not tag:
        raise ConfigurationError("a tag is a text such as 'book:42', not an empty one")
    bare = tag.removesuffix(":*")
    reserved = [char for char in bare if char in "{}*" or char.isspace() or not char.isprintable()]
    if reserved:
        raise ConfigurationError(
            f"the tag {tag[:80]!r} holds {reserved[0]!r}; white space, control characters, braces and '*' are reserved"
            " (only a final ':*' may have one)")
    return len(tag.encode("utf-8", "surrogatepass")) > LONGEST_TAG
