"""The Redis and Valkey store: `commands.py` says what is sent, once; `sync.py` and `aio.py` send it."""

from __future__ import annotations

from typing import Any

from cachefence_web.stores.redis.aio import AsyncRedisStore
from cachefence_web.stores.redis.cluster import AsyncClusterStore, ClusterStore
from cachefence_web.stores.redis.cluster.opening import is_cluster
from cachefence_web.stores.redis.sync import RedisStore


def open_store(where: Any, namespace: str, **settings: Any) -> RedisStore:
    """The store for threads over what a URL or a client leads to; settings: as `RedisStore`'s."""
    return (ClusterStore if is_cluster(where) else RedisStore)(where, namespace, **settings)


def open_async_store(where: Any, namespace: str, **settings: Any) -> AsyncRedisStore:
    """The store for event loops over what a URL or a client leads to; settings: as `AsyncRedisStore`'s."""
    return (AsyncClusterStore if is_cluster(where) else AsyncRedisStore)(where, namespace, **settings)


__all__ = ["AsyncRedisStore", "RedisStore", "open_async_store", "open_store"]
