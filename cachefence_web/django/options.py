"""The OPTIONS of other backends, said in the words of this one where they mean the same, and refused where they do not.

They are django-redis's, in capitals, and those of Django's own RedisCache; what needs no word here, since it is so
anyway, is taken and left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from cachefence_web.errors import ConfigurationError

_SERIALIZERS = {
    "django_redis.serializers.pickle.PickleSerializer": "pickle",
    "django_redis.serializers.json.JSONSerializer": "json",
    "django_redis.serializers.msgpack.MSGPackSerializer": "msgpack",
    "django.core.cache.backends.redis.RedisSerializer": "pickle",
}
_COMPRESSORS = {
    "django_redis.compressors.identity.IdentityCompressor": None,
    "django_redis.compressors.zlib.ZlibCompressor": "zlib",
    "django_redis.compressors.gzip.GzipCompressor": "zlib",
    "django_redis.compressors.zstd.ZStdCompressor": "zstd",
}
_CLIENTS = ("django_redis.client.DefaultClient", "django_redis.client.HerdClient")
_PLAIN = {
    "CONNECTION_FACTORY": ("django_redis.pool.ConnectionFactory",),
    "CONNECTION_POOL_CLASS": (
        "redis.connection.ConnectionPool", "redis.ConnectionPool", "redis.connection.BlockingConnectionPool",
        "redis.BlockingConnectionPool"),
    "REDIS_CLIENT_CLASS": ("redis.client.Redis", "redis.Redis", "redis.client.StrictRedis", "redis.StrictRedis"),
}
_REMEDIES = {
    "CONNECTION_FACTORY": "connections are made from LOCATION; say the rest in its query, or in CONNECTION_POOL_KWARGS",
    "CONNECTION_POOL_CLASS": "the pool is this backend's own; say how to connect in CONNECTION_POOL_KWARGS",
    "REDIS_CLIENT_CLASS": "the commands are this backend's own; leave it out",
    "SENTINELS": "Sentinel is not supported yet; name the primary in LOCATION",
    "SENTINEL_KWARGS": "Sentinel is not supported yet; name the primary in LOCATION",
}
_IDLE = frozenset({
    "PICKLE_VERSION", "PARSER_CLASS", "LOG_IGNORED_EXCEPTIONS", "REPLICA_READ_ONLY", "CLOSE_CONNECTION", "parser_class",
    "pool_class", "client_class", "max_connections", "retry_on_timeout", "health_check_interval",
})
_TO_CONNECT = {"USERNAME": "username", "PASSWORD": "password", "DB": "db",
               "username": "username", "password": "password", "db": "db"}
_SECONDS = ("SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT", "socket_timeout", "socket_connect_timeout")
_POOLS_OWN = ("max_connections", "timeout", "retry_on_timeout", "health_check_interval")


@dataclass(frozen=True, slots=True)
class Told:
    """What OPTIONS say, in this backend's words.

    options: as they would be written for it.
    connection: what redis-py is told beyond the URL.
    compressor: "zlib", "zstd" or None.
    """

    options: Mapping[str, Any]
    connection: Mapping[str, Any]
    compressor: str | None


def told(given: Mapping[str, Any], name_of: Callable[[str], str]) -> Told:
    """OPTIONS in this backend's words.

    name_of: an option as an error message names it.

    Raises:
        ConfigurationError: for one that cannot be kept here, with what to do instead.
    """
    options: dict[str, Any] = {}
    connection: dict[str, Any] = {}
    compressor = None
    for name, value in given.items():
        match name:
            case "CLIENT_CLASS":
                _one_of(value, _CLIENTS, name_of(name), "shards and Sentinels are not supported yet")
            case "SERIALIZER" | "serializer" if name == "SERIALIZER" or value in list(_SERIALIZERS):
                options["serializer"] = _SERIALIZERS[_one_of(
                    value, _SERIALIZERS, name_of(name), 'give as "serializer" an instance with dumps and loads')]
            case "COMPRESSOR":
                compressor = _COMPRESSORS[_one_of(
                    value, _COMPRESSORS, name_of(name), "zlib and zstd are there; what is stored need not be read")]
            case "CONNECTION_POOL_KWARGS" | "REDIS_CLIENT_KWARGS":
                connection |= {key: each for key, each in value.items() if key not in _POOLS_OWN}
            case "IGNORE_EXCEPTIONS":
                options["on_outage"] = "log" if value else "raise"
            case _ if name in _PLAIN:
                _one_of(value, _PLAIN[name], name_of(name), _REMEDIES[name])
            case _ if name in _REMEDIES:
                raise ConfigurationError(f"{name_of(name)}: {_REMEDIES[name]}")
            case _ if name in _TO_CONNECT:
                connection[_TO_CONNECT[name]] = value
            case _ if name not in _IDLE and name not in _SECONDS:
                options[name] = value
    patience = [given[name] for name in _SECONDS if given.get(name)]
    if patience:
        options.setdefault("timeout", max(patience))
    if getattr(settings, "DJANGO_REDIS_IGNORE_EXCEPTIONS", False):
        options.setdefault("on_outage", "log")
    return Told(options, connection, compressor)


def _one_of(value: Any, known: Any, name: str, remedy: str) -> Any:
    if isinstance(value, str) and value in known:
        return value
    raise ConfigurationError(f"{name} is {value!r}, which has no counterpart here: {remedy}")
