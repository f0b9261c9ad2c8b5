"""P6: Redis refused or hung: readers are answered, each step has its deadline, no invalidation is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from cachefence_web import CacheFence, StoreUnavailable
from cachefence_web.runtime.breaker import REST, Breaker
from tests.faces.places import LONG, Compute, Face, Place, set_deadline
from tests.servers import RedisServer

DEADLINE = 0.3
"""Seconds for a request of a server that hangs, which misses it for sure; others have `LONG`, and never miss it."""

SLACK = 10.0
"""Seconds that a busy machine may add; what hangs would never end."""


@pytest.fixture(params=["threads", "tasks"])
async def place(request: pytest.FixtureRequest, namespace: str, server: RedisServer) -> AsyncIterator[Place]:
    """A cache on a Redis that is this test's to break."""
    made = Place("redis", request.param, server.url, namespace)
    yield made
    if server.log():
        await made.close()


@pytest.fixture
def server(new_redis: Callable[..., RedisServer]) -> RedisServer:
    """A Redis of this test's own."""
    return new_redis()


BREAKS: dict[str, Callable[[RedisServer], None]] = {"down": RedisServer.kill, "hung": RedisServer.pause}
MENDS: dict[str, Callable[[RedisServer], None]] = {"down": RedisServer.start, "hung": RedisServer.resume}

READS: dict[str, tuple[Callable[[Face], object], object]] = {
    "get": (lambda face: face.get("book", "nothing"), "nothing"),
    "get_many": (lambda face: face.get_many(["book", "other"]), {}),
    "peek": (lambda face: face.peek("book"), None),
    "get_or_set": (lambda face: face.get_or_set("book", Compute("computed")), "computed"),
    "get_or_set_many": (lambda face: face.get_or_set_many(["a"], lambda keys: dict.fromkeys(keys, 1)), {"a": 1}),
}
WRITES: dict[str, tuple[Callable[[Face], object], object]] = {
    "set": (lambda face: face.set("book", 1), False),
    "set_many": (lambda face: face.set_many({"book": 1}), None),
    "add": (lambda face: face.add("book", 1), False),
    "delete": (lambda face: face.delete("book"), False),
    "delete_many": (lambda face: face.delete_many(["book", "other"]), 0),
    "touch": (lambda face: face.touch("book"), False),
    "incr": (lambda face: face.incr("book"), None),
    "invalidate_tags": (lambda face: face.invalidate_tags("row:1"), None),
    "expire_tags": (lambda face: face.expire_tags("row:1"), None),
    "invalidate_all": (lambda face: face.invalidate_all(), None),
    "invalidate_pattern": (lambda face: face.invalidate_pattern("bo*"), 0),
}
JOURNALED: dict[str, Callable[[Face, str], object]] = {
    "set": lambda face, key: face.set(key, "newer"),
    "set_many": lambda face, key: face.set_many({key: "newer"}),
    "replace": lambda face, key: face.replace(key, "newer"),
    "delete": lambda face, key: face.delete(key),
    "delete_many": lambda face, key: face.delete_many([key]),
    "invalidate_tags": lambda face, key: face.invalidate_tags(f"tag:{key}"),
    "expire_tags": lambda face, key: face.expire_tags(f"tag:{key}"),
    "invalidate_pattern": lambda face, key: face.invalidate_pattern(f"{key}*"),
    "fencing": lambda face, key: fenced(face, f"tag:{key}"),
}


async def fenced(face: Face, tag: str) -> None:
    """A write that nothing sees but its fence."""
    async with face.fencing(tag):
        pass


async def settled(face: Face) -> None:
    """Return once the store was told all that had waited."""
    async with asyncio.timeout(LONG):
        while face.stats().journaled:  # noqa: ASYNC110 - a state, of which no event tells
            await asyncio.sleep(0.005)


def elsewhere(place: Place) -> Face:
    """A cache that shares no journal with the others, as one in another process would not."""
    return place.face(url=place.url.replace("/redis.sock", "/./redis.sock"))


def broken(server: RedisServer, how: str, *faces: Face) -> None:
    """Break the server; what then is asked of one that hangs is given up soon."""
    BREAKS[how](server)
    for face in faces if how == "hung" else ():
        set_deadline(face.fence, DEADLINE)


