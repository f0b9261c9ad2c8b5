"""What becomes of a value as it ages: fresh, early, stale, last good, expired; and what renews it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from cachefence_web import Policy
from cachefence_web.runtime.engine import Engine
from tests.faces.places import Compute, Face, Place


async def test_a_value_lives_for_its_ttl_and_no_longer(place: Place, face: Face) -> None:
    await face.get_or_set("book", Compute("first"), ttl=100, early=0)
    await place.later(80)
    assert await face.get("book") == "first"
    await place.later(21)
    assert await face.get("book") is None
    assert await face.get_or_set("book", Compute("second"), ttl=100, early=0) == "second"


async def test_half_a_second_is_a_life_and_a_timedelta_says_the_same(place: Place, face: Face) -> None:
    await face.set("float", 1, ttl=30.5)
    await face.set("delta", 1, ttl=timedelta(seconds=30, milliseconds=500))
    for key in ("float", "delta"):
        seen = await face.peek(key)
        assert seen.age + seen.remaining == pytest.approx(30.5, abs=0.01)
    await place.later(15)
    assert await face.get_many(["float", "delta"]) == {"float": 1, "delta": 1}
    await place.later(15.5)
    assert await face.get_many(["float", "delta"]) == {}


async def test_without_a_ttl_a_value_stays_until_it_is_invalidated(place: Place, face: Face) -> None:
    await face.get_or_set("book", Compute("value"), ttl=None, tags=["row:1"])
    await place.later(5 * 365 * 86_400)
    assert await face.get("book") == "value"
    assert (await face.peek("book")).remaining is None
    await face.invalidate_tags("row:1")
    assert await face.get("book") is None


async def test_stale_while_revalidate_serves_at_once_and_refreshes_once(place: Place, face: Face) -> None:
    terms = {"ttl": 10, "stale_for": 100, "early": 0}
    await face.get_or_set("book", Compute("first"), **terms)
    await place.later(20)
    refresh = Compute("second", held=True)
    assert await asyncio.gather(*[face.get_or_set("book", refresh, **terms) for _ in range(20)]) == ["first"] * 20
    refresh.release()
    await face.idle()
    assert refresh.runs == 1
    assert await face.get_or_set("book", Compute("never"), **terms) == "second"
    assert face.stats().refreshes == 1
    await place.later(200)
    assert await face.get_or_set("book", Compute("third"), **terms) == "third"


async def test_p1_processes_share_one_refresh(place: Place) -> None:
    here, there = place.face(), place.stranger()
    terms = {"ttl": 10, "stale_for": 100, "early": 0}
    await here.get_or_set("book", Compute("first"), **terms)
    await place.later(20)
    refresh = Compute("second", held=True)
    assert await here.get_or_set("book", refresh, **terms) == "first"
    await refresh.begun()
    assert await there.get_or_set("book", refresh, **terms) == "first"
    await there.idle()
    refresh.release()
    await here.idle()
    assert refresh.runs == 1


async def test_a_failing_refresh_is_logged_and_the_stale_value_goes_on(
    place: Place, face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    terms = {"ttl": 10, "stale_for": 100, "early": 0}
    await face.get_or_set("book", Compute("first"), **terms)
    await place.later(20)
    failing = Compute(ZeroDivisionError("broken"))
    with caplog.at_level(logging.WARNING, "cachefence_web"):
        assert await face.get_or_set("book", failing, **terms) == "first"
        await face.idle()
    assert "the refresh of 'book' failed" in caplog.text
    for _ in range(10):
        assert await face.get_or_set("book", failing, **terms) == "first"
        await face.idle()
    assert failing.runs == 1, "the back-off gates refreshes as well"


async def test_early_refresh_neither_blocks_nor_raises(place: Place) -> None:
    face = place.face()
    _draws(face, 0.999999)
    await _costly(face, "book", 100)
    refresh = Compute(ZeroDivisionError(), held=True)
    assert await face.get_or_set("book", refresh, ttl=10, early=1) == "slow"
    await refresh.begun()
    refresh.release()
    await face.idle()
    assert await face.get_or_set("book", Compute("never"), ttl=10, early=0) == "slow"


async def test_early_refresh_brings_the_new_value_before_the_old_one_ends(place: Place) -> None:
    face = place.face()
    _draws(face, 0.999999)
    await _costly(face, "book", 100)
    refresh = Compute("second")
    assert await face.get_or_set("book", refresh, ttl=10, early=1) == "slow"
    await face.idle()
    assert await face.get_or_set("book", Compute("never"), early=0) == "second"


async def test_an_early_factor_of_zero_never_refreshes_early(place: Place) -> None:
    face = place.face()
    _draws(face, 0.999999)
    await _costly(face, "book", 100)
    for _ in range(10):
        assert await face.get_or_set("book", Compute("never"), early=0) == "slow"
    assert face.stats().refreshes == 0


def _draws(face: Face, chance: float) -> None:
    engine: Engine = face.fence._terms.engine
    engine.chance = lambda: chance


async def _costly(face: Face, key: str, cost: float) -> None:
    """Store a value that says of itself that its compute took so many seconds."""
    from cachefence_web.core import writing
    from cachefence_web.core.flight import Computed
    from cachefence_web.core.policy import Policy

    payload, kind = face.fence._terms.engine.encode("slow")
    done = Computed("slow", payload, (), elapsed=cost, kind=kind)
    since = face.fence.instant()
    face.fence._driver.run(writing.put(key, done, Policy(ttl=10), since))


async def test_soft_timeout_waits_a_moment_for_the_fresh_value(place: Place, face: Face) -> None:
    terms = {"ttl": 10, "stale_for": 100, "early": 0}
    await face.get_or_set("book", Compute("first"), **terms)
    await place.later(20)
    assert await face.get_or_set("book", Compute("second"), soft_timeout=10, **terms) == "second"


async def test_soft_timeout_serves_the_stale_value_when_the_compute_takes_longer(place: Place, face: Face) -> None:
    terms = {"ttl": 10, "stale_for": 100, "early": 0, "soft_timeout": 0.01}
    await face.get_or_set("book", Compute("first"), **terms)
    await place.later(20)
    slow = Compute("second", held=True)
    assert await face.get_or_set("book", slow, **terms) == "first"
    await slow.begun()
    slow.release()
    await face.idle()
    assert await face.get_or_set("book", Compute("never"), **terms) == "second", "the compute went on, and was stored"
    assert slow.runs == 1


async def test_p8_stale_if_error_serves_the_last_good_value(place: Place, face: Face) -> None:
    terms = {"ttl": 10, "stale_if_error": 100, "early": 0}
    await face.get_or_set("book", Compute("good"), **terms)
    await place.later(20)
    failing = Compute(ZeroDivisionError())
    for _ in range(3):
        assert await face.get_or_set("book", failing, **terms) == "good"
    assert failing.runs == 1
    assert await face.get("book") is None, "it is no fresh value"
    await place.later(200)
    await face.delete("book")
    with pytest.raises(ZeroDivisionError):
        await face.get_or_set("book", failing, **terms)


async def test_without_an_error_the_last_good_value_is_not_served(place: Place, face: Face) -> None:
    terms = {"ttl": 10, "stale_if_error": 100, "early": 0}
    await face.get_or_set("book", Compute("good"), **terms)
    await place.later(20)
    assert await face.get_or_set("book", Compute("new"), **terms) == "new"


async def test_a_sliding_value_lives_as_long_as_it_is_asked_for(place: Place, face: Face) -> None:
    terms = {"ttl": 100, "sliding": True, "early": 0}
    await face.get_or_set("book", Compute("value"), **terms)
    for _ in range(5):
        await place.later(80)
        assert await face.get_or_set("book", Compute("never"), **terms) == "value"
    await place.later(101)
    assert await face.get_or_set("book", Compute("new"), **terms) == "new"


async def test_jitter_shortens_lives_and_never_prolongs_them(face: Face) -> None:
    for number in range(40):
        await face.get_or_set(f"book:{number}", Compute("value"), ttl=10_000, jitter=0.5)
    lives = [(await face.peek(f"book:{number}")).remaining for number in range(40)]
    assert all(4_900 <= life <= 10_000 for life in lives)
    assert max(lives) - min(lives) > 500


async def test_expire_tags_makes_stale_what_may_be_served_stale(face: Face) -> None:
    terms = {"ttl": 100, "stale_for": 100, "early": 0, "tags": ["row:1"]}
    await face.get_or_set("book", Compute("first"), **terms)
    await face.expire_tags("row:1")
    assert await face.get("book") is None
    refresh = Compute("second")
    assert await face.get_or_set("book", refresh, **terms) == "first"
    await face.idle()
    assert await face.get_or_set("book", refresh, **terms) == "second"


async def test_expire_tags_ends_what_may_not_be_served_stale(face: Face) -> None:
    await face.get_or_set("book", Compute("first"), ttl=100, tags=["row:1"])
    await face.expire_tags("row:1")
    assert await face.get_or_set("book", Compute("second"), ttl=100, tags=["row:1"]) == "second"


async def test_a_hit_renews_the_life_that_the_value_has_and_not_that_of_others(place: Place) -> None:
    face = place.face(policy=Policy(ttl=300, sliding=True))
    await face.set("code", 1234, ttl=100)
    await face.set("kept", "for ever", ttl=None)
    for _ in range(3):
        await place.later(80)
        assert await face.get("code") == 1234
        assert await face.get_or_set("code", Compute("never"), early=0) == 1234
        assert 85 < (await face.peek("code")).remaining <= 100
        assert (await face.peek("kept")).remaining is None
    assert await face.touch("code", ttl=200) is True
    await place.later(150)
    assert await face.get("code") == 1234
    assert 185 < (await face.peek("code")).remaining <= 200
    await face.set("code", 1, ttl=100)
    await place.later(80)
    assert (await face.peek("code", sliding=False)).remaining <= 20
    await place.later(21)
    assert await face.get("code") is None


async def test_what_is_touched_without_end_slides_no_more_until_it_is_given_one(place: Place) -> None:
    face = place.face(policy=Policy(ttl=300, sliding=True))
    await face.set("a", 1, ttl=100)
    assert await face.touch("a", ttl=None) is True
    await place.later(10_000)
    assert await face.get("a") == 1
    assert (await face.peek("a")).remaining is None
    assert await face.touch("a", ttl=200) is True
    await place.later(150)
    assert await face.get("a") == 1
    assert 185 < (await face.peek("a")).remaining <= 200


@pytest.mark.parametrize("how", ["touched", "without end and back", "renamed"])
async def test_a_value_may_be_stale_as_long_as_before_when_it_is_touched_or_moved(
    place: Place, face: Face, how: str
) -> None:
    terms = {"ttl": 10, "stale_for": 100, "early": 0}
    await face.set("a", "old", **terms)
    if how == "touched":
        await face.touch("a", ttl=10)
    elif how == "renamed":
        await face.set("b", "old", **terms)
        assert await face.rename("b", "a") is True
    else:
        await face.touch("a", ttl=None)
        await face.touch("a", ttl=10)
    await place.later(60)
    assert await face.get("a") is None
    assert await face.get_or_set("a", Compute("new"), **terms) == "old"
    await face.idle()


async def test_a_touched_life_is_as_long_as_it_is_said_whatever_else_the_policy_has(place: Place) -> None:
    face = place.face(policy=Policy(negative_ttl=60, jitter=0.5))
    for value in (None, 1):
        await face.set("a", value)
        await face.touch("a", ttl=500)
        assert 490 < (await face.peek("a")).remaining <= 500
        await face.touch("a", ttl=None)
        assert (await face.peek("a")).remaining is None


async def test_touch_begins_the_life_again_and_leaves_the_dead_alone(place: Place, face: Face) -> None:
    await face.set("book", "value", ttl=100, tags=["row:1"])
    await place.later(80)
    assert await face.touch("book", ttl=100) is True
    await place.later(80)
    assert await face.get("book") == "value"
    await face.invalidate_tags("row:1")
    assert await face.touch("book") is False
    assert await face.touch("nothing") is False
    assert await face.get("book") is None


async def test_negative_ttl_is_for_none_alone(place: Place, face: Face) -> None:
    terms = {"ttl": 100, "negative_ttl": 1, "early": 0}
    await face.get_or_set("nobody", Compute(None), **terms)
    await face.get_or_set("somebody", Compute(0), **terms)
    await place.later(2)
    assert await face.get_or_set("nobody", Compute("born"), **terms) == "born"
    assert await face.get_or_set("somebody", Compute("never"), **terms) == 0
