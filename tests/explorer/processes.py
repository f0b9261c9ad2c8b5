"""What runs in the simulated processes: computes that read rows, and callers; writers are in `writers.py`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from cachefence_web.core import plans, writing
from cachefence_web.core.effects import Effect, Outcome, Plan
from cachefence_web.core.entry import Kind
from cachefence_web.core.flight import (
    Ask,
    Compute,
    Computed,
    ComputeMany,
    Failed,
    Fitness,
    Lead,
    PassBy,
    Raised,
    Served,
    Status,
)
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import Lease
from cachefence_web.errors import StoreUnavailable
from tests.explorer.world import Versions, Violation

Running = Generator[Effect[Any], Any, Any]

NUMBER = "number"
"""The key under which the version of a row stands as a number, so that the store can add to it."""


class RowUnreadable(Exception):
    """The database failed the compute."""


class Row(Effect[int], frozen=True):
    """Read the committed version of a row."""

    name: str


class Commit(Effect[Outcome], frozen=True):
    """Commit new versions of rows; how that ended, as far as it can be known.

    within: seconds after which readers are promised to see it even if the writer dies; 0: they are not.
    """

    rows: tuple[str, ...]
    within: float = 0.0


class Began(Effect[None], frozen=True):
    """A compute begins, under a lease or (token None) without."""

    key: str
    token: str | None


class Ended(Effect[None], frozen=True):
    """A compute is over."""

    token: str | None


class Said(Effect[None], frozen=True):
    """A call returned: who reads from here on sees this version of the row."""

    row: str
    version: int
    unless_stale: bool = False


def driven(plan: Plan[Any]) -> Running:
    """A plan whose computes are run where it asks for them."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            effect = plan.throw(error) if error is not None else plan.send(answer)
        except StopIteration as done:
            return done.value
        error = None
        try:
            match effect:
                case Compute():
                    answer = yield from computing(effect.ask, effect.granted)
                case ComputeMany():
                    answer = yield from computing_many(effect)
                case _:
                    answer = yield effect
        except StoreUnavailable as unavailable:
            error = unavailable


def computing(ask: Ask, granted: Any) -> Running:
    """Run a caller's function, recording what it depends on."""
    token = granted.token if granted is not None else None
    recording = Recording(dict.fromkeys(ask.tags))
    yield Began(ask.key, token)
    try:
        assert ask.compute is not None
        value = yield from ask.compute(recording)
    except RowUnreadable as error:
        yield Ended(token)
        return Raised(error, tuple(recording.tags))
    yield Ended(token)
    elapsed = 10.0 if ask.policy.early > 1 else 0.0
    if ask.key == NUMBER:
        ((_, version),) = value
        return Computed(value, b"%d" % version, tuple(recording.tags), recording.storable, elapsed, Kind.NUMBER)
    payload = None if ask.key.startswith("unstorable") else repr(value).encode()
    return Computed(value, payload, tuple(recording.tags), recording.storable, elapsed)


def computing_many(effect: ComputeMany) -> Running:
    """Run a caller's batch function, which reads a row for each key; all of its values depend on all that it read."""
    tokens = [lead.granted.token if lead.granted is not None else None for lead in effect.leads]
    keys = [lead.ask.key for lead in effect.leads]
    for key, token in zip(keys, tokens, strict=True):
        yield Began(key, token)
    recording = Recording()
    values = yield from effect.compute(keys)(recording)
    for token in tokens:
        yield Ended(token)
    return tuple(Computed(values[key], repr(values[key]).encode(), tuple(recording.tags)) for key in keys)


@lru_cache(maxsize=10_000)
def value_of(payload: bytes) -> Versions:
    """The value of a payload; that of a number is the version of row `a`."""
    value: Versions | int = ast.literal_eval(payload.decode())
    return (("a", value),) if isinstance(value, int) else value


