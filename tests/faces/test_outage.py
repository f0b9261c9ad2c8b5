"""P6: Redis refused or hung: readers are answered, each step has its deadline, no write is lost in silence."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

import pytest

from cachefence_web import CacheFence, StoreUnavailable
from tests.faces.places import Compute, Face, Place
from tests.servers import RedisServer

DEADLINE = 0.3
SLACK = 2.0
"""Seconds that a busy machine may add; what hangs would take far longer."""


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


@pytest.mark.parametrize("how", BREAKS)
async def test_p6_every_read_is_answered_within_its_deadline(place: Place, server: RedisServer, how: str) -> None:
    face = place.face(timeout=DEADLINE)
    await face.set("book", "stored")
    BREAKS[how](server)
    for name, (call, expected) in READS.items():
        began = time.monotonic()
        assert await call(face) == expected, name
        assert time.monotonic() - began < 2 * DEADLINE + SLACK, name


@pytest.mark.parametrize("how", BREAKS)
async def test_p6_every_write_raises_or_is_logged(
    place: Place, server: RedisServer, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    raising, logging_ = place.face(timeout=DEADLINE), place.face(timeout=DEADLINE, on_outage="log")
    await raising.set("book", 1)
    BREAKS[how](server)
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
    face = place.face(timeout=DEADLINE)
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
    face = place.face(timeout=DEADLINE)
    await face.set("book", "stored", tags=["row:1"])
    BREAKS[how](server)
    assert await face.get_or_set("book", Compute("during"), tags=["row:1"]) == "during"
    MENDS[how](server)
    compute = Compute("after")
    for _ in range(3):
        assert await face.get_or_set("fresh", compute) == "after"
    assert compute.runs == 1
    await face.invalidate_tags("row:1")
    assert await face.get("book") is None


async def test_p6_an_outage_during_the_compute_costs_its_callers_nothing(place: Place, server: RedisServer) -> None:
    face = place.face(timeout=DEADLINE)
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
    face = place.face(timeout=DEADLINE)
    server.kill()
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("book", Compute(ZeroDivisionError()))
    begun = await face.begin("page")
    assert begun.granted is None, "to be computed, and not stored"


async def test_p6_a_block_begun_before_an_outage_still_answers(place: Place, server: RedisServer) -> None:
    fence = place.face(timeout=DEADLINE).fence
    with fence.leading(fence.begin("page")) as leading:
        server.kill()
        assert leading.finish("page").value == "page"


async def test_p6_a_fence_that_cannot_be_raised_stops_the_write(place: Place, server: RedisServer) -> None:
    face = place.face(timeout=DEADLINE)
    server.kill()
    with pytest.raises(StoreUnavailable):
        async with face.fencing("row:1"):
            pytest.fail("the write would not be covered")


def test_nothing_is_connected_before_the_first_use() -> None:
    fence = CacheFence("redis://127.0.0.1:1/0", timeout=DEADLINE)
    assert fence.aio.stats().hits == 0
    fence.close()
