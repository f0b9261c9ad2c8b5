"""What projects know from django-redis is here by its names and in its meaning, in both colours."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.core.cache import cache
from redis.exceptions import LockError

from cachefence_web import ConfigurationError, StoreUnavailable
from cachefence_web.django import fence

NOWHERE = "redis://127.0.0.1:1"


class Colour:
    """The cache by its synchronous names, called in one colour or the other."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if self.name == "sync":
            return getattr(cache, method)
        return async_to_sync(getattr(cache, f"a{method}"))


@pytest.fixture(params=["sync", "async"])
def api(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


@pytest.fixture
def on_store(configure: Any, location: str) -> None:
    configure(location)


@pytest.fixture
def on_redis(configure: Any, redis_url: str) -> None:
    configure(redis_url)


@pytest.mark.parametrize("timeout", [60, 1000])
def test_a_hit_renews_the_timeout_that_the_value_was_given(
    configure: Any, location: str, api: Colour, timeout: int
) -> None:
    configure(location, top={"TIMEOUT": 300}, sliding=True)
    began = time.monotonic()
    api.set("otp", 1234, timeout)
    assert (api.get("otp"), api.get_or_set("otp", 1, timeout), api.has_key("otp")) == (1234, 1234, True)
    # Who renews a life knows the store's clock to a round trip, which is a part of what has passed.
    assert 0 < api.ttl("otp") <= round(timeout + time.monotonic() - began)
    assert api.persist("otp")
    assert (api.get("otp"), api.ttl("otp")) == (1234, None)
    assert api.set("endless", 1, None)
    assert (api.get("endless"), api.ttl("endless")) == (1, None)
    assert api.touch("endless", 70)
    assert 0 < api.ttl("endless") <= round(70 + time.monotonic() - began)


@pytest.mark.parametrize("begin_anew", [
    pytest.param(lambda api: api.touch("key", 30), id="touch"),
    pytest.param(lambda api: api.persist("key") and api.expire("key", 30), id="persist and expire"),
    pytest.param(lambda api: api.incr_version("key") and api.decr_version("key", version=2), id="incr_version"),
])
def test_a_value_that_is_given_another_life_may_be_stale_as_long_as_before(
    configure: Any, redis_url: str, namespace: str, api: Colour, begin_anew: Callable[[Colour], Any]
) -> None:
    configure(redis_url, jitter=0.5, negative_ttl=15)
    api.set("key", None, 30, stale_for=300)
    assert begin_anew(api)
    with redis.Redis.from_url(redis_url) as client:
        assert client.pttl(f"{namespace}:e:{{:1:key}}") > 300_000 - 10_000


@pytest.mark.usefixtures("on_store")
class TestLives:
    @pytest.mark.parametrize("timeout", [100, 50.4])
    def test_ttl_tells_the_time_left(self, api: Colour, timeout: float) -> None:
        began = time.monotonic()
        api.set("key", 1, timeout)
        seconds, milliseconds = api.ttl("key"), api.pttl("key")
        # A reader knows the store's clock to a round trip, which is a part of what has passed.
        least = max(0.0, timeout - 2 * (time.monotonic() - began))
        assert round(least) <= seconds <= round(timeout)
        assert int(least * 1000) - 1 <= milliseconds <= timeout * 1000

    @pytest.mark.parametrize(("timeout", "left"), [(None, None), (0, 0), (-1, 0)])
    def test_ttl_tells_of_no_end_and_of_no_value(self, api: Colour, timeout: float | None, left: int | None) -> None:
        api.set("key", 1, timeout)
        assert (api.ttl("key"), api.pttl("key")) == (left, left)
        assert (api.ttl("none"), api.pttl("none")) == (0, 0)

    @pytest.mark.parametrize(("method", "life"), [
        ("expire", 20), ("expire", timedelta(seconds=20)), ("pexpire", 20_000), ("pexpire", timedelta(seconds=20)),
        ("expire_at", datetime.now(UTC) + timedelta(days=400)), ("pexpire_at", (time.time() + 400 * 86_400) * 1000),
    ], ids=["expire", "expire-delta", "pexpire", "pexpire-delta", "expire_at", "pexpire_at"])
    def test_a_life_is_begun_again(self, api: Colour, method: str, life: Any) -> None:
        api.set("key", 1, None)
        assert getattr(api, method)("key", life) is True
        assert api.get("key") == 1
        assert 10 <= api.ttl("key") <= 20 or api.ttl("key") > 399 * 86_400
        assert getattr(api, method)("none", life) is False

    def test_a_life_whose_end_is_past_ends_now(self, api: Colour) -> None:
        api.set("key", 1, None)
        assert api.expire_at("key", int(time.time()) - 5) is True
        assert api.get("key") is None

    def test_persist_takes_the_end_away_once(self, api: Colour) -> None:
        api.set("key", 1, 20)
        assert [api.persist("key"), api.persist("key"), api.persist("none")] == [True, False, False]
        assert api.ttl("key") is None

    def test_a_version_moves_with_its_life_and_its_tags(self, api: Colour) -> None:
        api.set("key", 1, 20, tags=["book"])
        assert api.incr_version("key") == 2
        assert 10 <= api.ttl("key", version=2) <= 20
        api.invalidate_tags("book")
        assert api.get("key", version=2) is None


@pytest.mark.usefixtures("on_store")
class TestKeys:
    def listed(self, api: Colour, search: str) -> list[str]:
        if api.name == "sync":
            assert sorted(cache.iter_keys(search, itersize=2)) == sorted(cache.keys(search))
        return sorted(api.keys(search))

    def test_keys_are_found_by_a_glob_as_the_caller_named_them(self, api: Colour) -> None:
        api.set_many({"foo-a": 1, "foo-b": 2, "bar{}": 3})
        api.set("foo-c", 4, version=2)
        assert self.listed(api, "foo-*") == ["foo-a", "foo-b"]
        assert self.listed(api, "foo-[b]") == ["foo-b"]
        assert self.listed(api, "*") == ["bar{}", "foo-a", "foo-b"]
        assert api.keys("*", version=2) == ["foo-c"]

    def test_what_was_cleared_is_not_found(self, api: Colour) -> None:
        api.set("foo", 1)
        api.clear()
        assert self.listed(api, "*") == []
        assert api.delete_pattern("*") == 0

    def test_keys_are_deleted_by_a_glob_and_counted(self, api: Colour) -> None:
        api.set_many({"foo-a": 1, "foo-b": 2, "bar": 3})
        assert api.delete_pattern("foo-*", itersize=10) == 2
        assert api.delete_pattern("foo-*") == 0
        assert api.get_many(["foo-a", "foo-b", "bar"]) == {"bar": 3}

    def test_a_prefix_is_no_glob(self, configure: Any, location: str, api: Colour) -> None:
        configure(location, top={"KEY_PREFIX": "*"})
        api.set("a", 1)
        fence().set("other:1:a", 2)
        assert api.keys("*") == ["a"]
        assert api.delete_pattern("*") == 1
        assert fence().get("other:1:a") == 2

    def test_p11_a_glob_over_everything_spares_cached_views(self, configure: Any, location: str, api: Colour) -> None:
        configure(location, top={"KEY_FUNCTION": lambda key, prefix, version: key})
        fence().set("response:GET", "a page")
        api.set("response:GET", "a value")
        api.set("=key", "another")
        assert sorted(api.keys("*")) == ["=key", "response:GET"]
        assert api.delete_pattern("*") == 2
        assert fence().get("response:GET") == "a page"

    def test_a_key_function_is_undone_by_the_one_that_is_named(
        self, configure: Any, location: str, api: Colour
    ) -> None:
        made = {"KEY_FUNCTION": lambda key, prefix, version: f"{key}@{version}"}
        configure(location, top=made)
        api.set("key", 1)
        with pytest.raises(ConfigurationError, match="REVERSE_KEY_FUNCTION"):
            api.keys("*")
        configure(location, top={**made, "REVERSE_KEY_FUNCTION": lambda name: name.partition("@")[0]})
        api.set("key", 1)
        assert api.keys("k*") == ["key"]


@pytest.mark.usefixtures("on_store")
class TestWriting:
    def test_set_with_nx_stores_where_nothing_is(self, api: Colour) -> None:
        assert api.set("key", 1, nx=True) is True
        assert api.set("key", 2, 0, nx=True) is False
        assert api.set("key", 2, nx=True) is False
        assert api.get("key") == 1

    def test_set_with_xx_stores_where_something_is(self, api: Colour) -> None:
        assert api.set("key", 1, xx=True) is False
        assert api.get("key") is None
        api.set("key", 1, tags=["book"])
        assert api.set("key", 2, xx=True) is True
        assert api.get("key") == 2
        assert api.set("key", 3, 0, xx=True) is True
        assert api.set("key", 4, xx=True) is False
        api.set("key", 5)
        api.clear()
        assert api.set("key", 6, xx=True) is False

    def test_nx_and_xx_exclude_one_another(self, api: Colour) -> None:
        with pytest.raises(ConfigurationError, match="one of the two"):
            api.set("key", 1, nx=True, xx=True)
        assert not api.has_key("key")

    def test_delete_tells_of_values_that_would_have_been_found(self, api: Colour) -> None:
        assert api.delete("key") is False
        api.set_many(dict.fromkeys("abcde", 1), tags=["book"])
        assert (api.delete("a"), api.delete("a")) == (True, False)
        api.invalidate_tags("book")
        assert (api.delete("b"), api.delete_many("cd")) == (False, None)
        api.set_many(dict.fromkeys("abc", 1))
        assert api.delete_many([*"abcde", "a"]) == 3
        api.set("e", 1)
        api.clear()
        assert (api.delete("e"), api.delete_pattern("*")) == (False, 0)

    def test_a_number_outgrows_what_the_server_adds_to_and_comes_back(self, api: Colour) -> None:
        api.set("key", 2**63 - 1, 300, tags=["book"])
        assert api.incr("key") == 2**63
        assert api.incr("key", 2) == 2**63 + 2
        assert api.decr("key", 10) == 2**63 - 8
        assert 250 <= api.ttl("key") <= 300
        api.invalidate_tags("book")
        assert api.get("key") is None

    def test_counting_may_begin_without_a_value(self, api: Colour) -> None:
        assert api.incr("key", 5, ignore_key_check=True) == 5
        assert api.incr("key", 5, ignore_key_check=True) == 10
        assert api.incr("fraction", 0.5, ignore_key_check=True) == 0.5
        assert api.incr("fraction", 0.5, ignore_key_check=True) == 1.0

    def test_a_value_has_a_stale_life_after_its_own_where_it_is_given_one(self, api: Colour) -> None:
        api.set("key", 1, 30, stale_for=60, tags=["book"])
        fence().expire_tags("book")
        assert api.get("key") is None
        assert api.get_or_set("key", lambda: 2, 30, stale_for=60) == 1

    def test_p3_a_write_under_a_fence_leaves_nothing_stale(self, api: Colour) -> None:
        api.set("key", 1, tags=["book"])
        if api.name == "sync":
            with cache.fencing("book"):
                pass
        else:
            async def write() -> None:
                async with cache.afencing("book"):
                    pass

            asyncio.run(write())
        assert api.get("key") is None


@pytest.mark.usefixtures("on_redis")
class TestRedisItself:
    def test_a_lock_is_held_by_one_and_has_no_value(self) -> None:
        with cache.lock("key", timeout=10):
            assert not cache.lock("key").acquire(blocking=False)
            assert cache.get("key") is None
            cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.lock("key", timeout=1).acquire(blocking=False)

    def test_the_client_is_redis_pys(self) -> None:
        assert cache.get_client().ping()
        assert cache.client.get_client(write=False) is cache.get_client()

    def test_sets_hashes_and_sorted_sets_end_with_clear_and_delete(self, api: Colour) -> None:
        cache.set("set", "a value first")
        cache.clear()
        assert (cache.sadd("set", 1, ("a", 2)), cache.smembers("set")) == (2, {1, ("a", 2)})
        assert (cache.hset("hash", mapping={"a": [1]}), cache.hkeys("hash")) == (1, ["a"])
        assert (cache.zadd("sorted", {"a": 2, "b": 1}), cache.zrange("sorted", 0, -1)) == (2, ["b", "a"])
        assert sorted(cache.keys("*")) == ["hash", "set", "sorted"]
        assert (api.delete("hash"), api.delete("hash")) == (True, False)
        assert cache.hlen("hash") == 0
        cache.sadd("other", 1)
        assert api.delete_many(["other", "nothing"]) == 1
        assert cache.scard("other") == 0
        api.clear()
        assert (cache.scard("set"), cache.zcard("sorted"), cache.keys("*")) == (0, 0, [])

    def test_nothing_but_a_set_or_a_delete_takes_the_place_of_a_structure(self, api: Colour) -> None:
        cache.sadd("set", 1, 2)
        assert (api.add("set", "value"), api.set("set", "value", nx=True), api.set("set", "value", xx=True)) == (
            False, False, False)
        assert (api.get_or_set("set", "computed"), api.get("set")) == ("computed", None)
        for delta in (1, 0.5):
            with pytest.raises(TypeError, match="no value of the cache"):
                api.incr("set", delta, ignore_key_check=True)
            with pytest.raises(ValueError, match="not found"):
                api.incr("set", delta)
        assert cache.smembers("set") == {1, 2}
        assert api.set("set", "value")
        assert api.get("set") == "value"

    def test_a_structure_has_a_life_like_a_value(self) -> None:
        cache.sadd("set", 1)
        assert cache.ttl("set") is None
        began = time.monotonic()
        assert cache.expire("set", 20)
        left = cache.ttl("set")
        assert round(20 - (time.monotonic() - began)) <= left <= 20
        assert cache.persist("set")
        assert cache.expire("set", 0)
        assert cache.scard("set") == 0


@pytest.mark.parametrize(("method", "arguments"), [("lock", ["key"]), ("sadd", ["key", 1]), ("get_client", [])],
                         ids=["lock", "sadd", "get_client"])
def test_within_the_process_there_is_no_redis_to_ask(configure: Any, method: str, arguments: list[Any]) -> None:
    configure("memory://")
    with pytest.raises(ConfigurationError, match="LOCATION"):
        getattr(cache, method)(*arguments)


ANSWERS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("set", ("key", 1), False), ("add", ("key", 1), False), ("delete", ("key",), False), ("touch", ("key",), False),
    ("set_many", ({"key": 1},), []), ("delete_many", (["key"],), None), ("clear", (), None), ("ttl", ("key",), 0),
    ("pttl", ("key",), 0), ("expire", ("key", 5), False), ("pexpire", ("key", 5), False), ("persist", ("key",), False),
    ("expire_at", ("key", 5), False), ("keys", ("*",), []), ("delete_pattern", ("*",), 0),
    ("invalidate_tags", ("book",), None), ("get", ("key",), None), ("get_many", (["key"],), {}),
    ("has_key", ("key",), False), ("get_or_set", ("key", 5), 5),
]


