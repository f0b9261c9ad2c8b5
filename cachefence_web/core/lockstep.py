"""Plans side by side: many keys cost the round trips of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cachefence_web.core.effects import Effect, Plan
from cachefence_web.core.flight import Together
from cachefence_web.errors import StoreUnavailable

R = TypeVar("R")


def lockstep(plans: Sequence[Plan[R]], undo: Callable[[R], Plan[None]] | None = None) -> Plan[list[R]]:
    """Run plans side by side, the effects of each step together: many keys, one round trip a step.

    undo: what to do about those that have ended when the rest is interrupted.
    """
    results: dict[int, R] = {}
    asking: dict[int, Effect[Any]] = {}

    def advance(index: int, answer: Any) -> None:
        try:
            if isinstance(answer, StoreUnavailable):
                asking[index] = plans[index].throw(answer)
            else:
                asking[index] = plans[index].send(answer)
        except StopIteration as done:
            asking.pop(index, None)
            results[index] = done.value

    for index in range(len(plans)):
        advance(index, None)
    while asking:
        turn = list(asking.items())
        try:
            answers = yield from Together(tuple(effect for _, effect in turn))
        except GeneratorExit:
            raise
        except BaseException as error:
            for index, _ in turn:
                yield from _break_off(plans[index], error)
            if undo is not None:
                for result in results.values():
                    yield from undo(result)
            raise
        for (index, _), answer in zip(turn, answers, strict=True):
            advance(index, answer)
    return [results[index] for index in range(len(plans))]


def _break_off(plan: Plan[Any], error: BaseException) -> Plan[None]:
    """Let a plan clean up after what has interrupted it."""
    try:
        effect = plan.throw(error)
        while True:
            try:
                answer = yield effect
            except StoreUnavailable as away:
                effect = plan.throw(away)
            else:
                effect = plan.send(answer)
    except StopIteration:
        return
    except BaseException as raised:
        if raised is not error and not isinstance(raised, StoreUnavailable):
            raise
