"""The backend keeps Django's cache API, in both colours, and shares one cache among all that Django makes of it."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync
from django.core.cache import cache, caches, close_caches
from django.core.cache.backends.base import BaseCache

from cachefence_web import CacheFence, ConfigurationError, SerializationError, StoreUnavailable
from cachefence_web.core.policy import LONGEST
from cachefence_web.django import RedisCache, fence
from tests.django.library.models import Book

pytestmark = pytest.mark.usefixtures("on_store")


class Colour:
    """The cache API by its synchronous names, called in one colour or the other."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if self.name == "sync":
            return getattr(cache, method)
        return async_to_sync(getattr(cache, f"a{method}"))


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


class Point:
    """A value that only pickle takes."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None


@pytest.mark.parametrize("value", [None, True, 7, 2**70, -1.5, "é", b"\xff", (1, [2]), {1: {"a"}}, Point(3)])
def test_a_value_comes_back_as_it_is(api: Colour, value: Any) -> None:
    api.set("key", value)
    assert api.get("key", "default") == value
    assert type(api.get("key")) is type(value)
    assert api.has_key("key")
    assert api.get_many(["key", "none"]) == {"key": value}


async def made() -> str:
    return "made"


class Maker:
    """An object that is called asynchronously."""

    async def __call__(self) -> str:
        return "made"


def plainly() -> Any:
    return made()


@pytest.mark.parametrize("load", [made, partial(made), plainly, Maker(), lambda: "made"], ids=[
    "coroutine-function", "partial", "function-of-a-coroutine", "object", "plain"])
@pytest.mark.parametrize("timeout", [60, 0], ids=["stored", "unstored"])
def test_whatever_makes_the_value_is_called_and_awaited(api: Colour, load: Any, timeout: int) -> None:
    assert api.get_or_set("key", load, timeout) == "made"
    assert api.get("key") == ("made" if timeout else None)


async def test_an_event_loop_s_own_thread_is_told_to_await() -> None:
    with pytest.raises(RuntimeError, match="async"):
        cache.get_or_set("key", plainly)


def test_what_is_missing_is_the_default(api: Colour) -> None:
    assert api.get("key") is None
    assert api.get("key", 5) == 5
    assert not api.has_key("key")
    assert not api.delete("key")
    assert not api.touch("key")


def test_add_stores_only_where_nothing_is(api: Colour) -> None:
    assert api.add("key", None)
    assert not api.add("key", 2)
    assert api.get("key", 3) is None


def test_many_are_set_and_deleted_together(api: Colour) -> None:
    assert api.set_many({"a": 1, "b": [2]}, timeout=10) == []
    assert api.set_many({}) == []
    assert api.get_many(["a", "b", "c"]) == {"a": 1, "b": [2]}
    api.delete_many(["a", "c"])
    assert api.get_many(["a", "b"]) == {"b": [2]}
    api.set_many({"b": 3}, timeout=0)
    assert not api.has_key("b")


def test_versions_stand_side_by_side(api: Colour) -> None:
    api.set("key", "one")
    api.set("key", "two", version=2)
    assert (api.get("key"), api.get("key", version=2)) == ("one", "two")
    assert api.incr_version("key", version=2) == 3
    assert api.get("key", version=2) is None
    assert api.get("key", version=3) == "two"
    assert api.decr_version("key", version=3) == 2
    with pytest.raises(ValueError, match="none"):
        api.incr_version("none")


@pytest.mark.parametrize(("timeout", "life"), [(60.5, 60.5), (61, 61), (61.25, 61.25), (10**12, LONGEST)])
def test_a_timeout_counts_with_its_fraction(api: Colour, timeout: float, life: float) -> None:
    began = monotonic()
    for store in (api.set, api.add, api.get_or_set):
        store("key", "value", timeout=timeout)
        assert is_left_of(life, "key", began)
        api.delete("key")


def test_a_timeout_of_none_has_no_end_and_the_default_is_the_settings(settings: Any, entry: Any, api: Colour) -> None:
    settings.CACHES = {"default": {**entry, "TIMEOUT": 60.75}}
    began = monotonic()
    api.set("key", 1)
    assert is_left_of(60.75, "key", began)
    assert api.touch("key", timeout=None)
    assert remaining("key") is None
    assert api.touch("key")
    assert is_left_of(60.75, "key", began)
    settings.CACHES = {"default": {**entry, "TIMEOUT": None}}
    api.set("key", 1)
    assert remaining("key") is None
    settings.CACHES = {"default": {**entry, "TIMEOUT": 0}}
    api.set("key", 1)
    assert not api.has_key("key")


@pytest.mark.parametrize("timeout", [0, -1, 0.0001])
def test_a_timeout_of_nothing_keeps_nothing(api: Colour, timeout: float) -> None:
    api.set("key", 1)
    api.set("key", 2, timeout=timeout)
    assert not api.has_key("key")
    assert api.add("key", 2, timeout=timeout)
    assert api.get_or_set("key", lambda: 3, timeout=timeout) == 3
    assert not api.has_key("key")
    api.set("key", 1)
    assert not api.add("key", 2, timeout=timeout)
    assert api.get_or_set("key", lambda: 3, timeout=timeout) == 1
    assert api.touch("key", timeout=timeout)
    assert not api.has_key("key")


@pytest.mark.parametrize("timeout", ["soon", float("nan"), [1]])
def test_a_timeout_that_is_no_number_is_refused_before_anything_is_done(api: Colour, timeout: Any) -> None:
    computed: list[int] = []
    with pytest.raises(ConfigurationError, match="number of seconds"):
        api.get_or_set("key", lambda: computed.append(1), timeout=timeout)
    with pytest.raises(ConfigurationError, match="number of seconds"):
        api.set("key", 1, timeout=timeout)
    assert not computed
    assert not api.has_key("key")


def test_integers_are_counted_atomically_and_keep_their_life(api: Colour) -> None:
    api.set("count", 0, timeout=300)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: api.incr("count"), range(200)))
    assert api.get("count") == 200
    assert api.decr("count", 50) == 150
    assert 0 < remaining("count") <= 300


def test_counting_refuses_what_is_no_number(api: Colour) -> None:
    with pytest.raises(ValueError, match="'none' not found"):
        api.incr("none")
    with pytest.raises(ValueError, match="'none' not found"):
        api.incr("none", 0.5)
    assert not api.has_key("none")
    api.set("text", "1")
    with pytest.raises(TypeError, match="numbers only, not to '1'"):
        api.incr("text")
    api.set("count", 1)
    with pytest.raises(TypeError, match=r"add numbers, not '0\.5'"):
        api.incr("count", "0.5")
    assert api.get("count") == 1


@pytest.mark.parametrize(("value", "delta", "total"), [
    pytest.param(1, 0.5, 1.5, id="an integer and a fraction"),
    pytest.param(1.5, 1, 2.5, id="a fraction and an integer"),
    pytest.param(2**70, 1, 2**70 + 1, id="a long integer"),
    pytest.param(1, 2**70, 2**70 + 1, id="a long delta"),
    pytest.param(Decimal("0.1"), Decimal("0.2"), Decimal("0.3"), id="decimals"),
    pytest.param(True, 1, 2, id="a truth, as Python has it"),
])
def test_numbers_of_all_kinds_are_added_to_as_django_adds(api: Colour, value: Any, delta: Any, total: Any) -> None:
    api.set("number", value, timeout=300, tags=["book"])
    assert api.incr("number", delta) == total
    assert api.get("number") == total
    assert api.decr("number", delta) == value
    assert 0 < remaining("number") <= 300
    api.invalidate_tags("book")
    assert api.get("number") is None


@pytest.mark.parametrize(("begin", "delta"), [(0.5, 1), (2**70, 1), (2**63 - 20, 1), (0, 0.5)], ids=str)
def test_no_sum_is_lost_whatever_the_number_is(api: Colour, begin: Any, delta: Any) -> None:
    api.set("number", begin)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: api.incr("number", delta), range(40)))
    assert api.get("number") == begin + 40 * delta


def test_p1_get_or_set_computes_once_for_both_colours_together() -> None:
    computes: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    def load() -> str:
        computes.append(1)
        inside.set()
        go_on.wait(20)
        return "value"

    async def async_callers() -> list[str]:
        return await asyncio.gather(*[cache.aget_or_set("key", load, 60) for _ in range(20)])

    with ThreadPoolExecutor(22) as pool:
        first = pool.submit(cache.get_or_set, "key", load, 60)
        assert inside.wait(20)
        others = [pool.submit(cache.get_or_set, "key", load, 60) for _ in range(20)]
        together = pool.submit(asyncio.run, async_callers())
        go_on.set()
        values = [first.result(20), *[other.result(20) for other in others], *together.result(20)]
    assert set(values) == {"value"}
    assert computes == [1]


async def make() -> str:
    return "made"


@pytest.mark.parametrize("default", ["made", make, lambda: "made"], ids=["value", "async", "sync"])
def test_get_or_set_takes_a_value_or_a_function_of_either_colour(api: Colour, default: Any) -> None:
    for _ in range(2):
        assert api.get_or_set("key", default) == "made"
    assert api.get("key") == "made"


def test_none_is_a_value_of_get_or_set(api: Colour) -> None:
    computed: list[int] = []
    for _ in range(3):
        assert api.get_or_set("key", lambda: computed.append(1)) is None
    assert computed == [1]


def test_get_or_set_takes_tags_and_any_option_but_ttl(api: Colour) -> None:
    assert api.get_or_set("key", lambda: 1, 60, tags=["book:1"], stale_for=30) == 1
    api.invalidate_tags("book:1")
    assert api.get_or_set("key", lambda: 2, 60, tags=["book:1"]) == 2
    with pytest.raises(ConfigurationError, match="timeout"):
        api.get_or_set("key", lambda: 3, ttl=5)


def test_p2_tags_given_to_set_are_invalidated(api: Colour) -> None:
    api.set("a", 1, tags=["book"])
    api.set_many({"b": 2, "c": 3}, tags=["book"])
    api.add("d", 4, tags=["other"])
    api.invalidate_tags("book")
    assert api.get_many(["a", "b", "c", "d"]) == {"d": 4}


def test_p2_a_value_computed_before_a_delete_is_not_stored(api: Colour) -> None:
    def load() -> int:
        cache.delete("key")
        return 1

    assert api.get_or_set("key", load) == 1
    assert not api.has_key("key")


def test_a_value_that_cannot_be_pickled_is_an_error_that_django_knows(api: Colour) -> None:
    for store in (api.set, api.add, lambda key, value: api.set_many({key: value})):
        with pytest.raises(pickle.PickleError) as refused:
            store("key", threading.Lock())
        assert isinstance(refused.value, SerializationError)
    assert not api.has_key("key")


@pytest.mark.django_db(transaction=True)
async def test_a_query_that_has_not_run_yet_runs_where_it_may(location: str) -> None:
    await Book.objects.acreate(title="Emma")
    lazy = Book.objects.order_by("pk")
    await cache.aset("set", lazy.all())
    await cache.aadd("add", lazy.all())
    await cache.aset_many({"many": [lazy.all()]})
    for default in (lazy.all(), lazy.all):
        await cache.adelete("key")
        await cache.aget_or_set("key", default)
        assert await cache.ahas_key("key")
    kept = await cache.aget_many(["set", "add", "many", "key"])
    assert [book.title for book in (*kept["set"], *kept["add"], *kept["many"][0], *kept["key"])] == ["Emma"] * 4


def test_keys_of_any_length_are_told_apart(api: Colour) -> None:
    names = {f"{'k' * 2000}{end}": end for end in "ab"}
    with pytest.warns(match="longer than 250"):
        api.set_many(names)
    with pytest.warns(match="longer than 250"):
        assert api.get_many([*names, "k" * 2000]) == names


def test_p11_no_key_of_the_api_is_the_key_of_a_cached_view(settings: Any, entry: Any, api: Colour) -> None:
    settings.CACHES = {"default": {**entry, "KEY_FUNCTION": lambda key, prefix, version: key}}
    for key in ("response:GET:http://shop.example/", "=response:GET:http://shop.example/"):
        api.set(key, key)
    assert fence().get("response:GET:http://shop.example/") is None
    assert api.get("response:GET:http://shop.example/") == "response:GET:http://shop.example/"
    assert api.get("=response:GET:http://shop.example/") == "=response:GET:http://shop.example/"


def test_every_method_has_both_halves_here() -> None:
    derived = {"decr", "adecr", "incr_version", "aincr_version", "decr_version", "adecr_version"}
    plain = {"get_backend_timeout", "make_key", "validate_key", "make_and_validate_key"}
    expected = {name for name in vars(BaseCache) if not name.startswith("_")} - derived - plain
    assert expected <= set(vars(RedisCache))


async def test_no_asynchronous_method_hops_through_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def hop(*_: Any, **__: Any) -> Any:
        raise AssertionError("through a thread")

    monkeypatch.setattr(SyncToAsync, "__call__", hop)
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", hop)
    await cache.aset("key", 1)
    await cache.aadd("key", 2)
    assert await cache.aget("key") == 1
    assert await cache.aget_or_set("other", make) == "made"
    assert await cache.aget_many(["key", "other"]) == {"key": 1, "other": "made"}
    assert await cache.aincr("key") == 2
    assert await cache.adecr("key") == 1
    assert await cache.aincr_version("key") == 2
    assert await cache.adecr_version("key", version=2) == 1
    assert await cache.ahas_key("key")
    assert await cache.atouch("key")
    await cache.aset_many({"key": 3})
    assert await cache.aexpire("key", 60)
    assert await cache.apersist("key")
    assert await cache.attl("key") is None
    assert "key" in await cache.akeys("k*")
    await cache.ainvalidate_tags("book")
    assert await cache.adelete_pattern("o*") == 1
    await cache.adelete_many(["other"])
    assert await cache.adelete("key")
    await cache.aclear()
    await caches["default"].aclose()


def test_p10_threads_and_loops_share_one_cache_and_the_end_of_a_request_ends_nothing() -> None:
    mine = caches["default"]
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(lambda: caches["default"]).result()
    assert theirs is not mine
    assert theirs.fence is mine.fence is fence()
    cache.set("key", 1)
    close_caches()
    assert cache.get("key") == 1
    assert fence() is mine.fence


@pytest.mark.parametrize("on_outage", ["raise", "log", "journal"])
def test_p6_while_redis_is_away_values_are_computed(settings: Any, api: Colour, on_outage: str) -> None:
    settings.CACHES = {"default": {
        "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "redis://127.0.0.1:1",
        "OPTIONS": {"timeout": 0.2, "on_outage": on_outage}}}
    assert api.get("key", 5) == 5
    assert api.get_many(["key"]) == {}
    assert not api.has_key("key")
    assert api.get_or_set("key", lambda: 6) == 6
    writes: list[Callable[[], Any]] = [
        lambda: api.set("key", 1), lambda: api.add("key", 1), lambda: api.delete("key"), lambda: api.touch("key"),
        lambda: api.set_many({"key": 1}), lambda: api.delete_many(["key"]), api.clear,
    ]
    for write in writes:
        if on_outage == "raise":
            with pytest.raises(StoreUnavailable):
                write()
        else:
            write()
    fence().close()


def remaining(key: str) -> Any:
    found = fence().peek(cache.make_key(key))
    assert found is not None
    return found.remaining


def is_left_of(life: float, key: str, began: float) -> bool:
    """Whether that many seconds less what has passed are left, when nothing was asked of the cache before `began`.

    Readers and writers know the store's clock to a round trip, which is a part of what has passed.
    """
    left = remaining(key)
    passed = monotonic() - began
    return bool(life - 2 * passed - 0.01 <= left <= life + passed + 0.01)


def test_fence_is_the_cache_behind_an_alias(settings: Any, entry: Any) -> None:
    assert isinstance(fence(), CacheFence)
    settings.CACHES = {"default": entry, "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    with pytest.raises(ConfigurationError, match=r'CACHES\["local"\] is a LocMemCache'):
        fence("local")


@pytest.mark.parametrize(("pattern", "expected"), [
    ("*", ["=response:x", "plain", "response:x"]), ("response:*", ["response:x"]), ("res*", ["response:x"]),
    ("=*", ["=response:x"]), ("pl*", ["plain"]), ("[r]*", ["response:x"]), ("?response:x", ["=response:x"]),
])
def test_keys_named_as_cached_views_are_found_by_their_names(
    settings: Any, entry: dict[str, Any], api: Colour, pattern: str, expected: list[str]
) -> None:
    bare = {"KEY_FUNCTION": lambda key, prefix, version: key, "REVERSE_KEY_FUNCTION": lambda name: name}
    settings.CACHES = {"default": {**entry, **bare}}
    for key in ("response:x", "=response:x", "plain"):
        api.set(key, key)
    fence().set("response:of a view", 1)
    assert sorted(api.keys(pattern)) == expected
    assert api.delete_pattern(pattern) == len(expected)
    assert api.get_many(["response:x", "=response:x", "plain"]).keys().isdisjoint(expected)
    assert fence().get("response:of a view") == 1


@pytest.mark.filterwarnings("ignore:.*longer than 250")
def test_no_key_can_be_made_that_is_another_long_one(api: Colour) -> None:
    long = "x" * 2000
    api.set(long, "mine")
    [stored] = [name for names in fence().scan("*") for name in names]
    crafted = stored.removeprefix(":1:")
    assert api.get(crafted) is None
    api.set(crafted, "theirs")
    assert (api.get(long), api.get(crafted)) == ("mine", "theirs")