@pytest.mark.parametrize(("method", "arguments", "answer"), ANSWERS, ids=[method for method, *_ in ANSWERS])
def test_p6_what_is_to_be_ignored_is_ignored_by_every_method(
    configure: Any, api: Colour, method: str, arguments: tuple[Any, ...], answer: Any
) -> None:
    configure(NOWHERE, IGNORE_EXCEPTIONS=True, patient=False, SOCKET_TIMEOUT=0.2)
    assert getattr(api, method)(*arguments) == answer


def test_p6_during_an_outage_nothing_is_counted_locked_or_collected(configure: Any) -> None:
    configure(NOWHERE, IGNORE_EXCEPTIONS=True, patient=False, SOCKET_TIMEOUT=0.2)
    for counting in (cache.incr, cache.decr, cache.incr_version):
        with pytest.raises(ValueError, match="not found"):
            counting("key")
    assert not cache.lock("key").acquire(blocking=False)
    with pytest.raises(LockError), cache.lock("key", blocking_timeout=0.1):
        pass
    assert list(cache.iter_keys("*")) == []
    assert (cache.sadd("key", 1), cache.smembers("key"), cache.hset("key", "a", 1), cache.zrange("key", 0, -1)) == (
        0, set(), 0, [])
    configure(NOWHERE, patient=False, SOCKET_TIMEOUT=0.2)
    assert cache.keys("*") == []
    with pytest.raises(StoreUnavailable):
        cache.sadd("key", 1)


