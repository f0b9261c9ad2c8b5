"""From what a user names a store by, a URL or a client, to the store."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from cachefence_web.core.keys import check_namespace
from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.base import AsyncStore, Store

SCHEMES = ("memory", "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
MOST_CONNECTIONS = 50

_PASSWORD = re.compile(r"([^?&=]*password=)[^&]*", re.IGNORECASE)
_QUOTED = re.compile(r"(['\"])(.+?)\1")


def scheme_of(where: Any) -> str:
    """`memory`, or `redis` for everything that redis-py can reach.

    Raises:
        ConfigurationError: for what is neither a URL of a known scheme nor a Redis client.
    """
    if isinstance(where, str):
        scheme = _scheme(where)
        if scheme not in SCHEMES:
            raise ConfigurationError(
                f"{described(where)} is no store: use redis://host:6379/0, rediss://... for TLS, unix:///path/to/socket,"
                " redis+sentinel://host:26379/service/0, redis+cluster://host:port,host:port, or memory:// for a store"
                " within the process")
        try:
            urlsplit(where)
        except ValueError as wrong:
            raise ConfigurationError(f"{described(where)} is no address: {explained(where, wrong)}") from None
        return "memory" if scheme == "memory" else "redis"
    if hasattr(where, "connection_pool") or hasattr(where, "nodes_manager"):
        return "redis"
    raise ConfigurationError(f"a store is named by a URL or given as a redis-py client, not as {type(where).__name__}")


def is_one_server(where: Any) -> bool:
    """Whether it is a Redis with an address of its own, and not what Sentinels or the nodes of a cluster lead to."""
    if isinstance(where, str):
        return _scheme(where) in ("redis", "rediss", "unix")
    return hasattr(where, "connection_pool") and not hasattr(where.connection_pool, "sentinel_manager")


def described(where: Any) -> str:
    """What a user named a store by, for a message: without its user and passwords, however badly it is written."""
    if not isinstance(where, str):
        return f"the client's {type(where).__name__}"
    front, there, rest = where.partition("://") if "://" in where else ("", "", where)
    if "@" in (query := rest.partition("?")[2]) and "password" in query.lower():
        return repr(f"{front}{there}***")  # nobody can tell what of it is the password
    _, at, host = rest.rpartition("@")
    left = _PASSWORD.sub(r"\1***", host)
    return repr(f"{front}{there}{at and '***@'}{left}")


def explained(where: Any, wrong: Exception) -> str:
    """What a library says of an address; unless it quotes of it what may be a password."""
    said = str(wrong)
    if isinstance(where, str):
        secret = where.partition("://")[2].rpartition("@")[0]
        if any("@" in part or part in secret for _, part in _QUOTED.findall(said)):
            return "percent-encode what is special in its user and password: %23 for #, %2F for /, %3F for ?, %40 for @"
    return said


def _scheme(url: str) -> str:
    scheme, there, _ = url.partition("://")
    return scheme.lower() if there else ""


def open_pair(
    where: Any, namespace: str, *, timeout: float, max_connections: int = MOST_CONNECTIONS,
    replicas: Sequence[Any] = (), computes: Callable[[], bool] = bool,
) -> tuple[Store, AsyncStore]:
    """The store for threads and the one for event loops, over the same data; nothing is connected yet.

    max_connections: of the store for threads; an event loop has one.
    replicas: what may answer looks that may be behind; computes: whether the caller runs in a compute.

    Raises:
        ConfigurationError: for what leads to no store, or to no replica of one.
    """
    if replicas and not is_one_server(where):
        raise ConfigurationError(
            "replicas go with a primary that is named by its own address, redis://host:6379/0; memory:// has none, and"
            " behind Sentinels or in a cluster all reads go to primaries: leave them out")
    if scheme_of(where) == "memory":
        from cachefence_web.stores.memory import AsyncMemoryStore, open_memory

        name = where.partition("://")[2]
        if name:
            try:
                check_namespace(name)
            except ConfigurationError as wrong:
                raise ConfigurationError(f"{described(where)}: behind memory:// stands nothing, or a name;"
                                         f" {explained(where, wrong)}") from None
        memory = open_memory(name, namespace)
        return memory, AsyncMemoryStore(memory)
    from cachefence_web.stores.redis import open_async_store, open_store

    blocking = open_store(where, namespace, timeout=timeout, max_connections=max_connections)
    awaited = open_async_store(where, namespace, timeout=timeout)
    if not replicas:
        return blocking, awaited
    from cachefence_web.stores.redis.replicas import replicated

    return replicated(
        (blocking, awaited), replicas, namespace, timeout=timeout, most=max_connections, computes=computes)
