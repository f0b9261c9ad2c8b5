"""P1, P7: one compute for all who ask, over tasks, threads and processes, and nobody's end is another's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cachefence_web import ConfigurationError, LeaseTimeout
from cachefence_web.core import leading
from cachefence_web.core.effects import Claim, Renew
from tests.faces.places import Compute, Face, Place


async def test_p1_all_who_ask_share_one_compute(face: Face) -> None:
    compute = Compute("value", held=True)
    callers = [face.begins("get_or_set", "book", compute) for _ in range(50)]
    await face.aboard("book", 50)
    compute.release()
    assert await asyncio.gather(*callers) == ["value"] * 50
    assert compute.runs == 1
    assert face.stats().stored == 50


async def test_p1_threads_and_tasks_share_one_compute(place: Place) -> None:
    threads, tasks = place.face(colour="threads"), place.face(colour="tasks")
    compute = Compute("value", held=True)
    callers = [each.begins("get_or_set", "book", compute) for each in (threads, tasks) for _ in range(20)]
    await tasks.aboard("book", 40)
    compute.release()
    assert await asyncio.gather(*callers) == ["value"] * 40
    assert compute.runs == 1


async def test_p1_a_sync_caller_shares_what_an_async_function_computes(place: Place) -> None:
    face = place.face(colour="threads")
    go = asyncio.Event()

    async def load() -> str:
        await go.wait()
        return "value"

    leader = asyncio.create_task(face.fence.aio.get_or_set("book", load))
    await face.aboard("book", 1)
    callers = [face.begins("get_or_set", "book", Compute("another")) for _ in range(5)]
    await face.aboard("book", 6)
    go.set()
    assert await asyncio.gather(leader, *callers) == ["value"] * 6


async def test_p1_processes_share_one_compute(place: Place) -> None:
    here, there = place.face(), place.stranger()
    compute = Compute("value", held=True)
    first = here.begins("get_or_set", "book", compute)
    await compute.begun()
    others = [there.begins("get_or_set", "book", compute) for _ in range(20)]
    await there.aboard("book", 20)
    compute.release()
    assert await asyncio.gather(first, *others) == ["value"] * 21
    assert compute.runs == 1


async def test_p1_a_value_that_appears_between_look_and_lease_is_not_computed_again(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look: the first one found nothing, and by the time of the lease another process had filled it."""
    stored = threading.Event()

    def fill_first(*args: object) -> object:
        if not stored.is_set():
            stored.set()
            face.fence.set("book", "from elsewhere")
        return Claim(*args)

    monkeypatch.setattr(leading, "Claim", fill_first)
    compute = Compute("again")
    assert await face.get_or_set("book", compute) == "from elsewhere"
    assert compute.runs == 0


async def test_p1_strict_and_committed_readers_do_not_compute_at_once(place: Place) -> None:
    here, there = place.face(), place.face()
    compute = Compute("value", held=True)
    first = here.begins("get_or_set", "book", compute)
    await compute.begun()
    second = there.begins("get_or_set", "book", compute, consistency="strict")
    await there.aboard("book", 1)
    compute.release()
    assert await asyncio.gather(first, second) == ["value", "value"]


async def test_p1_keys_do_not_collide_with_the_locks_of_others(face: Face) -> None:
    names = ["k:lock", "k:lease", "l:k", "e:k", "x:k", "{k}", "}k{", "%7Bk%7D", "k%", "clock", "epoch", "t:k"]
    held = Compute("k", held=True)
    first = face.begins("get_or_set", "k", held)
    await held.begun()
    for at, name in enumerate(names):
        assert await face.get_or_set(name, Compute(name), tags=[f"e:{at}"], wait=0.01) == name
    held.release()
    assert await first == "k"
    assert await face.get_many(["k", *names]) == {name: name for name in ["k", *names]}


