"""What can happen next in a world: a step of a task, or a mishap that is still allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from cachefence_web.core.effects import Claim, Fill, Outcome, Put, StoreEffect, Wait
from cachefence_web.core.flight import Board, Fly, Overdue, Together
from cachefence_web.core.tags import Instant
from cachefence_web.errors import StoreUnavailable
from tests.explorer.cluster import Server, in_parts, servers, take_part
from tests.explorer.driver import begin, may_be_joined, resume, together
from tests.explorer.mishaps import Move, brief, mishaps
from tests.explorer.processes import Commit, Ended, Row, RowUnreadable
from tests.explorer.steps import claim_in_parts, perform
from tests.explorer.world import Promise, Task, Thrown, Violation, World


def moves(world: World) -> Iterator[Move]:
    """Everything that can happen next."""
    for task in world.tasks.values():
        if not task.over and task.process not in world.dead and (
                task.begun or task.name not in world.after or world.tasks[world.after[task.name]].begun):
            for label, happen, fault in _of_task(world, task):
                yield Move(label, happen if task.begun else partial(_first, task.name, happen), fault)
    yield from mishaps(world)


def _first(name: str, happen: Callable[[World], None], world: World) -> None:
    begin(world, name)
    happen(world)


def _of_task(world: World, task: Task) -> Iterator[Move]:
    name = task.name
    if task.reply is not None:
        yield Move(f"{name} hears {brief(task.reply[0])}", lambda world: resume(world, name, task.reply[0]))
        return
    match task.pending:
        case Wait(key=key, holder=holder):
            held = world.ledger.leases.get(key)
            if held is None or held.token != holder:
                yield Move(f"{name} is woken", partial(resume, name=name, answer=0.001))
            elif world.may("impatience"):
                yield Move(f"{name} has waited long enough", partial(_lose_patience, name=name), fault=True)
        case StoreEffect():
            yield from _of_store(world, task, task.pending)
        case Together():
            yield Move(f"{name}: {brief(_next_of(task))}, and more", partial(_perform_next, name=name))
        case Row(row):
            yield Move(f"{name} reads {row} in version {world.rows[row]}", partial(_read, name=name))
            if world.may("failing"):
                yield Move(f"{name} cannot read {row}", partial(_fail, name=name), fault=True)
        case Ended():
            yield Move(f"{name} has computed", partial(_end_compute, name=name))
        case Commit(rows):
            yield Move(f"{name} commits {', '.join(rows)}", partial(_commit, name=name))
            if world.may("rollback"):
                yield Move(f"{name}'s commit fails", partial(_roll_back, name=name), fault=True)
            if world.may("unknown"):
                yield Move(f"{name}'s commit is on its way", partial(_lose_sight, name=name), fault=True)
        case Fly() | Board() if world.may("impatience") and task.waiting is not None:
            if world.flights[task.waiting].seats[0] != name:
                yield Move(f"{name} gives its flight up", partial(_give_up, name=name), fault=True)


def _of_store(world: World, task: Task, effect: StoreEffect[object]) -> Iterator[Move]:
    name = task.name
    if not (world.cluster and in_parts(effect)):
        yield Move(f"{name}: {brief(effect)}", partial(_perform, name=name))
        yield from _faults(world, task, effect)
        return
    for server in servers(world, task, effect):
        yield Move(f"{name}: {brief(effect)}, by the server of the {server}",
                   partial(_perform_part, name=name, server=server))
        yield from _faults_in_part(world, task, effect, server)


def _perform(world: World, name: str) -> None:
    task = world.tasks[name]
    assert isinstance(task.pending, StoreEffect)
    if world.torn and isinstance(task.pending, Claim):
        answer: object = claim_in_parts(world, task, task.pending)
        if answer is None:
            return
    else:
        answer = perform(world, task, task.pending)
    _answered(world, task, answer)


def _perform_part(world: World, name: str, server: Server) -> None:
    task = world.tasks[name]
    assert isinstance(task.pending, StoreEffect)
    answer = take_part(world, task, task.pending, server)
    if answer is not None:
        _answered(world, task, answer[0])


def _next_of(task: Task) -> StoreEffect[object]:
    assert isinstance(task.pending, Together)
    return [effect for effect in task.pending.effects if isinstance(effect, StoreEffect)][len(task.half or ())]


def _perform_next(world: World, name: str) -> None:
    """A pipeline is taken one by one; what waits for nothing is answered behind it, as the real drivers do."""
    task = world.tasks[name]
    assert isinstance(task.pending, Together)
    effects = task.pending.effects
    replies = (*(task.half or ()), perform(world, task, _next_of(task)))
    task = world.change(name, half=replies)
    if len(replies) == sum(isinstance(effect, StoreEffect) for effect in effects):
        _answered(world, task, together(world, name, effects, replies, len(task.answers)))


def _answered(world: World, task: Task, answer: object) -> None:
    name = task.name
    if world.split and (task.flight is not None or task.aboard) and may_be_joined(world, task):
        world.change(name, reply=(answer,))
    else:
        resume(world, name, answer)


def _end_compute(world: World, name: str) -> None:
    effect = world.tasks[name].pending
    assert isinstance(effect, Ended)
    world.computing.pop(effect.token or name, None)
    resume(world, name, None)


def _faults(world: World, task: Task, effect: StoreEffect[object]) -> Iterator[Move]:
    name = task.name
    if world.may("outage"):
        yield Move(f"{name} cannot reach the store for {brief(effect)}", partial(_miss, name=name), fault=True)
        yield Move(f"{name}: {brief(effect)}, but the reply is lost", partial(_unheard, name=name), fault=True)
    if world.may("delay") and isinstance(effect, Put):
        yield Move(f"{name}: {brief(effect)} is delayed", partial(_delay, name=name), fault=True)


def _faults_in_part(world: World, task: Task, effect: StoreEffect[object], server: Server) -> Iterator[Move]:
    """No answer comes from one of two servers; what it was asked to file may yet come to it."""
    name = task.name
    if world.may("outage"):
        yield Move(f"{name} cannot reach the server of the {server} for {brief(effect)}", partial(_miss, name=name),
                   fault=True)
        yield Move(f"{name}: {brief(effect)}, but the reply of the server of the {server} is lost",
                   partial(_part_unheard, name=name, server=server), fault=True)
    if world.may("delay") and server is Server.KEYS and isinstance(effect, Fill | Put):
        yield Move(f"{name}: {brief(effect)} is admitted, and delayed", partial(_delay, name=name), fault=True)


_UNAVAILABLE = Thrown(StoreUnavailable, "no answer")


def _miss(world: World, name: str) -> None:
    world.spend("outage")
    resume(world, name, _UNAVAILABLE)


def _unheard(world: World, name: str) -> None:
    world.spend("outage")
    task = world.tasks[name]
    assert isinstance(task.pending, StoreEffect)
    perform(world, task, task.pending)
    if isinstance(task.pending, Claim):
        world.live.pop(task.pending.token, None)  # nobody will renew it
    resume(world, name, _UNAVAILABLE)


def _part_unheard(world: World, name: str, server: Server) -> None:
    world.spend("outage")
    task = world.tasks[name]
    assert isinstance(task.pending, StoreEffect)
    take_part(world, task, task.pending, server)
    if isinstance(task.pending, Claim):
        world.live.pop(task.pending.token, None)
    resume(world, name, _UNAVAILABLE)


def _delay(world: World, name: str) -> None:
    world.spend("delay")
    task = world.tasks[name]
    assert isinstance(task.pending, StoreEffect)
    world.network += ((task.pending, world.time, task.half[1][0] if task.half else None),)
    resume(world, name, _UNAVAILABLE)


def _lose_patience(world: World, name: str) -> None:
    world.spend("impatience")
    task = world.tasks[name]
    assert isinstance(task.pending, Wait)
    resume(world, name, task.pending.timeout)


def _give_up(world: World, name: str) -> None:
    world.spend("impatience")
    flight = str(world.tasks[name].waiting)
    resume(world, name, Overdue(flight, world.flights[flight].holder))


def _read(world: World, name: str) -> None:
    effect = world.tasks[name].pending
    assert isinstance(effect, Row)
    resume(world, name, world.rows[effect.name])


def _fail(world: World, name: str) -> None:
    world.spend("failing")
    resume(world, name, Thrown(RowUnreadable, "the row cannot be read"))


def _commit(world: World, name: str) -> None:
    effect = world.tasks[name].pending
    assert isinstance(effect, Commit)
    committed = world.commit(effect.rows)
    world.change(name, committed=committed)
    if name in world.promises:
        world.promises[name] = replace(world.promises[name], committed=committed)
    elif effect.within:
        deadline = Instant(world.ledger.dates.peek(world.time) + int(effect.within * 1_000_000))
        world.promises[name] = Promise(deadline, effect.rows, name, effect.rows, committed)
    resume(world, name, Outcome.COMMITTED)


def _roll_back(world: World, name: str) -> None:
    world.spend("rollback")
    resume(world, name, Outcome.ROLLED_BACK)


def _lose_sight(world: World, name: str) -> None:
    world.spend("unknown")
    effect = world.tasks[name].pending
    assert isinstance(effect, Commit)
    world.transit += ((name, effect.rows),)
    resume(world, name, Outcome.UNKNOWN)


def check_end(world: World) -> None:
    """Where nothing but mishaps can happen, everybody must have come to an end."""
    stuck = [task.name for task in world.tasks.values()
             if not task.over and task.process not in world.dead]
    if stuck:
        raise Violation(f"nobody can go on, and these are not done: {', '.join(stuck)}")
