"""The OPTIONS of django-redis and of Django's RedisCache are taken over where they mean something, else refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache, caches

from cachefence_web import ConfigurationError
from cachefence_web.django import fence
from cachefence_web.django.checks import check_aliases


@pytest.mark.parametrize(("options", "serializer"), [
    ({"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}, "json"),
    ({"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"}, "msgpack"),
    ({"SERIALIZER": "django_redis.serializers.pickle.PickleSerializer", "PICKLE_VERSION": -1}, "pickle"),
    ({"PICKLE_VERSION": "4"}, "pickle"),
    ({"serializer": "django.core.cache.backends.redis.RedisSerializer"}, "pickle"),
    ({"COMPRESSOR": "django_redis.compressors.identity.IdentityCompressor"}, "pickle"),
    ({"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"}, "pickle+zlib"),
    ({"COMPRESSOR": "django_redis.compressors.zstd.ZStdCompressor"}, "pickle+zstd"),
], ids=["json", "msgpack", "pickle", "protocol", "django", "identity", "zlib", "zstd"])
def test_a_serializer_is_taken_over(configure: Any, redis_url: str, options: dict[str, str], serializer: str) -> None:
    configure(redis_url, **options)
    cache.set("key", {"a": "long " * 1000})
    assert cache.get("key") == {"a": "long " * 1000}
    assert caches["default"]._entry.serializer.name == serializer


def test_what_means_nothing_here_is_left_and_how_to_connect_is_kept(configure: Any, redis_url: str) -> None:
    configure(
        redis_url, patient=False, CLIENT_CLASS="django_redis.client.DefaultClient",
        PARSER_CLASS="redis.connection.HiredisParser", CONNECTION_POOL_CLASS="redis.BlockingConnectionPool",
        CONNECTION_POOL_KWARGS={"max_connections": 100, "timeout": 20, "client_name": "shop"},
        SOCKET_TIMEOUT=3, SOCKET_CONNECT_TIMEOUT=20, REPLICA_READ_ONLY=True, db=1)
    cache.set("key", 1)
    assert cache.get("key") == async_to_sync(cache.aget)("key") == 1
    assert cache.get_client().client_getname() == "shop"
    assert cache.get_client().get_connection_kwargs()["socket_timeout"] == 20
    assert [client["name"] for client in cache.get_client().client_list()].count("shop") > 1


def test_one_server_named_twice_is_one(configure: Any, redis_url: str) -> None:
    configure([redis_url, redis_url])
    cache.set("key", 1)
    assert cache.get("key") == 1


@pytest.mark.parametrize(("options", "expected"), [
    ({"IGNORE_EXCEPTIONS": True}, "journal"), ({"IGNORE_EXCEPTIONS": False}, "raise"), ({}, "journal"),
    ({"on_outage": "log"}, "log"),
], ids=["on", "off", "unsaid", "in-our-words"])
def test_an_outage_is_ignored_where_it_was(configure: Any, settings: Any, options: Any, expected: str) -> None:
    configure("memory://", **options)
    assert fence()._terms.on_outage == expected
    settings.DJANGO_REDIS_IGNORE_EXCEPTIONS = True
    configure("memory://", **options)
    assert fence()._terms.on_outage == ("journal" if not options else expected)


@pytest.mark.parametrize(("option", "value", "message"), [
    ("CLIENT_CLASS", "django_redis.client.ShardClient", "there are no shards"),
    ("SERIALIZER", "shop.Serializer", 'give as "serializer" an instance'),
    ("COMPRESSOR", "django_redis.compressors.lz4.Lz4Compressor", "zlib and zstd are there"),
    ("CONNECTION_POOL_CLASS", "shop.Pool", "CONNECTION_POOL_KWARGS"),
    ("CONNECTION_FACTORY", "shop.Factory", "made from LOCATION"),
    ("REDIS_CLIENT_CLASS", "redis.cluster.RedisCluster", "leave it out"),
    ("SENTINELS", ["a:1"], 'a list such as'),
    ("SENTINEL_KWARGS", {"ssl": True}, "over TLS, write rediss://"),
    ("MAX_ENTRIES", 5, "maxmemory"),
], ids=lambda value: value if isinstance(value, str) and value.isupper() else "")
def test_what_cannot_be_kept_is_refused_by_its_name(configure: Any, option: str, value: Any, message: str) -> None:
    configure("memory://", **{**({"SENTINELS": [("a", 1)]} if option == "SENTINEL_KWARGS" else {}), option: value})
    with pytest.raises(ConfigurationError, match=rf'CACHES\["default"\]\["OPTIONS"\]\["{option}"\].*{message}'):
        cache.get("key")


def test_what_the_document_shows_runs(configure: Any, redis_url: str) -> None:
    configure(redis_url)
    document = (Path(__file__).parents[2] / "docs" / "django.md").read_text()
    settings, *blocks = re.findall(r"^```python\n(.*?)^```", document, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in (settings, *blocks):
        exec(block, names)  # noqa: S102 (it is our own)
    assert names["CACHES"]["default"]["BACKEND"] == "cachefence_web.django.RedisCache"
    assert len(blocks) >= 2


@pytest.mark.parametrize(("options", "message"), [
    ({"CONNECTION_POOL_KWARGS": None}, r'\["CONNECTION_POOL_KWARGS"\] is a dict, not None'),
    ({"CONNECTION_POOL_KWARGS": "x"}, r'\["CONNECTION_POOL_KWARGS"\] is a dict'),
    ({"CONNECTION_POOL_KWARGS": {"bogus": 1}}, r'\["OPTIONS"\]\["CONNECTION_POOL_KWARGS"\]: .*bogus'),
    ({"CONNECTION_POOL_KWARGS": {"db": "x"}}, r'\["CONNECTION_POOL_KWARGS"\]\["db"\] is the number of a database'),
    ({"CONNECTION_POOL_KWARGS": {"socket_timeout": "x"}},
     r'\["CONNECTION_POOL_KWARGS"\]\["socket_timeout"\] is a number of seconds'),
    ({"CONNECTION_POOL_KWARGS": {"max_connections": "100"}}, r'\["max_connections"\]: max_connections is how many'),
    ({"DB": "x"}, r'\["OPTIONS"\]\["DB"\] is the number of a database'),
    ({"DB": -1}, r'\["OPTIONS"\]\["DB"\] is the number of a database'),
    ({"SOCKET_TIMEOUT": "5"}, r'\["OPTIONS"\]\["SOCKET_TIMEOUT"\] is a number of seconds'),
    ({"SOCKET_TIMEOUT": "5", "SOCKET_CONNECT_TIMEOUT": 2}, r'\["SOCKET_TIMEOUT"\] is a number of seconds'),
    ({"SENTINELS": [("h", 1)], "SENTINEL_KWARGS": ["x"]}, r'\["SENTINEL_KWARGS"\] is a dict'),
    ({"PICKLE_VERSION": 99}, r'\["PICKLE_VERSION"\] is 99, which is no protocol'),
    ({"PICKLE_VERSION": "x"}, r'\["PICKLE_VERSION"\]'),
], ids=str)
def test_a_wrong_option_is_told_by_its_own_name(
    configure: Any, redis_url: str, options: dict[str, Any], message: str
) -> None:
    configure(redis_url, patient=False, **options)
    with pytest.raises(ConfigurationError, match=message):
        caches["default"].get("key")
    assert [each.id for each in check_aliases()] == ["cachefence.E002"]


@pytest.mark.parametrize(("options", "seconds"), [
    ({"CONNECTION_POOL_KWARGS": {"socket_timeout": 0.25, "socket_connect_timeout": 0.5}}, 0.5),
    ({"CONNECTION_POOL_KWARGS": {"socket_timeout": 3}}, 3),
    ({"CONNECTION_POOL_KWARGS": {"socket_timeout": None}}, 1),
    ({"SOCKET_TIMEOUT": 3, "CONNECTION_POOL_KWARGS": {"socket_timeout": 2}}, 3),
    ({"timeout": 2, "CONNECTION_POOL_KWARGS": {"socket_timeout": 3}}, 2),
    ({}, 1),
], ids=str)
def test_how_long_a_socket_was_waited_for_is_how_long_an_operation_is(
    configure: Any, redis_url: str, options: dict[str, Any], seconds: float
) -> None:
    configure(redis_url, patient=False, **options)
    assert deadline() == seconds
    assert cache.get_client().get_connection_kwargs()["socket_timeout"] == seconds


@pytest.mark.parametrize(("query", "seconds"), [
    ("socket_timeout=0.25", 0.25), ("socket_timeout=3&socket_connect_timeout=4", 4), ("client_name=shop", 1),
])
def test_so_is_what_the_address_says_of_it(configure: Any, redis_url: str, query: str, seconds: float) -> None:
    configure(f"{redis_url}{'&' if '?' in redis_url else '?'}{query}", patient=False)
    assert deadline() == seconds
    configure(f"{redis_url}{'&' if '?' in redis_url else '?'}{query}", timeout=2)
    assert deadline() == 2


def deadline() -> float:
    """Seconds that the store gives an operation."""
    within: float = fence()._terms.store._timeout  # type: ignore[attr-defined]
    return within
