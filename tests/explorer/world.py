"""Everything there is: the store, the database, the processes with their plans and flights, and what was promised."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import Struct
from msgspec.structs import force_setattr
from msgspec.structs import replace as altered

from cachefence_web.core.effects import Effect, StoreEffect
from cachefence_web.core.tags import Instant
from cachefence_web.stores.ledger import Ledger
from tests.explorer.shapes import NOWHERE, Flat, fingerprint, flat, remember

START = 10**12
"""The time, in microseconds, at which everything begins."""

_OVER, _TO_COME = flat("over"), flat("to come")

Versions = tuple[tuple[str, int], ...]
"""Rows and the version of each: what a value is, and what a reader must see at least."""


class Violation(Exception):
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Thrown:
    """An answer that is raised into the plan."""

    error: type[Exception]
    message: str


class Task(Struct, frozen=True):
    """One plan under way: the answers it was given make it what it is.

    make: begins the plan. process: what it dies with. flight: the one it leads, if it leads one.
    aboard: the flights it captains, by key. waiting: the flight that it waits for.
    reply: an answer on its way. half: how far an effect has come that is taken in parts.
    strict: its reads promise to see every commit. floor: what they must see at least.
    fresh: what they must see of what is called fresh. committed: what it has written. shape: where the plan stands.
    laid: all of this as atoms, once somebody has asked.
    """

    name: str
    process: str
    make: Callable[[], Generator[Effect[Any], Any, Any]]
    answers: tuple[Any, ...] = ()
    pending: Effect[Any] | None = None
    reply: tuple[Any] | None = None
    half: tuple[Any, ...] | None = None
    flight: str | None = None
    aboard: tuple[tuple[str, str], ...] = ()
    waiting: str | None = None
    strict: bool = False
    floor: Versions = ()
    fresh: Versions = ()
    committed: Versions = ()
    begun: bool = False
    over: bool = False
    shape: Flat = NOWHERE
    laid: Flat | None = None

    @property
    def alive(self) -> bool:
        """It has taken a step, and is not over."""
        return self.begun and not self.over

    def lie(self) -> Flat:
        """All that tells it from its twin in another state."""
        if self.laid is None:
            own = flat(self.waiting, self.reply, self.half, self.floor, self.fresh, self.committed, self.aboard)
            force_setattr(self, "laid", Flat(self.shape.atoms + own.atoms, self.shape.instants | own.instants))
        assert self.laid is not None
        return self.laid


@dataclass(frozen=True, slots=True)
class Flight:
    """A shared compute of one process: who is aboard, in the order of boarding, and how often it computed.

    holder: the token under which it computes, "" without a lease, None before.
    """

    name: object
    key: str
    process: str
    seats: tuple[str, ...] = ()
    computes: int = 0
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """A writer's fence: until when, and what it has committed under it (version 0: nothing yet).

    protected: False once the store has lost both the record and the fence: the stated limit of P4.
    """

    deadline: Instant
    tags: tuple[str, ...]
    token: str
    rows: tuple[str, ...]
    committed: Versions = ()
    protected: bool = True


remember(Flight, Promise)


@dataclass(slots=True)
class World:
    """One state.

    rows: the committed version of each row. returned: the version that readers who start now must see;
    expired: the one that they must see where they are not told that it is stale.
    flying: the flight of a process and name.
    totals: what counting has returned.
    live: the leases under which somebody may compute, by token, and what readers had to see then.
    computing: the tokens, and keys, of computes that run now. budget: the mishaps that are left.
    fallible: computes may fail. transit: commits that may yet take effect.
    after: who begins only after another has, for they could change places.
    network: requests whose senders have given up, when they were sent, and whether they bring an admission.
    """

    ledger: Ledger
    tasks: dict[str, Task]
    budget: dict[str, int]
    rows: dict[str, int]
    returned: dict[str, int]
    expired: dict[str, int]
    split: bool = False
    torn: bool = False
    cluster: bool = False
    fallible: bool = False
    time: int = START
    epochs: int = 0
    flights: dict[str, Flight] = field(default_factory=dict)
    flying: dict[tuple[str, object], str] = field(default_factory=dict)
    promises: dict[str, Promise] = field(default_factory=dict)
    live: dict[str, tuple[str, Versions]] = field(default_factory=dict)
    computing: dict[str, str] = field(default_factory=dict)
    transit: tuple[tuple[str, tuple[str, ...]], ...] = ()
    network: tuple[tuple[StoreEffect[Any], int, bool | None], ...] = ()
    snapshot: Ledger | None = None
    dead: frozenset[str] = frozenset()
    totals: tuple[object, ...] = ()
    after: dict[str, str] = field(default_factory=dict)

    def copy(self) -> World:
        """A twin that goes its own way."""
        return World(
            self.ledger.copy(), self.tasks.copy(), self.budget.copy(), self.rows.copy(), self.returned.copy(),
            self.expired.copy(), self.split, self.torn, self.cluster, self.fallible, self.time, self.epochs,
            self.flights.copy(), self.flying.copy(), self.promises.copy(), self.live.copy(), self.computing.copy(),
            self.transit, self.network, self.snapshot, self.dead, self.totals, self.after)

    def fingerprint(self) -> int:
        """Equal for two states from which the same things can happen."""
        parts = []
        for task in self.tasks.values():
            if task.alive:
                parts.append(task.lie())
            else:
                parts.append(_OVER if task.over else _TO_COME)
        # Of these the keys never change, and no value is an instant.
        parts.append(Flat((
            *self.budget.values(), *self.rows.values(), *self.returned.values(), *self.expired.values())))
        parts.append(flat(
            self.ledger, self.totals, self.flights,
            list(self.flying.values()), self.promises, self.live, self.computing, self.transit, self.network,
            self.snapshot, self.time, self.time + self.ledger.dates.offset, sorted(self.dead)))
        return fingerprint(parts)

    def new_epoch(self) -> int:
        """An epoch that no process has seen; never one that a failover brings back."""
        self.epochs += 1
        return self.epochs

    def may(self, mishap: str) -> bool:
        """Whether a mishap is still allowed; time may always pass, however many others there were."""
        return self.budget.get(mishap, 0) > 0 and (mishap == "hours" or self.budget.get("any", 1) > 0)

    def spend(self, mishap: str) -> None:
        """Let one of the allowed mishaps happen."""
        self.budget[mishap] -= 1
        if "any" in self.budget and mishap != "hours":
            self.budget["any"] -= 1

    def change(self, name: str, **changes: Any) -> Task:
        """Replace a task by what became of it."""
        task = self.tasks[name] = altered(self.tasks[name], laid=None, **changes)
        return task

    def must_see(self, versions: Versions, *, unless_stale: bool = False) -> None:
        """Raise what readers must see at least."""
        for row, version in versions:
            self.expired[row] = max(self.expired[row], version)
            if not unless_stale:
                self.returned[row] = max(self.returned[row], version)

    def commit(self, rows: tuple[str, ...]) -> Versions:
        """Write a new version of each row, for all to see."""
        for row in rows:
            self.rows[row] += 1
        return tuple((row, self.rows[row]) for row in rows)

    def check_protection(self) -> None:
        """Note the writers whose fence the store has wholly lost: nothing can stand in for them if they die."""
        for writer, promise in self.promises.items():
            if not all(self._fenced(tag, promise) for tag in promise.tags):
                self.promises[writer] = replace(promise, protected=False)

    def _fenced(self, tag: str, promise: Promise) -> bool:
        record = self.ledger.dates.records.get(tag)
        return (
            promise.token in self.ledger.dates.fences.get(tag, {})
            or (record is not None and record.pending > 0 and record.latest >= promise.deadline)
            or self.ledger.dates.peek(self.time) >= promise.deadline
        )
