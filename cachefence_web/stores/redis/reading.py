"""Looking at keys: one MGET of entry, epoch and tag records, with the tags remembered from the last look.

Records read later than the entry they belong to are no harm: an entry that stands under them stood when it was read.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from cachebox import LRUCache

from cachefence_web.core.effects import Look
from cachefence_web.core.entry import Entry
from cachefence_web.core.tags import TagRecord, Times
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.refusals import checked
from cachefence_web.stores.redis.scripts import Command, Steps, asked, call
from cachefence_web.stores.redis.storetime import StoreTime

REMEMBERED = 10_000
"""Keys whose tags a process remembers."""

Known: TypeAlias = tuple[tuple[str, ...], Command]
"""The tags of a key's entry, and the command that reads it with them."""

decode_record = lru_cache(maxsize=4096)(TagRecord.decode)


@lru_cache(maxsize=16)
def decode_epoch(raw: bytes | None) -> int | None:
    """The epoch, or None for a lost or damaged one."""
    try:
        return int(raw, 16) if raw is not None and len(raw) == 16 else None
    except ValueError:
        return None


class Reading:
    """The looks of one namespace, and what this process has learnt of its clock and of its keys' tags."""

    __slots__ = ("_known", "names", "time")

    def __init__(self, names: Names, time: StoreTime) -> None:
        self.names = names
        self.time = time
        self._known: LRUCache[str, Known] = LRUCache(REMEMBERED)

    def tags_of(self, key: str) -> tuple[str, ...]:
        """The tags that the key's entry had when it was last seen."""
        known = self._recall(key)
        return () if known is None else known[0]

    def remember(self, key: str, tags: tuple[str, ...]) -> None:
        """The key's next look asks for these tags at once."""
        known = self._recall(key)
        if known is None or known[0] != tags:
            self._known[key] = tags, self._command(key, tags)

    def _recall(self, key: str) -> Known | None:
        return self._known.get(key)

    def _command(self, key: str, tags: tuple[str, ...]) -> Command:
        return ("MGET", self.names.entry(key), self.names.epoch, *self.names.records(tags))

    def peek(self) -> Steps:
        """Ask for the time."""
        sent = self.time.clock()
        (reply,) = yield from asked([self._peek()])
        self.time.learn(checked(reply), sent)

    def one(self, key: str) -> Steps:
        """The look at a key."""
        names, time = self.names, self.time
        tags, read = self._recall(key) or ((), self._command(key, ()))
        sent = time.clock()
        if time.is_old(sent):
            reply, sample = yield from asked([read, self._peek()])
            time.learn(checked(sample), sent)
        else:
            (reply,) = yield [read]
        raw, epoch, *records = checked(reply)
        entry = Entry.decode(raw)
        if entry is None:
            return Look(None, self.times(epoch, (), ()))
        if entry.tags != tags:
            tags = entry.tags
            self.remember(key, tags)
            (reply,) = yield [("MGET", names.epoch, *names.records(tags))]
            epoch, *records = checked(reply)
        times = self.times(epoch, tags, records)
        if entry.lease.instant > times.now:
            # The clock was raised since the sample was taken.
            yield from self.peek()
            times = self.times(epoch, tags, records)
        return Look(entry, times)

    def many(self, keys: Sequence[str]) -> Steps:
        """The looks at many keys, by key, in one MGET."""
        time = self.time
        known = {key: self._recall(key) or ((), self._command(key, ())) for key in keys}
        wanted: dict[str, None] = {}
        for _, read in known.values():
            wanted.update(dict.fromkeys(read[1:]))
        sent = time.clock()
        commands: list[Command] = [("MGET", *wanted)]
        if time.is_old(sent):
            commands.append(self._peek())
        replies = yield from asked(commands)
        found: dict[str, Any] = dict(zip(wanted, checked(replies[0]), strict=True))
        if len(replies) > 1:
            time.learn(checked(replies[1]), sent)
        entries = {key: Entry.decode(found[read[1]]) for key, (_, read) in known.items()}
        for key, entry in entries.items():
            if entry is not None and entry.tags != known[key][0]:
                self.remember(key, entry.tags)
                known[key] = entry.tags, self._command(key, entry.tags)
        yield from self._find_records([read for _, read in known.values()], found)
        newest = max([entry.lease.instant for entry in entries.values() if entry is not None], default=0)
        if newest > time.now():
            yield from self.peek()
        epoch, now = decode_epoch(found[self.names.epoch]), time.now()
        looks = {}
        for key, (tags, read) in known.items():
            records = [decode_record(found[name]) for name in read[3:]]
            looks[key] = Look(entries[key], Times(epoch, dict(zip(tags, records, strict=True)), now))
        return looks

    def _find_records(self, reads: Sequence[Command], found: dict[str, Any]) -> Steps:
        """Ask for the records that nobody remembered, and for the epoch once more: the records speak of that one."""
        missing = dict.fromkeys([name for read in reads for name in read[3:] if name not in found])
        if missing:
            (reply,) = yield [("MGET", self.names.epoch, *missing)]
            found.update(zip((self.names.epoch, *missing), checked(reply), strict=True))

    def times(self, epoch: bytes | None, tags: Sequence[str], records: Sequence[bytes | None]) -> Times:
        """The dates to judge by, from what was read."""
        return Times(decode_epoch(epoch), dict(zip(tags, map(decode_record, records), strict=True)), self.time.now())

    def _peek(self) -> Command:
        return call("peek", self.names.metadata, [secrets.token_hex(8)])
