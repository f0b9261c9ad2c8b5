"""Around a commit: two round trips for each cache, a refusal before it, and never an error after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachefence_web import AsyncCacheFence, CacheFence, StoreUnavailable
from cachefence_web.asking import OnOutage
from cachefence_web.cache import fenced, loops, threads
from cachefence_web.cache.fenced import AsyncFenced
from cachefence_web.core.effects import Fence, Lift, Outcome
from cachefence_web.core.fencing import AT_ONCE
from cachefence_web.following import AsyncCommitting, Committing
from cachefence_web.following.committing import tell
from cachefence_web.stores.memory import MemoryStore
from tests.faces.places import set_deadline
from tests.following.outages import LONG, SHORT, another_process, settled
from tests.servers import RedisServer

GONE = "redis://127.0.0.1:1/0"


@pytest.fixture
def cache(namespace: str) -> CacheFence:
    return CacheFence(f"memory://{namespace}", namespace=namespace)


def spied(cache: CacheFence, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The round trips of a store."""
    store: Any = cache._terms.store
    trips: list[list[Any]] = []
    one, many = type(store).perform, type(store).perform_all

    def perform(self: Any, effect: Any) -> Any:
        trips.append([effect])
        return one(self, effect)

    def perform_all(self: Any, effects: Any) -> Any:
        before = len(trips)
        answers = many(self, effects)
        trips[before:] = [list(effects)]
        return answers

    monkeypatch.setattr(type(store), "perform", perform)
    monkeypatch.setattr(type(store), "perform_all", perform_all)
    return trips


def compute(cache: CacheFence, tag: str) -> None:
    cache.get_or_set("k", lambda: "v", tags=[tag], ttl=60)
    assert cache.get("k") == "v"


@pytest.mark.parametrize(("outcome", "stays"), [
    (Outcome.COMMITTED, False), (Outcome.ROLLED_BACK, True), (Outcome.UNKNOWN, False)])
def test_p3_what_was_stored_before_a_commit_is_gone_after_it(
    cache: CacheFence, outcome: Outcome, stays: bool
) -> None:
    compute(cache, "book:1")
    committing = Committing([cache], ("book:1",))
    committing.before()
    assert cache.get("k") == "v"
    committing.after(outcome)
    assert (cache.get("k") == "v") is stays


