"""From a URL, or a client of the user's own, to the class and settings of redis-py connections of our own."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio import connection as async_connection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.opening import described, explained
from cachefence_web.stores.redis import sentinel

_OTHER_COLOUR = {
    redis.Connection: async_connection.Connection,
    redis.SSLConnection: async_connection.SSLConnection,
    redis.UnixDomainSocketConnection: async_connection.UnixDomainSocketConnection,
}
_POOLS_OWN = ("maint_notifications", "oss_cluster", "himport", "event_dispatcher", "orig_")
_ONE_COLOUR = ("parser_class", "command_packer", "redis_connect_func")


@dataclass(frozen=True, slots=True)
class Opening:
    """How to make a connection: `kind(**settings)`.

    place: equal for equal servers and databases.
    """

    kind: type[Any]
    settings: dict[str, Any]
    place: str


def opening(where: Any, *, asynchronous: bool) -> Opening:
    """How to connect to what a URL names, or a client is connected to.

    Raises:
        ConfigurationError: for a URL that redis-py cannot read, or a client that only exists in the other colour.
    """
    pool, sentinels = _pool_of(where, asynchronous=asynchronous)
    settings = {name: value for name, value in dict(pool.connection_kwargs).items()
                if not name.startswith(_POOLS_OWN) and name != "retry_on_error"}
    if sentinels is not None:
        for name in ("connection_pool", *_ONE_COLOUR):
            settings.pop(name, None)
        kind = sentinel.found_by(sentinels, pool.connection_class, settings, asynchronous=asynchronous)
    else:
        kind = _coloured(pool.connection_class, settings, asynchronous=asynchronous)
    retry = AsyncRetry(NoBackoff(), 0) if asynchronous else Retry(NoBackoff(), 0)
    settings.update(decode_responses=False, protocol=2, retry=retry, retry_on_timeout=False, health_check_interval=0,
                    socket_timeout=None, socket_connect_timeout=None)
    try:
        kind(**settings)
    except (TypeError, ValueError, RedisError) as wrong:
        raise ConfigurationError(
            f"redis-py makes no connection for {described(where)}: {explained(where, wrong)}; correct the"
            " options") from None
    return Opening(kind, settings, _place(settings))


def _pool_of(where: Any, *, asynchronous: bool) -> tuple[Any, sentinel.Sentinels | None]:
    """A pool of redis-py's, whose settings are of use, and who knows where the primary is, if that may change."""
    pools = async_connection.ConnectionPool if asynchronous else redis.ConnectionPool
    try:
        if not isinstance(where, str):
            return where.connection_pool, sentinel.of_pool(where.connection_pool)
        sentinels = None
        if urlsplit(where).scheme in sentinel.SCHEMES:
            sentinels, url = sentinel.of_url(where)
        else:
            url = where
        parts = urlsplit(url)
        if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdecimal():
            raise ValueError(f"the path is the number of a database, such as /0, not {parts.path!r}")
        return pools.from_url(url), sentinels
    except (TypeError, ValueError) as wrong:
        raise ConfigurationError(
            f"{described(where)} is no Redis that redis-py can use: {explained(where, wrong)}") from None


def _coloured(kind: type[Any], settings: dict[str, Any], *, asynchronous: bool) -> type[Any]:
    """The connection's class, or its counterpart in the other colour."""
    if _is_async(kind) == asynchronous:
        return kind
    for name in _ONE_COLOUR:
        settings.pop(name, None)
    for blocking, awaited in _OTHER_COLOUR.items():
        if kind in {blocking, awaited}:
            return awaited if asynchronous else blocking
    if kind.__module__.startswith("fakeredis"):
        return _fake(asynchronous=asynchronous)
    face = "CacheFence" if asynchronous else "AsyncCacheFence"
    raise ConfigurationError(f"connections of {kind.__qualname__} are for {face}: give this face a URL instead")


def _is_async(kind: type[Any]) -> bool:
    return inspect.iscoroutinefunction(getattr(kind, "read_response", None))


def _fake(*, asynchronous: bool) -> type[Any]:
    from fakeredis import FakeAsyncRedis, FakeRedis

    kind: type[Any] = (FakeAsyncRedis if asynchronous else FakeRedis)().connection_pool.connection_class
    return kind


def _place(settings: dict[str, Any]) -> str:
    if settings.get("server") is not None:
        at = f"fake:{id(settings['server'])}"
    elif "sentinels" in settings:
        at = settings["sentinels"].place
    else:
        at = settings.get("path") or f"{settings.get('host', 'localhost')}:{settings.get('port', 6379)}"
    return f"{at}/{settings.get('db') or 0}"
