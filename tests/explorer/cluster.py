"""A store on two servers: dates on one, keys on the other; what needs both is taken in parts, with others between them.

A look asks both at once, so its parts come in any order; whoever files a value asks for its admission first. Whatever
happens to the server of the keys, a part that it has yet to take stands on dates read since it was last reached.
"""

from __future__ import annotations

import enum
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace

from cachefence_web.core.effects import Claim, Claimed, Fill, Look, Put, Read, StoreEffect, TakeInstant
from cachefence_web.core.tags import Times, in_epoch
from cachefence_web.stores.dates import Dates
from tests.explorer.steps import note
from tests.explorer.world import Task, World

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING_YET: tuple[tuple[Any, ...], tuple[Any, ...]] = ((), ())
"""The answers of the server of the keys, and those of the server of the dates."""


class Server(enum.StrEnum):
    """Which of the two takes a part."""

    KEYS = "keys"
    DATES = "dates"


def in_parts(effect: StoreEffect[Any]) -> bool:
    """Whether an effect needs both servers."""
    return isinstance(effect, Read | Claim | Fill | Put)


def servers(world: World, task: Task, effect: StoreEffect[Any]) -> tuple[Server, ...]:
    """Those who may take the next part."""
    keyed, dated = task.half or NOTHING_YET
    if isinstance(effect, Fill | Put):
        return (Server.KEYS,) if dated else (Server.DATES,)
    whole = 2 if isinstance(effect, Claim) else 1
    return tuple(server for server, done in ((Server.KEYS, keyed), (Server.DATES, dated)) if len(done) < whole)


def take_part(world: World, task: Task, effect: StoreEffect[Any], server: Server) -> tuple[Any] | None:
    """Have a server take its part; the answer in a tuple once there is one."""
    keyed, dated = task.half or NOTHING_YET
    if server is Server.KEYS and isinstance(effect, Fill | Put):
        filed = file(world, effect, dated[0])
        world.change(task.name, half=None)
        note(world, task, effect, filed)
        return (filed,)
    if server is Server.KEYS:
        keyed += _of_keys(world, effect, keyed)
    else:
        dated += _of_dates(world, effect, dated)
    answer = _answer(effect, keyed, dated)
    if answer and server is Server.KEYS and not dates_suffice(answer[0]):
        answer, dated = None, dated[:-1]
    world.change(task.name, half=None if answer else (keyed, dated))
    if answer and isinstance(effect, Claim):
        held = world.ledger.leases.get(effect.key)
        if held is not None and held.token == effect.token:
            note(world, task, effect, answer[0])
    return answer


def _of_keys(world: World, effect: StoreEffect[Any], done: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the server of the keys says to a look: first who has the lease, then what there is."""
    if isinstance(effect, Claim) and not done:
        granted = (world.ledger.grant(effect, world.time),)
        return granted if world.torn else granted + _of_keys(world, effect, granted)
    look = world.ledger.look(cast("Read | Claim", effect).key, world.time)
    return ((look.entry, look.failure),)


def _of_dates(world: World, effect: StoreEffect[Any], done: tuple[Any, ...]) -> tuple[Any, ...]:
    """What the server of the dates says: whether a value is admitted, or the instant of a claim and the dates."""
    if isinstance(effect, Fill | Put):
        return (admits(world, effect),)
    if isinstance(effect, Claim) and not done:
        lease = (world.ledger.perform(TakeInstant(), world.time, world.new_epoch),)
        return lease if world.torn else (*lease, dates_now(world))
    return (dates_now(world),)


def _answer(effect: StoreEffect[Any], keyed: tuple[Any, ...], dated: tuple[Any, ...]) -> tuple[Any] | None:
    match effect:
        case Read() if keyed and dated:
            return (Look(keyed[0][0], _restricted(dated[0], keyed[0][0])),)
        case Claim() if len(keyed) == len(dated) == 2:
            (granted, holder), (entry, failure) = keyed
            lease, times = dated
            return (Claimed(lease if granted else None, holder,
                            Look(entry, _restricted(times, entry, failure), failure)),)
    return None


def dates_suffice(answer: Look | Claimed) -> bool:
    """Dates from before an entry know nothing of its epoch, or of its tags, where both began with it: ask once more."""
    look = answer.look if isinstance(answer, Claimed) else answer
    return all(in_epoch(found.lease, look.times.epoch) and None not in look.times.records.values()
               for found in (look.entry, look.failure) if found is not None)


def _restricted(times: Times, *found: Any) -> Times:
    tags = dict.fromkeys([tag for one in found if one is not None for tag in one.tags])
    return replace(times, records={tag: times.records.get(tag) for tag in tags})


def dates_now(world: World) -> Times:
    """The dates a look is judged by: as they are, neither remembered nor anybody else's."""
    return world.ledger.dates.times(world.ledger.dates.records, world.time)


def admits(world: World, effect: Fill | Put) -> bool:
    """Admission, which is for the server of the dates to say."""
    entry = effect.entry
    return world.ledger.dates.admit(entry.lease, entry.tags, effect.life, world.time, world.new_epoch)


def file(world: World, effect: Fill | Put, admitted: bool, not_after: int | None = None) -> Any:
    """Store by token, or by what was expected, what has been admitted, or has not."""
    with _judged(world, admitted):
        return world.ledger.perform(effect, world.time, world.new_epoch, not_after=not_after)


@contextmanager
def _judged(world: World, admitted: bool) -> Iterator[None]:
    dates = world.ledger.dates
    world.ledger.dates = cast("Dates", _Judged(admitted))
    try:
        yield
    finally:
        world.ledger.dates = dates


class _Judged:
    """Dates that are elsewhere: all that the server of the keys knows of them is a verdict."""

    def __init__(self, admitted: bool) -> None:
        self._admitted = admitted

    def admit(self, *_: object) -> bool:
        return self._admitted


def stands_on_dates(effect: object) -> bool:
    """What is looked at is judged by them, and what is filed was admitted by them."""
    return isinstance(effect, Read | Claim | Fill | Put)


def reconnect(world: World) -> None:
    """Who must reach the server of the keys anew asks for dates and admission anew: another epoch may have begun."""
    for name, task in world.tasks.items():
        if task.half is not None and stands_on_dates(task.pending):
            keyed, _ = task.half
            world.change(name, half=(keyed, ()) if keyed else None)
