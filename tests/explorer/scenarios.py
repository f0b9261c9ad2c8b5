"""Scopes to search: who reads, who writes, what is there already, and which mishaps may happen how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cachefence_web.core.flight import Ask
from cachefence_web.core.policy import Policy
from cachefence_web.stores.ledger import Ledger
from tests.explorer.driver import resume
from tests.explorer.moves import moves
from tests.explorer.processes import Running, caller, reads
from tests.explorer.world import Task, World

PLAIN = Policy(ttl=None, early=0, lease=1e8, wait=1e7)
"""No dates to pass; a lease ends only where the search ends it."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A task to be: in which process it runs, and what it does; `kind` if others do the very same."""

    process: str
    does: Callable[[], Running]
    strict: bool = False
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scope.

    before: what has been done, one after the other, when the search begins.
    mishaps: how often each may happen; a "lose a+b" loses those keys at once, and only one of the losses happens.
        "any" bounds all of them together, but for "hours".
    split: replies to those who lead a flight may travel while others join it.
    torn: a claim is taken in the three parts that a pipeline sends it in.
    cluster: dates and keys are on two servers, and what needs both is taken in parts.
    """

    actors: Mapping[str, Actor]
    before: tuple[Callable[[], Running], ...] = ()
    mishaps: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[str, ...] = ("a",)
    split: bool = False
    torn: bool = False
    cluster: bool = False

    def world(self) -> World:
        """Its beginning."""
        world = World(
            Ledger(), {}, {}, *(dict.fromkeys(self.rows, 0) for _ in range(3)), split=self.split, torn=self.torn,
            cluster=self.cluster, fallible=bool({"failing", "impatience"} & set(self.mishaps)))
        for number, does in enumerate(self.before):
            alone = f"before{number}"
            world.tasks[alone] = Task(alone, alone, does)
            resume(world, alone, None)
            while not world.tasks[alone].over:
                next(iter(moves(world))).happen(world)
        world.flights, world.budget = {}, dict(self.mishaps)
        world.tasks = {name: Task(name, actor.process, actor.does, strict=actor.strict)
                       for name, actor in self.actors.items()}
        world.after = self._twins()
        for name in self.actors:
            resume(world, name, None)
        return world

    def _twins(self) -> dict[str, str]:
        """Who begins after whom: of two that could change places, and their processes, one order is all there is."""
        processes = [actor.process for actor in self.actors.values()]
        after: dict[str, str] = {}
        last: dict[tuple[str, str], str] = {}
        for name, actor in self.actors.items():
            if actor.kind:
                place = (actor.kind, actor.process if processes.count(actor.process) > 1 else "any")
                if place in last:
                    after[name] = last[place]
                last[place] = name
        return after


def ask(key: str = "k", *rows: str, policy: Policy = PLAIN, compute: Any = None) -> Ask:
    """A key whose value is made of rows; its tags are learnt as they are read."""
    return Ask(key, policy, (), compute or reads(*(rows or ("a",))))


def reader(process: str, what: Ask | None = None) -> Actor:
    """Somebody who asks for a key, `k` of row `a` unless told otherwise."""
    kind = "" if what else "reader"
    what = what or ask()
    return Actor(process, caller(what), what.policy.consistency == "strict", kind)
