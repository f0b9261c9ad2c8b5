"""The OPTIONS of other backends, said in the words of this one where they mean the same, and refused where they do not.

They are django-redis's, in capitals, and those of Django's own RedisCache; what needs no word here, since it is so
anyway, is taken and left.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings

from cachefence_web.core.policy import seconds
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
_BEHIND_SENTINELS = (
    "django_redis.client.SentinelClient", "django_redis.pool.SentinelConnectionFactory",
    "redis.sentinel.SentinelConnectionPool")
_PLAIN = {
    "CLIENT_CLASS": ("django_redis.client.DefaultClient", "django_redis.client.HerdClient"),
    "CONNECTION_FACTORY": ("django_redis.pool.ConnectionFactory",),
    "CONNECTION_POOL_CLASS": (
        "redis.connection.ConnectionPool", "redis.ConnectionPool", "redis.connection.BlockingConnectionPool",
        "redis.BlockingConnectionPool"),
    "REDIS_CLIENT_CLASS": ("redis.client.Redis", "redis.Redis", "redis.client.StrictRedis", "redis.StrictRedis"),
}
_REMEDIES = {
    "CLIENT_CLASS": "there are no shards; for many servers make a Redis Cluster of them, and write"
                    ' "redis+cluster://host:6379,host:6379" as LOCATION',
    "CONNECTION_FACTORY": "connections are made from LOCATION; say the rest in its query, or in CONNECTION_POOL_KWARGS",
    "CONNECTION_POOL_CLASS": "the pool is this backend's own; say how to connect in CONNECTION_POOL_KWARGS",
    "REDIS_CLIENT_CLASS": "the commands are this backend's own; leave it out",
}
_IDLE = frozenset({
    "PARSER_CLASS", "LOG_IGNORED_EXCEPTIONS", "REPLICA_READ_ONLY", "CLOSE_CONNECTION", "parser_class",
    "pool_class", "client_class", "SENTINELS", "SENTINEL_KWARGS", "retry_on_timeout", "health_check_interval",
})
_TO_CONNECT = {"USERNAME": "username", "PASSWORD": "password", "DB": "db",
               "username": "username", "password": "password", "db": "db"}
_SECONDS = ("SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT", "socket_timeout", "socket_connect_timeout")
_POOLS_OWN = ("timeout", "retry_on_timeout", "health_check_interval")


@dataclass(frozen=True, slots=True)
class Told:
    """What OPTIONS say, in this backend's words.

    options: as they would be written for it.
    connection: what redis-py is told beyond the URL.
    compressor: "zlib", "zstd" or None.
    sentinels: what a URL says of the Sentinels, if it is they who are to be asked: their addresses, and its query.
    """

    options: Mapping[str, Any]
    connection: Mapping[str, Any]
    compressor: str | None
    sentinels: tuple[str, str] | None


def told(given: Mapping[str, Any], name_of: Callable[[str], str]) -> Told:
    """OPTIONS in this backend's words.

    name_of: an option as an error message names it.

    Raises:
        ConfigurationError: for one that cannot be kept here, with what to do instead.
    """
    options: dict[str, Any] = {}
    connection: dict[str, Any] = {}
    patience: list[float] = []
    compressor = None
    for name, value in given.items():
        match name:
            case "SERIALIZER" | "serializer" if name == "SERIALIZER" or value in list(_SERIALIZERS):
                options["serializer"] = _SERIALIZERS[_one_of(
                    value, _SERIALIZERS, name_of(name), 'give as "serializer" an instance with dumps and loads')]
            case "COMPRESSOR":
                compressor = _COMPRESSORS[_one_of(
                    value, _COMPRESSORS, name_of(name), "zlib and zstd are there; what is stored need not be read")]
            case "CONNECTION_POOL_KWARGS" | "REDIS_CLIENT_KWARGS":
                connection |= _connecting(value, name_of(name), patience, options)
            case "PICKLE_VERSION":
                _check_protocol(value, name_of(name))
            case "IGNORE_EXCEPTIONS":
                options["on_outage"] = "journal" if value else "raise"
            case _ if name in _PLAIN and value in _BEHIND_SENTINELS:
                if not given.get("SENTINELS"):
                    raise ConfigurationError(f'{name_of("SENTINELS")} is missing: write [("host", 26379), ...]')
            case _ if name in _PLAIN:
                _one_of(value, _PLAIN[name], name_of(name), _REMEDIES[name])
            case _ if name in _TO_CONNECT:
                connection[_TO_CONNECT[name]] = _told_of(_TO_CONNECT[name], value, name_of(name))
            case _ if name in _SECONDS:
                patience += _seconds(value, name_of(name))
            case _ if name not in _IDLE:
                options[name] = value
    if patience:
        options.setdefault("timeout", max(patience))
    if getattr(settings, "DJANGO_REDIS_IGNORE_EXCEPTIONS", False):
        options.setdefault("on_outage", "journal")
    return Told(options, connection, compressor, _sentinels(given, name_of))


def said_in(url: object) -> float | None:
    """Seconds that an address says a socket is to be waited for; None if it says nothing of it that can be read."""
    query = parse_qsl(url.partition("?")[2]) if isinstance(url, str) else []
    patience = [float(value) for name, value in query if name in _SECONDS and re.fullmatch(r"\d*\.?\d+", value)]
    return max(patience, default=None)


def _connecting(given: object, name: str, patience: list[float], options: dict[str, Any]) -> dict[str, Any]:
    """What redis-py is to be told of how to connect: not how long to wait, which is the operation's, or how often."""
    kept = {}
    for key, value in _dict(given, name).items():
        if key in _SECONDS:
            patience += _seconds(value, f'{name}["{key}"]')
        elif key == "max_connections":
            options[key] = value
        elif key not in _POOLS_OWN:
            kept[key] = _told_of(key, value, f'{name}["{key}"]')
    return kept