async def test_p1_a_compute_longer_than_its_lease_stays_the_only_one_and_is_stored(
    place: Place, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is renewed each third of its life: four times is longer than it would have lived by itself."""
    compute = Compute("value", "second", held=True)
    renewals = Renewals(4, compute.release)
    renewals.watch(monkeypatch, face)
    first = face.begins("get_or_set", "book", compute, lease=3.0)
    await compute.begun()
    there = place.stranger()
    others = [there.begins("get_or_set", "book", compute) for _ in range(10)]
    assert await asyncio.gather(first, *others) == ["value"] * 11
    assert compute.runs == 1
    assert await face.get("book") == "value"


class Renewals:
    """Counts the renewals of leases, and calls when there were enough."""

    def __init__(self, enough: int, then: Callable[[], None]) -> None:
        self._left = enough
        self._then = then

    def watch(self, monkeypatch: pytest.MonkeyPatch, face: Face) -> None:
        # Threads have one heartbeat, which renews all leases at once; tasks have one each.
        threads, tasks = type(face.fence._driver.store), type(face.fence.aio._driver.store)
        together, alone = threads.perform_all, tasks.perform

        def renewing_all(store: Any, effects: Any) -> Any:
            self._count(*effects)
            return together(store, effects)

        def renewing(store: Any, effect: Any) -> Any:
            self._count(effect)
            return alone(store, effect)

        monkeypatch.setattr(threads, "perform_all", renewing_all)
        monkeypatch.setattr(tasks, "perform", renewing)

    def _count(self, *effects: object) -> None:
        for _ in [effect for effect in effects if isinstance(effect, Renew)]:
            self._left -= 1
            if not self._left:
                self._then()


@pytest.mark.parametrize("cancelled", [0, 1, 4])
async def test_p7_cancelling_any_caller_affects_only_itself(place: Place, cancelled: int) -> None:
    fence = place.face().fence.aio
    go, begun, runs = asyncio.Event(), asyncio.Event(), []

    async def load() -> str:
        runs.append(1)
        begun.set()
        await go.wait()
        return "value"

    callers = [asyncio.create_task(fence.get_or_set("book", load)) for _ in range(5)]
    await begun.wait()
    callers[cancelled].cancel()
    with pytest.raises(asyncio.CancelledError):
        await callers[cancelled]
    go.set()
    others = [caller for caller in callers if not caller.cancelled()]
    assert await asyncio.gather(*others) == ["value"] * 4
    assert len(runs) == 1
    assert await fence.get("book") == "value"


async def test_p7_a_compute_that_everybody_gave_up_is_cancelled_and_the_next_caller_takes_over(place: Place) -> None:
    here, there = place.face().fence.aio, place.stranger().fence.aio
    begun, ended, never = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def forever() -> str:
        begun.set()
        try:
            await never.wait()
        finally:
            ended.set()
        return "never"

    callers = [asyncio.create_task(here.get_or_set("book", forever)) for _ in range(3)]
    await begun.wait()
    waiting = asyncio.create_task(there.get_or_set("book", Compute("taken over")))
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await ended.wait()
    assert await waiting == "taken over"


async def test_p7_a_timeout_around_one_call_leaves_the_compute_to_the_others(place: Place) -> None:
    face = place.face()
    compute = Compute("value", held=True)
    patient = asyncio.create_task(face.fence.aio.get_or_set("book", compute))
    await compute.begun()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await face.fence.aio.get_or_set("book", compute)
    compute.release()
    assert await patient == "value"
    assert compute.runs == 1


async def test_p7_a_compute_that_cancels_itself_does_not_run_for_ever(place: Place) -> None:
    runs = []

    async def load() -> str:
        runs.append(1)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await place.face().fence.aio.get_or_set("book", load)
    assert len(runs) == 1


async def test_p7_a_compute_that_exits_frees_the_key(place: Place) -> None:
    face = place.face(colour="threads")
    with pytest.raises(SystemExit):
        face.fence.get_or_set("book", Compute(SystemExit()))
    assert await face.get_or_set("book", Compute("value")) == "value"


async def test_p10_a_synchronous_compute_does_not_stall_the_loop(place: Place) -> None:
    face = place.face(colour="tasks")
    loop_went_on = threading.Event()
    compute = asyncio.create_task(face.get_or_set("book", lambda: loop_went_on.wait(20)))
    await face.aboard("book", 1)
    asyncio.get_running_loop().call_soon(loop_went_on.set)
    assert await compute is True


async def test_p1_a_compute_that_asks_for_itself_is_told_so(face: Face) -> None:
    fence = face.fence
    with pytest.raises(ConfigurationError, match="asks for 'book' itself"):
        await face.get_or_set("book", lambda: fence.get_or_set("book", Compute("never")))


async def test_p1_a_compute_that_asks_for_itself_through_another_is_told_so(face: Face) -> None:
    fence = face.fence
    inner = lambda: fence.get_or_set("book", Compute("never"))  # noqa: E731
    with pytest.raises(ConfigurationError, match="asks for 'book' itself"):
        await face.get_or_set("book", lambda: fence.get_or_set("author", inner))


async def test_p1_a_batch_that_asks_for_one_of_its_keys_is_told_so(face: Face) -> None:
    fence = face.fence
    with pytest.raises(ConfigurationError, match="asks for 'b' itself"):
        await face.get_or_set_many(["a", "b"], lambda keys: fence.get_or_set_many(["b"], lambda _: {"b": 1}))


async def test_p1_a_block_that_asks_for_its_own_key_is_told_so(place: Place) -> None:
    fence = place.face().fence
    with pytest.raises(ConfigurationError, match="asks for 'page' itself"), fence.leading(fence.begin("page")):
        fence.get_or_set("page", Compute("never"))


async def test_p4_a_leader_that_never_comes_back_is_replaced_once(place: Place) -> None:
    """Its lease is renewed for ever, so patience ends the waiting, and the waiters elect one of them."""
    here, there = place.face(), place.stranger()
    hung, fallback = Compute("late", held=True), Compute("fallback")
    first = here.begins("get_or_set", "book", hung)
    await hung.begun()
    waiters = [there.begins("get_or_set", "book", fallback, wait=2.5) for _ in range(20)]
    assert await asyncio.gather(*waiters) == ["fallback"] * 20
    assert fallback.runs == 1
    hung.release()
    assert await first == "late"
    assert await here.get("book") == "fallback", "the late fill was refused"


async def test_p4_who_waits_twice_in_vain_is_told_so(place: Place) -> None:
    hung = Compute("late", held=True)
    face = place.face()
    first = face.begins("get_or_set", "book", hung)
    await hung.begun()
    second = Compute("later still", held=True)
    callers = [face.begins("get_or_set", "book", second, wait=0.05) for _ in range(3)]
    await second.begun()
    done, _ = await asyncio.wait(callers, return_when=asyncio.FIRST_EXCEPTION)
    hung.release()
    second.release()
    answers = await asyncio.gather(first, *callers, return_exceptions=True)
    assert [type(caller.exception()) for caller in done] == [LeaseTimeout] * len(done)
    assert "late" in answers
    assert "later still" in answers