ZLIB = "django_redis.compressors.zlib.ZlibCompressor"


@pytest.mark.parametrize("options", [{}, {"COMPRESSOR": ZLIB}], ids=["plain", "compressed"])
def test_a_member_is_one_member_under_a_new_secret(
    configure: Any, settings: Any, redis_url: str, options: dict[str, Any]
) -> None:
    long = "member" * 500
    configure(redis_url, **options)
    cache.sadd("one", "a", "b", "c", long)
    cache.sadd("other", "a", "moved")
    cache.zadd("ranks", {"a": 1, "b": 2, "c": 3})
    cache.expire("one", 100)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another secret of some length", [settings.SECRET_KEY]
    cache.sadd("new", "a", "b", long)
    assert cache.sismember("one", "a")
    assert cache.smismember("one", "b", "none", long) == [True, False, True]
    assert (cache.sadd("one", "a", "d"), cache.scard("one")) == (1, 5)
    assert cache.sinter("one", "new") == {"a", "b", long}
    assert cache.sdiff("new", "other") == {"b", long}
    assert cache.sunionstore("union", "one", "other", "new") == 6
    assert cache.smove("other", "one", "moved")
    assert (cache.srem("one", "c", "moved"), cache.smembers("one")) == (2, {"a", "b", "d", long})
    assert 90 < cache.ttl("one") <= 100
    assert (cache.zscore("ranks", "a"), cache.zrank("ranks", "b"), cache.zincrby("ranks", 5, "a")) == (1, 1, 6)
    assert (cache.zadd("ranks", {"a": 7, "z": 9}), cache.zrem("ranks", "c")) == (1, 1)
    assert cache.zrange("ranks", 0, -1) == ["b", "a", "z"]


