"""The third driver: it gives plans their answers, and keeps the rules of flights and of what was promised."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any

from cachefence_web.core import leading, plans
from cachefence_web.core.effects import (
    Effect,
    Outcome,
    StoreEffect,
)
from cachefence_web.core.flight import (
    Again,
    Board,
    Captain,
    Decode,
    Draw,
    Failed,
    Fly,
    Land,
    Landing,
    NewToken,
    Overdue,
    Refresh,
    RollCall,
    Served,
    Status,
    Together,
)
from cachefence_web.runtime.flights import Flight as RealFlight
from cachefence_web.runtime.flights import name_of
from tests.explorer.processes import Began, Ended, Said, driven, value_of
from tests.explorer.shapes import NOWHERE, flat
from tests.explorer.steps import check
from tests.explorer.world import Flight, Task, Thrown, Violation, World


def begin(world: World, name: str) -> None:
    """A task takes its first step now: if it reads, it must see what has been promised by now."""
    task = world.tasks[name]
    if task.begun:
        return
    floor = dict(world.returned)
    if task.strict:
        covered = {row for promise in world.promises.values() if not promise.protected for row in promise.rows}
        floor.update({row: version for row, version in world.rows.items() if row not in covered})
    world.change(name, begun=True, floor=tuple(floor.items()), fresh=tuple(world.expired.items()))


def resume(world: World, name: str, answer: Any) -> None:
    """Give a task its answer, and the answers it can have at once, until it must wait for something."""
    task = world.tasks[name]
    plan = task.make()
    for earlier in task.answers:
        _send(plan, earlier)
    answers = list(task.answers)
    world.change(name, pending=None, reply=None, half=None, waiting=None)
    while True:
        try:
            effect = _send(plan, answer)
        except StopIteration as done:
            world.change(name, answers=(), over=True, shape=NOWHERE)
            finish(world, world.tasks[name], done.value)
            return
        except plans.StoreUnavailable as unavailable:
            world.change(name, answers=(), over=True, shape=NOWHERE)
            finish(world, world.tasks[name], unavailable)
            return
        answers.append(answer)
        found = at_once(world, world.tasks[name], effect, len(answers))
        if found is None:
            world.change(name, answers=tuple(answers), pending=effect, shape=flat(plan))
            launch(world, name)
            return
        answer = found[0]


def _send(plan: Any, answer: Any) -> Effect[Any]:
    if isinstance(answer, Thrown):
        return plan.throw(answer.error(answer.message))  # type: ignore[no-any-return]
    return plan.send(answer)  # type: ignore[no-any-return]


def at_once(world: World, task: Task, effect: Effect[Any], step: object) -> tuple[Any] | None:
    """The answer to an effect that waits for nothing; None for one that does."""
    match effect:
        case Together(effects):
            return None if any(isinstance(one, StoreEffect) for one in effects) else (
                together(world, task.name, effects, (), step),)
        case RollCall(key):
            return (len(_flight_of(world, task, key).seats) if _is_aboard(world, task, key) else 1,)
        case NewToken():
            return (f"{task.name}.{step}",)
        case Draw():
            return (1e-9,)
        case Decode(entry):
            return ((value_of(entry.payload),),)
        case Began(key, token):
            _begin_compute(world, task, key, token)
        case Ended(token) if not (world.split and may_be_joined(world, task)):
            world.computing.pop(token or task.name, None)
        case Refresh():
            _refresh(world, task, effect)
        case Land(flight, landing):
            land(world, str(flight), landing)
        case Said(row, version, unless_stale):
            world.must_see(((row, version),), unless_stale=unless_stale)
        case Board():
            return _board(world, task, effect)
        case _:
            return None
    return (None,)


def together(world: World, name: str, effects: tuple[Effect[Any], ...], replies: tuple[Any, ...], step: object) -> Any:
    """The answers to effects taken together: the store's, which are here, and those that wait for nothing."""
    stored = iter(replies)
    answers = []
    for number, effect in enumerate(effects):
        if isinstance(effect, StoreEffect):
            answers.append(next(stored))
            continue
        answered = at_once(world, world.tasks[name], effect, f"{step}-{number}")
        assert answered is not None, f"{effect} waits beside others"
        answers += answered
    return tuple(answers)


def _is_aboard(world: World, task: Task, key: str) -> bool:
    return dict(task.aboard).get(key) is not None or (
        task.flight is not None and world.flights[task.flight].key == key)


def _flight_of(world: World, task: Task, key: str) -> Flight:
    return world.flights[dict(task.aboard).get(key) or str(task.flight)]


def may_be_joined(world: World, task: Task) -> bool:
    """Somebody may yet board a flight of its process: then it matters when it hears what."""
    return any(other.process == task.process and other.name != task.name and other.flight is None
               and other.waiting is None and not other.over for other in world.tasks.values())


