"""The judge is judged: histories made by hand, one for each thing that should not be, and what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.histories.checking import AFTER_A_LOSS, SLACK, Kind, check
from tests.histories.history import TOKENS, Committed, History, Outcome, Read, Seen, Told

SECOND = 1_000_000_000
LIFE = SECOND
A, B, DEAD = TOKENS + 1, TOKENS + 2, 2 * TOKENS + 1
LATER = 20 * SECOND
DUE = 10 * SECOND + LIFE + SLACK
"""When the commit is, that a writer who was found dead at 10 s had made."""

COMMITS = [Committed("r1", 1, A), Committed("r1", 2, B)]
TOLD = [Told(A, 1 * SECOND, Outcome.COMMITTED), Told(B, 2 * SECOND, Outcome.COMMITTED)]
ORPHAN = [*COMMITS, Committed("r1", 3, DEAD)]


def a_read(start: int, *seen: Seen, end: int | None = None, reader: str = "5.0", **more: Any) -> Read:
    return Read(reader, "/detail/1/", start, start + 1 if end is None else end, list(seen), **more)


def kinds(
    reads: Sequence[Read], committed: Sequence[Committed] = COMMITS, told: Sequence[Told] = TOLD, **more: Any
) -> list[Kind]:
    history = History(list(reads), list(told), list(committed), deaths=more.get("deaths", {2: 10 * SECOND}),
                      losses=more.get("losses", []), pauses=more.get("pauses", []), life=LIFE)
    return [each.kind for each in check(history).violations]


RIGHT: dict[str, list[Read]] = {
    "the last commit": [a_read(3 * SECOND, ("r1", 2, B))],
    "one that had not returned": [a_read(SECOND + 1, ("r1", 2, B))],
    "the one before, while the next was on its way": [a_read(2 * SECOND, ("r1", 1, A), end=LATER)],
    "nothing, before anything was": [a_read(0, ("r1", 0, 0))],
    "a version, by somebody who cannot say whose": [a_read(3 * SECOND, ("r1", 2, None))],
    "that there is such a version": [a_read(3 * SECOND, ("r1", 1, A), partial=True)],
    "all balances": [a_read(3 * SECOND, total=0)],
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_found_right(name: str) -> None:
    assert kinds(RIGHT[name]) == []


WRONG: dict[str, tuple[Kind, list[Read]]] = {
    "a commit that had returned was not seen": (Kind.STALE, [a_read(2 * SECOND + 1, ("r1", 1, A))]),
    "nor was any": (Kind.STALE, [a_read(LATER, ("r1", 0, 0))]),
    "a version that nobody committed": (Kind.PHANTOM, [a_read(LATER, ("r1", 3, A))]),
    "one that was rolled back, and had the number of one that was not": (Kind.PHANTOM, [a_read(LATER, ("r1", 2, A))]),
    "a number beyond all": (Kind.PHANTOM, [a_read(LATER, ("r1", 3, None))]),
    "half of a transfer": (Kind.TORN, [a_read(LATER, total=1)]),
    "what the reader had seen is gone again": (
        Kind.BACKWARDS, [a_read(SECOND + 1, ("r1", 2, B)), a_read(SECOND + 3, ("r1", 1, A))]),
    "what another had seen is not seen by who is strict": (
        Kind.LATE, [a_read(SECOND + 1, ("r1", 2, B)), a_read(SECOND + 3, ("r1", 1, A), reader="6.0", strict=True)]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found(name: str) -> None:
    kind, reads = WRONG[name]
    assert kinds(reads) == [kind]


def test_who_is_not_strict_may_see_a_commit_later_than_another_that_has_not_returned() -> None:
    assert kinds([a_read(SECOND + 1, ("r1", 2, B)), a_read(SECOND + 3, ("r1", 1, A), reader="6.0")]) == []


@pytest.mark.parametrize(("start", "found"), [(DUE, []), (DUE + 1, [Kind.LOST])])
def test_p4_the_commit_of_a_dead_writer_is_due_at_its_fences_deadline(start: int, found: list[Kind]) -> None:
    assert kinds([a_read(start, ("r1", 2, B))], ORPHAN) == found


@pytest.mark.parametrize(("start", "found"), [(DUE, []), (DUE + 1, [Kind.LOST])])
def test_p4_so_is_one_whose_outcome_nobody_learnt(start: int, found: list[Kind]) -> None:
    told = [*TOLD, Told(DEAD, 10 * SECOND, Outcome.UNKNOWN)]
    assert kinds([a_read(start, ("r1", 2, B))], ORPHAN, told, deaths={}) == found


@pytest.mark.parametrize(("loss", "found"), [
    ((10 * SECOND, LATER), []),
    ((0, 10 * SECOND - AFTER_A_LOSS), []),
    ((0, 10 * SECOND - AFTER_A_LOSS - 1), [Kind.LOST]),
    ((10 * SECOND + 1, LATER), [Kind.LOST]),
])
def test_a_commit_whose_fence_and_record_were_lost_before_its_writer_died_is_due_to_nobody(
    loss: tuple[int, int], found: list[Kind]
) -> None:
    assert kinds([a_read(LATER, ("r1", 2, B))], ORPHAN, losses=[loss]) == found


@pytest.mark.parametrize(("told", "found"), [(9 * SECOND, [Kind.LOST]), (8 * SECOND, [])])
def test_a_loss_before_the_attempt_excuses_nothing(told: int, found: list[Kind]) -> None:
    earlier = [*TOLD, Told(DEAD, told, Outcome.ROLLED_BACK)]
    committed = [*COMMITS, Committed("r1", 3, DEAD + 1)]
    assert kinds([a_read(LATER, ("r1", 2, B))], committed, earlier, losses=[(8 * SECOND, 8 * SECOND)]) == found


def test_going_back_is_nobodys_fault_while_processes_freeze() -> None:
    reads = [a_read(SECOND + 1, ("r1", 2, B)), a_read(SECOND + 3, ("r1", 1, A))]
    assert kinds(reads, pauses=[SECOND]) == []
    assert kinds(reads, pauses=[4 * SECOND]) == [Kind.BACKWARDS]


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.ROLLED_BACK])
def test_what_its_writer_was_told_to_have_failed_is_not_there(outcome: Outcome) -> None:
    assert kinds([], told=[TOLD[0], Told(B, SECOND, outcome)]) == [Kind.UNDEAD]


def test_a_history_in_which_a_living_writer_is_silent_proves_nothing() -> None:
    with pytest.raises(ValueError, match="never told of it"):
        kinds([], told=TOLD[:1])
