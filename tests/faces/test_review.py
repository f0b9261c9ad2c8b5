"""What a fresh reading of the code found wrong once, and must not come back."""

from __future__ import annotations

import asyncio
import enum
import logging
from datetime import timedelta, timezone
from functools import wraps
from typing import Any

import pytest

from cachefence_web import CacheFence, ConfigurationError, cached, depends_on
from cachefence_web.core.calls import encode
from cachefence_web.core.effects import Read
from tests.faces.places import Face


class Mark(enum.IntFlag):
    NEW = 1


def test_combinations_of_flags_and_zones_of_one_name_have_keys_of_their_own() -> None:
    texts = [encode(value) for value in (
        Mark(64), Mark(128), Mark(0), timezone(timedelta(hours=1), "X"), timezone(timedelta(hours=2), "X"))]
    assert len(set(texts)) == len(texts)


def plain(name: str) -> str:
    return name


@wraps(plain)
def loud(name: str) -> str:
    return plain(name).upper()


def test_a_decorated_function_does_not_share_the_keys_of_the_bare_one() -> None:
    with CacheFence() as fence:
        assert cached(cache=fence)(plain)("ada") == "ada"
        assert cached(cache=fence)(loud)("ada") == "ADA"


async def test_p8_a_value_without_end_is_served_stale_and_on_error_once_it_is_expired(face: Face) -> None:
    await face.get_or_set("book", lambda: "old", ttl=None, stale_if_error=60, tags=["book"])
    await face.fence.aio.expire_tags("book")
    assert await face.get_or_set("book", _broken, ttl=None, stale_if_error=60, tags=["book"]) == "old"


def _broken() -> str:
    raise LookupError("broken")


async def test_a_value_that_depends_on_too_much_goes_to_its_callers_and_says_why(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> str:
        for batch in range(7):
            depends_on(*(f"row:{batch}:{number}" for number in range(10_000)))
        return "wide"

    with caplog.at_level(logging.ERROR, "cachefence_web"):
        assert await face.get_or_set("wide", load) == "wide"
    assert "the tag of a whole table" in caplog.text
    assert await face.get("wide") is None


async def test_p7_a_batch_cancelled_during_its_claims_leaves_no_lease(face: Face) -> None:
    fence = face.fence.aio
    store = fence._driver.store
    claiming, whole = asyncio.Event(), store.perform_all

    async def slow(effects: Any) -> Any:
        answers = await whole(effects)
        if not isinstance(effects[0], Read):
            claiming.set()
            await asyncio.sleep(3600)
        return answers

    fence._driver.store = _With(store, slow)
    batch = asyncio.create_task(fence.get_or_set_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1)))
    await claiming.wait()
    fence._driver.store = store
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert await fence.get_or_set("a", lambda: 2, wait=5) == 2


class _With:
    """A store whose `perform_all` is another."""

    def __init__(self, store: Any, perform_all: Any) -> None:
        self._store = store
        self.perform_all = perform_all

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_p10_a_loop_closed_over_its_flights_leaves_nobody_waiting() -> None:
    with CacheFence() as fence:
        loop = asyncio.new_event_loop()
        begun = asyncio.Event()

        async def load() -> int:
            begun.set()
            await asyncio.Event().wait()
            return 1

        async def start() -> asyncio.Task[int]:
            task = asyncio.ensure_future(fence.aio.get_or_set("k", load))
            await begun.wait()
            return task

        abandoned = loop.run_until_complete(start())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
        assert fence.get_or_set("k2", lambda: 3) == 3
        assert fence._terms.engine.flights.board(("k", False, False), 10**9)[1], "the flight is nobody's any more"
        del abandoned, tasks


@pytest.mark.parametrize(("call", "says"), [
    (lambda fence: fence.get_or_set("k", None), "loads the value,"),
    (lambda fence: fence.get_or_set_many(["k"], None), "loads the values"),
    (lambda fence: fence.get_or_set("k", lambda: 1, tags=5), "list of tags"),
    (lambda fence: fence.get_or_set("k", lambda: 1, policy={"ttl": 5}), "policy is"),
    (lambda fence: fence.get_or_set("k", lambda: 1, ttl=10**400), "under ten years"),
    (lambda fence: fence.set("k", 1, since=5), "instant"),
    (lambda fence: fence.invalidate_pattern(5), "a key is a text"),
    (lambda fence: fence.get_or_set("bad\ud800", lambda: 1), "surrogate"),
    (lambda fence: CacheFence(policies=["a"]), "dict of name"),
    (lambda fence: CacheFence("memory://?entries=5"), "memory://"),
    (lambda fence: fence.leading(fence.begin("page")).depends_on("has space"), "reserved"),
])
def test_bad_input_is_refused_with_what_is_right_before_anything_is_done(call: Any, says: str) -> None:
    with CacheFence() as fence:
        with pytest.raises(ConfigurationError, match=says):
            call(fence)
        assert fence.get_or_set("k", lambda: "fine", ttl=1) == "fine"
