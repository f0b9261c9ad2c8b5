"""Each contender is opened as its own documentation recommends, and asked by one call, as a user would write it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

TTL = 600
"""Seconds, the life of every value: no hit of a run is near its end."""

VALUE = {"id": 42, "title": "The Left Hand of Darkness", "price": "9.90", "in_stock": True, "shelves": [3, 5, 8]}
"""What is cached: a row as a page shows it, 86 bytes as JSON."""

Ask = Callable[[str], Any]
AsyncAsk = Callable[[str], Awaitable[Any]]
Opener = Callable[[str, Ask, int], AbstractContextManager[Ask]]
AsyncOpener = Callable[[str, AsyncAsk, int], AbstractAsyncContextManager[AsyncAsk]]
"""From the Redis's URL, the function that makes a key's value, and how many callers will ask at once."""


@contextmanager
def nothing(_: str, load: Ask, __: int) -> Iterator[Ask]:
    """The floor of a burst: everybody computes."""
    yield load


@asynccontextmanager
async def nothing_async(_: str, load: AsyncAsk, __: int) -> AsyncIterator[AsyncAsk]:
    """The floor of a burst: everybody computes."""
    yield load


@contextmanager
def bare_get(url: str, _: Ask, __: int) -> Iterator[Ask]:
    """The floor of a hit: what the driver alone costs; the value's bytes must be there."""
    import redis

    with redis.Redis.from_url(url) as client:
        yield client.get


@asynccontextmanager
async def bare_get_async(url: str, _: AsyncAsk, __: int) -> AsyncIterator[AsyncAsk]:
    """The floor of a hit: what the driver alone costs; the value's bytes must be there."""
    import redis.asyncio

    async with redis.asyncio.Redis.from_url(url) as client:
        yield client.get


@contextmanager
def ours(url: str, load: Ask, _: int) -> Iterator[Ask]:
    """This package, for threads; each entry carries two tags."""
    from cachefence_web import CacheFence

    with CacheFence(url, namespace="bench") as fence:
        yield lambda key: fence.get_or_set(key, partial(load, key), ttl=TTL, tags=(f"row:{key}", "row"))


@asynccontextmanager
async def ours_async(url: str, load: AsyncAsk, _: int) -> AsyncIterator[AsyncAsk]:
    """This package, for event loops; each entry carries two tags."""
    from cachefence_web import AsyncCacheFence

    async with AsyncCacheFence(url, namespace="bench") as fence:
        yield lambda key: fence.get_or_set(key, partial(load, key), ttl=TTL, tags=(f"row:{key}", "row"))


@asynccontextmanager
async def cachefence(url: str, load: AsyncAsk, _: int) -> AsyncIterator[AsyncAsk]:
    """The package of that name, with the pool that its README asks for."""
    from cachefence import CacheFence
    from redis.asyncio import BlockingConnectionPool, Redis

    pool = BlockingConnectionPool.from_url(url, max_connections=30, timeout=15)
    async with Redis.from_pool(pool) as client:
        cache: Any = CacheFence(client, namespace="cachefence:")
        yield lambda key: cache.get_or_set(key=key, ttl=TTL, recompute=partial(load, key))


@asynccontextmanager
async def cashews(url: str, load: AsyncAsk, _: int) -> AsyncIterator[AsyncAsk]:
    """With its lock, which is what its documentation offers against stampedes, and two tags."""
    from cashews import Cache

    cache: Any = Cache()
    cache.setup(url, client_side=False)

    async def value(key: str) -> Any:
        return await load(key)

    yield cache(ttl=TTL, key="cashews:{key}", lock=True, tags=["row:{key}", "row"])(value)
    await cache.close()


@asynccontextmanager
async def cashews_unlocked(url: str, load: AsyncAsk, _: int) -> AsyncIterator[AsyncAsk]:
    """Without the lock, which would cost each hit two more commands."""
    from cashews import Cache

    cache: Any = Cache()
    cache.setup(url, client_side=False)

    async def value(key: str) -> Any:
        return await load(key)

    yield cache(ttl=TTL, key="unlocked:{key}", tags=["row:{key}", "row"])(value)
    await cache.close()


@asynccontextmanager
async def aiocache(url: str, load: AsyncAsk, callers: int) -> AsyncIterator[AsyncAsk]:
    """Its decorator against stampedes, with a connection for each caller, as its documentation advises."""
    from aiocache import Cache, cached_stampede

    where = urlsplit(url)
    cached: Any = cached_stampede(
        lease=10, ttl=TTL, key_builder=lambda _, key: key, namespace="aiocache", cache=Cache.REDIS,
        endpoint=where.hostname, port=where.port, pool_max_size=max(callers, 10))(load)
    yield cached
    await cached.cache.close()


@asynccontextmanager
async def async_cache(_: str, load: AsyncAsk, __: int) -> AsyncIterator[AsyncAsk]:
    """In the process only: it has no shared tier."""
    from cache import AsyncCache

    cache = AsyncCache(maxsize=10_000, default_ttl=TTL)
    yield lambda key: cache.get(key, loader=partial(load, key))


@contextmanager
def dogpile(url: str, load: Ask, callers: int) -> Iterator[Ask]:
    """Its Redis backend with the distributed lock, and a connection for each thread."""
    import redis
    from dogpile.cache import make_region

    pool = redis.BlockingConnectionPool.from_url(url, max_connections=max(callers, 10))
    region: Any = make_region(key_mangler=lambda key: f"dogpile:{key}").configure(
        "dogpile.cache.redis", expiration_time=TTL,
        arguments={
            "connection_pool": pool, "redis_expiration_time": TTL * 2, "distributed_lock": True,
            "thread_local_lock": False,
        })
    yield lambda key: region.get_or_create(key, partial(load, key))
    pool.disconnect()


@contextmanager
def dogpile_memory(_: str, load: Ask, __: int) -> Iterator[Ask]:
    """Its backend within the process."""
    from dogpile.cache import make_region

    region: Any = make_region().configure("dogpile.cache.memory", expiration_time=TTL)
    yield lambda key: region.get_or_create(key, partial(load, key))


def in_memory(opener: Any) -> Any:
    """One of ours over the store within the process."""
    return lambda _, load, callers: opener("memory://", load, callers)


OURS = "cachefence-web"

SYNC: dict[str, Opener] = {OURS: ours, "dogpile.cache": dogpile}
ASYNC: dict[str, AsyncOpener] = {OURS: ours_async, "cachefence": cachefence, "cashews": cashews, "aiocache": aiocache}
