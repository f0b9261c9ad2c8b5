"""A redis-py client for what is no cache: locks, sets and hashes, and whatever a project asks of Redis itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.sentinel
import redis.cluster
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ClusterDownError, RedisClusterException, SlotNotCoveredError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.lock import Lock
from redis.retry import Retry

from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.redis import sentinel
from cachefence_web.stores.redis.cluster.opening import cluster_opening, is_cluster

log = logging.getLogger("cachefence_web")

AWAY = (RedisConnectionError, RedisTimeoutError, ClusterDownError, SlotNotCoveredError, OSError)
"""What redis-py raises when the server cannot be reached, or is silent."""

_SAID_BY_US = frozenset({
    "host", "port", "db", "retry", "retry_on_timeout", "health_check_interval", "socket_timeout",
    "socket_connect_timeout", "decode_responses", "protocol"})


class Raw:
    """One client for an alias and process, made when it is first asked for; redis-py's own pool outlives a fork."""

    def __init__(self, location: object, timeout: float, connection: Mapping[str, Any]) -> None:
        self._location = location
        self._connection = connection
        self._settings = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2,
                          "retry": Retry(NoBackoff(), 1), **connection}
        self._client: Any = None
        self._lock = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether there is a Redis behind the alias at all."""
        return not str(self._location).startswith("memory://")

    def client(self) -> redis.Redis:
        """The client; of a cluster or behind Sentinels, redis-py's own for that.

        Raises:
            ConfigurationError: if the store is within the process.
        """
        if not self.exists:
            raise ConfigurationError(f"behind {self._location} is no Redis: this needs a LOCATION such as"
                                     ' "redis://localhost:6379/0"')
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._made()
        client: redis.Redis = self._client
        return client

    @asynccontextmanager
    async def aclient(self) -> AsyncIterator[Any]:
        """A client for one block on an event loop, at whose end it is closed."""
        settings = {**self._settings, "retry": AsyncRetry(NoBackoff(), 1)}
        location = str(self._location)
        if is_cluster(location):
            client: Any = redis.asyncio.cluster.RedisCluster(
                **_of_cluster(location, redis.asyncio.cluster.ClusterNode), **settings)
        elif _is_watched(location):
            client = _behind_sentinels(location, redis.asyncio.sentinel.Sentinel, settings)
        else:
            client = redis.asyncio.Redis.from_url(location, **settings)
        try:
            async with client:
                yield client
        finally:
            manager = _manager_of(client)
            if manager is not None:
                await manager.aclose()

    def way_to(self, location: object) -> object:
        """What to tell CacheFence of a server of this alias: its address, or a client where OPTIONS say more."""
        if not self._connection or str(location).startswith("memory://"):
            return location
        if is_cluster(location):
            return _with(str(location), self._connection)
        return _client_of(str(location), self._settings)

    def close(self) -> None:
        """Let go of its connections; a later call opens them again."""
        client = self._client
        if client is None:
            return
        if isinstance(client, redis.cluster.RedisCluster):
            client.disconnect_connection_pools()  # type: ignore[no-untyped-call]
            return
        client.connection_pool.disconnect()
        manager = _manager_of(client)
        if manager is not None:
            manager.close()

    def _made(self) -> Any:
        location = str(self._location)
        if not is_cluster(location):
            return _client_of(location, self._settings)
        try:
            return redis.cluster.RedisCluster(
                **_of_cluster(location, redis.cluster.ClusterNode), **self._settings)
        except RedisClusterException as error:  # it connects when it is made
            raise RedisConnectionError(str(error)) from error


def _client_of(location: str, settings: Mapping[str, Any]) -> Any:
    if _is_watched(location):
        return _behind_sentinels(location, redis.sentinel.Sentinel, settings)
    return redis.Redis.from_url(location, **settings)


def _is_watched(location: str) -> bool:
    return urlsplit(location).scheme in sentinel.SCHEMES


def _behind_sentinels(location: str, kind: Any, settings: Mapping[str, Any]) -> Any:
    """A client of what the Sentinels take for the primary; they are asked over TLS if it is."""
    try:
        watched, plain = sentinel.of_url(location)
        parsed: dict[str, Any] = parse_url(plain)  # type: ignore[no-untyped-call]
    except ValueError as wrong:
        raise ConfigurationError(f"this is no address behind Sentinels: {wrong}") from None
    given = {name: value for name, value in parsed.items() if name not in ("host", "port", "connection_class")}
    tls = "connection_class" in parsed
    theirs = {name: value for name, value in settings.items() if name == "retry" or name.startswith("socket_")}
    if tls:
        theirs |= {name: value for name, value in given.items() if name.startswith("ssl_")} | {"ssl": True}
    manager = kind(watched.addresses, sentinel_kwargs={**theirs, **watched.settings})
    return manager.master_for(watched.service, **{**given, **settings, **({"ssl": True} if tls else {})})


def _manager_of(client: Any) -> Any:
    return getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)


def _of_cluster(location: str, node: Any) -> dict[str, Any]:
    way = cluster_opening(location, asynchronous=False)
    kept = {name: value for name, value in way.way.settings.items() if name not in _SAID_BY_US}
    return {**kept, "startup_nodes": [node(seed.host, seed.port) for seed in way.seeds],
            "ssl": urlsplit(location).scheme.startswith("rediss")}


def _with(location: str, connection: Mapping[str, Any]) -> str:
    """The URL with more said in it: to make a client of a cluster is to connect, and it is too early for that."""
    parts = urlsplit(location)
    said = {name: value for name, value in connection.items() if name not in ("username", "password")}
    hosts = parts.netloc.rpartition("@")[2]
    if "password" in connection:
        user = quote(str(connection.get("username") or ""), safe="")
        hosts = f"{user}:{quote(str(connection['password']), safe='')}@{hosts}"
    else:
        hosts = parts.netloc
    query = "&".join(filter(None, [parts.query, urlencode(said)]))
    return parts._replace(netloc=hosts, query=query).geturl()


class ForgivingLock(Lock):
    """redis-py's lock where an outage is no error: it is not acquired then, and nothing is left to release."""

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Whether it was acquired; as redis-py's."""
        try:
            return bool(super().acquire(*args, **kwargs))
        except AWAY as error:
            log.error("the lock %r was not acquired: %s", self.name, error)  # noqa: TRY400 - the text says it all
            return False

    def locked(self) -> bool:
        """Whether anybody has it; as redis-py's."""
        return self._or_false(super().locked)

    def owned(self) -> bool:
        """Whether it is this one's; as redis-py's."""
        return self._or_false(super().owned)

    def extend(self, *args: Any, **kwargs: Any) -> Any:
        """Whether it lives longer now; as redis-py's."""
        return self._or_false(partial(super().extend, *args, **kwargs))

    def reacquire(self) -> Any:
        """Whether its life begins again; as redis-py's."""
        return self._or_false(super().reacquire)

    def _or_false(self, ask: Callable[[], Any]) -> bool:
        try:
            return bool(ask())
        except AWAY as error:
            log.error("the lock %r could not be asked for: %s", self.name, error)  # noqa: TRY400 - the text says it all
            return False

    def release(self) -> None:
        """Give it up; as redis-py's."""
        try:
            super().release()
        except AWAY as error:
            log.error("the lock %r was not released: %s", self.name, error)  # noqa: TRY400 - the text says it all
