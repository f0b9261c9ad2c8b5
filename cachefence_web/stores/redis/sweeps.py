"""The steps of a walk over all keys: what is there, what stands, what goes, whose records stay."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeAlias

from cachefence_web.core.effects import Glance, Glanced, Keep, Look, Sweep, Swept, Unswept
from cachefence_web.core.entry import Entry, lease_bytes
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.reading import Reading, decode_epoch
from cachefence_web.stores.redis.refusals import checked
from cachefence_web.stores.redis.scripts import Command, Replies, Steps, asked, call
from cachefence_web.stores.redis.storetime import UNSWEPT

OfASweep: TypeAlias = Unswept | Glance | Sweep | Keep | Swept

Dated: TypeAlias = Callable[[str, Iterable[str], Iterable[Any]], Generator[list[Command], Replies, Replies]]
"""Runs one script on the clock."""


def of_a_sweep(effect: OfASweep, reading: Reading, dated: Dated) -> Steps:
    """The effect, step by step."""
    names = reading.names
    match effect:
        case Unswept():
            told = yield from dated("peek", (), ())
            return decode_epoch(told[1]) if told[-1] == UNSWEPT else None
        case Glance(key):
            return (yield from _glance(key, reading))
        case Sweep(key, lease):
            (reply,) = yield from asked([call("sweep", [names.entry(key)], [lease_bytes(lease)])])
            return checked(reply) == 1
        case Keep(tags):
            (reply,) = yield from asked([prolonged(names, tags, "")])
            checked(reply)
            return None
        case Swept(epoch):
            yield from dated("swept", (), (f"{epoch:016x}",))
            return None


def prolonged(names: Names, tags: Iterable[str], life: Any) -> Command:
    """The command that lets the records of tags outlive an entry. life: in milliseconds; empty for one without end."""
    return call("prolong", [names.metadata[0], *names.records(tags)], [life])


def _glance(key: str, reading: Reading) -> Steps:
    """First the entry, then its dates: what they say is gone was gone before it is removed."""
    names = reading.names
    (reply,) = yield from asked([call("glance", [names.entry(key)], ())])
    raw, left = checked(reply) or (None, -1)
    entry = Entry.decode(raw)
    tags = () if entry is None else entry.tags
    (dated,) = yield [("MGET", names.epoch, *names.records(tags))]
    epoch, *records = checked(dated)
    return Glanced(Look(entry, reading.times(epoch, tags, records)), left == -1)
