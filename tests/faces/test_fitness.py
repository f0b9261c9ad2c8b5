"""`begin` and `peek` with a judgement of the caller's own, and how what was led ends: other dates, bytes, passed by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachefence_web import ConfigurationError, Policy
from cachefence_web.core.flight import Fitness, Landing, Lead, PassBy, Served, Status
from cachefence_web.runtime.leading import AsyncLeading, Leading
from tests.faces.places import Face, Place

PAGE = b"page"
KEPT = Policy(ttl=60, stale_for=60, stale_if_error=600)


async def led(
    face: Face, lead: Lead, end: Callable[[Leading | AsyncLeading], Any], *, during: Callable[[], Any] | None = None
) -> Any:
    """End a lead in its block, whichever colour it has."""
    if face.colour == "tasks":
        async with face.fence.aio.leading(lead) as leading:
            if during is not None:
                await during()
            return await end(leading)
    with face.fence.leading(lead) as block:
        if during is not None:
            await during()
        return await asyncio.to_thread(end, block)


async def begun(face: Face, **options: Any) -> Lead:
    lead = await face.begin("page", **options)
    assert isinstance(lead, Lead)
    return lead


async def store(face: Face, value: bytes = PAGE, *, tags: tuple[str, ...] = ("book",), **options: Any) -> None:
    assert await face.set("page", value, raw=True, tags=tags, policy=KEPT, **options)


def finds(fitness: Fitness) -> dict[str, Any]:
    return {"policy": KEPT, "fitness": lambda _: fitness}


@pytest.mark.parametrize("later", [0, 90, 300], ids=["fresh", "stale", "last good"])
async def test_what_suffices_is_served_and_seen_however_old(place: Place, later: float) -> None:
    face = place.face()
    await store(face)
    await place.later(later)
    for found in (await face.begin("page", **finds(Fitness.SUFFICES)), await face.peek(
            "page", **finds(Fitness.SUFFICES))):
        assert (found.value, found.status) == (PAGE, Status.STALE if later else Status.HIT)
        assert later <= found.age <= later + 30


@pytest.mark.parametrize("later", [0, 90, 300], ids=["fresh", "stale", "last good"])
async def test_what_is_unfit_is_not_seen_and_is_led_to_be_validated(place: Place, later: float) -> None:
    face = place.face()
    await store(face)
    await place.later(later)
    assert await face.peek("page", **finds(Fitness.UNFIT)) is None
    lead = await begun(face, **finds(Fitness.UNFIT))
    assert lead.last_good is not None
    assert (lead.stale, lead.last_good.value) == (None, PAGE)
    landing = await led(face, lead, lambda leading: leading.finish(b"newer", raw=True))
    assert landing.status is Status.STORED
    assert await face.get("page") == b"newer"


async def test_p2_what_was_invalidated_is_there_for_nobody_to_judge(face: Face) -> None:
    await store(face)
    await face.invalidate_tags("book")
    assert await face.peek("page", **finds(Fitness.SUFFICES)) is None
    lead = await begun(face, **finds(Fitness.SUFFICES))
    assert lead.last_good is None
    await led(face, lead, lambda leading: leading.pass_by())


async def test_p1_those_who_refuse_one_entry_share_one_new_one(place: Place) -> None:
    face, stranger = place.face(), place.stranger()
    await store(face)
    lead = await begun(face, **finds(Fitness.UNFIT))
    waiting = [other.begins("begin", "page", **finds(Fitness.UNFIT)) for other in (face, face, stranger, stranger)]

    async def all_aboard() -> None:
        await face.aboard("page", 3)
        await stranger.aboard("page", 2)

    await led(face, lead, lambda leading: leading.finish(b"newer", raw=True), during=all_aboard)
    assert {served.value for served in await asyncio.gather(*waiting)} == {b"newer"}


async def test_who_refuses_an_entry_does_not_keep_others_from_it(face: Face) -> None:
    await store(face)
    lead = await begun(face, **finds(Fitness.UNFIT))
    assert (await face.begin("page", policy=KEPT)).value == PAGE
    await led(face, lead, lambda leading: leading.pass_by())


async def test_a_finish_gives_the_entry_dates_of_its_own(place: Place) -> None:
    face = place.face()
    lead = await begun(face, ttl=5)
    landing = await led(face, lead, lambda leading: leading.finish(PAGE, raw=True, policy=KEPT))
    assert landing.remaining == pytest.approx(60, abs=1)
    await place.later(90)
    found = await face.peek("page", **finds(Fitness.SUFFICES))
    assert found.late == pytest.approx(30, abs=20)


async def test_p3_a_finish_with_other_dates_is_as_strict_as_what_was_begun(face: Face) -> None:
    lead = await begun(face, consistency="strict")
    landing = await led(face, lead, lambda leading: leading.finish(PAGE, raw=True, policy=Policy(ttl=5)))
    assert lead.granted is not None
    assert landing.covers == lead.granted.covers


async def test_a_failure_may_be_told_whether_an_old_value_stands_in(place: Place) -> None:
    face = place.face()
    await store(face)
    await place.later(300)
    lead = await begun(face, policy=Policy(ttl=5), fitness=lambda _: Fitness.UNFIT)
    landing: Landing = await led(face, lead, lambda leading: leading.fail(LookupError("broken"), policy=KEPT))
    assert isinstance(landing, Served)
    assert landing.value == PAGE


async def test_an_ending_with_what_is_no_policy_is_refused_and_may_be_told_again(face: Face) -> None:
    async with face.fence.aio.leading(await begun(face)) as leading:
        with pytest.raises(ConfigurationError, match="a Policy"):
            await leading.finish(PAGE, raw=True, policy={"ttl": 5})  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="a Policy"):
            await leading.fail(LookupError("broken"), policy="short")  # type: ignore[arg-type]
        assert (await leading.finish(PAGE, raw=True)).status is Status.STORED


async def passed_by(face: Face) -> PassBy:
    await led(face, await begun(face, tags=["site"]), lambda leading: leading.pass_by())
    passed = await face.begin("page")
    assert isinstance(passed, PassBy)
    return passed


async def test_who_is_passed_by_may_store_what_he_made_after_all(face: Face) -> None:
    passed = await passed_by(face)
    assert passed.since is not None
    await store(face, since=passed.since)
    assert (await face.begin("page")).value == PAGE


@pytest.mark.parametrize("warm", [False, True], ids=["a new tag", "a known tag"])
async def test_p2_what_was_invalidated_since_it_was_passed_by_is_not_served(face: Face, warm: bool) -> None:
    if warm:
        await face.set("other", 1, tags=["book"])
    passed = await passed_by(face)
    await face.invalidate_tags("book")
    assert not await face.set("page", PAGE, raw=True, tags=["book"], since=passed.since)
    assert await face.peek("page", **finds(Fitness.SUFFICES)) is None


async def test_p2_what_was_stored_since_it_was_passed_by_and_then_invalidated_is_not_served(face: Face) -> None:
    passed = await passed_by(face)
    await store(face, since=passed.since)
    await face.invalidate_tags("book")
    assert await face.peek("page", **finds(Fitness.SUFFICES)) is None


async def test_p2_what_was_passed_by_before_everything_was_forgotten_is_not_stored(face: Face) -> None:
    passed = await passed_by(face)
    await face.invalidate_all()
    assert not await face.set("page", PAGE, raw=True, since=passed.since)


async def test_those_who_wait_while_a_key_is_given_up_learn_a_date_that_holds(face: Face) -> None:
    lead = await begun(face)
    waiting = face.begins("begin", "page")
    await led(face, lead, lambda leading: leading.pass_by(), during=lambda: face.aboard("page", 2))
    passed = await waiting
    assert isinstance(passed, PassBy)
    assert lead.granted is not None
    assert passed.since == lead.granted.lease


async def test_raw_bytes_are_stored_as_they_are(face: Face) -> None:
    assert await face.set("page", b"\x00\xff", raw=True)
    assert await face.get("page") == b"\x00\xff"


@pytest.mark.parametrize("call", [
    pytest.param(lambda face: face.set("page", "text", raw=True), id="raw text"),
    pytest.param(lambda face: face.begin("page", fitness=Fitness.FITS), id="begin"),
    pytest.param(lambda face: face.peek("page", fitness="unfit"), id="peek"),
])
async def test_what_cannot_be_judged_or_stored_is_refused(face: Face, call: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"raw=True|fitness is a function"):
        await call(face)
    assert await face.get("page") is None


async def test_a_judgement_that_raises_is_the_callers_own_and_leaves_nobody_waiting(face: Face) -> None:
    await store(face)

    def broken(_: Served) -> Fitness:
        raise LookupError("broken judgement")

    with pytest.raises(LookupError, match="broken judgement"):
        await face.begin("page", policy=KEPT, fitness=broken)
    assert (await face.begin("page", policy=KEPT)).value == PAGE
