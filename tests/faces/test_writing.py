"""What writes mean: set, add, incr, delete and their many; dates given by hand; fences around other people's writes."""

from __future__ import annotations

import asyncio

import pytest

from cachefence_web import ConfigurationError, Policy
from cachefence_web.core import writing
from cachefence_web.core.entry import Kind
from cachefence_web.core.flight import Computed
from tests.faces.places import Compute, Face, Place


async def test_set_stores_and_set_many_stores_each(face: Face) -> None:
    assert await face.set("a", 1) is True
    await face.set_many({"b": 2, "c": None}, tags=["row:1"])
    assert await face.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": None}
    await face.invalidate_tags("row:1")
    assert await face.get_many(["a", "b", "c"]) == {"a": 1}


async def test_delete_says_whether_there_was_one(face: Face) -> None:
    await face.set_many({"a": 1, "b": 2, "c": 3})
    assert await face.delete("a") is True
    assert await face.delete("a") is False
    assert await face.delete_many(["a", "b", "c"]) == 2


async def test_add_stores_only_where_there_is_nothing(place: Place, face: Face) -> None:
    assert await face.add("a", "first") is True
    assert await face.add("a", "second") is False
    assert await face.get("a") == "first"
    await face.set("b", "old", ttl=10)
    await place.later(20)
    assert await face.add("b", "new") is True


async def test_replace_stores_only_where_there_is_something(place: Place, face: Face) -> None:
    assert await face.replace("a", "first") is False
    assert await face.get("a") is None
    await face.set("a", None)
    assert await face.replace("a", "second", tags=["row:1"]) is True
    assert await face.get("a") == "second"
    await face.invalidate_tags("row:1")
    assert await face.replace("a", "third") is False
    await face.set("b", "old", ttl=10, stale_for=60)
    await place.later(20)
    assert await face.replace("b", "new") is False


async def test_what_was_cleared_or_is_over_was_not_there_to_be_deleted(place: Place, face: Face) -> None:
    await face.set_many({"a": 1, "b": 2, "c": 3}, tags=["row:1"])
    await face.invalidate_tags("row:1")
    assert (await face.delete("a"), await face.delete_many(["b", "c", "d"])) == (False, 0)
    await face.set_many({"a": 1, "b": None, "c": 3}, ttl=10, stale_for=60)
    assert await face.delete_many(["a", "b", "a"]) == 2
    await place.later(20)
    assert await face.delete("c") is False
    await face.set_many({"a": 1, "b": 2})
    await face.invalidate_all()
    assert (await face.delete("a"), await face.invalidate_pattern("*")) == (False, 0)


async def test_p2_a_delete_that_found_nothing_to_be_served_has_revoked_what_is_being_computed(face: Face) -> None:
    compute = Compute("old", "new", held=True)
    await face.set("a", "cleared")
    await face.invalidate_all()
    asking = face.begins("get_or_set", "a", compute)
    await compute.begun()
    assert await face.delete("a") is False
    compute.release()
    assert await asking == "old"
    assert await face.get("a") is None


async def test_no_change_is_lost_and_the_value_keeps_its_life_and_its_tags(place: Place, face: Face) -> None:
    other = place.stranger()
    await face.set("list", [], ttl=100, tags=["row:1"])
    await asyncio.gather(*[
        each.modify("list", lambda value, number=number: [*value, number], ttl=1000)
        for number in range(20) for each in (face, other)])
    assert sorted(await face.get("list")) == sorted([*range(20), *range(20)])
    await place.later(60)
    assert await face.modify("list", len) == 40
    assert (await face.peek("list")).remaining <= 40
    await face.invalidate_tags("row:1")
    assert await face.get("list") is None


async def test_a_change_of_what_is_not_there_is_none_or_begins_with_what_is_given(place: Place, face: Face) -> None:
    assert await face.modify("a", lambda value: value + 1) is None
    assert await face.get("a") is None
    assert await face.modify("a", lambda value: value + 0.5, initial=1, ttl=10) == 1.5
    assert await face.modify("a", lambda value: value + 0.5, initial=1) == 2.0
    await place.later(11)
    assert await face.get("a") is None
    other = place.stranger()
    counting = [each.modify("b", lambda value: value + 0.5, initial=0) for _ in range(10) for each in (face, other)]
    assert sorted(await asyncio.gather(*counting)) == [half / 2 for half in range(1, 21)]