def test_a_member_that_cannot_be_read_is_left_out_and_told(
    configure: Any, settings: Any, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    configure(redis_url)
    cache.sadd("set", "lost", "lost too")
    cache.zadd("ranks", {"lost": 1})
    settings.SECRET_KEY = "another secret of some length"
    with caplog.at_level(logging.WARNING, "cachefence_web"):
        assert (cache.smembers("set"), cache.sscan("set"), cache.srandmember("set")) == (set(), set(), None)
        assert cache.zrange("ranks", 0, -1) == cache.zrange("ranks", 0, -1, withscores=True) == []
        cache.sadd("set", "there")
        cache.zadd("ranks", {"there": 2})
        assert (cache.smembers("set"), cache.srandmember("set"), cache.srandmember("set", 9)) == (
            {"there"}, "there", ["there"])
        assert cache.zrange("ranks", 0, -1) == ["there"]
        assert (cache.spop("set"), cache.spop("set")) == ("there", None)
    assert "a member of a set cannot be read" in caplog.text


def test_p6_a_lock_whose_state_nobody_knows_is_held_by_nobody(configure: Any) -> None:
    configure(NOWHERE, on_outage="log", patient=False, SOCKET_TIMEOUT=0.2)
    lock = cache.lock("key", timeout=1)
    lock.local.token = b"as if acquired before"
    assert (lock.locked(), lock.owned(), lock.extend(5), lock.reacquire()) == (False, False, False, False)
