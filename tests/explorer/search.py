"""The search: everywhere there is to go, or a seeded walk, and a trace of how a violation came about."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time

from tests.explorer.moves import Move, check_end, moves
from tests.explorer.world import Violation, World


@dataclass(frozen=True, slots=True)
class Explored:
    """How a search went: how many states it saw, whether those were all, and the first way to a violation."""

    states: int
    complete: bool
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def story(self) -> str:
        """The counterexample, a line for each thing that happened."""
        steps = "\n".join(f"  {number:3} {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.violation}\n{steps}"


def exhaust(start: World, *, seconds: float) -> Explored:
    """Visit every state that can be reached, depth first, for at most so many seconds of CPU."""
    until = process_time() + seconds
    seen = {start.fingerprint()}
    path: list[str] = []
    try:
        ahead = [_ahead(start)]
        worlds = [start]
        while ahead:
            if not ahead[-1]:
                ahead.pop()
                worlds.pop()
                if path:
                    path.pop()
                continue
            move = ahead[-1].pop()
            path.append(move.label)
            world = worlds[-1].copy()
            move.happen(world)
            mark = world.fingerprint()
            if mark in seen:
                path.pop()
                continue
            seen.add(mark)
            if not len(seen) % 256 and process_time() > until:
                return Explored(len(seen), complete=False)
            ahead.append(_ahead(world))
            worlds.append(world)
    except Violation as broken:
        return Explored(len(seen), complete=False, violation=str(broken), trace=tuple(path))
    return Explored(len(seen), complete=True)


def wander(make: Callable[[], World], *, seconds: float, seed: int) -> Explored:
    """Walk at random from the start to an end, over and over, for so many seconds of CPU."""
    chance = random.Random(seed)
    until = process_time() + seconds
    steps = 0
    path: list[str] = []
    try:
        while process_time() < until:
            world, path = make(), []
            while ahead := _ahead(world):
                move = chance.choice(ahead)
                path.append(move.label)
                move.happen(world)
                steps += 1
    except Violation as broken:
        return Explored(steps, complete=False, violation=str(broken), trace=tuple(path))
    return Explored(steps, complete=False)


def _ahead(world: World) -> list[Move]:
    ahead = list(moves(world))
    if all(move.fault for move in ahead):
        check_end(world)
    ahead.reverse()
    return ahead
