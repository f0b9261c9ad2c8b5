"""The judge, who knows nothing but the history: what each read had to see at least, and what nobody may see.

A commit is *known* from when it returned to its writer. Where the writer was killed, or lost its connection, and the
database has the commit all the same, it is known from its fence's deadline: a life after the writer was found dead.
A read that starts later sees it, or a later one. What was never committed is seen by nobody.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tests.histories.history import TOKENS, Committed, History, Outcome, Read, Told

SLACK = 250_000_000
"""Nanoseconds that a database may take for the COMMIT of a client that is dead."""

WHILE = 2_500_000_000
"""Nanoseconds for which a pause or a death may have its part in what is seen."""

AFTER_A_LOSS = 5_000_000_000
"""The same for a loss: what a process could not tell the cache is told once that is back, by then at the latest."""


class Kind(enum.StrEnum):
    """What a read, or a commit, is found guilty of."""

    STALE = "stale"            # a commit had returned, and was not seen
    LOST = "lost"              # a writer was dead, its fence past its deadline, and its commit was not seen
    PHANTOM = "phantom"        # what nobody ever committed was seen
    TORN = "torn"              # half of a transaction was seen
    BACKWARDS = "backwards"    # one reader saw a page's version go back, with nothing gone wrong
    LATE = "late"              # a strict read did not see what somebody had seen before
    UNDEAD = "undead"          # what its writer was told to have failed is committed


@dataclass(frozen=True, slots=True)
class Violation:
    """What should not be; `least` is the version that had to be seen."""

    kind: Kind
    thing: str
    version: int
    least: int
    read: Read | None = None


@dataclass(slots=True)
class Judged:
    """A verdict, and how much it rests on.

    orphans: commits whose writers never learnt of them, and that had to be seen at the deadline.
    excused: those of which, beside, the cache lost record and fence at once: nothing promises when they are seen.
    """

    violations: list[Violation] = field(default_factory=list)
    reads: int = 0
    orphans: int = 0
    excused: int = 0


class Rising:
    """The highest version of each thing by some date."""

    def __init__(self, dated: Iterable[tuple[str, int, int]]) -> None:
        """`dated`: (thing, date, version)."""
        self._dates: dict[str, list[int]] = defaultdict(list)
        self._highest: dict[str, list[int]] = defaultdict(list)
        for thing, date, version in sorted(dated):
            highest = self._highest[thing]
            if not highest or version > highest[-1]:
                self._dates[thing].append(date)
                highest.append(version)

    def before(self, thing: str, date: int) -> int:
        """The highest version dated earlier."""
        found = bisect_left(self._dates[thing], date)
        return self._highest[thing][found - 1] if found else 0


def check(history: History) -> Judged:
    """Judge a run."""
    judged = Judged(reads=len(history.reads))
    told = {each.token: each for each in history.told}
    before = _told_before(history)
    returned: list[tuple[str, int, int]] = []
    orphaned: list[tuple[str, int, int]] = []
    for each in history.committed:
        note = told.get(each.token)
        if note is not None and note.outcome is Outcome.COMMITTED:
            returned.append((each.thing, note.at, each.version))
        elif note is not None and note.outcome is not Outcome.UNKNOWN:
            judged.violations.append(Violation(Kind.UNDEAD, each.thing, each.version, 0))
        else:
            _orphan(each, note, before, history, judged, orphaned)
    _check_reads(history, judged, Rising(returned), Rising([*returned, *orphaned]))
    return judged


def _told_before(history: History) -> Callable[[int], int | None]:
    """When the writer of a token last told of an earlier one; by then it owed the cache nothing."""
    lives: dict[int, list[Told]] = defaultdict(list)
    for each in sorted(history.told, key=lambda each: each.token):
        lives[each.token // TOKENS].append(each)

    def before(token: int) -> int | None:
        told = lives.get(token // TOKENS, [])
        found = bisect_left(told, token, key=lambda each: each.token)
        return told[found - 1].at if found else None

    return before


def _orphan(
    commit: Committed, note: Told | None, before: Callable[[int], int | None], history: History, judged: Judged,
    orphaned: list[tuple[str, int, int]],
) -> None:
    """A commit that nobody was told of; without a death, its writer is to blame, who must tell of each attempt.

    Raises:
        ValueError: for a history that is not whole.
    """
    over = note.at if note is not None else history.deaths.get(commit.token // TOKENS)
    if over is None:
        raise ValueError(f"the writer of {commit} lives, and never told of it")
    begun = before(commit.token) or over - AFTER_A_LOSS
    if any(start <= over and begun <= end for start, end in history.losses):
        judged.excused += 1
    else:
        judged.orphans += 1
        orphaned.append((commit.thing, over + history.life + SLACK, commit.version))


def _check_reads(history: History, judged: Judged, returned: Rising, known: Rising) -> None:
    tokens = {(each.thing, each.version): each.token for each in history.committed}
    shown = Rising((thing, read.end, version) for read in history.reads if not read.partial
                   for thing, version, _ in read.seen)
    losses = sorted(date for loss in history.losses for date in loss)
    disturbed = sorted([*losses, *history.pauses, *history.deaths.values(),
                        *[each.at for each in history.told if each.outcome is Outcome.UNKNOWN]])
    last: dict[tuple[str, str, str], int] = {}
    found = judged.violations
    for read in history.reads:
        if read.total:
            found.append(Violation(Kind.TORN, "total", read.total, 0, read))
        for thing, version, token in read.seen:
            written = tokens.get((thing, version))
            if version and (written is None or token not in (None, written)):
                found.append(Violation(Kind.PHANTOM, thing, version, 0, read))
            if read.partial:
                continue
            least = known.before(thing, read.start)
            if version < least:
                kind = Kind.STALE if version < returned.before(thing, read.start) else Kind.LOST
                found.append(Violation(kind, thing, version, least, read))
            before = last.get((read.reader, read.page, thing), 0)
            if version < before and not _near(disturbed, read.start, WHILE):
                found.append(Violation(Kind.BACKWARDS, thing, version, before, read))
            last[read.reader, read.page, thing] = version
            before = shown.before(thing, read.start)
            if read.strict and version < before and not _near(losses, read.start, AFTER_A_LOSS):
                found.append(Violation(Kind.LATE, thing, version, before, read))


def _near(dates: list[int], date: int, distance: int) -> bool:
    """Whether one of these ascending dates is so near that it may have its part."""
    at = bisect_left(dates, date)
    return bool((at and date - dates[at - 1] < distance) or (at < len(dates) and dates[at] - date < distance))
