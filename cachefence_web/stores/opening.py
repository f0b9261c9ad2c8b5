"""From what a user names a store by, a URL or a client, to the store."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from cachefence_web.core.keys import check_namespace
from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.base import AsyncStore, Store

SCHEMES = ("memory", "redis", "rediss", "unix")


def scheme_of(where: Any) -> str:
    """`memory`, or `redis` for everything that redis-py can reach.

    Raises:
        ConfigurationError: for what is neither a URL of a known scheme nor a Redis client.
    """
    if isinstance(where, str):
        scheme = urlsplit(where).scheme
        if "://" not in where or scheme not in SCHEMES:
            raise ConfigurationError(
                f"{where!r} is no store: use redis://host:6379/0, rediss://... for TLS, unix:///path/to/socket,"
                " or memory:// for a store within the process")
        return "memory" if scheme == "memory" else "redis"
    if hasattr(where, "connection_pool"):
        return "redis"
    raise ConfigurationError(f"a store is named by a URL or given as a redis-py client, not as {type(where).__name__}")


def open_pair(where: Any, namespace: str, *, timeout: float) -> tuple[Store, AsyncStore]:
    """The store for threads and the one for event loops, over the same data; nothing is connected yet."""
    if scheme_of(where) == "memory":
        from cachefence_web.stores.memory import AsyncMemoryStore, open_memory

        name = where.partition("://")[2]
        if name:
            try:
                check_namespace(name)
            except ConfigurationError as wrong:
                raise ConfigurationError(f"{where!r}: behind memory:// stands nothing, or a name; {wrong}") from None
        memory = open_memory(name, namespace)
        return memory, AsyncMemoryStore(memory)
    from cachefence_web.stores.redis import open_async_store, open_store

    return (open_store(where, namespace, timeout=timeout), open_async_store(where, namespace, timeout=timeout))
