"""P10: threads, loops that come and go, forks, and whatever way to a Redis a user has."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio

from cachefence_web.core.effects import ANY, Claim, Delete, Filed, Put, Read, Release, TakeInstant, Wait
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.stores.redis import AsyncRedisStore, open_async_store, open_store
from tests.servers import RedisServer, free_port
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, named, servable

MINUTE = 60.0


def both(where: Any, namespace: str) -> list[Any]:
    return [open_store(where, namespace, timeout=PATIENT),
            Blocking(open_async_store(where, namespace, timeout=PATIENT))]


def check(store: Any, key: str = "k") -> None:
    assert fill(store, key, "a", payload=b"\x00\xff") is Filed.ADMITTED
    look = store.perform(Read(key))
    assert servable(look)
    assert look.entry.payload == b"\x00\xff"
    store.perform(Delete(key))


@pytest.mark.parametrize("options", [
    {}, {"decode_responses": True}, {"protocol": 3}, {"protocol": 3, "decode_responses": True}, {"db": 3},
    {"socket_timeout": 0.001, "health_check_interval": 1, "max_connections": 1},
], ids=str)
def test_a_client_of_the_user_s_own_shows_the_way(
    redis_server: RedisServer, namespace: str, options: dict[str, Any]
) -> None:
    clients = [redis.Redis.from_url(redis_server.url, **options),
               redis.Redis(host="127.0.0.1", port=redis_server.port, **options),
               redis.asyncio.Redis.from_url(redis_server.url, **options),
               redis.asyncio.Redis(host="127.0.0.1", port=redis_server.port, **options)]
    for client in clients:
        stores = both(client, namespace)
        for store in stores:
            check(store)
            store.close()


@pytest.mark.parametrize("make", [fakeredis.FakeRedis, fakeredis.FakeAsyncRedis], ids=["sync", "async"])
def test_a_stand_in_shows_the_way_to_the_same_data(namespace: str, make: Any) -> None:
    blocking, awaited = both(make(), namespace)
    fill(blocking, "k", "a", payload=b"shared")
    look = awaited.perform(Read("k"))
    assert look.entry.payload == b"shared"
    assert servable(look)
    assert blocking.identity == awaited.store.identity
    blocking.close()
    awaited.close()


def test_equal_ways_have_one_identity(redis_server: RedisServer, namespace: str) -> None:
    blocking, awaited = both(redis_server.tcp_url, namespace)
    client = redis.Redis(host="127.0.0.1", port=redis_server.port)
    assert blocking.identity == awaited.store.identity == open_store(client, namespace).identity
    assert blocking.identity != open_store(redis_server.tcp_url, "other").identity
    assert blocking.identity != open_store(redis_server.tcp_url[:-1] + "1", namespace).identity
    awaited.close()


@pytest.mark.parametrize("url", [
    "http://localhost", "redis://localhost:port", "redis://localhost?unknown=1", "redis://localhost/shop",
    "redis://localhost?db=x", "localhost",
])
def test_a_url_that_cannot_work_is_refused_at_once(url: str) -> None:
    for opener in (open_store, open_async_store):
        with pytest.raises(ConfigurationError):
            opener(url, "shop")


def test_p11_a_refusal_does_not_tell_the_password() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store("redis://user:hunter2@localhost?unknown=1", "shop")
    assert "hunter2" not in str(refused.value)
    assert "***@localhost" in str(refused.value)


def test_a_connection_that_exists_in_one_colour_only_is_for_that_face() -> None:
    class OwnConnection(redis.Connection):
        pass

    client = redis.Redis(connection_pool=redis.ConnectionPool(OwnConnection))
    with pytest.raises(ConfigurationError, match="CacheFence"):
        open_async_store(client, "shop")
    open_store(client, "shop")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key and a certificate of the loopback address."""
    folder = tmp_path_factory.mktemp("tls")
    command = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
               " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem")
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def test_tls(new_redis: Callable[..., RedisServer], namespace: str, certificate: Path) -> None:
    port = free_port()
    new_redis(args=[
        "--tls-port", str(port), "--tls-cert-file", str(certificate / "cert.pem"),
        "--tls-key-file", str(certificate / "key.pem"), "--tls-auth-clients", "no"])
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate / 'cert.pem'}"
    blocking, awaited = both(url, namespace)
    check(blocking)
    check(awaited)
    lease = granted(blocking, "k", life=MINUTE)
    assert lease
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(blocking.perform, Wait("k", "t", MINUTE)) for _ in range(3)]
        blocking.perform(Delete("k"))
        assert max(wait.result() for wait in waits) < MINUTE
    blocking.close()
    awaited.close()


def test_p10_five_hundred_threads_share_a_store(redis_url: str, namespace: str) -> None:
    store = open_store(named(redis_url, namespace), namespace, timeout=PATIENT * 3)
    fill(store, "k", "a")
    together = threading.Barrier(500)

    def work(number: int) -> bool:
        together.wait()
        looks = [store.perform(Read("k")) for _ in range(3)]
        return all(map(servable, looks)) and fill(store, f"own:{number}", "a") is Filed.ADMITTED

    with ThreadPoolExecutor(500) as pool:
        assert all(pool.map(work, range(500)))
    assert len(connected(redis_url, namespace)) <= 50
    store.close()


