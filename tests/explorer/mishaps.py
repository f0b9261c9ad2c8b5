"""What happens to a world by itself: late requests, ends of leases, time, deaths, losses, failovers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from cachefence_web.core.effects import Clear, Fill, Put, StoreEffect, TakeInstant, Wait
from cachefence_web.core.entry import NEVER
from cachefence_web.stores.ledger import Held, Ledger
from tests.explorer import cluster
from tests.explorer.cluster import Server, file
from tests.explorer.processes import Commit
from tests.explorer.shapes import NOWHERE
from tests.explorer.steps import note
from tests.explorer.world import World

HOUR = 3_600_000_000


class Move(NamedTuple):
    """Something that can happen: what to call it, and what it does to a copy of the world.

    fault: it needs no fairness: a run may end without it.
    """

    label: str
    happen: Callable[[World], None]
    fault: bool = False


def mishaps(world: World) -> Iterator[Move]:
    """All of it that can happen next."""
    yield from _of_network(world)
    yield from _of_leases(world)
    yield from _of_time(world)
    yield from _of_deaths(world)
    yield from _of_losses(world)


def _of_network(world: World) -> Iterator[Move]:
    for request in world.network:
        yield Move(f"the delayed {brief(request[0])} arrives", partial(_arrive, request=request))
    for writer, rows in world.transit:
        yield Move(f"{writer}'s commit takes effect", partial(_take_effect, writer=writer, rows=rows))
        yield Move(f"{writer}'s commit comes to nothing", partial(_come_to_nothing, writer=writer, rows=rows))


def _arrive(world: World, request: tuple[StoreEffect[object], int, bool | None]) -> None:
    effect, sent, admitted = request
    world.network = tuple(item for item in world.network if item != request)
    if admitted is None:
        world.ledger.perform(effect, world.time + 1, world.new_epoch, not_after=sent)
    elif isinstance(effect, Fill | Put):
        answer = file(world, effect, admitted, sent - 1)
        if isinstance(effect, Fill):
            note(world, world.tasks[effect.token.rpartition(".")[0]], effect, answer)


def _take_effect(world: World, writer: str, rows: tuple[str, ...]) -> None:
    committed = world.commit(rows)
    if writer in world.promises:
        world.promises[writer] = replace(world.promises[writer], committed=committed)
    _come_to_nothing(world, writer, rows)


def _come_to_nothing(world: World, writer: str, rows: tuple[str, ...]) -> None:
    world.transit = tuple(item for item in world.transit if item != (writer, rows))


def _of_leases(world: World) -> Iterator[Move]:
    """A lease whose holder is gone ends by itself; that of one who lives ends when its renewals fail."""
    awaited = {task.pending.key for task in world.tasks.values() if isinstance(task.pending, Wait)}
    for key, held in world.ledger.leases.items():
        if held.token not in world.live or not _holder_lives(world, held):
            if key not in awaited:
                continue
            yield Move(f"the lease of {key} ends", partial(_end_lease, key=key))
        elif world.may("expiry"):
            yield Move(f"the lease of {key} ends under its holder", partial(_cut_lease, key=key), fault=True)


def _holder_lives(world: World, held: Held) -> bool:
    owner = world.tasks[held.token.rpartition(".")[0]]
    return not owner.over and owner.process not in world.dead


def _end_lease(world: World, key: str) -> None:
    world.live.pop(world.ledger.leases.pop(key).token, None)


def _cut_lease(world: World, key: str) -> None:
    world.spend("expiry")
    _end_lease(world, key)


def _of_time(world: World) -> Iterator[Move]:
    now = world.ledger.dates.peek(world.time)
    committing = any(isinstance(task.pending, Commit) for task in world.tasks.values()
                     if task.alive and task.process not in world.dead)
    dates = [date for date in _dates(world) if now < date < NEVER]
    if dates and world.may("hours") and not committing and not world.transit:
        yield Move("time passes a date", partial(_pass_date, date=min(dates)), fault=True)
    if world.may("backwards"):
        yield Move("the server's clock goes back", _go_back, fault=True)


def _dates(world: World) -> Iterator[int]:
    for promise in world.promises.values():
        yield promise.deadline
    for stored in world.ledger.entries.values():
        if stored.entry is not None:
            yield from (stored.entry.fresh_until, stored.entry.stale_until, stored.entry.error_until)
    for stored in world.ledger.failures.values():
        yield stored.ends or 0


def _pass_date(world: World, date: int) -> None:
    world.spend("hours")
    world.time = max(world.time, date - world.ledger.dates.offset)
    for writer, promise in list(world.promises.items()):
        if promise.deadline <= date:
            if promise.protected:
                world.must_see(promise.committed)
            del world.promises[writer]


def _go_back(world: World) -> None:
    """From a time that was noted: dates that nobody noted as passed move by the step, and nobody can know better."""
    world.spend("backwards")
    world.ledger.perform(TakeInstant(), world.time, world.new_epoch)
    world.time -= HOUR


def _of_deaths(world: World) -> Iterator[Move]:
    if not world.may("crash"):
        return
    for process in dict.fromkeys(task.process for task in world.tasks.values() if task.alive):
        if process not in world.dead:
            yield Move(f"{process} is killed", partial(_kill, process=process), fault=True)


def _kill(world: World, process: str) -> None:
    world.spend("crash")
    world.dead |= {process}
    for name, task in world.tasks.items():
        if task.process == process and not task.over:
            world.change(name, over=True, answers=(), shape=NOWHERE)
            for token in [token for token in world.computing if token.rpartition(".")[0] == name or token == name]:
                del world.computing[token]
    for place in [place for place in world.flying if place[0] == process]:
        del world.flying[place]


def _of_losses(world: World) -> Iterator[Move]:
    for name in [name for name in world.budget if name.startswith("lose ") and world.may(name)]:
        what = frozenset(name.removeprefix("lose ").split("+"))
        if any(_is_there(world.ledger, thing) for thing in what):
            yield Move(name, partial(_lose, name=name, what=what), fault=True)
    if world.may("failover"):
        if world.snapshot is None:
            yield Move("the replica falls behind", _fall_behind, fault=True)
        else:
            yield Move("a failover to that replica", _fail_over, fault=True)
    for server in Server:
        if world.may(f"failover of {server}"):
            yield (Move(f"the replica of the {server} falls behind", _fall_behind, fault=True) if world.snapshot is None
                   else Move(f"a failover of the {server}", partial(_fail_server_over, server=server), fault=True))


def _is_there(ledger: Ledger, thing: str) -> bool:
    kind, _, name = thing.partition(":")
    dates = ledger.dates
    tables = {"record": dates.records, "fences": dates.fences, "entry": ledger.entries, "failure": ledger.failures,
              "lease": ledger.leases}
    if kind in tables:
        return name in tables[kind]
    return {"recent": dates.recent, "clock": dates.last, "epoch": dates.epoch}[kind] is not None


def _lose(world: World, name: str, what: frozenset[str]) -> None:
    world.spend(name)
    for other in [other for other in world.budget if other.startswith("lose ")]:
        world.budget[other] = 0
    ledger, dates = world.ledger, world.ledger.dates
    for thing in what:
        kind, _, rest = thing.partition(":")
        match kind:
            case "record":
                dates.forget(rest)
            case "fences":
                dates.fences.pop(rest, None)
            case "recent":
                dates.recent = None
            case "clock":
                dates.last, dates.offset = None, 0
            case "epoch":
                dates.epoch = None
            case "entry":
                ledger.entries.pop(rest, None)
            case "failure":
                ledger.failures.pop(rest, None)
            case "lease" if rest in ledger.leases:
                _end_lease(world, rest)
            case _:
                pass
    world.check_protection()


def _fall_behind(world: World) -> None:
    world.snapshot = world.ledger.copy()


def _fail_over(world: World) -> None:
    """The first connection to a server that is not the one last seen begins a new epoch."""
    world.spend("failover")
    assert world.snapshot is not None
    world.ledger, world.snapshot = world.snapshot.copy(), None
    adopt(world)
    held = {lease.token for lease in world.ledger.leases.values()}
    world.live = {token: of for token, of in world.live.items() if token in held}
    world.check_protection()


def _fail_server_over(world: World, server: Server) -> None:
    """Of a cluster, one server only: who reaches the new one first begins an epoch, before anything is read there."""
    world.spend(f"failover of {server}")
    assert world.snapshot is not None
    ledger, before, world.snapshot = world.ledger, world.snapshot.copy(), None
    if server is Server.DATES:
        ledger.dates = before.dates
    else:
        ledger.entries, ledger.leases, ledger.failures = before.entries, before.leases, before.failures
        cluster.reconnect(world)
    adopt(world)
    held = {lease.token for lease in ledger.leases.values()}
    world.live = {token: of for token, of in world.live.items() if token in held}
    world.check_protection()


def adopt(world: World) -> None:
    """A server with another memory than the last one: forget what it says."""
    world.ledger.perform(Clear(), world.time, world.new_epoch)


def brief(value: object) -> str:
    """A word for an effect or an answer, in a trace."""
    name = type(value).__name__
    key = getattr(value, "key", None) or getattr(value, "tags", None)
    return f"{name}({key})" if key else f"{value}" if name in {"Filed", "int", "bool", "Outcome"} else name
