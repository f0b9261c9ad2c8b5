"""P2: once a write has returned, nothing whose compute began before it is served, whichever way it would come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cachefence_web import depends_on
from tests.faces.places import Compute, Face, Place

WRITES: dict[str, Callable[[Face], Awaitable[object]]] = {
    "delete": lambda face: face.delete("book"),
    "delete_many": lambda face: face.delete_many(["book", "other"]),
    "invalidate_tags": lambda face: face.invalidate_tags("row:1"),
    "invalidate_all": lambda face: face.invalidate_all(),
    "invalidate_pattern": lambda face: face.invalidate_pattern("bo*"),
    "set": lambda face: face.set("book", "written"),
}


async def stored(face: Face, key: str, value: object, **options: object) -> None:
    """Put a computed value in the cache."""
    assert await face.get_or_set(key, Compute(value), **options) == value


@pytest.mark.parametrize("name", [name for name in WRITES if name != "set"])
async def test_p2_a_stored_value_is_gone_when_the_write_returns(face: Face, name: str) -> None:
    await stored(face, "book", "old", tags=["row:1"])
    await WRITES[name](face)
    assert await face.get("book", "nothing") == "nothing"
    assert await face.get_or_set("book", Compute("new")) == "new"


@pytest.mark.parametrize("name", [name for name in WRITES if name != "invalidate_pattern"])
async def test_p2_a_compute_begun_before_the_write_is_not_stored(face: Face, name: str) -> None:
    compute = Compute("old", held=True)
    first = face.begins("get_or_set", "book", compute, tags=["row:1"])
    await compute.begun()
    await WRITES[name](face)
    compute.release()
    assert await first == "old", "whoever asked before the write may have the value of then"
    expected = "written" if name == "set" else "nothing"
    assert await face.get("book", "nothing") == expected


@pytest.mark.parametrize("name", [name for name in WRITES if name not in {"set", "invalidate_pattern"}])
async def test_p2_who_joins_a_compute_after_the_write_is_not_given_its_value(face: Face, name: str) -> None:
    compute = Compute("old", "new", held=True)
    first = face.begins("get_or_set", "book", compute, tags=["row:1"])
    await compute.begun()
    await WRITES[name](face)
    late = face.begins("get_or_set", "book", compute, tags=["row:1"])
    await face.aboard("book", 2)
    compute.release()
    assert await late == "new"
    assert await first == "old"
    assert await face.get("book") == "new"


async def test_p2_who_joins_a_compute_before_the_write_shares_its_value(face: Face) -> None:
    compute = Compute("value", held=True)
    callers = [face.begins("get_or_set", "book", compute) for _ in range(5)]
    await compute.begun()
    await face.aboard("book", 5)
    compute.release()
    assert await asyncio.gather(*callers) == ["value"] * 5
    assert compute.runs == 1


async def test_p2_another_process_s_late_joiner_is_not_given_the_old_value(place: Place) -> None:
    here, there = place.face(), place.stranger()
    compute = Compute("old", "new", held=True)
    first = here.begins("get_or_set", "book", compute, tags=["row:1"])
    await compute.begun()
    await there.invalidate_tags("row:1")
    late = there.begins("get_or_set", "book", compute, tags=["row:1"])
    await there.aboard("book", 1)
    compute.release()
    assert await late == "new"
    assert await first == "old"


async def test_p2_a_tag_found_only_during_the_compute_counts_from_its_beginning(face: Face) -> None:
    compute = Compute("old", "new", held=True)

    def load() -> object:
        value = compute()
        depends_on("rate:eur")
        return value

    first = face.begins("get_or_set", "price", load)
    await compute.begun()
    await face.invalidate_tags("rate:eur")
    compute.release()
    assert await first == "old"
    assert await face.get_or_set("price", load) == "new"
    assert await face.get_or_set("price", load) == "new"
    assert compute.runs == 2
    await face.invalidate_tags("rate:eur")
    assert await face.get("price") is None


async def test_p2_a_background_refresh_in_flight_does_not_undo_a_delete(place: Place, face: Face) -> None:
    await stored(face, "book", "first", ttl=10, stale_for=100, early=0)
    await place.later(20)
    refresh = Compute("old", held=True)
    assert await face.get_or_set("book", refresh, ttl=10, stale_for=100) == "first"
    await refresh.begun()
    await face.delete("book")
    refresh.release()
    await face.idle()
    assert await face.get("book", "nothing") == "nothing"
    assert await face.get_or_set("book", Compute("new"), ttl=10) == "new"


async def test_p2_a_background_refresh_in_flight_does_not_outlive_its_tag(place: Place, face: Face) -> None:
    await stored(face, "book", "first", ttl=10, stale_for=100, early=0, tags=["row:1"])
    await place.later(20)
    refresh = Compute("old", held=True)
    assert await face.get_or_set("book", refresh, ttl=10, stale_for=100, tags=["row:1"]) == "first"
    await refresh.begun()
    await face.invalidate_tags("row:1")
    refresh.release()
    await face.idle()
    assert await face.get("book", "nothing") == "nothing"


async def test_p2_a_stale_value_that_was_invalidated_is_not_served_stale(place: Place, face: Face) -> None:
    await stored(face, "book", "old", ttl=10, stale_for=100, stale_if_error=100, early=0, tags=["row:1"])
    await place.later(20)
    await face.invalidate_tags("row:1")
    assert await face.get_or_set("book", Compute("new"), ttl=10, stale_for=100) == "new"


async def test_p2_an_invalidated_value_is_no_last_good_value(face: Face) -> None:
    await stored(face, "book", "old", ttl=10, stale_if_error=100, early=0, tags=["row:1"])
    await face.invalidate_tags("row:1")
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("book", Compute(ZeroDivisionError()), ttl=10, stale_if_error=100)


async def test_p2_an_invalidated_failure_gates_nothing(face: Face) -> None:
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("book", Compute(ZeroDivisionError()), tags=["row:1"])
    await face.invalidate_tags("row:1")
    assert await face.get_or_set("book", Compute("new"), tags=["row:1"]) == "new"


async def test_p2_a_value_used_inside_another_hands_on_its_tags(face: Face) -> None:
    fence = face.fence
    await stored(face, "inner", "inner", tags=["row:1"])
    outer = Compute("old", "new", during=lambda: fence.get("inner"))
    assert await face.get_or_set("outer", outer) == "old"
    await face.invalidate_tags("row:1")
    assert await face.get_or_set("outer", outer) == "new"


async def test_p2_a_value_computed_inside_another_hands_on_its_tags(face: Face) -> None:
    fence = face.fence
    outer = Compute("old", "new", during=lambda: fence.get_or_set("inner", lambda: depends_on("row:1")))
    assert await face.get_or_set("outer", outer) == "old"
    await face.invalidate_tags("row:1")
    assert await face.get_or_set("outer", outer) == "new"


async def test_p2_tags_are_handed_on_through_every_level_and_by_batches(face: Face) -> None:
    fence = face.fence
    fence.set("innermost", 1, tags=["row:1"])
    inner = lambda: fence.get_or_set("inner", lambda: fence.get_many(["innermost"]))  # noqa: E731
    outer = Compute("old", "new", during=inner)
    assert await face.get_or_set("outer", outer) == "old"
    await face.invalidate_tags("row:1")
    assert await face.get_or_set("outer", outer) == "new"


async def test_p2_what_was_computed_from_a_stale_value_is_not_stored(place: Place, face: Face) -> None:
    fence = face.fence
    await stored(face, "inner", "first", ttl=10, stale_for=100, early=0)
    await place.later(20)
    refresh = Compute("second", held=True)
    inner = lambda: fence.get_or_set("inner", refresh, ttl=10, stale_for=100)  # noqa: E731
    outer = Compute("from the old", "from the new", during=inner)
    assert await face.get_or_set("outer", outer) == "from the old"
    refresh.release()
    await refresh.begun()
    await face.idle()
    assert await face.get_or_set("outer", outer) == "from the new"
    assert await face.get_or_set("outer", outer) == "from the new"
    assert outer.runs == 2


async def test_p2_invalidating_one_tag_leaves_what_carries_another(face: Face) -> None:
    await stored(face, "book:1", "one", tags=["row:1"])
    await stored(face, "book:2", "two", tags=["row:2"])
    await face.invalidate_tags("row:1")
    assert await face.get("book:1") is None
    assert await face.get("book:2") == "two"


async def test_p2_one_tag_in_common_is_enough(face: Face) -> None:
    for number in range(20):
        await face.set(f"list:{number}", number, tags=["table", f"page:{number}"])
    await face.invalidate_tags("table")
    assert await face.get_many([f"list:{number}" for number in range(20)]) == {}


async def test_p2_a_tag_invalidated_before_anything_carried_it_still_refuses_a_compute_in_flight(face: Face) -> None:
    compute = Compute("old", held=True)
    first = face.begins("get_or_set", "book", compute, tags=["never-seen"])
    await compute.begun()
    await face.invalidate_tags("never-seen")
    compute.release()
    await first
    assert await face.get("book", "nothing") == "nothing"


async def test_p2_flush_is_of_the_namespace_alone(place: Place, face: Face) -> None:
    await face.set("book", "ours")
    other = Place(place.kind, "tasks", place.url, place.namespace + "x")
    neighbour = other.face()
    await neighbour.set("book", "theirs")
    await face.invalidate_all()
    assert await face.get("book") is None
    assert await neighbour.get("book") == "theirs"
    await other.close()