async def test_a_renamed_value_keeps_its_life_and_its_tags_and_is_gone_where_it_was(place: Place, face: Face) -> None:
    await face.set("a", 1, ttl=100, tags=["row:1"])
    await face.set("b", "old")
    await place.later(60)
    assert await face.rename("a", "b") is True
    assert (await face.get("a"), await face.get("b")) == (None, 1)
    assert (await face.peek("b")).remaining <= 40
    assert await face.rename("b", "b") is True
    assert await face.incr("b") == 2
    await face.invalidate_tags("row:1")
    assert (await face.get("b"), await face.rename("b", "c"), await face.rename("nothing", "c")) == (None, False, False)


@pytest.mark.parametrize("how", ["incr", "modify"])
async def test_p2_a_refresh_that_began_before_a_change_does_not_undo_it(face: Face, how: str) -> None:
    face.fence._terms.engine.chance = lambda: 0.999999
    dear = Computed(10, b"10", (), elapsed=100.0, kind=Kind.NUMBER)
    face.fence._driver.run(writing.put("n", dear, Policy(ttl=10), None))
    refresh = Compute(10, held=True)
    assert await face.get_or_set("n", refresh, ttl=10, early=1) == 10
    await refresh.begun()
    assert await (face.incr("n", 5) if how == "incr" else face.modify("n", lambda value: value + 5)) == 15
    refresh.release()
    await face.idle()
    assert await face.get("n") == 15


async def test_p2_a_change_is_refused_where_what_it_was_made_of_was_deleted_meanwhile(face: Face) -> None:
    await face.set("a", 1.5)
    seen: list[float] = []

    def change(value: float) -> float:
        if not seen:
            face.fence.delete("a")
        seen.append(value)
        return value + 1

    assert await face.modify("a", change) is None
    assert (seen, await face.get("a")) == ([1.5], None)


@pytest.mark.parametrize("change", [None, 1, "text"], ids=repr)
async def test_a_change_that_is_no_function_is_refused(face: Face, change: object) -> None:
    async def awaited(value: object) -> object:
        return value

    for each in (change, awaited):
        with pytest.raises(ConfigurationError, match="plain function"):
            await face.modify("a", each)


async def test_a_scan_hands_out_the_keys_that_match_and_checks_its_pattern_first(place: Place, face: Face) -> None:
    await face.set_many({f"user:{number}": 1 for number in range(30)} | {"book:1": 1, "us{e}r": 1})
    fence = face.fence
    if face.colour == "threads":
        found = [key for keys in fence.scan("us*") for key in keys]
        everything = [key for keys in fence.scan() for key in keys]
    else:
        found = [key async for keys in fence.aio.scan("us*") for key in keys]
        everything = [key async for keys in fence.aio.scan() for key in keys]
    assert set(found) == {*[f"user:{number}" for number in range(30)], "us{e}r"}
    assert set(everything) == {*found, "book:1"}
    for scan in (fence.scan, fence.aio.scan):
        with pytest.raises(ConfigurationError):
            scan("")


async def test_add_is_one_caller_s(place: Place, face: Face) -> None:
    other = place.stranger()
    adding = [each.add("a", at) for at in range(20) for each in (face, other)]
    assert sorted(await asyncio.gather(*adding)) == [False] * 39 + [True]


async def test_incr_loses_nothing(place: Place, face: Face) -> None:
    other = place.stranger()
    await asyncio.gather(*[each.incr("hits") for each in (face, other) for _ in range(50)])
    assert await face.get("hits") == 100
    assert await face.incr("hits", -30) == 70
    assert await face.incr("other", 5, create=False) is None
    assert await face.incr("other", 5) == 5


async def test_incr_keeps_the_life_of_the_number(place: Place, face: Face) -> None:
    await face.set("hits", 1, ttl=100)
    await place.later(60)
    assert await face.incr("hits", ttl=1000) == 2
    await place.later(60)
    assert await face.get("hits") is None


async def test_incr_refuses_what_is_no_integer_and_what_would_overflow(face: Face) -> None:
    await face.set("text", "7")
    with pytest.raises(TypeError, match="is no integer"):
        await face.incr("text")
    await face.set("most", 2**63 - 1)
    with pytest.raises(OverflowError):
        await face.incr("most")
    assert await face.get("most") == 2**63 - 1
    await face.set("true", True)
    with pytest.raises(TypeError):
        await face.incr("true")


