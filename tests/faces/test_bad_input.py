"""What cannot work is refused before anything is computed or stored, and the message says what is right."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cachefence_web import CacheFence, ConfigurationError, Policy
from tests.faces.places import Compute, Face

DURATIONS: list[tuple[Any, str]] = [
    (0, "positive"), (-1, "positive"), (0.0001, "at least a millisecond"), (float("inf"), "finite"),
    (float("nan"), "finite"), (1e12, "under ten years"), ("60", "a number of seconds or a timedelta"),
    (True, "a number of seconds or a timedelta"), (timedelta(0), "positive"), (timedelta(seconds=-1), "positive"),
    (object, "a number of seconds or a timedelta"), ([60], "a number of seconds or a timedelta"),
]
KEYS: list[tuple[Any, str]] = [
    (None, "a key is a text"), (7, "a key is a text"), (b"book", "a key is a text"), ("", "at least one character"),
    ("x" * 1025, "at most 1024 bytes"), ("é" * 600, "at most 1024 bytes"),
]
TAGS: list[tuple[Any, str]] = [
    ("row:1", "is a list of tags"), ([7], "a tag is a text"), ([""], "not an empty one"),
    (["a b"], "reserved"), (["{a}"], "reserved"), (["a*"], "reserved"), (["a\n"], "reserved"), (["*"], "reserved"),
]
OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"tll": 60}, "ttl"), ({"early": -1}, "early is a number from 0"),
    ({"jitter": 2}, "jitter is a number from 0 to 1"),
    ({"consistency": "exact"}, "'committed', 'strict', 'eventual'"), ({"sliding": "yes"}, "True or False"),
    ({"lease": 0}, "positive"), ({"wait": None}, "wait"),
    ({"stale_for": -1}, "positive"), ({"soft_timeout": 0}, "positive"), ({"policy": "catalog"}, "no policy is named"),
]


def _named(cases: list[tuple[Any, str]]) -> dict[str, Any]:
    return {"argvalues": cases, "ids": [f"{at}-{case[0]!r:.20}" for at, case in enumerate(cases)]}


@pytest.mark.parametrize(("ttl", "says"), **_named(DURATIONS))
async def test_a_ttl_that_cannot_work_is_refused_before_the_load(face: Face, ttl: Any, says: str) -> None:
    load = Compute("value")
    for call in (
        lambda: face.get_or_set("book", load, ttl=ttl),
        lambda: face.get_or_set_many(["book"], lambda keys: {"book": load()}, ttl=ttl),
        lambda: face.set("book", "value", ttl=ttl),
        lambda: face.set_many({"book": "value"}, ttl=ttl),
        lambda: face.add("book", "value", ttl=ttl),
        lambda: face.incr("book", ttl=ttl),
        lambda: face.touch("book", ttl=ttl),
    ):
        with pytest.raises(ConfigurationError, match=says):
            await call()
    assert load.runs == 0
    assert await face.get("book") is None


@pytest.mark.parametrize(("key", "says"), **_named(KEYS))
async def test_a_key_that_cannot_work_is_refused_before_the_load(face: Face, key: Any, says: str) -> None:
    load = Compute("value")
    for call in (
        lambda: face.get_or_set(key, load), lambda: face.get_or_set_many([key], load), lambda: face.set(key, 1),
        lambda: face.get(key), lambda: face.get_many([key]), lambda: face.delete(key), lambda: face.touch(key),
        lambda: face.delete_many([key]), lambda: face.incr(key), lambda: face.add(key, 1), lambda: face.peek(key),
        lambda: face.set_many({key: 1}), lambda: face.begin(key),
    ):
        with pytest.raises(ConfigurationError, match=says):
            await call()
    assert load.runs == 0


@pytest.mark.parametrize(("tags", "says"), **_named(TAGS))
async def test_tags_that_cannot_work_are_refused_before_the_load(face: Face, tags: Any, says: str) -> None:
    load = Compute("value")
    for call in (
        lambda: face.get_or_set("book", load, tags=tags), lambda: face.set("book", 1, tags=tags),
        lambda: face.set_many({"book": 1}, tags=tags), lambda: face.add("book", 1, tags=tags),
        lambda: face.get_or_set_many(["book"], load, tags=tags), lambda: face.begin("book", tags=tags),
    ):
        with pytest.raises(ConfigurationError, match=says):
            await call()
    assert load.runs == 0
    assert await face.get("book") is None


@pytest.mark.parametrize("name", ["invalidate_tags", "expire_tags"])
async def test_invalidating_no_tag_or_a_bad_one_is_refused(face: Face, name: str) -> None:
    for tags in ((), ("a b",), (7,), ("",)):
        with pytest.raises(ConfigurationError):
            await getattr(face, name)(*tags)
    with pytest.raises(ConfigurationError, match="name at least one tag"):
        async with face.fencing():
            pytest.fail("the block must not run")


@pytest.mark.parametrize(("options", "says"), **_named(OPTIONS))
async def test_options_that_cannot_work_are_refused_before_the_load(
    face: Face, options: dict[str, Any], says: str
) -> None:
    load = Compute("value")
    with pytest.raises(ConfigurationError, match=says):
        await face.get_or_set("book", load, **options)
    assert load.runs == 0


async def test_a_value_where_its_function_belongs_is_refused(face: Face) -> None:
    with pytest.raises(ConfigurationError, match="takes the function that loads the value"):
        await face.get_or_set("book", "value")
    with pytest.raises(ConfigurationError, match="function"):
        await face.get_or_set_many(["book"], {"book": 1})
    with pytest.raises(ConfigurationError, match="is a list of keys, not one text"):
        await face.get_or_set_many("book", Compute({}))
    with pytest.raises(ConfigurationError, match="is a list of keys, not one text"):
        await face.get_many("book")
    with pytest.raises(ConfigurationError, match="is a list of keys, not one text"):
        await face.delete_many("book")


async def test_an_async_function_given_to_the_face_for_threads_says_which_one_to_use(face: Face) -> None:
    async def load() -> str:
        return "value"

    with pytest.raises(ConfigurationError, match="use AsyncCacheFence"):
        face.fence.get_or_set("book", load)


async def test_a_named_policy_is_used_and_an_option_of_the_call_goes_over_it(face: Face) -> None:
    fence = CacheFence(policies={"catalog": Policy(ttl=770)})
    fence.set("book", 1, policy="catalog")
    fence.set("other", 1, policy="catalog", ttl=500)
    assert 750 < fence.peek("book").remaining <= 770
    assert 480 < fence.peek("other").remaining <= 500
    fence.close()


@pytest.mark.parametrize(("options", "says"), **_named([
    ({"url": "localhost:6379"}, "redis://"), ({"url": "http://localhost"}, "redis://"), ({"url": ""}, "redis://"),
    ({"url": None}, "redis-py client"), ({"url": object()}, "redis-py client"), ({"namespace": ""}, "a namespace is"),
    ({"namespace": "a b"}, "a namespace is"), ({"namespace": "{a}"}, "a namespace is"),
    ({"namespace": 7}, "a namespace is"), ({"policy": {"ttl": 5}}, "write Policy"), ({"timeout": 0}, "positive"),
    ({"policies": {"a": 5}}, "write Policy"), ({"on_outage": "ignore"}, "'journal', 'outbox', 'refuse'"),
    ({"fence_life": -1}, "positive"), ({"serializer": "yaml"}, "msgpack"), ({"serializer": "pickle"}, "secret"),
]))
def test_a_cache_that_cannot_work_is_refused_when_it_is_made(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CacheFence(**options)