def mended(server: RedisServer, how: str, *faces: Face) -> None:
    """It is as it was, and has all the time it needs."""
    for face in faces:
        set_deadline(face.fence, LONG)
    MENDS[how](server)


def breaker_of(face: Face) -> Breaker:
    """The one that all faces over the store share."""
    breaker: Breaker = face.fence._terms.engine.outage.breaker
    return breaker


@pytest.mark.parametrize("how", BREAKS)
async def test_p6_every_read_is_answered_within_its_deadline(place: Place, server: RedisServer, how: str) -> None:
    face = place.face()
    await face.set("book", "stored")
    broken(server, how, face)
    for name, (call, expected) in READS.items():
        began = time.monotonic()
        assert await call(face) == expected, name
        assert time.monotonic() - began < 2 * DEADLINE + SLACK, name


@pytest.mark.parametrize("how", BREAKS)
async def test_p6_every_write_raises_or_is_logged(
    place: Place, server: RedisServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    raising = place.face(on_outage="raise")
    logging_ = place.face(on_outage="log")
    await raising.set("book", 1)
    breaker_of(raising)._chance = lambda: -0.5  # it never rests, so each pays for itself
    broken(server, how, raising, logging_)
    for name in WRITES if how == "down" else ["set", "incr", "delete_many", "invalidate_tags"]:
        call, otherwise = WRITES[name]
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await call(raising)
        assert time.monotonic() - began < DEADLINE + SLACK, name
        caplog.clear()
        with caplog.at_level(logging.ERROR, "cachefence_web"):
            assert await call(logging_) == otherwise, name
        assert f"{name} did not reach the store" in caplog.text


async def test_p6_computes_of_an_outage_are_shared_within_the_process(place: Place, server: RedisServer) -> None:
    """Who came during a compute needs one that began later, and all of them share that one: never one each."""
    face = place.face()
    server.kill()
    rounds = [Compute("first", held=True), Compute("second", held=True), Compute("third")]
    following = iter(rounds)

    def load() -> object:
        return next(following)()

    callers = [face.begins("get_or_set", "book", load)]
    await rounds[0].begun()
    callers += [face.begins("get_or_set", "book", load) for _ in range(30)]
    await face.aboard("book", 31)
    rounds[0].release()
    await rounds[1].begun()
    await face.aboard("book", 30)
    rounds[1].release()
    assert await asyncio.gather(*callers) == ["first"] + ["second"] * 30


@pytest.mark.parametrize("how", BREAKS)
async def test_p6_when_redis_comes_back_all_is_well(place: Place, server: RedisServer, how: str) -> None:
    face = place.face()
    breaker_of(face)._chance = lambda: -0.5
    await face.set("book", "stored", tags=["row:1"])
    broken(server, how, face)
    assert await face.get_or_set("book", Compute("during"), tags=["row:1"]) == "during"
    mended(server, how, face)
    compute = Compute("after")
    for _ in range(3):
        assert await face.get_or_set("fresh", compute) == "after"
    assert compute.runs == 1
    await face.invalidate_tags("row:1")
    assert await face.get("book") is None


async def test_p6_an_outage_during_the_compute_costs_its_callers_nothing(place: Place, server: RedisServer) -> None:
    face = place.face()
    compute = Compute("value", held=True)
    first = face.begins("get_or_set", "book", compute)
    await compute.begun()
    server.kill()
    compute.release()
    assert await first == "value"
    server.start()
    assert await face.get_or_set("book", Compute("computed anew")) == "computed anew"


async def test_p6_a_stale_value_or_a_compute_but_never_an_outage_is_what_a_reader_sees(
    place: Place, server: RedisServer
) -> None:
    face = place.face()
    server.kill()
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("book", Compute(ZeroDivisionError()))
    begun = await face.begin("page")
    assert begun.granted is None, "to be computed, and not stored"


async def test_p6_a_block_begun_before_an_outage_still_answers(place: Place, server: RedisServer) -> None:
    fence = place.face().fence
    with fence.leading(fence.begin("page")) as leading:
        server.kill()
        assert leading.finish("page").value == "page"


async def test_p6_a_fence_that_cannot_be_raised_stops_the_write(place: Place, server: RedisServer) -> None:
    face = place.face(on_outage="raise")
    server.kill()
    with pytest.raises(StoreUnavailable):
        async with face.fencing("row:1"):
            pytest.fail("the write would not be covered")


async def test_p6_what_is_invalidated_during_an_outage_is_forbidden_at_once_and_everywhere_when_it_is_over(
    place: Place, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing raises, nothing that was forbidden is served here, and the log says once what it means."""
    face, other = place.face(), elsewhere(place)
    for key in (*JOURNALED, "kept"):
        await other.set(key, "old", tags=[f"tag:{key}"])
    broken(server, "hung", face)
    for name, call in JOURNALED.items():
        assert not await call(face, name), name
        assert await face.get(name) is None, name
    # A fence counts twice: before the write that goes on without it, and after.
    assert face.stats().journaled == place.face().stats().journaled == len(JOURNALED) + 1
    assert caplog.text.count("It is kept in this process and told when the store is back") == 1
    assert caplog.text.count("goes on without its fence") == 1
    mended(server, "hung", face)
    await settled(face)
    for name in JOURNALED:
        assert await other.get(name) is None, name
        assert await face.get_or_set(name, Compute("new")) == "new", name
    assert await other.get("kept") == "old"


async def test_p6_everything_is_forbidden_after_an_outage_in_which_that_was_asked_for(
    place: Place, server: RedisServer
) -> None:
    face, other = place.face(), elsewhere(place)
    await other.set("book", "old")
    broken(server, "hung", face)
    await face.invalidate_tags("row:1")
    await face.invalidate_all()
    assert face.stats().journaled > 0
    mended(server, "hung", face)
    await settled(face)
    assert await other.get("book") is None


async def test_p6_until_the_store_was_told_nothing_is_read_from_it_nor_stored(
    place: Place, server: RedisServer
) -> None:
    """Another process may have stored, after the outage, what this one had forbidden during it."""
    face, other = place.face(), elsewhere(place)
    assert face.fence._terms.store.identity != other.fence._terms.store.identity
    await other.set("book", "old", tags=["row:1"])
    face.fence._terms.engine.outage.pause = lambda _: 50 * LONG
    breaker_of(face)._clock = lambda: 0.0  # so that it rests, and what is invalidated now is never sent
    broken(server, "hung", face)
    assert await face.get("book") is None
    await face.invalidate_tags("row:1")
    mended(server, "hung", face)
    assert await other.get("book") == "old", "P3 is suspended for this writer"
    compute = Compute("first", "second")
    assert [await face.get_or_set("book", compute) for _ in range(2)] == ["first", "second"]
    begun = await face.begin("page")
    assert begun.granted is None
    assert [keys async for keys in face.fence.aio.scan()] == await asyncio.to_thread(list, face.fence.scan()) == []
    assert await other.get("book") == "old"
    await asyncio.to_thread(face.fence.close)
    assert await other.get("book") is None
    assert await face.get_or_set("book", Compute("third")) == await other.get("book") == "third"


async def test_p6_after_one_has_paid_a_deadline_the_others_ask_in_vain_no_more(
    place: Place, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = place.face()
    await elsewhere(place).set("book", "stored")
    now, breaker = [0.0], breaker_of(face)
    breaker._clock, breaker._chance = (lambda: now[0]), (lambda: 0.5)
    asked = counted(face, monkeypatch)
    broken(server, "hung", face)
    for _ in range(20):
        assert await face.get("book") is None
        assert await face.get_many(["book"]) == {}
    assert len(asked) == 1
    now[0] += REST
    for _ in range(20):
        assert await face.get("book") is None
    assert len(asked) == 2
    now[0] += REST
    mended(server, "hung", face)
    assert await face.get("book") == "stored"
    assert await face.get_many(["book"]) == {"book": "stored"}
    assert len(asked) == 4


def counted(face: Face, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each request that is made of the store."""
    asked: list[object] = []
    store = (face.fence if face.colour == "threads" else face.fence.aio)._driver.store
    for name in ("perform", "perform_all"):
        monkeypatch.setattr(store, name, partial(noted, asked, getattr(store, name)))
    return asked


def noted(asked: list[object], through: Callable[[object], object], effects: object) -> object:
    asked.append(effects)
    return through(effects)


def test_nothing_is_connected_before_the_first_use() -> None:
    fence = CacheFence("redis://127.0.0.1:1/0", timeout=DEADLINE)
    assert fence.aio.stats().hits == 0
    fence.close()