@pytest.mark.parametrize("tags", [1, AT_ONCE, 3 * AT_ONCE + 1])
def test_a_commit_costs_two_round_trips_however_many_tags(
    cache: CacheFence, tags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = spied(cache, monkeypatch)
    committing = Committing([cache], tuple([f"book:{row}" for row in range(tags)]))
    committing.before()
    committing.after(Outcome.COMMITTED)
    kinds = [{type(effect) for effect in trip} for trip in trips]
    assert kinds == [{Fence}, {Lift}]
    assert sum(len(effect.tags) for effect in trips[0]) == tags


def test_no_tags_no_round_trip(cache: CacheFence, monkeypatch: pytest.MonkeyPatch) -> None:
    trips = spied(cache, monkeypatch)
    committing = Committing([cache], ())
    committing.before()
    committing.after(Outcome.COMMITTED)
    assert trips == []


@pytest.fixture
def stalls(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds for which the process stands still at each of the next fences, before it reads the store's answer."""
    still: list[float] = []
    clock = [0.0]

    def now() -> int:
        return int(clock[0] * 1_000_000)

    def perform(self: MemoryStore, effect: Any) -> Any:
        if isinstance(effect, Fence) and still:
            clock[0] += still.pop(0)
        return one(self, effect)

    one = MemoryStore.perform
    monkeypatch.setattr(MemoryStore, "perform", perform)
    for module in (fenced, threads, loops):
        monkeypatch.setattr(module, "now_in_microseconds", now)
    return still


@pytest.mark.parametrize("asynchronous", [False, True])
def test_p4_a_fence_that_is_old_when_it_is_heard_of_is_raised_again(
    cache: CacheFence, stalls: list[float], monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    """Else the commit would be made under a fence that may be over, and nothing would be told if the writer died."""
    trips = spied(cache, monkeypatch)
    stalls[:] = [6.0, 5.5, 4.5]

    async def before() -> None:
        await AsyncCommitting([cache.aio], ("book:1",)).before()

    asyncio.run(before()) if asynchronous else Committing([cache], ("book:1",)).before()
    fences = [effect for trip in trips for effect in trip if isinstance(effect, Fence)]
    assert (len(fences), {fence.token for fence in fences}) == (3, {fences[0].token})


@pytest.mark.parametrize("asynchronous", [False, True])
def test_p4_a_process_that_always_stands_still_has_no_fence(
    namespace: str, stalls: list[float], asynchronous: bool
) -> None:
    stalls[:] = [6.0] * 6
    refusing = CacheFence(f"memory://{namespace}", namespace=namespace, on_outage="refuse")
    with pytest.raises(StoreUnavailable, match="half over each time"):
        asyncio.run(refusing.aio.fence_tags("book:1")) if asynchronous else refusing.fence_tags("book:1")
    keeping = CacheFence(f"memory://{namespace}", namespace=namespace)
    keeping._terms.engine.outage.pause = lambda _: LONG
    asyncio.run(keeping.aio.fence_tags("book:1")) if asynchronous else keeping.fence_tags("book:1")
    assert keeping.stats().journaled == 1, "as for a store that could not be told"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_p4_all_fences_of_a_commit_stand_when_it_begins(
    cache: CacheFence, stalls: list[float], monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    other = CacheFence("memory://another", namespace="another")
    trips = spied(cache, monkeypatch)
    stalls[:] = [4.0, 4.0, 1.0, 1.0]
    if asynchronous:
        asyncio.run(AsyncCommitting([cache.aio, other.aio], ("book:1",)).before())
    else:
        Committing([cache, other], ("book:1",)).before()
    kinds = [type(effect) for trip in trips for effect in trip]
    assert kinds == [Fence, Fence, Lift, Lift, Fence, Fence], "the first was old when the second stood"


def test_p4_what_is_committed_already_is_never_without_a_fence(
    cache: CacheFence, stalls: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = CacheFence("memory://another", namespace="another")
    trips = spied(cache, monkeypatch)
    stalls[:] = [4.0, 4.0]
    tell([cache, other], ("book:1",))
    lifted = [effect.outcome for trip in trips for effect in trip if isinstance(effect, Lift)]
    assert lifted == [Outcome.COMMITTED] * 2


@pytest.mark.parametrize("on_outage", ["refuse", "raise"])
def test_p6_a_cache_out_of_reach_refuses_and_the_others_forget_the_fence(
    cache: CacheFence, on_outage: OnOutage
) -> None:
    compute(cache, "book:1")
    refusing = CacheFence(GONE, timeout=LONG, on_outage=on_outage)
    with pytest.raises(StoreUnavailable):
        Committing([cache, refusing], ("book:1",)).before()
    assert cache.get("k") == "v"
    assert cache.get_or_set("k", lambda: "again", consistency="strict") == "v"  # no fence is pending


def test_p6_one_that_refuses_commits_keeps_what_other_writes_make_untrue(namespace: str) -> None:
    with CacheFence(GONE, namespace=namespace, timeout=LONG, on_outage="refuse") as refusing:
        with pytest.raises(StoreUnavailable), refusing.fencing("book:1"):
            pytest.fail("the block has begun")
        assert refusing.stats().journaled == 0
        refusing.invalidate_tags("book:1")
        assert refusing.stats().journaled == 1


@pytest.mark.parametrize("on_outage", ["refuse", "raise"])
def test_p6_a_commit_that_was_made_is_not_refused_but_remembered(namespace: str, on_outage: OnOutage) -> None:
    with CacheFence(GONE, namespace=namespace, timeout=LONG, on_outage=on_outage) as refusing:
        tell([refusing], ("book:1",))
        assert refusing.stats().journaled > 0


def test_p6_a_cache_that_logs_does_neither_refuse_nor_raise(caplog: pytest.LogCaptureFixture) -> None:
    committing = Committing([CacheFence(GONE, timeout=LONG, on_outage="log")], ("book:1",))
    committing.before()
    committing.after(Outcome.COMMITTED)
    assert caplog.text.count("did not reach the store") == 2


@pytest.mark.parametrize(("outcome", "stays"), [
    (Outcome.COMMITTED, False), (Outcome.ROLLED_BACK, True), (Outcome.UNKNOWN, False)])
def test_p6_a_lift_that_does_not_arrive_is_told_when_the_store_is_back(
    outcome: Outcome, stays: bool, namespace: str, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    other.set("k", "old", tags=["book:1"])
    with CacheFence(server.url, namespace=namespace, timeout=LONG) as cache:
        committing = Committing([cache], ("book:1",))
        committing.before()
        server.pause()
        set_deadline(cache, SHORT)
        committing.after(outcome)
        assert (cache.stats().journaled == 0) is stays
        set_deadline(cache, LONG)
        server.resume()
        settled(cache)
        assert (other.get("k") == "old") is stays
    other.close()


@pytest.mark.parametrize("colour", ["threads", "tasks"])
async def test_p6_a_commit_goes_on_without_its_fence_and_is_told_when_the_store_is_back(
    colour: str, namespace: str, new_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = new_redis()
    cache, other = CacheFence(server.url, namespace=namespace, timeout=SHORT), another_process(server, namespace)
    for key, tag in (("k", "book:1"), ("kept", "book:2")):
        other.set(key, "old", tags=[tag])
    server.pause()
    if colour == "threads":
        committing = Committing([cache], ("book:1", "book"))
        committing.before()
        committing.after(Outcome.COMMITTED)
    else:
        awaited = AsyncCommitting([cache.aio], ("book:1", "book"))
        await awaited.before()
        await awaited.after(Outcome.COMMITTED)
    assert caplog.text.count("goes on without its fence") == 1
    assert "could not be told" not in caplog.text
    assert cache.get_or_set("k", lambda: "new") == "new"
    set_deadline(cache, LONG)
    server.resume()
    settled(cache)
    assert (other.get("k"), other.get("kept")) == (None, "old")
    other.close()
    await cache.aio.aclose()
    cache.close()


def test_after_never_raises(
    namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = CacheFence(f"memory://{namespace}", namespace=namespace, on_outage="raise")
    committing = Committing([cache], ("book:1",))
    committing.before()

    def away(*_: object) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(type(cache._terms.store), "perform", away)
    committing.after(Outcome.COMMITTED)
    assert "could not be told" in caplog.text
    tell([cache], ("book:1",))


async def test_p7_who_is_cancelled_during_a_lift_has_lifted_all_fences(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{namespace}{number}" for number in (1, 2)]
    caches = [AsyncCacheFence(f"memory://{name}", namespace=name) for name in names]
    for cache in caches:
        await cache.set("k", "v", tags=["book:1"], ttl=60)
    committing = AsyncCommitting(caches, ("book:1",))
    await committing.before()
    begun, goes_on, lift = asyncio.Event(), asyncio.Event(), AsyncFenced.lift

    async def slowly(self: AsyncFenced, outcome: Outcome) -> None:
        begun.set()
        await goes_on.wait()
        await lift(self, outcome)

    monkeypatch.setattr(AsyncFenced, "lift", slowly)
    ending = asyncio.create_task(committing.after(Outcome.COMMITTED))
    await begun.wait()
    ending.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert [await cache.get("k") for cache in caches] == [None, None]


async def test_p3_both_colours_do_the_same(cache: CacheFence) -> None:
    face: AsyncCacheFence = cache.aio
    compute(cache, "book:1")
    committing = AsyncCommitting([face], ("book:1",))
    await committing.before()
    assert cache.get("k") == "v"
    await committing.after(Outcome.COMMITTED)
    assert cache.get("k") is None
    with pytest.raises(StoreUnavailable):
        await AsyncCommitting([face, AsyncCacheFence(GONE, timeout=LONG, on_outage="raise")], ("book:1",)).before()
