"""Many keys at once: one compute for all that are missing, and no caller's end or short answer is another's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.faces.places import Compute, Face, Place

KEYS = ["a", "b", "c", "d"]


class Batch(Compute):
    """A batch function: it notes the keys of each run, and leaves out those it is told to."""

    def __init__(self, value: str = "made", *, without: tuple[str, ...] = (), held: bool = False) -> None:
        super().__init__(value, held=held)
        self.asked: list[list[str]] = []
        self._without = without

    def __call__(self, keys: list[str]) -> Any:
        self.asked.append(list(keys))
        value = super().__call__()
        return {key: f"{key} {value}" for key in keys if key not in self._without}


def made(keys: list[str], value: str = "made") -> dict[str, str]:
    """What a batch makes of the keys."""
    return {key: f"{key} {value}" for key in keys}


async def test_p1_all_missing_keys_are_one_compute_and_the_others_none(face: Face) -> None:
    await face.set("b", "there")
    load = Batch()
    assert await face.get_or_set_many([*KEYS, "a"], load) == {**made(KEYS), "b": "there"}
    assert load.asked == [["a", "c", "d"]]
    assert await face.get_or_set_many(KEYS, load) == {**made(KEYS), "b": "there"}
    assert load.runs == 1


async def test_p1_overlapping_batches_compute_each_key_once(face: Face) -> None:
    first, second = Batch("first", held=True), Batch("second")
    one = face.begins("get_or_set_many", ["a", "b"], first)
    await first.begun()
    two = face.begins("get_or_set_many", ["b", "c"], second)
    await second.begun()
    first.release()
    assert await one == made(["a", "b"], "first")
    assert await two == {**made(["b"], "first"), **made(["c"], "second")}
    assert (first.asked, second.asked) == ([["a", "b"]], [["c"]])


async def test_p1_a_batch_and_a_single_caller_share_a_compute(face: Face) -> None:
    load = Batch(held=True)
    many = face.begins("get_or_set_many", KEYS, load)
    await load.begun()
    single = Compute("never")
    one = face.begins("get_or_set", "c", single)
    await face.aboard("c", 2)
    load.release()
    assert await many == made(KEYS)
    assert await one == "c made"
    assert single.runs == 0


async def test_a_key_left_out_of_the_answer_is_left_out_and_not_stored(face: Face) -> None:
    load = Batch(without=("b",))
    assert await face.get_or_set_many(KEYS, load) == made(["a", "c", "d"])
    assert await face.get_many(KEYS) == made(["a", "c", "d"])
    assert await face.get_or_set_many(KEYS, Batch("later")) == {**made(["a", "c", "d"]), **made(["b"], "later")}


async def test_a_short_answer_is_nobody_else_s(place: Place, face: Face) -> None:
    """Who waited for a key that another's answer left out asks for it, and leaves it out in turn, with no failure."""
    load = Batch(without=("b",), held=True)
    first = face.begins("get_or_set_many", KEYS, load)
    await load.begun()
    again = face.begins("get_or_set_many", ["b"], load)
    single = face.begins("get_or_set", "b", Compute("single"))
    await face.aboard("b", 3)
    load.release()
    assert await first == made(["a", "c", "d"])
    assert await again in ({}, {"b": "single"})
    assert await single == "single"
    assert await place.stranger().get_or_set_many(["b"], Batch("later")) == {"b": "single"}


async def test_a_key_left_out_twice_gates_nothing(place: Place, face: Face) -> None:
    load = Batch(without=("b",), held=True)
    first = face.begins("get_or_set_many", ["a", "b"], load)
    await load.begun()
    again = face.begins("get_or_set_many", ["b"], load)
    await face.aboard("b", 2)
    load.release()
    assert await asyncio.gather(first, again) == [made(["a"]), {}]
    assert load.asked == [["a", "b"], ["b"]]
    there = place.stranger()
    assert await there.get_or_set_many(["b"], Batch("later")) == made(["b"], "later")


async def test_p8_a_failing_batch_is_the_answer_of_each_of_its_keys(face: Face) -> None:
    failing = Compute(ZeroDivisionError("broken"))
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set_many(KEYS, failing)
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("c", Compute("gated"))
    assert failing.runs == 1


async def test_p8_a_batch_that_answers_with_no_dict_says_so(face: Face) -> None:
    with pytest.raises(ValueError, match="returns a dict of key to value, not list"):
        await face.get_or_set_many(KEYS, list)


async def test_p7_a_cancelled_batch_hangs_nobody(place: Place) -> None:
    fence = place.face().fence.aio
    begun = asyncio.Event()

    async def for_ever(keys: list[str]) -> dict[str, str]:
        begun.set()
        await asyncio.Event().wait()
        return made(keys)

    first = asyncio.create_task(fence.get_or_set_many(KEYS, for_ever))
    await begun.wait()
    waiting = asyncio.create_task(fence.get_or_set_many(KEYS, Batch("second")))
    single = asyncio.create_task(fence.get_or_set("b", Compute("single")))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    answers = await waiting
    assert answers in (made(KEYS, "second"), {**made(KEYS, "second"), "b": "single"})
    assert await single == answers["b"]
    assert await fence.get_or_set_many(KEYS, Batch("never")) == answers


async def test_p2_invalidated_during_a_batch_none_of_its_keys_is_stored(face: Face) -> None:
    load = Batch("old", held=True)
    first = face.begins("get_or_set_many", KEYS, load, tags=["row:1"])
    await load.begun()
    await face.invalidate_tags("row:1")
    load.release()
    assert await first == made(KEYS, "old")
    assert await face.get_many(KEYS) == {}


async def test_p2_deleted_during_a_batch_only_that_key_is_refused(face: Face) -> None:
    load = Batch("old", held=True)
    first = face.begins("get_or_set_many", KEYS, load)
    await load.begun()
    await face.delete("c")
    load.release()
    await first
    assert await face.get_many(KEYS) == made(["a", "b", "d"], "old")


async def test_a_batch_of_one_that_cannot_be_stored_stores_the_others(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    odd = object()
    with caplog.at_level(logging.CRITICAL, "cachefence_web"):
        assert await face.get_or_set_many(["a", "b"], lambda keys: {"a": odd, "b": 2}) == {"a": odd, "b": 2}
    assert await face.get_many(["a", "b"]) == {"b": 2}


async def test_a_batch_of_nothing_asks_for_nothing(face: Face) -> None:
    load = Batch()
    assert await face.get_or_set_many([], load) == {}
    assert await face.get_many([]) == {}
    assert await face.delete_many([]) == 0
    assert load.runs == 0


async def test_what_a_batch_returns_besides_is_ignored(face: Face) -> None:
    assert await face.get_or_set_many(["a"], lambda keys: {"a": 1, "z": 2}) == {"a": 1}
    assert await face.get("z") is None


async def test_an_async_batch_function_is_awaited(place: Place) -> None:
    async def load(keys: list[str]) -> dict[str, str]:
        return made(keys)

    assert await place.face().fence.aio.get_or_set_many(KEYS, load) == made(KEYS)
