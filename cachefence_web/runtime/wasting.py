"""Which views are cached in vain: their entries are invalidated before they were of use, and the log says so.

Of each entry that this process stores it is noted what comes first: its second hit, or its end by an invalidation.
Where over half of those of a view that were decided within a minute ended unused, one line warns. What was evicted, or
has expired, is not decided.

Each process counts its own, and does not see that what it stored is hit in others. But what others stored is hit here,
and requests fall on processes alike: for each hit of such an entry, up to two for each, one of the entries that seem
unused here is taken for used. So a line may be missing where there are many processes, and is never wrong for that.

A hit costs one look-up, and another for what was stored elsewhere. Counts are plain additions: under threads they are
near enough.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("cachefence_web")

MINUTE = 60.0
LEAST = 10
"""So many unused entries a minute are worth a line."""

MOST_KNOWN = 4096
MOST_ELSEWHERE = 1024
MOST_VIEWS = 512
MOST_TAGS = 256

_USEFUL = 2
"""Hits."""


@dataclass(slots=True)
class _Minute:
    """One of a view's, from the first invalidated entry on.

    useful, wasted: of those stored here, how many came to their second hit, and how many did not.
    elsewhere: those stored by other processes, and how often they were hit here; lent: all these hits.
    """

    began: float
    useful: int = 0
    wasted: int = 0
    lent: int = 0
    elsewhere: dict[int, int] = field(default_factory=dict)
    tags: Counter[str] = field(default_factory=Counter)

    def lend(self, key: int) -> None:
        """An entry was hit that another process has stored."""
        hits = self.elsewhere.get(key, 0)
        if hits < _USEFUL:
            self.lent += 1
            if hits or len(self.elsewhere) < MOST_ELSEWHERE:
                self.elsewhere[key] = hits + 1


class Wasting:
    """The counts of one process.

    clock: seconds that never go back; an argument so that tests can decide it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[int, int] = {}  # by the hash of its key, which may be as long as a URL
        self._minutes: dict[str, _Minute] = {}

    def stored(self, key: str) -> None:
        """An entry was stored here."""
        known, entry = self._known, hash(key)
        known.pop(entry, None)
        if len(known) >= MOST_KNOWN:
            _drop_first(known)
        known[entry] = 0

    def hit(self, view: str, key: str) -> None:
        """An entry of the view was served."""
        entry = hash(key)
        hits = self._known.get(entry)
        if hits is None:
            if self._minutes and (minute := self._minutes.get(view)) is not None:
                minute.lend(entry)
        elif hits < _USEFUL:
            self._known[entry] = hits + 1
            if hits + 1 == _USEFUL and view in self._minutes:
                self._minute(view).useful += 1

    def outdated(self, view: str, key: str, tags: tuple[str, ...]) -> None:
        """An entry of the view was found, and is no longer true.

        tags: those by whose invalidation it is not.
        """
        hits = self._known.pop(hash(key), None)
        minute = self._minute(view)
        if hits is not None and hits < _USEFUL:
            minute.wasted += 1
            for tag in tags:
                if tag in minute.tags or len(minute.tags) < MOST_TAGS:
                    minute.tags[tag] += 1

    def _minute(self, view: str) -> _Minute:
        """The view's minute; one that is over is judged."""
        now = self._clock()
        minute = self._minutes.get(view)
        if minute is not None and now - minute.began < MINUTE:
            return minute
        if minute is None and len(self._minutes) >= MOST_VIEWS:
            _drop_first(self._minutes)
        fresh = self._minutes[view] = _Minute(now)
        if minute is not None and now - minute.began < 2 * MINUTE:
            _judge(view, minute)
        return fresh


def _judge(view: str, minute: _Minute) -> None:
    decided = minute.useful + minute.wasted
    if minute.wasted < LEAST or 2 * (minute.wasted - minute.lent) <= decided:
        return
    often = ", ".join([f"{tag} ({count})" for tag, count in minute.tags.most_common(3)])
    log.warning(
        "%s is cached in vain: %d of %d pages that this process stored were invalidated before their second hit, within"
        " a minute, most often by %s. `manage.py cachefence explain URL`, or the debug header, tells which statements"
        " they depend on; docs/explaining.md tells how to narrow that.", view, minute.wasted, decided, often)


def _drop_first(counts: dict[Any, Any]) -> None:
    with suppress(RuntimeError, StopIteration):  # another thread was at it
        counts.pop(next(iter(counts)), None)


wasting = Wasting()
"""This process's."""