@pytest.mark.parametrize("delta", [1.5, "1", True, None, 2**64], ids=repr)
async def test_incr_by_what_is_no_integer_is_refused_before_anything_is_stored(face: Face, delta: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        await face.incr("hits", delta)
    assert await face.get("hits") is None


async def test_invalidate_pattern_deletes_what_matches_and_says_how_much(face: Face) -> None:
    await face.set_many({f"user:{number}": number for number in range(30)})
    await face.set("book:1", 1)
    seen: list[int] = []
    assert await face.invalidate_pattern("user:*", progress=seen.append) == 30
    assert seen[-1] == 30
    assert await face.get("book:1") == 1
    assert await face.get_many([f"user:{number}" for number in range(30)]) == {}


async def test_p2_a_set_dated_before_an_invalidation_is_refused(face: Face) -> None:
    since = await face.instant()
    await face.invalidate_tags("row:1")
    assert await face.set("book", "read before", tags=["row:1"], since=since) is False
    assert await face.get("book") is None
    assert await face.set("book", "read after", tags=["row:1"], since=await face.instant()) is True


async def test_p2_a_set_dated_before_a_new_epoch_is_refused(face: Face) -> None:
    since = await face.instant()
    await face.invalidate_all()
    assert await face.set("book", "read before", since=since) is False
    assert await face.get("book") is None


async def test_p3_during_a_fence_the_last_committed_value_is_served_and_after_it_the_new_one(face: Face) -> None:
    await face.get_or_set("book", Compute("old"), tags=["row:1"])
    async with face.fencing("row:1"):
        assert await face.get_or_set("book", Compute("never"), tags=["row:1"]) == "old"
    assert await face.get("book") is None
    assert await face.get_or_set("book", Compute("new"), tags=["row:1"]) == "new"
    assert await face.get("book") == "new"


async def test_p3_a_pending_fence_is_no_reason_for_everybody_to_compute(face: Face) -> None:
    compute = Compute("value")
    async with face.fencing("row:1"):
        for _ in range(5):
            assert await face.get_or_set("book", compute, tags=["row:1"]) == "value"
    assert compute.runs == 1


async def test_p3_a_strict_read_trusts_nothing_while_a_fence_is_pending(face: Face) -> None:
    await face.get_or_set("book", Compute("old"), tags=["row:1"])
    compute = Compute("during")
    async with face.fencing("row:1"):
        for _ in range(2):
            assert await face.get_or_set("book", compute, tags=["row:1"], consistency="strict") == "during"
        assert await face.get("book") == "old", "and stores nothing"
    assert compute.runs == 2
    assert await face.get_or_set("book", Compute("new"), tags=["row:1"], consistency="strict") == "new"
    assert await face.get_or_set("book", Compute("never"), tags=["row:1"], consistency="strict") == "new"


async def test_p3_a_strict_caller_is_given_no_compute_that_began_before_it_asked(face: Face) -> None:
    await face.get_or_set("book", Compute("old"), tags=["row:1"])
    async with face.fencing("row:1"):
        first, later = Compute("first", held=True), Compute("later")
        leader = face.begins("get_or_set", "book", first, consistency="strict")
        await first.begun()
        joiners = [face.begins("get_or_set", "book", later, consistency="strict") for _ in range(10)]
        await face.aboard("book", 11)
        first.release()
        assert await leader == "first"
        assert set(await asyncio.gather(*joiners)) == {"later"}, "begun before they asked, the first may be old by now"


async def test_p4_an_exception_leaves_the_outcome_unknown_and_the_deadline_invalidates_once_more(
    place: Place,
) -> None:
    face = place.face(fence_life=10.0)
    await face.get_or_set("book", Compute("old"), tags=["row:1"])
    with pytest.raises(ConnectionError):
        async with face.fencing("row:1"):
            raise ConnectionError("while committing")
    assert await face.get("book") is None
    await face.get_or_set("book", Compute("before the commit took effect"), tags=["row:1"])
    assert await face.get("book") == "before the commit took effect"
    await place.later(11)
    assert await face.get("book") is None
    await face.get_or_set("book", Compute("settled"), tags=["row:1"])
    assert await face.get("book") == "settled"


async def test_p4_a_writer_that_never_comes_back_is_covered_by_its_deadline(place: Place) -> None:
    face = place.face(fence_life=10.0)
    await face.get_or_set("book", Compute("old"), tags=["row:1"])
    writer = place.stranger(fence_life=10.0).fence.fencing("row:1")
    writer.__enter__()
    assert await face.get("book") == "old"
    await place.later(11)
    assert await face.get("book") is None
    assert await face.get_or_set("book", Compute("new"), tags=["row:1"]) == "new"
    writer.__exit__(None, None, None)


async def test_p7_a_writer_cancelled_in_its_fence_still_invalidates(place: Place) -> None:
    fence = place.face().fence.aio
    await fence.get_or_set("book", Compute("old"), tags=["row:1"])
    inside = asyncio.Event()

    async def write() -> None:
        async with fence.fencing("row:1"):
            inside.set()
            await asyncio.Event().wait()

    writer = asyncio.create_task(write())
    await inside.wait()
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert await fence.get("book") is None
