"""The Redis and Valkey store: `commands.py` says what is sent, once; `sync.py` and `aio.py` send it."""

from cachefence_web.stores.redis.aio import AsyncRedisStore
from cachefence_web.stores.redis.sync import RedisStore

open_store = RedisStore
open_async_store = AsyncRedisStore

__all__ = ["AsyncRedisStore", "RedisStore", "open_async_store", "open_store"]
