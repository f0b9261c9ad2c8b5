"""Each store effect as Redis commands: a small generator that yields one pipeline at a time and is sent its replies.

Both colours run these; nothing here touches a socket. Server errors arrive as exceptions among the replies.
"""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Literal

from msgspec.structs import replace
from redis.exceptions import AuthenticationError

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Claim,
    Claimed,
    Clear,
    Delete,
    Expire,
    Fence,
    Filed,
    Fill,
    Glance,
    Invalidate,
    Keep,
    Lift,
    Look,
    Put,
    Read,
    Release,
    Renew,
    Settle,
    StoreEffect,
    Swap,
    Sweep,
    Swept,
    TakeInstant,
    Unswept,
)
from cachefence_web.core.entry import Entry, Kind, dates, lease_bytes, renewal_bytes
from cachefence_web.core.tags import Instant, Lease, Times
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.memory import glob
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.reading import Reading, decode_epoch, decode_record
from cachefence_web.stores.redis.refusals import checked
from cachefence_web.stores.redis.scripts import Command, Replies, Steps, asked, call, inquiry, lessons, together
from cachefence_web.stores.redis.storetime import StoreTime, local_clock
from cachefence_web.stores.redis.sweeps import OfASweep, of_a_sweep, prolonged

OnRestart = Literal["new_epoch", "keep"]

log = logging.getLogger("cachefence_web")

_LARGEST = 2**63 - 1
_PLAIN = re.compile(r"[^*?\[\\]*")


def repeatable(effect: StoreEffect[Any]) -> bool:
    """Whether an effect may be sent anew when it is unknown if it was taken.

    A Put could come to lie over a newer one that others have seen; an Add would count twice, and so would a Swap whose
    caller is told that it was not taken.
    """
    return not isinstance(effect, Put | Add | Swap)


