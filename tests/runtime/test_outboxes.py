"""P6: before a store is read from, the outboxes are looked into; what only forbids waits for nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from cachefence_web import StoreUnavailable
from cachefence_web.core.effects import Delete, Fence, Invalidate, Read
from cachefence_web.core.journal import Owed
from cachefence_web.runtime import journal
from cachefence_web.runtime.journal import Outage
from tests.runtime.test_journal import LONG, Fickle, refused, silent, until

FENCE = Fence(("a",), "token", 1.0)


class Box:
    """An outbox: what waits in it, and how often it was looked into."""

    def __init__(self, store: Fickle) -> None:
        self.store = store
        self.rows: list[str] = []
        self.looks = 0
        self.broken: Exception | None = None
        self.during: Callable[[], None] = lambda: None

    def drain(self) -> int:
        self.looks += 1
        if self.broken is not None:
            raise self.broken
        told, self.rows = self.rows, []
        for row in told:
            self.store.perform(Invalidate((row,)))
        self.during()
        return len(told)


@pytest.fixture
def store() -> Fickle:
    return Fickle()


@pytest.fixture
def box(store: Fickle) -> Box:
    return Box(store)


@pytest.fixture
def outage() -> Iterator[Outage]:
    outage = Outage("test", pause=lambda failures: 0.01 * bool(failures))
    yield outage
    outage.close()


def test_p4_a_new_process_reads_nothing_before_it_has_looked(store: Fickle, box: Box) -> None:
    outage = Outage("test", pause=lambda _: LONG)
    box.rows = ["a"]
    outage.attach("box", box.drain, store, LONG)
    assert outage.shut
    assert outage.refused((FENCE, Delete("k"))) is None, "what only forbids waits for nothing"
    assert box.looks == 0, "and makes nobody look"
    assert outage.outstanding == 0
    refusal = outage.refused((Read("k"),))
    assert "outbox" in str(refusal)
    outage.close()


def test_p4_a_new_process_waits_for_its_look(outage: Outage, store: Fickle, box: Box) -> None:
    box.rows = ["a"]
    outage.attach("box", box.drain, store, LONG)
    assert outage.first_look((FENCE,)) is None
    wait = outage.first_look((Read("k"),))
    assert wait is not None
    wait()
    until(lambda: not outage.shut)
    assert (box.rows, box.looks) == ([], 1)
    assert outage.first_look((Read("k"),)) is None


def test_p6_who_waits_for_the_look_is_woken_though_another_outbox_came_with_it(
    outage: Outage, store: Fickle, box: Box
) -> None:
    box.during = lambda: outage.attach("another", lambda: 0, store, LONG)
    outage.attach("box", box.drain, store, LONG)
    wait = outage.first_look((Read("k"),))
    assert wait is not None
    assert wait(), "it was woken, and has not come of itself"


def test_p6_nobody_waits_for_a_second_look(outage: Outage, store: Fickle, box: Box) -> None:
    box.broken = OSError("no database")
    outage.attach("box", box.drain, store, LONG)
    wait = outage.first_look((Read("k"),))
    assert wait is not None
    wait()
    assert outage.first_look((Read("k"),)) is None
    assert outage.refused((Read("k"),)) is not None
    box.broken = None
    until(lambda: not outage.shut)


def test_p6_the_thread_that_looks_does_not_wait_for_itself(outage: Outage, store: Fickle, box: Box) -> None:
    found: list[object] = []
    box.during = lambda: found.append(outage.first_look((Read("k"),)))
    outage.attach("box", box.drain, store, LONG)
    wait = outage.first_look((Read("k"),))
    assert wait is not None
    wait()
    assert found == [None]


@pytest.mark.parametrize("error", [silent(), refused()])
def test_p6_after_each_failure_it_is_looked_into_once_the_store_is_back(
    error: StoreUnavailable, outage: Outage, store: Fickle, box: Box
) -> None:
    outage.attach("box", box.drain, store, LONG)
    outage.refused((Read("k"),))
    until(lambda: not outage.shut)
    store.away = error
    outage.failed(error)
    assert outage.outstanding == 1
    until(lambda: len(store.asked) > 3)
    assert box.looks == 1, "what is there is not told to a store that is away"
    box.rows = ["a"]
    assert outage.refused((Read("k"),)) is not None
    store.away = None
    until(lambda: not outage.shut)
    assert (box.rows, box.looks) == ([], 2)


def test_p6_a_row_that_is_committed_while_another_look_is_had_is_looked_for_too(
    outage: Outage, store: Fickle, box: Box
) -> None:
    def committed() -> None:
        box.during = lambda: None
        box.rows = ["a"]
        outage.expect(kept=True)

    box.during = committed
    outage.attach("box", box.drain, store, LONG)
    outage.refused((Read("k"),))
    until(lambda: not outage.shut)
    assert (box.rows, box.looks) == ([], 2)


def test_p4_a_row_whose_process_died_behind_the_look_is_told_when_its_fence_would_have_ended(
    outage: Outage, store: Fickle, box: Box
) -> None:
    died = threading.Event()

    def committed() -> None:
        if not died.is_set():
            died.set()
            box.rows = ["a"]

    box.during = committed
    outage.attach("box", box.drain, store, 0.05)
    outage.refused((Read("k"),))
    until(died.is_set)
    until(lambda: not box.rows)
    until(lambda: box.looks == 2)
    assert not outage.shut


def test_p4_a_later_failure_has_a_later_look(store: Fickle, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    monkeypatch.setattr(threading.Timer, "start", lambda timer: begun.append(timer.interval))
    outage = Outage("test", pause=lambda failures: 0.01 * bool(failures))
    outage.attach("box", box.drain, store, LONG)
    outage.refused((Read("k"),))
    until(lambda: not outage.shut)
    outage.expect()
    until(lambda: not outage.shut)
    assert begun == [LONG, LONG]
    outage.close()


def test_p6_a_database_that_is_down_keeps_nobody_from_another_s_rows(outage: Outage, store: Fickle, box: Box) -> None:
    down = Box(store)
    down.broken, box.rows = OSError("no database"), ["a"]
    outage.attach("down", down.drain, store, LONG)
    outage.attach("box", box.drain, store, LONG)
    outage.refused((Read("k"),))
    until(lambda: not box.rows)
    assert outage.refused((Read("k"),)) is not None
    down.broken = None
    until(lambda: not outage.shut)


def test_p6_a_late_look_that_fails_is_had_before_the_store_is_read_again(
    outage: Outage, store: Fickle, box: Box
) -> None:
    def break_down() -> None:
        box.broken = OSError("no database")

    box.during = break_down
    outage.attach("box", box.drain, store, 0.05)
    outage.refused((Read("k"),))
    until(lambda: box.looks >= 3)
    assert outage.refused((Read("k"),)) is not None
    box.broken, box.during = None, lambda: None
    until(lambda: not outage.shut)


def test_a_closed_cache_leaves_the_rows_where_they_are(
    store: Fickle, box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage("test", pause=lambda _: LONG)
    outage.attach("box", box.drain, store, LONG)
    outage.expect(kept=True)
    outage.close()
    assert box.looks == 0
    assert "not told" not in caplog.text


@pytest.mark.parametrize("owes", [False, True])
def test_p6_a_database_that_never_answers_holds_up_neither_an_end_nor_a_journal(
    owes: bool, outage: Outage, store: Fickle, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LONGEST_LOOK", 0.05)
    looks, answers = threading.Event(), threading.Event()

    def never() -> None:
        looks.set()
        answers.wait()

    box.during = never
    outage.attach("box", box.drain, store, LONG)
    assert outage.first_look((Read("k"),)) is not None
    looks.wait()
    if owes:
        outage.owe(Owed(tags=("mine",)), store, "a write", refused())
    ending = threading.Thread(target=outage.close, daemon=True)
    ending.start()
    ending.join(LONG)
    held_up, told = ending.is_alive(), Invalidate(("mine",)) in store.asked
    answers.set()
    assert not held_up
    assert told is owes


def test_p6_after_an_end_that_did_not_wait_it_is_looked_into_again(
    outage: Outage, store: Fickle, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LONGEST_LOOK", 0.05)
    looks, answers = threading.Event(), threading.Event()

    def once() -> None:
        looks.set()
        answers.wait()

    box.during = once
    outage.attach("box", box.drain, store, LONG)
    assert outage.first_look((Read("k"),)) is not None
    looks.wait()
    outage.close()
    assert outage.refused((Read("k"),)) is not None, "it has not looked yet"
    answers.set()
    until(lambda: not outage.shut)
    assert outage.refused((Read("k"),)) is None


def test_one_that_is_no_longer_used_is_not_looked_into(outage: Outage, store: Fickle, box: Box) -> None:
    outage.attach("box", box.drain, store, LONG)
    outage.detach("box")
    outage.refused((Read("k"),))
    outage.answered()
    assert not outage.shut
    assert box.looks == 0
