"""Many keys at once: one compute for all that are missing, and no caller's end or short answer is another's."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from cachefence_web import StoreUnavailable
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


class Paced:
    """A store that notes how much it is asked at once, and is away from a given request on."""

    def __init__(self, face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.most: float = math.inf
        terms = face.fence._terms
        monkeypatch.setattr(terms.store, "perform_all", partial(self._ask, terms.store.perform_all))
        monkeypatch.setattr(terms.async_store, "perform_all", partial(self._ask, terms.async_store.perform_all))

    def _ask(self, through: Callable[[Any], Any], effects: Sequence[Any]) -> Any:
        if len(self.sizes) < self.most:
            self.sizes.append(len(effects))
            return through(effects)
        away: list[Any] = [StoreUnavailable("gone") for _ in effects]
        return asyncio.sleep(0, away) if inspect.iscoroutinefunction(through) else away


async def test_p6_no_deadline_is_for_more_than_a_thousand_keys(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {f"key{number}": number for number in range(2_500)}
    asked = Paced(face, monkeypatch)
    await face.set_many(values)
    assert asked.sizes == [1_000, 1_000, 500]
    assert await face.get_many(values) == values
    assert await face.get_or_set_many(values, Batch()) == values
    assert await face.delete_many(values) == len(values)
    more = Batch()
    assert await face.get_or_set_many(values, more) == made(list(values))
    assert more.runs == 1
    assert max(asked.sizes) == 1_000


async def test_p6_what_was_read_before_an_outage_is_returned_and_the_rest_is_told(
    face: Face, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    values = {f"key{number}": number for number in range(1_500)}
    await face.set_many(values)
    asked = Paced(face, monkeypatch)
    asked.most = 1
    with caplog.at_level(logging.ERROR, "cachefence_web"):
        assert await face.get_many(values) == dict(list(values.items())[:1_000])
    assert "could not look up 500 of 1500 keys" in caplog.text


async def test_p6_a_batch_that_an_outage_cuts_short_is_answered_whole(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"key{number}" for number in range(1_500)]
    asked = Paced(face, monkeypatch)
    asked.most = 1
    load = Batch()
    assert await face.get_or_set_many(keys, load) == made(keys)
    assert load.runs == 1


async def test_p2_many_values_are_dated_at_the_call(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is invalidated between two of its round trips came after all of them."""
    asked = Paced(face, monkeypatch)

    def invalidating(through: Callable[[Any], Any], effects: Sequence[Any]) -> Any:
        if asked.sizes:
            face.fence.invalidate_tags("row")
        return Paced._ask(asked, through, effects)

    for store in (face.fence._terms.store, face.fence._terms.async_store):
        wrapped = store.perform_all
        monkeypatch.setattr(store, "perform_all", partial(invalidating, wrapped.args[0]))
    await face.set_many({f"key{number}": number for number in range(1_500)}, tags=["row"])
    assert await face.get_many(["key0", "key1499"]) == {}


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
