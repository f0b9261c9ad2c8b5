"""Who writes in the simulated processes: transactions with their fences, corrections, and those who set values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cachefence_web.core import writing
from cachefence_web.core.effects import Effect, Expire, Fence, Lift, Outcome, TakeInstant
from cachefence_web.core.flight import Computed
from cachefence_web.core.policy import Policy
from cachefence_web.errors import StoreUnavailable
from tests.explorer.processes import NUMBER, Commit, Row, Running, Said

FENCE_LIFE = 30.0
"""Seconds; longer than a back-off, shorter than any value's life here."""


def transaction(name: str, *rows: str, fenced: bool = True) -> Callable[[], Running]:
    """A writer as an ORM integration makes it: fence, COMMIT, lift; it returns what it knows to be committed."""

    def write() -> Running:
        try:
            if fenced:
                yield from Fence(rows, name, FENCE_LIFE)
        except StoreUnavailable:
            return None
        outcome = yield Commit(rows, FENCE_LIFE)
        try:
            yield from Lift(rows, name, outcome)
        except StoreUnavailable:
            return None
        return outcome

    return write


def correction(step: Effect[Any], *rows: str) -> Callable[[], Running]:
    """A writer whom no hook sees: it commits, then says so by invalidating tags or deleting a key."""

    def write() -> Running:
        yield Commit(rows)
        yield from step
        if isinstance(step, Expire):
            for row in rows:
                yield Said(row, (yield Row(row)), unless_stale=True)
            return None
        return Outcome.COMMITTED

    return write


def waverer(name: str, *rows: str) -> Callable[[], Running]:
    """A writer who fences, and then rolls back."""

    def write() -> Running:
        yield from Fence(rows, name, FENCE_LIFE)
        yield from Lift(rows, name, Outcome.ROLLED_BACK)
        return Outcome.ROLLED_BACK

    return write


def counter(key: str, policy: Policy) -> Callable[[], Running]:
    """Somebody who adds one to a number."""
    return lambda: writing.increment(key, 1, policy, create=True)


def adder(key: str, policy: Policy, payload: bytes = b"()") -> Callable[[], Running]:
    """Somebody who stores a value if there is none, and says 1 if there was none: to one of them, and only one."""

    def add() -> Running:
        done = Computed((), payload, ("a",))
        return 1 if (yield from writing.add(key, done, policy)) else None

    return add


def tally(policy: Policy) -> Callable[[], Running]:
    """A writer who adds one to the number that stands for the row, as the row's version grows by one."""

    def write() -> Running:
        yield Commit(("a",))
        version = yield Row("a")
        yield from writing.increment(NUMBER, 1, policy, create=True)
        yield Said("a", version)
        return None

    return write


def changer(key: str, policy: Policy, row: str) -> Callable[[], Running]:
    """A writer who makes the new value of the one that stands under the key, if one does."""

    def write() -> Running:
        yield Commit((row,))
        version = yield Row(row)
        made = ((row, version),)
        done = Computed(made, repr(made).encode(), (row,))
        yield from writing.modify(key, lambda _: done, policy, lambda: done)
        yield Said(row, version)
        return None

    return write


def setter(key: str, policy: Policy, row: str, *, times: int = 1, since: bool = False) -> Callable[[], Running]:
    """A writer who stores the new value under the key itself, once or over again.

    since: the value is read back, and dated before the reading.
    """

    def write() -> Running:
        for _ in range(times):
            yield Commit((row,))
            lease = (yield from TakeInstant()) if since else None
            version = yield Row(row)
            value = ((row, version),)
            done = Computed(value, repr(value).encode(), (row,))
            try:
                yield from writing.put(key, done, policy, lease)
            except StoreUnavailable:
                continue
            yield Said(row, version)
        return None

    return write
