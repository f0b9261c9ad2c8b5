"""Waiting for a lease: woken at once by whatever ends it, a few commands a second, and nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import fakeredis
import pytest
import redis

from cachefence_web.core.effects import (
    ANY,
    Add,
    Claim,
    Delete,
    Fill,
    Invalidate,
    Put,
    Read,
    Release,
    Swap,
    TakeInstant,
    Wait,
)
from cachefence_web.core.entry import Kind
from cachefence_web.core.tags import Lease
from cachefence_web.stores.redis import AsyncRedisStore, RedisStore, open_async_store, open_store
from tests.servers import RedisServer
from tests.stores.build import PATIENT, entry_of, granted, named

MINUTE = 60.0
ENDS = ["fill", "refused fill", "release", "put", "delete", "takeover", "add", "swap"]
FEW = 10
"""Commands a second that a process may send while it waits."""


def end(store: Any, key: str, how: str, lease: Any) -> None:
    """End the lease of token `t` in one of the ways there are."""
    match how:
        case "fill":
            store.perform(Fill(key, "t", entry_of(lease), MINUTE))
        case "refused fill":
            store.perform(Invalidate(("a",)))
            store.perform(Fill(key, "t", entry_of(lease, "a"), MINUTE))
        case "release":
            store.perform(Release(key, "t"))
        case "put":
            store.perform(Put(key, entry_of(store.perform(TakeInstant())), MINUTE, ANY))
        case "delete":
            store.perform(Delete(key))
        case "takeover":
            store.perform(Claim(key, "u", MINUTE, takeover="t"))
        case "add":
            assert store.perform(Add(key, store.perform(Read(key)).entry.lease, 1)) == 2
        case "swap":
            assert store.perform(Swap(key, store.perform(Read(key)).entry, b"2", Kind.NUMBER))


def led(store: Any, how: str) -> Lease:
    """The lease of token `t`; where the value is to be changed, there is one."""
    if how in {"add", "swap"}:
        number = entry_of(store.perform(TakeInstant()), payload=b"1", kind=Kind.NUMBER)
        store.perform(Put("k", number, MINUTE, ANY))
    return granted(store, "k", life=MINUTE)


def listening(url: str, namespace: str) -> Callable[[], bool]:
    """Whether somebody listens for the ends of leases."""
    client = redis.Redis.from_url(url, decode_responses=True)
    return lambda: any(int(line["psub"]) for line in client.client_list() if line["name"] == namespace)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Look again and again; the pauses do not decide anything."""
    ends_at = monotonic() + seconds
    while not condition():
        assert monotonic() < ends_at
        threading.Event().wait(0.002)


@pytest.mark.parametrize("how", ENDS)
def test_p1_a_thread_is_woken_by_what_ends_the_lease(redis_url: str, namespace: str, how: str) -> None:
    other = open_store(redis_url, namespace, timeout=PATIENT)
    store = open_store(named(redis_url, namespace), namespace, timeout=PATIENT)
    lease = led(other, how)
    assert store.perform(Claim("k", "waiter", MINUTE)).holder == "t"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(store.perform, Wait("k", "t", MINUTE))
        until(listening(redis_url, namespace))
        assert not waiting.done()
        end(other, "k", how, lease)
        assert waiting.result() < MINUTE
    store.close()
    other.close()


@pytest.mark.parametrize("how", ENDS)
async def test_p1_a_coroutine_is_woken_by_what_ends_the_lease(redis_url: str, namespace: str, how: str) -> None:
    other = open_store(redis_url, namespace, timeout=PATIENT)
    store = open_async_store(named(redis_url, namespace), namespace, timeout=PATIENT)
    lease = led(other, how)
    assert (await store.perform(Claim("k", "waiter", MINUTE))).holder == "t"
    waiting = asyncio.ensure_future(store.perform(Wait("k", "t", MINUTE)))
    await asyncio.to_thread(until, listening(redis_url, namespace))
    assert not waiting.done()
    await asyncio.to_thread(end, other, "k", how, lease)
    assert await waiting < MINUTE
    await store.aclose()
    other.close()


def test_one_who_waits_for_a_lease_that_has_ended_goes_on(redis_store: RedisStore) -> None:
    granted(redis_store, "k")
    redis_store.perform(Release("k", "t"))
    assert redis_store.perform(Wait("k", "t", MINUTE)) < MINUTE
    assert redis_store.perform(Wait("never held", "t", MINUTE)) < MINUTE


def test_patience_ends_a_wait(redis_store: RedisStore) -> None:
    granted(redis_store, "k", life=MINUTE)
    assert 0.02 <= redis_store.perform(Wait("k", "t", 0.02)) < PATIENT


