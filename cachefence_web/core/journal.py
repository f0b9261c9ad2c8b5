"""What the store could not be told, kept until it can be.

All of it may be done late, in any order, and twice: that forbids more than was asked for, and never less. What matters
is that nothing is read before the whole of it is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from msgspec import Struct, field

MOST = 10_000
"""Names that a journal holds; one more, and it forbids everything instead."""

MOST_PATTERNS = 100
"""Patterns among them: each costs a walk through the namespace."""


class Owed(Struct, frozen=True):
    """What a call makes untrue.

    tags are to be invalidated, expired ones made stale, keys and whatever matches the patterns deleted. Unsure tags are
    those of a write that may not be committed before the store is back: they are to be invalidated then, and once more
    when its fence, of `life` seconds, would have ended.
    """

    tags: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    everything: bool = False
    life: float = 0.0


class Journal(Struct):
    """What is owed, each name once; the longest life is everybody's."""

    tags: dict[str, None] = field(default_factory=dict)
    unsure: dict[str, None] = field(default_factory=dict)
    expired: dict[str, None] = field(default_factory=dict)
    keys: dict[str, None] = field(default_factory=dict)
    patterns: dict[str, None] = field(default_factory=dict)
    everything: bool = False
    life: float = 0.0

    def add(self, owed: Owed | Journal) -> None:
        """Note it. Where everything is forbidden now, only what is to be forbidden later still needs a note."""
        self.life = max(self.life, owed.life)
        self.unsure.update(dict.fromkeys(owed.unsure))
        for mine, its in zip(self._plain(), (owed.tags, owed.expired, owed.keys, owed.patterns), strict=True):
            mine.update(dict.fromkeys(its))
        full = len(self) > MOST or len(self.patterns) > MOST_PATTERNS
        if self.everything or owed.everything or full:
            self.everything = True
            for mine in self._plain():
                mine.clear()
            if len(self.unsure) > MOST:
                self.unsure.clear()

    def __len__(self) -> int:
        """How much is owed; everything counts as one."""
        return sum(map(len, (self.unsure, *self._plain()))) + self.everything

    def __str__(self) -> str:
        """In the words of an administrator who has to make it good by hand."""
        if self.everything:
            return "everything in the namespace"
        kinds = ("tags", "tags to expire", "keys", "patterns")
        named = zip(kinds, ({**self.unsure, **self.tags}, self.expired, self.keys, self.patterns), strict=True)
        return "; ".join([f"{what} {_first(names)}" for what, names in named if names]) or "nothing"

    def _plain(self) -> tuple[dict[str, None], ...]:
        return self.tags, self.expired, self.keys, self.patterns


def _first(names: Iterable[str], most: int = 20) -> str:
    shown = [repr(name) for name in islice(names, most + 1)]
    return ", ".join([*shown[:most], "..."] if len(shown) > most else shown)