def _begin_compute(world: World, task: Task, key: str, token: str | None) -> None:
    if token is not None and token in world.live:
        rivals = [other for other, of in world.computing.items() if of == key and other in world.live]
        if rivals:
            raise Violation(f"P1: {task.name} computes {key} while {rivals[0]} does under a live lease")
    world.computing[token or task.name] = key
    if _is_aboard(world, task, key):
        name = dict(task.aboard).get(key) or str(task.flight)
        flight = world.flights[name]
        world.flights[name] = replace(flight, computes=flight.computes + 1, holder=token or "")
        if flight.computes:
            raise Violation(f"P8: the flight {name} computes twice")


def launch(world: World, name: str) -> None:
    """Let a task that flies board its flight, or launch one."""
    task = world.tasks[name]
    effect = task.pending
    if not isinstance(effect, Fly):
        return
    ask = effect.ask
    place = (task.process, name_of(ask, alone=effect.alone))
    there = world.flying.get(place)
    if there is not None and not hangs(effect.overdue, there):
        _take_seat(world, there, name)
        return
    flight = _new_flight(world, task.process, place[1], ask.key)
    _take_seat(world, flight, name)
    _lead(world, flight, partial(_led, effect))


def hangs(overdue: Overdue | None, flight: str) -> bool:
    """Whether the caller has given this very flight up while it computed: then it launches another in its place."""
    return overdue is not None and overdue.holder is not None and overdue.flight == flight


def _led(effect: Fly) -> Any:
    if effect.alone:
        return driven(leading.alone(effect.ask))
    return driven(leading.lead(effect.ask, effect.seen, takeover=effect.overdue.holder if effect.overdue else None))


def _refresh(world: World, task: Task, effect: Refresh) -> None:
    name = name_of(effect.ask)
    if (task.process, name) not in world.flying:
        flight = _new_flight(world, task.process, name, effect.ask.key)
        _lead(world, flight, lambda: driven(leading.refresh(effect.ask, effect.seen)))


def _board(world: World, task: Task, effect: Board) -> tuple[Any] | None:
    name = name_of(effect.ask, alone=effect.alone)
    there = world.flying.get((task.process, name))
    if there is not None and not effect.patience:
        return (Again(),)
    if there is not None and not hangs(effect.overdue, there):
        _take_seat(world, there, task.name)
        return None
    flight = _new_flight(world, task.process, name, effect.ask.key)
    _take_seat(world, flight, task.name)
    world.change(task.name, aboard=(*task.aboard, (effect.ask.key, flight)), waiting=None)
    return (Captain(flight),)


def _new_flight(world: World, process: str, name: object, key: str) -> str:
    number = sum(flight.process == process for flight in world.flights.values())
    flight = f"{process}/{number}"
    world.flights[flight] = Flight(name, key, process)
    world.flying[process, name] = flight
    return flight


def _take_seat(world: World, flight: str, name: str) -> None:
    aboard = world.flights[flight]
    world.flights[flight] = replace(aboard, seats=(*aboard.seats, name))
    world.change(name, waiting=flight)


def _lead(world: World, flight: str, make: Any) -> None:
    leader = Task(flight, world.flights[flight].process, make, flight=flight, begun=True)
    world.tasks[flight] = leader
    resume(world, flight, None)


def land(world: World, flight: str, landing: Landing) -> None:
    """End a flight: whoever sits among those it covers has an answer, the others look again."""
    ended = world.flights[flight]
    place = (ended.process, ended.name)
    if world.flying.get(place) == flight:
        del world.flying[place]
    for seat, name in enumerate(ended.seats):
        if world.tasks[name].waiting == flight:
            resume(world, name, answer_for(seat, landing))


def answer_for(seat: int, landing: Landing) -> Landing:
    """What a landing is worth to the one in a seat: the real flights' rule."""
    flight = RealFlight(None, {}, Lock())
    flight.landing = landing
    return flight.answer(seat)


def finish(world: World, task: Task, result: Any) -> None:
    """What a task's end means: a landing, a value that was read, a promise of its writer."""
    if task.flight is not None:
        land(world, task.flight, result if isinstance(result, Landing) else Again())
        return
    match result:
        case Served(value=value, status=status):
            check(f"{task.name} was given", value, task.floor)
            if status in {Status.HIT, Status.STORED}:
                check(f"{task.name} was given as fresh", value, task.fresh)
        case Failed(error=error):
            if not world.fallible:
                raise Violation(f"{task.name} was given {error!r}, and nothing had failed")
        case list():
            for one in result:
                finish(world, task, one)
        case int() if not isinstance(result, bool):
            if result in world.totals:
                raise Violation(f"{task.name} counted to {result}, as somebody else did")
            world.totals += (result,)
        case Outcome.COMMITTED | Outcome.ROLLED_BACK:
            world.must_see(task.committed)
            world.promises.pop(task.name, None)
        case BaseException():
            if not isinstance(result, plans.StoreUnavailable):
                raise Violation(f"{task.name} broke: {result!r}")
