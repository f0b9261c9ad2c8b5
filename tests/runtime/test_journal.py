"""P6: what the store could not be told is kept and told later; and a deadline paid by one is not paid by the others."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from cachefence_web import CacheFence, StoreUnavailable
from cachefence_web.core.effects import (
    Clear,
    Delete,
    Fence,
    Invalidate,
    Lift,
    Outcome,
    StoreEffect,
    TakeInstant,
    Wait,
)
from cachefence_web.core.journal import MOST, MOST_PATTERNS, Journal, Owed
from cachefence_web.runtime.breaker import LONGEST_PROBE, REST, Breaker, paid_a_deadline
from cachefence_web.runtime.journal import Outage, pause_after
from cachefence_web.stores.memory import MemoryStore
from tests.faces.places import set_deadline
from tests.servers import RedisServer

LONG = 20.0
"""Seconds after which a test that waits for a state has failed."""


class Fickle(MemoryStore):
    """A store that is away while told so, and remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__("fickle")
        self.away: StoreUnavailable | None = None
        self.asked: list[StoreEffect[Any]] = []
        self.during: Callable[[], None] | None = None

    def perform(self, effect: StoreEffect[Any]) -> Any:
        """Take one step, if it is there."""
        self.asked.append(effect)
        if self.during is not None:
            during, self.during = self.during, None
            during()
        if self.away is not None:
            raise self.away
        return super().perform(effect)

    def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several."""
        if self.away is None:
            return super().perform_all(effects)
        self.asked.extend(effects)
        return [self.away] * len(effects)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def silent() -> StoreUnavailable:
    error = StoreUnavailable("no answer")
    error.__cause__ = TimeoutError()
    return error


def refused() -> StoreUnavailable:
    error = StoreUnavailable("out of memory")
    error.__cause__ = RuntimeError()
    return error


def until(is_so: Callable[[], bool]) -> None:
    ends = time.monotonic() + LONG
    while not is_so():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.002)


@pytest.fixture
def held() -> Iterator[Outage]:
    """One that tries to pay only when it is closed."""
    outage = Outage("test", pause=lambda _: LONG)
    yield outage
    if outage._store is not None:
        outage._store.away = None  # type: ignore[attr-defined]
        outage.close()


def test_a_journal_keeps_each_name_once() -> None:
    journal = Journal()
    for owed in (Owed(tags=("a", "b")), Owed(tags=("a",), keys=("a",)), Owed(expired=("a",), patterns=("a*",))):
        journal.add(owed)
    assert len(journal) == 5
    assert str(journal) == "tags 'a', 'b'; tags to expire 'a'; keys 'a'; patterns 'a*'"


@pytest.mark.parametrize("more", [
    Owed(everything=True), Owed(keys=tuple(map(str, range(MOST)))),
    Owed(patterns=tuple(map(str, range(MOST_PATTERNS + 1)))),
], ids=["asked-for", "too-many-names", "too-many-patterns"])
def test_p6_a_journal_is_bounded_by_forbidding_everything(more: Owed) -> None:
    """What is to be forbidden once more, later, stays to be."""
    journal = Journal()
    for owed in (Owed(tags=("a",)), more, Owed(tags=("b",))):
        journal.add(owed)
    assert (journal.everything, len(journal), str(journal)) == (True, 1, "everything in the namespace")
    journal.add(Owed(unsure=("c",), life=2.0))
    journal.add(Owed(unsure=("d",), life=1.0))
    assert (len(journal), list(journal.unsure), journal.life) == (3, ["c", "d"], 2.0)
    journal.add(Owed(unsure=tuple(map(str, range(MOST)))))
    assert (journal.everything, len(journal)) == (True, 1)


def test_a_long_journal_is_told_in_short() -> None:
    journal = Journal()
    journal.add(Owed(tags=tuple(map(str, range(100)))))
    assert str(journal).endswith("'19', ...")


@pytest.mark.parametrize(("cause", "paid"), [
    (TimeoutError(), True), (ConnectionRefusedError(), False), (None, False), (OSError(), False),
], ids=["timeout", "refused", "none", "other"])
def test_only_silence_costs_a_deadline(cause: Exception | None, paid: bool) -> None:
    error = StoreUnavailable("away")
    error.__cause__ = cause
    assert paid_a_deadline(error) is paid
    wrapped = StoreUnavailable("away")
    wrapped.__cause__ = RuntimeError()
    wrapped.__cause__.__context__ = cause
    assert paid_a_deadline(wrapped) is paid


def test_p6_one_asks_a_silent_store_for_all_and_one_at_a_time() -> None:
    clock = Clock()
    breaker = Breaker(clock, lambda: 0.5)
    assert breaker.admits()
    breaker.open()
    assert not breaker.admits()
    clock.now += REST
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.withdraw()
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    clock.now += LONGEST_PROBE
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.close()
    assert breaker.admits()
    assert breaker.admits()


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_p6_processes_do_not_come_back_to_a_store_all_at_once(chance: float) -> None:
    clock = Clock()
    breaker = Breaker(clock, lambda: chance)
    breaker.open()
    clock.now += REST * (0.5 + chance) - 0.01
    assert not breaker.admits()
    clock.now += 0.02
    assert breaker.admits()


def test_p6_tries_are_put_off_ever_longer_and_within_bounds() -> None:
    pauses = [pause_after(failures) for failures in range(100)]
    assert pauses[0] == 0
    assert 0.02 <= pauses[1] <= 0.08
    assert max(pauses) <= 1.5
    assert len(set(pauses[50:])) > 1


def test_p6_what_waits_for_a_store_stops_every_request_to_it(held: Outage) -> None:
    store = Fickle()
    store.away = refused()
    held.owe(Owed(tags=("a",)), store, "invalidate_tags", store.away)
    store.away = None
    with pytest.raises(StoreUnavailable, match="1 invalidations of this process wait"), held.probing(TakeInstant()):
        pytest.fail("nothing is to be asked")
    with pytest.raises(StoreUnavailable):
        held.check()
    held.heard(["an answer to what was asked before"])
    assert held.shut
    held.close()
    assert (held.waiting, held.shut, store.asked) == (0, False, [Invalidate(("a",))])
    with held.probing(TakeInstant()):
        held.check()


def test_p6_what_is_owed_while_it_is_being_paid_is_not_lost(held: Outage) -> None:
    store = Fickle()
    again = Owed(tags=("a",))
    held.owe(again, store, "invalidate_tags", refused())
    store.during = lambda: held.owe(again, store, "invalidate_tags", refused())
    held.close()
    assert (held.waiting, held.shut) == (1, True)
    held.close()
    assert (held.waiting, held.shut, store.asked) == (0, False, [Invalidate(("a",))] * 2)


def test_p6_what_was_told_is_not_told_again_when_the_rest_fails(held: Outage) -> None:
    store = Fickle()
    held.owe(Owed(tags=("a",), keys=("k",)), store, "invalidate_tags", refused())

    def goes() -> None:
        store.perform_all = lambda effects: [refused()] * len(effects)  # type: ignore[method-assign]

    store.during = goes
    held.close()
    assert (held.waiting, store.asked) == (1, [Invalidate(("a",))])
    del store.perform_all
    held.close()
    assert (held.waiting, store.asked[1:]) == (0, [Delete("k")])


def test_p6_so_much_that_it_becomes_everything_is_said_and_told(
    held: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    store = Fickle()
    for _ in range(2):
        held.owe(Owed(keys=tuple(map(str, range(MOST + 1)))), store, "delete_many", refused())
    assert caplog.text.count("everything in it will be invalidated") == 1
    held.close()
    assert store.asked == [Clear()]


def test_p4_a_write_that_may_be_committed_after_the_outage_invalidates_then_too(held: Outage) -> None:
    store = Fickle()
    held.owe(Owed(unsure=("a",), life=7.0), store, "fencing", refused())
    held.close()
    fence, lift = store.asked
    assert isinstance(fence, Fence)
    assert (fence.tags, fence.life, lift) == (("a",), 7.0, Lift(("a",), fence.token, Outcome.UNKNOWN))


def test_p6_a_thread_tells_it_as_soon_as_the_store_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    outage, store, tries = Outage("test", pause=lambda _: 0.001), Fickle(), 5
    store.away = refused()
    with caplog.at_level(logging.WARNING, "cachefence_web"):
        outage.owe(Owed(tags=("a",)), store, "invalidate_tags", store.away)
        outage.owe(Owed(tags=("b",)), store, "invalidate_tags", store.away)
        until(lambda: len(store.asked) > tries)
        assert outage.waiting == 2
        store.away = None
        until(lambda: not outage.shut)
        outage.close()
    assert store.asked[-1] == Invalidate(("a", "b"))
    for said in ("did not reach the store of test", "is back, and was told 2"):
        assert caplog.text.count(said) == 1


def test_p6_what_cannot_be_told_for_another_reason_is_said_once_and_tried_again(
    caplog: pytest.LogCaptureFixture
) -> None:
    outage, store = Outage("test", pause=lambda _: 0.001), Fickle()

    def breaks() -> None:
        store.during = breaks if len(store.asked) < 4 else None
        raise RuntimeError("a bug")

    store.during = breaks
    outage.owe(Owed(tags=("a",)), store, "invalidate_tags", refused())
    until(lambda: not outage.shut)
    outage.close()
    assert caplog.text.count("could not be told") == 1


def test_p6_a_closed_cache_says_what_it_still_owes(held: Outage, caplog: pytest.LogCaptureFixture) -> None:
    store = Fickle()
    store.away = refused()
    held.owe(Owed(tags=("book:1",)), store, "invalidate_tags", store.away)
    held.close()
    assert "kept in this process, and lost if that ends" in caplog.text
    assert "tags 'book:1'" in caplog.text
    assert held.waiting == 1


@pytest.mark.parametrize(("error", "opens"), [(silent(), True), (refused(), False), (StoreUnavailable("full"), False)],
                         ids=["silent", "refused", "of-our-own"])
def test_p6_only_a_deadline_paid_in_vain_opens_the_breaker(error: StoreUnavailable, opens: bool) -> None:
    outage = Outage()
    outage.failed(error)
    assert (outage.shut, outage.breaker.is_open) == (opens, opens)


def test_p6_what_the_one_who_asks_hears_is_heard_for_all() -> None:
    clock = Clock()
    outage = Outage(breaker=Breaker(clock, lambda: 0.5))
    outage.failed(silent())

    def probe(error: BaseException | None = None) -> bool:
        """Ask for all, and hear this; whether the others are still kept from asking."""
        clock.now += REST
        with suppress(type(error) if error else Exception), outage.probing(TakeInstant()):
            if error:
                raise error
        return outage.shut

    with pytest.raises(StoreUnavailable, match="asked again within"), outage.probing(TakeInstant()):
        pytest.fail("it rests")
    assert probe(silent())
    assert probe(KeyboardInterrupt()), "who was cancelled has heard nothing"
    outage.failed(silent())
    with pytest.raises(StoreUnavailable):
        outage.check()
    clock.now += REST
    outage.check()
    assert outage.refused([Wait("k", "token", 1.0)]) is not None, "to wait for a lease asks the store nothing"
    assert not probe(OverflowError())
    outage.heard([1, silent()])
    assert outage.shut
    assert not probe()
    outage.heard([1, silent()])
    clock.now += REST
    assert outage.refused([TakeInstant()]) is None
    outage.heard([1])
    assert not outage.shut


def test_p6_a_loop_that_ends_leaves_nothing_untold(new_redis: Callable[..., RedisServer], namespace: str) -> None:
    server = new_redis()
    with CacheFence(server.url, namespace=namespace, timeout=LONG) as fence:
        fence.set("book", "old", tags=["row:1"])
        assert fence.get("book") == "old"
        server.pause()
        set_deadline(fence, 0.3)
        asyncio.run(fence.aio.invalidate_tags("row:1"))
        assert fence.get("book") is None
        set_deadline(fence, LONG)
        server.resume()
        until(lambda: not fence.stats().journaled)
        assert fence.get("book") is None
        assert asyncio.run(fence.aio.get_or_set("book", lambda: "new")) == "new"


SCRIPT = """
    import os, sys, threading
    from cachefence_web import CacheFence, StoreUnavailable
    from cachefence_web.core.journal import Owed

    url, namespace, how = sys.argv[1:]
    fence = CacheFence(url, namespace=namespace, timeout=20.0)
    outage = fence._terms.engine.outage
    outage.pause = lambda _: 1000.0
    outage.owe(Owed(tags=("row:1",)), fence._terms.store, "invalidate_tags", StoreUnavailable("away"))
    if how == "fork":
        child = os.fork()
        if not child:
            outage.pause = lambda _: 0.01
            assert fence.get("book") is None
            for thread in threading.enumerate():  # it says what it told after it told it
                if thread.name == "cachefence-journal":
                    thread.join(20.0)
            os._exit(outage.waiting)
        assert os.waitpid(child, 0)[1] == 0
        assert outage.waiting == 1 and fence.get("book") is None
    assert CacheFence(url, namespace=namespace).get("book") is None, "one store, one journal"
"""


@pytest.mark.parametrize("how", ["exit", "fork"])
def test_p6_a_process_that_ends_tells_what_it_owes(redis_url: str, namespace: str, how: str) -> None:
    with CacheFence(redis_url, namespace=namespace, timeout=LONG) as fence:
        fence.set("book", "old", tags=["row:1"])
        assert fence.get("book") == "old"
        ended = process(redis_url, namespace, how)
        assert fence.get("book") is None
    assert ended.stderr.count("was told 1 invalidations") == {"exit": 1, "fork": 2}[how]


def test_p6_a_process_that_ends_in_vain_says_what_is_lost(namespace: str) -> None:
    said = process("redis://127.0.0.1:1", namespace, "exit").stderr
    assert "Nobody will tell it any more: they may be served until they expire: tags 'row:1'" in said


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that owes something and ends well."""
    script = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), *arguments]
    return subprocess.run(script, check=True, capture_output=True, text=True, timeout=60)