async def test_p10_five_hundred_tasks_share_a_store(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT * 3)

    async def work(number: int) -> bool:
        lease = (await store.perform(Claim(f"own:{number}", "t", MINUTE))).lease
        assert lease is not None
        filed = await store.perform(Put(f"own:{number}", entry_of(lease, "a", f"b:{number}"), MINUTE, ANY))
        looks = await asyncio.gather(*[store.perform(Read(f"own:{number - step}")) for step in range(2)])
        return filed is Filed.ADMITTED and servable(looks[0])

    assert all(await asyncio.gather(*[work(number) for number in range(500)]))
    await store.aclose()


def test_p10_loops_come_and_go(redis_url: str, namespace: str) -> None:
    store = open_async_store(named(redis_url, namespace), namespace, timeout=PATIENT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            assert asyncio.run(store.perform(TakeInstant()))
            asyncio.run(wait_a_little(store))
        gc.collect()
    assert len(store._ends) <= 1
    assert len([line for line in connected(redis_url, namespace) if "evalsha" in line["cmd"]]) <= 1


async def wait_a_little(store: AsyncRedisStore) -> None:
    await store.perform(Claim("k", "t", MINUTE))
    await store.perform(Wait("k", "t", 0.02))


def test_p10_loops_in_threads_share_a_store(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)

    async def work() -> bool:
        looks = await asyncio.gather(*[store.perform(Read(f"k{number}")) for number in range(20)])
        return len(looks) == 20

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: asyncio.run(work()), range(40)))


def test_p10_a_task_that_is_cut_off_by_its_loop_s_end_leaves_no_warning(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)

    async def begin() -> None:
        asyncio.get_running_loop().create_task(store.perform(TakeInstant())).add_done_callback(lambda _: None)
        await asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            asyncio.run(begin())
        gc.collect()
    assert asyncio.run(store.perform(TakeInstant()))


def test_p10_a_forked_child_leaves_its_parent_s_connections_alone(redis_url: str, namespace: str) -> None:
    store = open_store(named(redis_url, namespace), namespace, timeout=PATIENT)
    fill(store, "k", "a")
    granted(store, "held", life=MINUTE)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(store.perform, Wait("held", "t", MINUTE))
        before = ids_of(redis_url, namespace)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    served = servable(store.perform(Read("k"))) and store.perform(Wait("held", "t", 0.01)) > 0
                    status = 0 if served else 1
                    store.close()
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert servable(store.perform(Read("k")))
        assert before
        assert before <= ids_of(redis_url, namespace)
        store.perform(Delete("held"))
        assert waiting.result() < MINUTE
    store.close()


def test_p10_a_child_forked_from_a_loop_begins_a_loop_of_its_own(redis_url: str, namespace: str) -> None:
    store = open_async_store(named(redis_url, namespace), namespace, timeout=PATIENT)
    runner = asyncio.Runner()
    runner.run(store.perform(TakeInstant()))
    before = ids_of(redis_url, namespace)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.set_event_loop(None)
            asyncio.run(store.perform(TakeInstant()))
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert runner.run(store.perform(TakeInstant()))
    assert before
    assert before <= ids_of(redis_url, namespace)
    runner.run(store.aclose())
    runner.close()


def connected(url: str, name: str) -> list[dict[str, str]]:
    """What the server tells of the connections of this name: other tests may have left some of theirs."""
    with redis.Redis.from_url(url) as client:
        return [line for line in client.client_list() if line["name"] == name]


def ids_of(url: str, name: str) -> set[str]:
    return {line["id"] for line in connected(url, name)}


def open_files() -> set[str]:
    """What this process has open; no socket has the name of another that was."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return found


def test_a_closed_store_opens_again(redis_url: str, namespace: str) -> None:
    for store in both(redis_url, namespace):
        check(store)
        if isinstance(store, Blocking):
            store.runner.run(store.store.aclose())
        else:
            store.close()
        check(store)
        store.close()


def test_p10_what_is_cancelled_with_its_loop_opens_no_connection_that_nobody_closes(
    redis_url: str, namespace: str
) -> None:
    """A cancelled compute releases its lease; by then the loop's connection may have been cancelled too."""
    refused: list[StoreUnavailable] = []

    async def main() -> None:
        store = open_async_store(redis_url, namespace, timeout=PATIENT)
        await store.perform(TakeInstant())
        line, _ = store._here()

        async def leave() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                while line._session is not None:  # noqa: ASYNC110 - a session has no event for others
                    await asyncio.sleep(0)
                try:
                    await store.perform(Release("k", "t"))
                except StoreUnavailable as error:
                    refused.append(error)

        leaving.append(asyncio.create_task(leave()))
        await asyncio.sleep(0)

    leaving: list[asyncio.Task[None]] = []
    before = open_files()
    asyncio.run(main())
    leaving.clear()
    gc.collect()
    assert len(refused) == 1
    assert not open_files() - before


async def test_p10_a_connection_that_was_cancelled_is_made_anew_for_whoever_goes_on(
    redis_url: str, namespace: str
) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)
    await store.perform(TakeInstant())
    line, _ = store._here()
    session = line._session
    assert session is not None
    session.cancel()
    await asyncio.gather(session, return_exceptions=True)
    assert await store.perform(TakeInstant())
    await store.aclose()