class Commands:
    """The commands of one namespace.

    deadline: seconds that an operation may take; on_restart: whether a server that is another, or its own older self,
    begins a new epoch; clock: microseconds on this machine's own monotonic clock.
    server: the replication id of the server last met, or nothing where it is not told.
    """

    __slots__ = ("_deadline", "_on_restart", "_time", "_warned", "names", "reading", "server")

    def __init__(
        self, namespace: str, deadline: float, on_restart: OnRestart = "new_epoch",
        clock: Callable[[], int] = local_clock,
    ) -> None:
        self.names = Names(namespace)
        self._time = StoreTime(clock)
        self.reading = Reading(self.names, self._time)
        self._deadline = int(deadline * 1_000_000)
        self._on_restart = on_restart
        self._warned = False
        self.server = ""

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called whenever the server says that there is something to sweep."""
        self._time.on_leftovers = tell

    def steps(self, effect: StoreEffect[Any]) -> Steps:
        """The effect, step by step."""
        match effect:
            case Read(key):
                return self.reading.one(key)
            case Claim():
                return self._claim(effect)
            case Fill():
                return self._fill(effect)
            case Put():
                return self._put(effect)
            case Renew() | Release() | Delete() | Amend() | Add() | Swap():
                return self._on_key(effect)
            case Unswept() | Glance() | Sweep() | Keep() | Swept():
                return self._of_a_sweep(effect)
            case Settle(tags):
                return self._settle(tags)
            case TakeInstant():
                return self._take_instant()
            case Invalidate(tags):
                return self._date("invalidate", self.names.records(tags))
            case Expire(tags):
                return self._date("expire", self.names.records(tags))
            case Fence(tags, token, life):
                return self._fence(tags, token, life)
            case Lift(tags, token, outcome):
                return self._nothing("lift", self.names.pairs(tags), token, outcome.value)
            case Clear():
                return self._nothing("clear", ())
        raise TypeError(f"no Redis command for {effect!r}")

    def all(self, effects: Sequence[StoreEffect[Any]]) -> Steps:
        """Several effects side by side: a list of answers, among them what would have been raised."""
        reads = []
        for effect in effects:
            if not isinstance(effect, Read):
                break
            reads.append(effect.key)
        if len(reads) < 2:
            return (yield from together([self.steps(effect) for effect in effects]))
        rest = [self.steps(effect) for effect in effects[len(reads):]]
        looks, *answers = yield from together([self.reading.many(reads), *rest])
        if isinstance(looks, StoreUnavailable):
            return [looks] * len(reads) + answers
        return [looks[key] for key in reads] + answers

    def greet(self) -> Steps:
        """On a new connection: the time, and a new epoch if the server is another than the last; its `server`."""
        # INFO first and alone: Redis hangs up on a stranger who sends a long command, and would not say why.
        (info,) = yield [("INFO", "replication")]
        if isinstance(info, AuthenticationError):
            checked(info)
        (scripts,) = yield [inquiry()]
        lacking = lessons(scripts)
        if lacking:
            yield lacking
        met = self._identified(info)
        # `adopt` writes, and so finds out a replica, only where the server is another; `peek` always does.
        adopt = [self._on_clock("adopt", (), [met, "server"])] if met and self._on_restart == "new_epoch" else []
        sent = self._time.clock()
        *_, dated = map(checked, (yield from asked([*adopt, self._on_clock("peek", (), ())])))
        self._time.learn(dated, sent)
        self.server = met
        return met

    def recognise(self) -> Steps:
        """Ask the server again who it is: one that is promoted, or without a replica for an hour, takes another id."""
        (info,) = yield [("INFO", "replication")]
        self.server = self._identified(info)

    def _identified(self, info: Any) -> str:
        """The server's replication id from INFO; empty, with a warning if that matters, where it will not tell."""
        found = _REPLICATION_ID.search(info) if isinstance(info, bytes) else None
        if found is not None:
            return found[1].decode()
        if not self._warned and self._on_restart == "new_epoch":
            self._warned = True
            log.warning("this Redis does not tell its replication id (INFO replication): should it restart from an old"
                        " snapshot, nobody would notice; allow the command, or call invalidate_all() after a restart")
        return ""

    def scan(self, cursor: int, pattern: str) -> Steps:
        """The next cursor, and some of the keys that match a glob."""
        match = self.names.entries(_PLAIN.match(pattern)[0])  # type: ignore[index]
        (reply,) = yield [("SCAN", cursor, "MATCH", match, "COUNT", 1000)]
        following, found = checked(reply)
        # Redis would match the name, in which a brace of the user's is three characters.
        matches = glob(pattern).fullmatch
        return int(following), [key for key in map(self.names.key_of, found) if matches(key)]

    def _claim(self, effect: Claim) -> Steps:
        key, names = effect.key, self.names
        tags = self.reading.tags_of(key)
        seen, spent = _lease(effect.seen), _lease(effect.spent)
        while True:
            sent = self._time.clock()
            claimed, dated, values = map(checked, (yield from asked([
                call("claim", names.of_key(key), [
                    effect.token, _milliseconds(effect.life), seen, effect.takeover or "", spent, names.channel(key)]),
                self._on_clock("instant", (), ()),
                ("MGET", names.entry(key), names.error(key), names.epoch, *names.records(tags)),
            ])))
            self._time.learn(dated, sent)
            raw, failed, epoch, *records = values
            entry, failure = Entry.decode(raw), Entry.decode(failed)
            # What a script takes for an entry and a reader for nothing must not stand in the way.
            known = seen, spent
            seen, spent = _damaged(raw, entry) or seen, _damaged(failed, failure) or spent
            if claimed[0] != b"present" or (seen, spent) == known:
                break
        times = yield from self._dates_of(key, entry, failure, tags, epoch, records)
        look = Look(entry, times, failure)
        if claimed[0] == b"granted":
            return Claimed(Lease(Instant(int(dated[0])), int(dated[1], 16)), None, look)
        return Claimed(None, claimed[1].decode() if claimed[0] == b"held" else None, look)

    def _dates_of(
        self, key: str, entry: Entry | None, failure: Entry | None, tags: tuple[str, ...], epoch: bytes | None,
        records: Sequence[bytes | None],
    ) -> Generator[list[Command], Replies, Times]:
        """The dates of an entry and an error record; those of tags that were not remembered are asked for."""
        found = [one for one in (entry, failure) if one is not None]
        needed = tuple(dict.fromkeys([tag for one in found for tag in one.tags]))
        if not set(needed) <= set(tags):
            tags = needed
            (reply,) = yield [("MGET", self.names.epoch, *self.names.records(tags))]
            epoch, *records = checked(reply)
        if entry is not None:
            self.reading.remember(key, entry.tags)
        return self.reading.times(epoch, tags, records)

    def _fill(self, effect: Fill) -> Steps:
        entry = effect.entry
        where = "error" if entry.kind in {Kind.FAILURE, Kind.PASS} else "entry"
        return (yield from self._file(effect, "fill", where, [effect.token, where]))

    def _put(self, effect: Put) -> Steps:
        expected: str | bytes = "any" if effect.expected is ANY else _lease(effect.expected)
        while True:
            filed = yield from self._lay(effect, expected)
            if filed is not Filed.CONFLICT or expected:
                return filed
            (reply,) = yield [("MGET", self.names.entry(effect.key))]
            (raw,) = checked(reply)
            expected = _damaged(raw, Entry.decode(raw))
            if not expected:
                return filed

    def _lay(self, effect: Put, expected: str | bytes) -> Generator[list[Command], Replies, Filed]:
        """Put, if the present entry has the expected lease."""
        if self._time.is_old(self._time.clock()):
            yield from self._take_instant()
        not_after = self._time.server_time(self._time.clock()) + self._deadline
        return (yield from self._file(effect, "put", "entry", [expected, not_after, effect.key]))

    def _file(
        self, effect: Fill | Put, name: str, where: str, arguments: list[Any]
    ) -> Generator[list[Command], Replies, Filed]:
        entry, key = effect.entry, effect.key
        filed = yield from self._dated(
            name,
            [*self.names.of_key(key), *self.names.pairs(entry.tags)],
            [entry.lease.instant, f"{entry.lease.epoch:016x}", entry.encode(), life_of(effect.life),
             self.names.channel(key), *arguments])
        verdict = Filed(filed[3].decode())
        if verdict is Filed.ADMITTED and where == "entry":
            self.reading.remember(key, entry.tags)
        return verdict

    def _on_key(self, effect: Renew | Release | Delete | Amend | Add | Swap) -> Steps:
        """What concerns one key alone, without the namespace's clock."""
        names = self.names
        match effect:
            case Renew(key, token, life):
                renew = call("renew", [names.lease(key)], [token, _milliseconds(life)])
                (reply,) = yield from asked([renew])
                return checked(reply) == 1
            case Release(key, token):
                (reply,) = yield from asked([
                    call("release", [names.lease(key)], [token, names.channel(key)])])
                checked(reply)
                return None
            case Delete(key):
                delete = call("delete", names.of_key(key), [names.channel(key)])
                (deleted,) = yield from self._change(key, delete)
                return checked(deleted) == 1
            case Amend():
                return (yield from self._amend(effect))
            case Add():
                return (yield from self._add(effect))
            case Swap():
                return (yield from self._swap(effect))

    def _amend(self, effect: Amend) -> Steps:
        key, life = effect.key, life_of(effect.life)
        # First the records: one that outlives more than it should costs nothing, one that outlives less a recompute.
        prolong = prolonged(self.names, self.reading.tags_of(key), life)
        amend = call("amend", [self.names.entry(key)], [
            lease_bytes(effect.lease), dates(effect.fresh_until, effect.stale_until, effect.error_until), life,
            renewal_bytes(effect.renewal) if effect.renewal else b""])
        _, amended = yield from self._change(key, prolong, amend)
        return checked(amended) == 1

    def _of_a_sweep(self, effect: OfASweep) -> Steps:
        return of_a_sweep(effect, self.reading, self._dated)

    def _add(self, effect: Add) -> Steps:
        key = effect.key
        names = self.names
        add = call("add", [names.entry(key), names.lease(key), names.scratch(key)], [
            lease_bytes(effect.lease), effect.delta, names.channel(key)])
        added: bytes | None = b""
        if -_LARGEST - 1 <= effect.delta <= _LARGEST:
            (reply,) = yield from self._change(key, add)
            added = checked(reply)
        if added == b"":
            raise OverflowError(f"the sum under {key!r} does not fit 64 bits")
        return None if added is None else int(added)

    def _swap(self, effect: Swap) -> Steps:
        key, seen = effect.key, effect.seen
        swap = call("swap", [self.names.entry(key), self.names.lease(key)], [
            seen.encode(), replace(seen, payload=effect.payload, kind=effect.kind).encode(), self.names.channel(key)])
        (swapped,) = yield from self._change(key, swap)
        return checked(swapped) == 1

    def _settle(self, tags: tuple[str, ...]) -> Steps:
        settled = yield from self._dated("settle", self.names.pairs(tags), ())
        records = {tag: decode_record(raw) for tag, raw in zip(tags, settled[3:], strict=True)}
        return Times(decode_epoch(settled[1]), records, Instant(int(settled[0])), settled=True)

    def _take_instant(self) -> Steps:
        dated = yield from self._dated("instant", (), ())
        return Lease(Instant(int(dated[0])), int(dated[1], 16))

    def _fence(self, tags: tuple[str, ...], token: str, life: float) -> Steps:
        fenced = yield from self._dated("fence", self.names.pairs(tags), [token, int(life * 1_000_000)])
        return Instant(int(fenced[3]))

    def _date(self, name: str, keys: Iterable[str]) -> Steps:
        dated = yield from self._dated(name, keys, ())
        return Instant(int(dated[0]))

    def _nothing(self, name: str, keys: Iterable[str], *arguments: Any) -> Steps:
        yield from self._dated(name, keys, arguments)

    def _dated(
        self, name: str, keys: Iterable[str], arguments: Iterable[Any]
    ) -> Generator[list[Command], Replies, Replies]:
        """Run one script on the clock, and learn the time from its reply."""
        sent = self._time.clock()
        (reply,) = yield from asked([self._on_clock(name, keys, arguments)])
        dated: Replies = checked(reply)
        self._time.learn(dated, sent)
        return dated

    def _on_clock(self, name: str, keys: Iterable[str], arguments: Iterable[Any]) -> Command:
        return call(name, [*self.names.metadata, *keys], [secrets.token_hex(8), *arguments])

    def _change(self, key: str, *commands: Command) -> Generator[list[Command], Replies, Replies]:
        """Send what changes a key, and then a note of it to the log; the replies to the former."""
        replies = yield from asked([*commands, self._note(key)])
        return replies[:-1]

    def _note(self, key: str) -> Command:
        metadata = self.names.metadata
        return call("note", [metadata[0], metadata[3]], [key])


_REPLICATION_ID = re.compile(rb"^master_replid:(\w+)", re.MULTILINE)


def _damaged(raw: bytes | None, entry: Entry | None) -> bytes:
    """The lease of what a script takes for an entry and Python does not; else nothing."""
    if raw is None or entry is not None or not raw.startswith(b"\xcf\x01"):
        return b""
    return raw[4:20] if len(raw) >= 54 else b""


def _lease(lease: Lease | None) -> bytes:
    return b"" if lease is None else lease_bytes(lease)


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def life_of(seconds: float | None) -> Any:
    """How long Redis is to keep it, in milliseconds; empty for ever."""
    return "" if seconds is None else _milliseconds(seconds)