def reads(*rows: str) -> Callable[[Recording], Running]:
    """A compute that reads rows one after the other, and learns of each tag only as it does."""

    def compute(recording: Recording) -> Running:
        seen = []
        for row in rows:
            version = yield Row(row)
            recording.depend((row,))
            seen.append((row, version))
        return tuple(seen)

    return compute


def uses(inner: Ask, *rows: str) -> Callable[[Recording], Running]:
    """A compute that uses a cached value, then reads rows of its own."""

    def compute(recording: Recording) -> Running:
        landing = yield from driven(plans.get_or_set(inner))
        recording.inherit(landing)
        if isinstance(landing, Failed):
            raise RowUnreadable("the inner value")
        own = yield from reads(*rows)(recording)
        return tuple(sorted({**dict(own), **dict(landing.value)}.items()))

    return compute


def caller(ask: Ask) -> Callable[[], Running]:
    """Somebody who asks for a value."""
    return lambda: driven(plans.get_or_set(ask))


def many(*asks: Ask, row: str = "a") -> Callable[[], Running]:
    """Somebody who asks for many values, all of them made of one row that is read for each."""

    def compute(keys: list[str]) -> Callable[[Recording], Running]:
        def of_keys(recording: Recording) -> Running:
            values = {}
            for key in keys:
                values[key] = yield from reads(row)(recording)
            return values

        return of_keys

    return lambda: driven(plans.get_or_set_many(asks, compute))


def getter(ask: Ask) -> Callable[[], Running]:
    """Somebody who takes a value if there is one."""
    return lambda: driven(plans.get(ask))


def responder(ask: Ask, *, patient: bool = True) -> Callable[[], Running]:
    """Somebody whose compute is the rest of a request: begin, then finish or abort."""

    def respond() -> Running:
        while True:
            begun = yield from plans.begin(ask, patient=patient)
            match begun:
                case Lead():
                    result = yield from computing(ask, begun.granted)
                    yield from plans.finish(begun, result)
                    return Failed(result.error) if isinstance(result, Raised) else Served(
                        result.value, result.tags, Status.UNSTORED)
                case PassBy():
                    result = yield from computing(ask, None)
                    return Failed(result.error) if isinstance(result, Raised) else Served(
                        result.value, result.tags, Status.UNSTORED)
                case Served() | Failed():
                    return begun

    return respond


def refuser(ask: Ask) -> Callable[[], Running]:
    """Somebody who makes a request, and has no use for what there is when it begins."""

    def respond() -> Running:
        refused: list[Lease | None] = []
        answer = yield from responder(_refusing(ask, refused))()
        if isinstance(answer, Served) and answer.lease is not None and answer.lease in refused:
            raise Violation(f"refused: {answer.value} was handed to one who had refused it")
        return answer

    return respond


def _refusing(ask: Ask, refused: list[Lease | None]) -> Ask:
    def fitness(found: Served) -> Fitness:
        refused.append(found.lease)
        return Fitness.UNFIT

    return replace(ask, fitness=fitness)


def passer(ask: Ask, *, late: bool = False) -> Callable[[], Running]:
    """Somebody who leads in order to say that the answer cannot be shared, and else stores what it made alone.

    late: dated when it is stored, instead of before it was made.
    """

    def respond() -> Running:
        begun = yield from plans.begin(ask)
        match begun:
            case Lead():
                yield from plans.abort(begun, unshareable=True)
                return None
            case PassBy(since=since):
                result = yield from computing(ask, None)
                yield from writing.put(ask.key, result, ask.policy, None if late else since)
                return Served(result.value, result.tags, Status.UNSTORED)
        return begun

    return respond


def quitter(ask: Ask) -> Callable[[], Running]:
    """Somebody who begins a request, and gives it up if it is his to answer."""

    def respond() -> Running:
        begun = yield from plans.begin(ask)
        if isinstance(begun, Lead):
            yield Began(ask.key, begun.granted.token if begun.granted else None)
            yield Ended(begun.granted.token if begun.granted else None)
            yield from plans.abort(begun)
            return None
        return begun

    return respond