async def test_p7_a_cancelled_waiter_leaves_the_others_waiting(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)
    for key in ("k", "other"):
        assert (await store.perform(Claim(key, "t", MINUTE))).lease
    gone, stays = (asyncio.ensure_future(store.perform(Wait("k", "t", MINUTE))) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert not stays.done()
    await store.perform(Release("k", "t"))
    assert await stays < MINUTE
    await store.aclose()


def listens(before: set[threading.Thread]) -> bool:
    """Whether a listener has begun since then: one of an earlier test may linger."""
    return any(thread.name == "cachefence-listener" for thread in set(threading.enumerate()) - before)


def test_closing_wakes_who_waits_and_leaves_no_thread(redis_url: str, namespace: str) -> None:
    store = open_store(redis_url, namespace, timeout=PATIENT)
    granted(store, "k", life=MINUTE)
    before = set(threading.enumerate())
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(store.perform, Wait("k", "t", MINUTE))
        until(lambda: listens(before))
        store.close()
        assert waiting.result() < MINUTE
    assert set(threading.enumerate()) <= before
    assert store.perform(Claim("k", "u", MINUTE)).holder == "t"
    store.close()


def commands_of(client: Any) -> int:
    """Commands that came from clients; those inside scripts are counted by Redis too, and we send none meanwhile."""
    stats = client.info("commandstats")
    return sum(line["calls"] for name, line in stats.items() if name not in {"cmdstat_info", "cmdstat_client|list"})


@pytest.mark.parametrize("colour", ["threads", "coroutines"])
def test_p1_a_waiting_process_sends_few_commands_however_many_wait(
    new_redis: Callable[..., RedisServer], namespace: str, colour: str
) -> None:
    server = new_redis()
    other = open_store(server.url, namespace, timeout=PATIENT)
    keys = [f"k{number}" for number in range(60)]
    for key in keys:
        granted(other, key, life=MINUTE)
    with redis.Redis.from_url(server.url) as client:
        client.ping()
        before = commands_of(client)
        if colour == "threads":
            store = open_store(server.url, namespace, timeout=PATIENT)
            with ThreadPoolExecutor(len(keys)) as pool:
                waited = list(pool.map(lambda key: store.perform(Wait(key, "t", 1.5)), keys))
            store.close()
        else:
            waited = asyncio.run(wait_for_all(open_async_store(server.url, namespace, timeout=PATIENT), keys))
        assert min(waited) >= 1.5
        greeting = 12
        assert commands_of(client) - before <= greeting + FEW * max(waited)
    other.close()


async def wait_for_all(store: AsyncRedisStore, keys: list[str]) -> list[float]:
    waited = await asyncio.gather(*[store.perform(Wait(key, "t", 1.5)) for key in keys])
    await store.aclose()
    return waited


@pytest.fixture
def mute(new_redis: Callable[..., RedisServer]) -> str:
    """The address of a Redis whose user may neither publish nor subscribe."""
    server = new_redis()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "mute", "on", ">secret", "~*", "resetchannels", "+@all", "-@pubsub")
    return server.tcp_url.replace("redis://", "redis://mute:secret@")


def test_who_may_not_listen_asks(mute: str, namespace: str, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(mute, namespace, timeout=PATIENT)
    granted(store, "k", life=MINUTE)
    with ThreadPoolExecutor() as pool, caplog.at_level(logging.WARNING, "cachefence_web"):
        waiting = pool.submit(store.perform, Wait("k", "t", MINUTE))
        until(lambda: "nobody tells them" in caplog.text)
        store.perform(Release("k", "t"))
        assert waiting.result() < MINUTE
    store.close()


async def test_who_may_not_listen_asks_in_a_loop_too(
    mute: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_async_store(mute, namespace, timeout=PATIENT)
    await store.perform(Claim("k", "t", MINUTE))
    with caplog.at_level(logging.WARNING, "cachefence_web"):
        waiting = asyncio.ensure_future(store.perform(Wait("k", "t", MINUTE)))
        await asyncio.to_thread(until, lambda: "nobody tells them" in caplog.text)
        await store.perform(Release("k", "t"))
        assert await waiting < MINUTE
    await store.aclose()


def test_p6_whoever_waits_while_redis_goes_away_looks_for_themselves(
    new_redis: Callable[..., RedisServer], namespace: str
) -> None:
    server = new_redis()
    store = open_store(server.url, namespace, timeout=PATIENT)
    granted(store, "k", life=MINUTE)
    before = set(threading.enumerate())
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(store.perform, Wait("k", "t", MINUTE))
        until(lambda: listens(before))
        server.kill()
        assert waiting.result() < MINUTE
    store.close()


async def test_a_stand_in_for_redis_wakes_as_well(namespace: str) -> None:
    server = fakeredis.FakeServer()
    blocking = open_store(fakeredis.FakeRedis(server=server), namespace, timeout=PATIENT)
    store = open_async_store(fakeredis.FakeAsyncRedis(server=server), namespace, timeout=PATIENT)
    granted(blocking, "k", life=MINUTE)
    waits = [asyncio.ensure_future(store.perform(Wait("k", "t", MINUTE))),
             asyncio.ensure_future(asyncio.to_thread(blocking.perform, Wait("k", "t", MINUTE)))]
    await asyncio.sleep(0)
    await store.perform(Delete("k"))
    assert max(await asyncio.gather(*waits)) < MINUTE
    await store.aclose()
    blocking.close()
