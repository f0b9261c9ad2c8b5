"""P8: a compute that raises runs once per flight, its error is everybody's answer, and the next try is gated."""

from __future__ import annotations

import asyncio
import logging
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachefence_web import CacheFence, ComputeFailed, SerializationError
from cachefence_web.core.effects import Claim
from cachefence_web.serializers import Json
from tests.faces.places import LONG, LONG_BACK_OFF, Compute, Face, Place


class Broken(Exception):
    """What a compute raises here."""


async def test_p8_one_failure_is_everybody_s_answer(face: Face) -> None:
    error = Broken("no row")
    compute = Compute(error, held=True)
    callers = [face.begins("get_or_set", "book", compute) for _ in range(30)]
    await face.aboard("book", 30)
    compute.release()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert all(answer is error for answer in answers)
    assert compute.runs == 1


async def test_p8_other_processes_are_told_what_failed_and_do_not_try_again(place: Place) -> None:
    here, there = place.face(), place.stranger()
    compute = Compute(Broken("no row"), held=True)
    first = here.begins("get_or_set", "book", compute)
    await compute.begun()
    others = [there.begins("get_or_set", "book", compute) for _ in range(20)]
    await there.aboard("book", 20)
    there.fence._terms.engine._errors = type(there.fence._terms.engine._errors)()
    compute.release()
    with pytest.raises(Broken):
        await first
    answers = await asyncio.gather(*others, return_exceptions=True)
    assert {type(answer) for answer in answers} == {ComputeFailed}
    assert all("Broken: no row" in str(answer) for answer in answers)
    assert compute.runs == 1


async def test_p8_the_next_try_is_gated_and_comes_when_the_back_off_is_over(place: Place, face: Face) -> None:
    compute = Compute(Broken("first"), "value")
    for _ in range(5):
        with pytest.raises(Broken, match="first"):
            await face.get_or_set("book", compute)
    assert compute.runs == 1
    if place.kind == "redis":
        await face.delete("book")  # Redis's own expiry of the record is the store's contract
    await place.later(LONG_BACK_OFF)
    assert await face.get_or_set("book", compute) == "value"


async def test_p8_a_set_ends_the_back_off(face: Face) -> None:
    with pytest.raises(Broken):
        await face.get_or_set("book", Compute(Broken()))
    await face.set("book", "repaired")
    assert await face.get_or_set("book", Compute("never")) == "repaired"


async def test_p8_late_joiners_of_a_failure_do_not_stampede(face: Face) -> None:
    compute = Compute(Broken(), held=True)
    first = face.begins("get_or_set", "book", compute)
    await compute.begun()
    late = [face.begins("get_or_set", "book", compute) for _ in range(20)]
    await face.aboard("book", 21)
    compute.release()
    answers = await asyncio.gather(first, *late, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Broken}
    assert compute.runs == 1


async def test_p8_an_error_raised_to_many_keeps_the_trace_it_had(face: Face) -> None:
    lengths = []
    compute = Compute(Broken())
    for _ in range(50):
        with pytest.raises(Broken) as caught:
            await face.get_or_set("book", compute)
        lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert lengths[-1] == lengths[1], "each raise of a shared error must not add to its trace"


async def test_none_is_a_value(face: Face) -> None:
    compute = Compute(None)
    for _ in range(3):
        assert await face.get_or_set("book", compute) is None
    assert compute.runs == 1
    assert await face.get("book", "missing") is None
    assert await face.get_many(["book", "other"]) == {"book": None}


@pytest.mark.parametrize("value", [0, False, "", b"", [], {}, (), 0.0], ids=repr)
async def test_false_values_are_values_and_keep_their_type(face: Face, value: object) -> None:
    compute = Compute(value)
    answers = [await face.get_or_set("book", compute) for _ in range(2)]
    assert answers == [value, value]
    assert {type(answer) for answer in answers} == {type(value)}
    assert compute.runs == 1


@pytest.mark.parametrize("value", [{1: (1, 2)}, (1, [2, (3,)]), {"a": {1, 2}}, 2**70, True, b"bytes", float("inf")],
                         ids=repr)
