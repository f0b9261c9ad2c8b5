"""The register of sets and hashes: it grows no more than they do, and lost or not, `clear()` finds them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.core.cache import cache

from cachefence_web.django.register import Register
from cachefence_web.stores.redis.names import Names
from tests.servers import RedisCluster
from tests.stores.build import PATIENT


@pytest.fixture
def client(redis_url: str, configure: Any) -> redis.Redis:
    """A client of the server that CACHES["default"] is on."""
    configure(redis_url)
    found: redis.Redis = cache.get_client()
    return found


@pytest.fixture(params=["sync", "async"])
def clear(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Clear in either colour."""
    return cache.clear if request.param == "sync" else lambda: asyncio.run(cache.aclear())


def register(namespace: str) -> str:
    return f"{{{namespace}}}:structures"


def forgotten(namespace: str, client: redis.Redis) -> None:
    client.delete(register(namespace))


def evicted_and_begun_anew(namespace: str, client: redis.Redis) -> None:
    client.delete(register(namespace))
    cache.sadd("another", 1)


def of_another_type(namespace: str, client: redis.Redis) -> None:
    client.delete(register(namespace))
    client.set(register(namespace), "x")


def doubted(namespace: str, client: redis.Redis) -> None:
    """One who looked after it died in the midst of it."""
    client.smove(register(namespace), f"{{{namespace}}}:doubted", Names(namespace).entry(":1:set"))


@pytest.mark.parametrize("first", [False, True], ids=["at first", "once it knew all of them"])
@pytest.mark.parametrize("lost", [forgotten, evicted_and_begun_anew, of_another_type, doubted],
                         ids=["evicted", "begun anew", "of another type", "doubted"])
def test_p5_clear_forgets_sets_and_hashes_whose_register_was_lost(
    client: redis.Redis, namespace: str, clear: Callable[[], None], lost: Callable[[str, redis.Redis], None],
    first: bool,
) -> None:
    if first:
        cache.sadd("before", 1)
        cache.clear()
    cache.sadd("set", 1)
    cache.hset("hash", "field", 1)
    cache.zadd("sorted", {"a": 1})
    lost(namespace, client)
    clear()
    assert (cache.scard("set"), cache.hlen("hash"), cache.zcard("sorted"), cache.keys("*")) == (0, 0, 0, [])
    assert client.smembers(register(namespace)) <= {b""}


def test_a_register_of_another_type_does_not_disturb_a_write(client: redis.Redis, namespace: str) -> None:
    client.set(register(namespace), "x")
    assert cache.sadd("set", 1, 2) == 2
    assert cache.smembers("set") == {1, 2}
    assert client.smembers(register(namespace)) == {Names(namespace).entry(":1:set").encode()}


def test_the_register_grows_no_more_than_what_it_names(client: redis.Redis, namespace: str) -> None:
    for number in range(5):
        cache.sadd(f"live:{number}", 1)
    for number in range(300):
        cache.sadd(f"passing:{number}", 1)
        if number % 2:
            cache.expire(f"passing:{number}", 0)
        else:
            cache.delete(f"passing:{number}")
        assert cache.srem(f"never:{number}", 1) == cache.hdel(f"never:{number}", "field") == 0
    assert client.scard(register(namespace)) < 60
    cache.clear()
    assert [cache.scard(f"live:{number}") for number in range(5)] == [0] * 5
    assert client.scard(f"{{{namespace}}}:doubted") == 0


def test_clear_walks_over_all_names_once_and_only_where_there_ever_was_a_structure(
    client: redis.Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = []
    walk = Register._walk

    def counted(*arguments: Any) -> None:
        walks.append(1)
        walk(*arguments)

    monkeypatch.setattr(Register, "_walk", counted)
    cache.set("value", 1)
    cache.clear()
    assert len(walks) == 0
    for _ in range(2):
        cache.sadd("set", 1)
        cache.clear()
        assert len(walks) == 1
    assert client.smembers(register(namespace)) == {b""}


def test_the_same_in_a_cluster(configure: Any, namespace: str) -> None:
    with RedisCluster() as cluster:
        configure(cluster.url, timeout=PATIENT)
        client = cache.get_client()
        for number in range(100):
            cache.sadd(f"passing:{number}", 1)
            cache.delete(f"passing:{number}")
        assert client.scard(register(namespace)) < 50
        for clear in (cache.clear, async_to_sync(cache.aclear)):
            cache.sadd("set", 1)
            cache.hset("hash", "field", 1)
            client.delete(register(namespace))
            clear()
            assert (cache.scard("set"), cache.hlen("hash")) == (0, 0)
            assert client.smembers(register(namespace)) == {b""}
        cache.fence.close()
