"""Decisions around a COMMIT: many tags are fenced in one round trip, and lifted in one."""

from __future__ import annotations

from collections.abc import Callable

from cachefence_web.core.effects import Effect, Fence, Lift, Outcome, Plan
from cachefence_web.core.flight import Together
from cachefence_web.errors import StoreUnavailable

AT_ONCE = 1_000
"""Tags of one step: a script that takes more keeps everybody else waiting."""


def raise_fences(tags: tuple[str, ...], token: str, life: float) -> Plan[None]:
    """Date an invalidation of the tags `life` seconds from now.

    Raises:
        StoreUnavailable: if any of them may not be fenced; those that are come to their deadline, which costs no more
            than a compute.
    """
    yield from _each(tags, lambda some: Fence(some, token, life))


def lift_fences(tags: tuple[str, ...], token: str, outcome: Outcome) -> Plan[None]:
    """Say how it ended. Tags whose fence was never raised are invalidated all the same, unless it was rolled back.

    Raises:
        StoreUnavailable: if it may not have been heard for all of them.
    """
    yield from _each(tags, lambda some: Lift(some, token, outcome))


def _each(tags: tuple[str, ...], step: Callable[[tuple[str, ...]], Effect[object]]) -> Plan[None]:
    steps = [step(tags[start:start + AT_ONCE]) for start in range(0, len(tags), AT_ONCE)]
    if len(steps) == 1:
        yield from steps[0]
        return
    for answer in (yield from Together(tuple(steps))):
        if isinstance(answer, StoreUnavailable):
            raise answer