async def test_a_value_has_the_same_type_on_the_miss_and_on_the_hit(place: Place, face: Face, value: object) -> None:
    missed = await face.get_or_set("book", Compute(value))
    hit = await place.stranger().get_or_set("book", Compute("never"))
    assert repr(missed) == repr(hit) == repr(value)


async def test_what_cannot_be_stored_goes_to_its_callers_once_and_is_logged(
    place: Place, face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    value = object()
    compute = Compute(value, held=True)
    callers = [face.begins("get_or_set", "book", compute) for _ in range(10)]
    await face.aboard("book", 10)
    compute.release()
    with caplog.at_level(logging.ERROR, "cachefence_web"):
        assert all(answer is value for answer in await asyncio.gather(*callers))
    assert compute.runs == 1
    assert [record.message for record in caplog.records if "'book' is not stored" in record.message]
    assert await face.get("book") is None
    with pytest.raises(SerializationError):
        await face.set("book", value)


async def test_one_that_cannot_be_stored_makes_nobody_queue(place: Place, face: Face) -> None:
    await face.get_or_set("book", Compute(object()))
    slow = Compute(object(), held=True)
    first = place.stranger().begins("get_or_set", "book", slow)
    await slow.begun()
    quick = Compute(value := object())
    assert await face.get_or_set("book", quick, wait=0.05) is value
    slow.release()
    await first


async def test_stats_say_how_callers_were_answered(place: Place, face: Face) -> None:
    await face.get_or_set("book", Compute("value"), ttl=10, stale_for=100, early=0)
    await face.get_or_set("book", Compute("value"), ttl=10, stale_for=100, early=0)
    await face.get("book")
    await place.later(20)
    await face.get_or_set("book", Compute("value"), ttl=10, stale_for=100, early=0)
    await face.idle()
    with pytest.raises(Broken):
        await face.get_or_set("other", Compute(Broken()))
    await face.get_or_set("third", Compute(object()))
    counted = face.stats()
    assert (counted.hits, counted.stored, counted.stale, counted.unstored, counted.failures, counted.refreshes) == (
        2, 1, 1, 1, 1, 1)
    counted.hits = 100
    assert face.stats().hits == 2, "what was handed out is a copy"


class Stopped(BaseException):
    """What stops a worker, at whatever it is."""


class Reading(Json):
    """One that reads lazy values: some break."""

    def dumps(self, value: object) -> bytes:
        if isinstance(value, BaseException):
            raise value
        return super().dumps(value)


@pytest.mark.parametrize("colour", ["threads", "tasks"])
@pytest.mark.parametrize("ways", ["one", "many", "by hand"])
async def test_p8_an_encoding_that_raises_is_a_compute_that_raises(colour: str, ways: str) -> None:
    with CacheFence(serializer=Reading()) as fence, ThreadPoolExecutor() as pool:
        face = Face(fence, colour, pool)
        with pytest.raises(Broken, match="the database"):
            await led(face, ways, Broken("the database"))
        with pytest.raises(Broken, match="the database"):
            await face.get_or_set("book", Compute("too soon"), wait=0.05)
        assert fence.stats().failures


@pytest.mark.parametrize("colour", ["threads", "tasks"])
@pytest.mark.parametrize("ways", ["one", "many", "by hand"])
async def test_p7_who_is_stopped_while_a_value_is_encoded_holds_up_nobody(colour: str, ways: str) -> None:
    with CacheFence(serializer=Reading()) as fence, ThreadPoolExecutor() as pool:
        face = Face(fence, colour, pool)
        with pytest.raises(Stopped):
            await led(face, ways, Stopped())
        assert fence._terms.store.perform(Claim("book", "another", LONG)).lease is not None


async def led(face: Face, ways: str, value: object) -> None:
    match ways:
        case "one":
            await face.get_or_set("book", lambda: value)
        case "many":
            await face.get_or_set_many(["book"], lambda keys: dict.fromkeys(keys, value))
        case _ if face.colour == "tasks":
            async with face.fence.aio.leading(await face.begin("book")) as leading:
                await leading.finish(value)
        case _:
            with face.fence.leading(face.fence.begin("book")) as leading:  # type: ignore[arg-type]
                leading.finish(value)
