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


@pytest.mark.parametrize(("options", "serializer"), [
    ({"SERIALIZER": "django_redis.serializers.json.JSONSerializer"}, "json"),
    ({"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"}, "msgpack"),
    ({"SERIALIZER": "django_redis.serializers.pickle.PickleSerializer", "PICKLE_VERSION": -1}, "pickle"),
    ({"serializer": "django.core.cache.backends.redis.RedisSerializer"}, "pickle"),
    ({"COMPRESSOR": "django_redis.compressors.identity.IdentityCompressor"}, "pickle"),
    ({"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"}, "pickle+zlib"),
    ({"COMPRESSOR": "django_redis.compressors.zstd.ZStdCompressor"}, "pickle+zstd"),
], ids=["json", "msgpack", "pickle", "django", "identity", "zlib", "zstd"])
def test_a_serializer_is_taken_over(configure: Any, redis_url: str, options: dict[str, str], serializer: str) -> None:
    configure(redis_url, **options)
    cache.set("key", {"a": "long " * 1000})
    assert cache.get("key") == {"a": "long " * 1000}
    assert caches["default"]._entry.serializer.name == serializer


def test_what_means_nothing_here_is_left_and_how_to_connect_is_kept(configure: Any, redis_url: str) -> None:
    configure(
        redis_url, CLIENT_CLASS="django_redis.client.DefaultClient", PARSER_CLASS="redis.connection.HiredisParser",
        CONNECTION_POOL_CLASS="redis.BlockingConnectionPool", CONNECTION_POOL_KWARGS={
            "max_connections": 100, "timeout": 20, "client_name": "shop"},
        SOCKET_TIMEOUT=3, SOCKET_CONNECT_TIMEOUT=5, REPLICA_READ_ONLY=True, db=1)
    cache.set("key", 1)
    assert cache.get("key") == async_to_sync(cache.aget)("key") == 1
    assert cache.get_client().client_getname() == "shop"
    assert cache.get_client().get_connection_kwargs()["socket_timeout"] == 5
    assert [client["name"] for client in cache.get_client().client_list()].count("shop") > 1


def test_one_server_named_twice_is_one(configure: Any, redis_url: str) -> None:
    configure([redis_url, redis_url])
    cache.set("key", 1)
    assert cache.get("key") == 1


@pytest.mark.parametrize(("options", "ignoring"), [
    ({"IGNORE_EXCEPTIONS": True}, True), ({"IGNORE_EXCEPTIONS": False}, False), ({}, False),
    ({"on_outage": "log"}, True),
], ids=["on", "off", "unsaid", "in-our-words"])
def test_an_outage_is_ignored_where_it_was(configure: Any, settings: Any, options: Any, ignoring: bool) -> None:
    configure("memory://", **options)
    assert fence()._terms.on_outage == ("log" if ignoring else "raise")
    settings.DJANGO_REDIS_IGNORE_EXCEPTIONS = True
    configure("memory://", **options)
    assert fence()._terms.on_outage == ("raise" if options == {"IGNORE_EXCEPTIONS": False} else "log")


@pytest.mark.parametrize(("option", "value", "message"), [
    ("CLIENT_CLASS", "django_redis.client.ShardClient", "shards and Sentinels"),
    ("SERIALIZER", "shop.Serializer", 'give as "serializer" an instance'),
    ("COMPRESSOR", "django_redis.compressors.lz4.Lz4Compressor", "zlib and zstd are there"),
    ("CONNECTION_POOL_CLASS", "shop.Pool", "CONNECTION_POOL_KWARGS"),
    ("CONNECTION_FACTORY", "shop.Factory", "made from LOCATION"),
    ("REDIS_CLIENT_CLASS", "redis.cluster.RedisCluster", "leave it out"),
    ("SENTINELS", [("a", 1)], "Sentinel"),
    ("MAX_ENTRIES", 5, "maxmemory"),
], ids=lambda value: value if isinstance(value, str) and value.isupper() else "")
def test_what_cannot_be_kept_is_refused_by_its_name(configure: Any, option: str, value: Any, message: str) -> None:
    configure("memory://", **{option: value})
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
