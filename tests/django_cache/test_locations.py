"""LOCATION: one server, a primary and its replicas, what Sentinels or the nodes of a cluster lead to; both colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from asgiref.sync import async_to_sync
from django.core.cache import cache

from cachefence_web import ConfigurationError
from cachefence_web.django import fence
from tests.servers import RedisCluster, RedisServer
from tests.servers_sentinel import SERVICE, Watched

PATIENT = 10.0


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Watched(1) as made:
        yield made


@pytest.fixture(scope="module")
def guarded() -> Iterator[Watched]:
    with Watched(1, password="inner", their_password="outer") as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as made:
        yield made


def works() -> None:
    """Both colours, tags, the extras, and what is no cache."""
    cache.set("key", {"a": 1}, tags=["a"])
    assert cache.get("key") == async_to_sync(cache.aget)("key") == {"a": 1}
    cache.set_many({f"k{number}": number for number in range(20)})
    assert async_to_sync(cache.aget_many)([f"k{number}" for number in range(20)])["k19"] == 19
    assert async_to_sync(cache.aget_or_set)("computed", lambda: 7) == cache.get_or_set("computed", lambda: 8) == 7
    assert cache.incr("k1") == 2
    async_to_sync(cache.ainvalidate_tags)("a")
    assert cache.get("key") is None
    assert cache.get_client().ping()
    with cache.lock("report", timeout=PATIENT):
        assert not cache.lock("report", timeout=PATIENT, blocking=False).acquire()
    cache.sadd("set", 1, 2)
    assert cache.smembers("set") == {1, 2}
    cache.hset("hash", "field", "value")
    assert cache.ttl("set") is None
    assert len(cache.keys("k1*")) == 11
    cache.clear()
    assert cache.smembers("set") == set()
    assert cache.get("k1") is None
    cache.sadd("set", 1)
    async_to_sync(cache.aclear)()
    assert cache.smembers("set") == set()


def looks(server: RedisServer) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"])


@pytest.mark.parametrize("together", ["list", "comma", "semicolon"])
def test_the_first_is_the_primary_and_the_others_are_replicas(configure: Any, watched: Watched, together: str) -> None:
    primary, replica = watched.servers
    urls = [primary.tcp_url, replica.tcp_url]
    location: Any = {"list": urls, "comma": ",".join(urls), "semicolon": ";".join(urls)}[together]
    configure(location, consistency="eventual", timeout=PATIENT)
    cache.set("key", 1)
    with watched.client(primary) as client:
        client.set("written", 1)
        assert client.wait(1, int(PATIENT * 1000)) == 1
    cache.get("anything")
    for get in (cache.get, async_to_sync(cache.aget)):
        get("anything")  # and so it knows the time, which the primary alone tells
        before, answered = looks(primary), looks(replica)
        assert get("key") == 1
        assert (looks(primary), looks(replica) > answered) == (before, True)
    configure(location, timeout=PATIENT)
    works()


def test_what_must_not_be_behind_is_asked_of_the_primary(configure: Any, watched: Watched) -> None:
    primary, replica = watched.servers
    configure([primary.tcp_url, replica.tcp_url], timeout=PATIENT)
    cache.set("key", 1)
    answered = looks(replica)
    assert cache.get("key") == async_to_sync(cache.aget)("key") == 1
    assert looks(replica) == answered
    found = fence().peek(cache.make_key("key"), consistency="eventual")
    assert found is not None
    assert found.value == 1
    assert looks(replica) > answered, "per call"


def test_sentinels_by_url(configure: Any, watched: Watched) -> None:
    configure(watched.url, timeout=PATIENT)
    works()
    watched.fail_over()
    works()


def test_a_comma_in_a_url_of_sentinels_or_nodes_parts_those(configure: Any, watched: Watched) -> None:
    port = watched.sentinels[0].port
    configure(f"redis+sentinel://127.0.0.1:{port},127.0.0.1:{port}/{SERVICE}/0", timeout=PATIENT)
    cache.set("key", 1)
    assert cache.get("key") == 1
    configure(f"{watched.url};redis://localhost:6379/0")
    with pytest.raises(ConfigurationError, match=r'CACHES\["default"\]\["LOCATION.*behind Sentinels'):
        cache.get("key")


def test_the_sentinels_of_django_redis(configure: Any, guarded: Watched, namespace: str) -> None:
    options = {
        "CLIENT_CLASS": "django_redis.client.SentinelClient",
        "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
        "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        "SENTINELS": [("127.0.0.1", guarded.sentinels[0].port)],
        "SENTINEL_KWARGS": {"password": "outer", "socket_timeout": PATIENT},
        "PASSWORD": "inner", "CONNECTION_POOL_KWARGS": {"client_name": "shop", "max_connections": 7},
    }
    configure(f"redis://{SERVICE}/3", timeout=PATIENT, **options)
    works()
    cache.set("key", 1)
    assert cache.get_client().client_getname() == "shop"
    assert cache.get_client().exists(f"{namespace}:e:{{{cache.make_key('key')}}}")
    assert cache.get_client().get_connection_kwargs()["db"] == 3
    configure([f"redis://{SERVICE}/3?is_master=1", f"redis://{SERVICE}/3?is_master=0"], timeout=PATIENT, **options)
    assert cache.get("key") == 1
    configure(f"redis://:inner@{SERVICE}/3", timeout=PATIENT, **{
        name: value for name, value in options.items() if name != "PASSWORD"})
    assert cache.get("key") == 1


@pytest.mark.parametrize(("location", "options", "message"), [
    ("redis://shop/0", {"CLIENT_CLASS": "django_redis.client.SentinelClient"}, r'"SENTINELS"\] is missing'),
    ("memory://", {"SENTINELS": [("a", 1)]}, "name-of-the-service"),
    (["redis://shop/0", "redis://other/0"], {"SENTINELS": [("a", 1)]}, "names 2 services"),
    ("redis://localhost:6379/0,redis://localhost:6379/1", {}, "database 0"),
    ("redis://localhost:6379/0,", {}, "is missing"),
    ("redis+cluster://localhost:6379/1", {}, "only the database 0"),
    ("redis://localhost:6379/0", {"max_connections": 0}, "1 or more"),
    ("redis://localhost:6379/0", {"CONNECTION_POOL_KWARGS": {"max_connections": "x"}}, "1 or more"),
], ids=["no-sentinels", "memory", "two-services", "two-databases", "empty", "cluster-database", "none", "no-number"])
def test_a_location_that_cannot_work_is_refused_by_its_name(
    configure: Any, location: Any, options: Any, message: str
) -> None:
    configure(location, **options)
    with pytest.raises(ConfigurationError, match=rf'CACHES\["default"\]\["\w+.*{message}'):
        cache.get("key")


def test_a_pool_is_as_large_as_it_was_told_to_be(configure: Any, redis_url: str) -> None:
    for options in ({"max_connections": 3}, {"CONNECTION_POOL_KWARGS": {"max_connections": 3}}):
        configure(redis_url, **options)
        assert fence()._terms.store._most == 3


def test_a_cluster_by_url(configure: Any, cluster: RedisCluster) -> None:
    configure(cluster.url, timeout=PATIENT, CONNECTION_POOL_KWARGS={"client_name": "shop"})
    works()