def _dict(given: object, name: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{name} is a dict, not {given!r:.60}")
    return given


def _seconds(given: object, name: str) -> list[float]:
    return [] if given is None else [seconds(name, given)]


def _told_of(what: str, given: object, name: str) -> object:
    if what != "db":
        return given
    if isinstance(given, bool) or not re.fullmatch(r"\d+", str(given)):
        raise ConfigurationError(f"{name} is the number of a database, such as 0, not {given!r:.60}")
    return int(str(given))


def _check_protocol(given: object, name: str) -> None:
    """Values are pickled by one protocol, which is told by what it is read with; what is none at all is a mistake."""
    if not re.fullmatch(r"-1|\d{1,2}", str(given)) or int(str(given)) > pickle.HIGHEST_PROTOCOL:
        raise ConfigurationError(f"{name} is {given!r}, which is no protocol of pickle's: leave it out")


def watched(places: Sequence[object], sentinels: tuple[str, str]) -> str:
    """The URL of django-redis's LOCATION, whose host is the name of a service, behind these Sentinels.

    Raises:
        ConfigurationError: for one that is no such LOCATION.
    """
    addresses, query = sentinels
    found = []
    for place in places:
        parts = urlsplit(str(place))
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ConfigurationError(
                f'with SENTINELS it is "redis://name-of-the-service/0", not one of scheme {parts.scheme!r}')
        said = parse_qsl(parts.query)
        leads = dict(said).get("is_master", "1").lower() not in ("0", "f", "false", "n", "no")
        user, at, _ = parts.netloc.rpartition("@")
        rest = urlencode([each for each in said if each[0] != "is_master"])
        if leads:  # who may be behind is asked for nothing here: all reads go to the primary
            found.append(urlunsplit((
                f"{parts.scheme}+sentinel", f"{user}{at}{addresses}", f"/{parts.hostname}{parts.path}",
                "&".join(filter(None, [rest, query])), "")))
    if len(set(found)) != 1:
        raise ConfigurationError(f"it names {len(set(found))} services: with SENTINELS there is one")
    return found[0]


def _sentinels(given: Mapping[str, Any], name_of: Callable[[str], str]) -> tuple[str, str] | None:
    listed, told_them = given.get("SENTINELS"), _dict(given.get("SENTINEL_KWARGS") or {}, name_of("SENTINEL_KWARGS"))
    if not listed:
        return None
    try:
        addresses = [(str(host), int(port)) for host, port in listed]
    except (TypeError, ValueError):
        raise ConfigurationError(
            f'{name_of("SENTINELS")} is a list such as [("host", 26379)], not {listed!r:.80}') from None
    query = {f"sentinel_{name}": str(told_them[name]) for name in ("username", "password") if told_them.get(name)}
    strange = [name for name in told_them if name not in ("username", "password") and not name.startswith("socket_")]
    if strange:
        raise ConfigurationError(f"{name_of('SENTINEL_KWARGS')} says {strange[0]!r}, which has no counterpart here:"
                                 " username and password are; over TLS, write rediss:// in LOCATION")
    hosts = ",".join([f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses])
    return hosts, urlencode(query)


def _one_of(value: Any, known: Any, name: str, remedy: str) -> Any:
    if isinstance(value, str) and value in known:
        return value
    raise ConfigurationError(f"{name} is {value!r}, which has no counterpart here: {remedy}")
