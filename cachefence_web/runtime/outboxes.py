"""Where databases keep what commits have told no store: before this process reads from a store, it looks there.

A row is written in a commit's own transaction. Whoever finds the store back tells it the rows and removes them, in one
transaction, so that they are told at least once, whoever has died. Looks are owed as a process begins, for rows whose
process was killed; after each failure of the store; and once more after each of these, when a fence would have ended,
for a commit that was under way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from time import monotonic
from typing import Any

from cachefence_web.core.effects import (
    Clear,
    Delete,
    Expire,
    Fence,
    Invalidate,
    Lift,
    StoreEffect,
    TakeInstant,
)
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.base import Store

Drain = Callable[[], int]
"""Tells the store what waits in a database and removes it there; how many rows that were. It raises what kept it."""

_FORBIDDING = (Clear, Delete, Expire, Fence, Invalidate, Lift, TakeInstant)

FIRST_LOOK = 5.0
"""Seconds for which callers wait, all in all, until a new process has looked for the first time."""


class Busy(Exception):
    """Rows are there that somebody else is telling, or was telling when he died: look again."""


def only_forbid(effects: Sequence[StoreEffect[Any]]) -> bool:
    """Whether these may be asked of a store before it was told the rows: they show nobody a value."""
    return all(isinstance(effect, _FORBIDDING) for effect in effects)


class Outboxes:
    """Those of one store, and the looks that are owed. Its owner holds a lock around each call but `drain`.

    life: seconds after which no commit is under way whose fence was not raised.
    """

    __slots__ = ("_drains", "_looked", "_owed", "_timer", "_until", "life")

    def __init__(self) -> None:
        self._drains: dict[Hashable, Drain] = {}
        self._owed: dict[Hashable, int] = {}  # how often; 0: the first look of this process
        self.life = 0.0
        self.reset()

    def reset(self) -> None:
        """In a forked child none of its parent's threads is there."""
        self._looked = threading.Event()
        self._until = 0.0
        self._timer: threading.Timer | None = None
        if not self._owed:
            self._looked.set()

    def __bool__(self) -> bool:
        return bool(self._drains)

    @property
    def owed(self) -> int:
        """How many are to be looked into before the store is read from."""
        return len(self._owed)

    @property
    def outstanding(self) -> int:
        """How many of them because the store was away."""
        return sum(map(bool, self._owed.values()))

    def attach(self, name: Hashable, drain: Drain, life: float) -> None:
        """There is one; a first look is owed."""
        self._drains[name] = drain
        self._owed.setdefault(name, 0)
        self.life = max(self.life, life)
        if self._looked.is_set():  # else somebody may be waiting for it
            self._looked = threading.Event()
            self._until = 0.0

    def detach(self, name: Hashable) -> None:
        """It is no longer there."""
        self._drains.pop(name, None)
        self._owed.pop(name, None)

    def owe(self) -> None:
        """Something may have been written to each of them."""
        for name in self._drains:
            self._owed[name] = self._owed.get(name, 0) + 1

    def due(self) -> dict[Hashable, int]:
        """The looks that are owed now."""
        return dict(self._owed)

    def paid(self, looks: dict[Hashable, int]) -> None:
        """Those were had; what became due meanwhile is due still."""
        for name, times in looks.items():
            if self._owed.get(name) == times:
                del self._owed[name]

    def drain(self, names: Sequence[Hashable], store: Store) -> int:
        """Look into these; how many rows were told.

        Raises:
            StoreUnavailable: it is away still.
            Exception: whatever kept a database from being looked into.
        """
        if not names:
            return 0
        store.perform(TakeInstant())  # a look at rows is worth nothing before the store is there
        told, kept = 0, None
        for drain in [drain for name in names if (drain := self._drains.get(name)) is not None]:
            try:
                told += drain()
            except StoreUnavailable:
                raise
            except Exception as error:  # one database that is down keeps nobody from another's rows
                kept = kept or error
        if kept is not None:
            raise kept
        return told

    def all(self) -> list[Hashable]:
        """Their names."""
        return list(self._drains)

    def first_is_due(self) -> bool:
        """Whether this process has yet to look, and nobody has waited too long for it."""
        return bool(self._owed) and not self._looked.is_set() and (not self._until or monotonic() < self._until)

    def first(self) -> Callable[[], object]:
        """What waits until it has looked, or not longer than callers are kept."""
        self._until = self._until or monotonic() + FIRST_LOOK
        looked, left = self._looked, max(0.0, self._until - monotonic())
        return lambda: looked.wait(left)

    def looked(self) -> None:
        """It has tried to look: whoever comes now is answered by what came of it."""
        self._looked.set()

    def again(self, look: Callable[[], None]) -> None:
        """Have a thread look once more, when a commit that was not seen has ended as its fence would have.

        One that was to look before that is not needed.
        """
        self.not_again()
        self._timer = threading.Timer(self.life, look)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError:  # the interpreter is going down: the next process looks as it begins
            self._timer = None

    def not_again(self) -> None:
        """That look is not to be had."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
