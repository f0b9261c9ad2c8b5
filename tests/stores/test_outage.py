"""P6: a Redis that is hung, gone, loading, full or forbidding costs one deadline, and the message says what to do."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from select import select
from time import monotonic
from typing import Any

import pytest
import redis

from cachefence_web.core.effects import ANY, Add, Claim, Filed, Fill, Invalidate, Put, Read, StoreEffect, TakeInstant
from cachefence_web.core.entry import Kind
from cachefence_web.core.tags import Lease
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis import open_async_store, open_store, storetime
from cachefence_web.stores.redis.link import BoundedSocket
from tests.servers import RedisServer, describe_redis, redis_binaries
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, hurry, servable

MINUTE = 60.0
DEADLINE = 0.3
GENEROUS = 4.5
"""Seconds within which an operation with that deadline has ended on a busy machine, and before redis-py's own, five."""

COLOURS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def opened(where: Any, namespace: str, *, asynchronous: bool, timeout: float = PATIENT) -> Any:
    if asynchronous:
        return Blocking(open_async_store(where, namespace, timeout=timeout))
    return open_store(where, namespace, timeout=timeout)


def refused(store: Any, effect: StoreEffect[Any]) -> str:
    """The message of a step that fails within its deadline."""
    began = monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        store.perform(effect)
    assert monotonic() - began < GENEROUS
    assert caught.value.__cause__ is not None
    return str(caught.value)


@COLOURS
def test_p6_a_hung_server_costs_one_deadline_and_is_forgiven(
    new_redis: Callable[..., RedisServer], namespace: str, asynchronous: bool
) -> None:
    server = new_redis()
    store = opened(server.url, namespace, asynchronous=asynchronous)
    fill(store, "k", "a")
    server.pause()
    hurry(store, DEADLINE)
    for effect in (Read("k"), Invalidate(("a",)), Claim("k", "t", MINUTE)):
        assert "`timeout`" in refused(store, effect)
    assert all(isinstance(one, StoreUnavailable) for one in store.perform_all([Read("k"), TakeInstant()]))
    server.resume()
    hurry(store, PATIENT)
    assert store.perform(TakeInstant())
    store.close()


def test_p6_who_comes_late_to_an_attempt_that_fails_has_a_deadline_of_their_own(
    new_redis: Callable[..., RedisServer], namespace: str
) -> None:
    server = new_redis()

    async def late() -> Lease:
        store = open_async_store(server.url, namespace, timeout=1.0)
        server.pause()
        line, _ = store._here()
        first = asyncio.ensure_future(store.perform(TakeInstant()))
        await asyncio.sleep(0.1)
        line._timeout = PATIENT
        second = asyncio.ensure_future(store.perform(TakeInstant()))
        with pytest.raises(StoreUnavailable):
            await first
        server.resume()
        try:
            return await second
        finally:
            await store.aclose()

    assert asyncio.run(late())


@COLOURS
def test_p6_connecting_to_a_hung_server_costs_one_deadline(
    new_redis: Callable[..., RedisServer], namespace: str, asynchronous: bool
) -> None:
    server = new_redis()
    server.pause()
    for url in (server.url, f"{server.tcp_url}?client_name=x", server.tcp_url.replace("//", "//user:word@")):
        store = opened(url, namespace, asynchronous=asynchronous, timeout=DEADLINE)
        refused(store, Read("k"))
        store.close()
    server.resume()


@COLOURS
def test_p6_a_server_that_is_not_there_costs_nothing(namespace: str, asynchronous: bool) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        store = opened(url, namespace, asynchronous=asynchronous, timeout=DEADLINE)
        assert "see whether it is up" in refused(store, Read("k"))
        store.close()
    store = opened("unix:///nowhere.sock", namespace, asynchronous=asynchronous, timeout=DEADLINE)
    refused(store, Read("k"))
    store.close()


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A host with four addresses, none of which answers a connection: their queues are full."""
    listeners, callers = [], []
    for _ in range(4):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        listeners.append(listener)
        for _ in range(3):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
            callers.append(caller)
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "four.example":
            return resolve(host, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", listener.getsockname()) for listener in listeners]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    yield "four.example"
    for one in (*callers, *listeners):
        one.close()


@pytest.mark.parametrize(("url", "timeout"), [
    ("redis://{}", 2.5), ("redis+sentinel://{}/shop", 2.5),
], ids=["plain", "sentinel"])
def test_p6_all_addresses_of_a_host_share_one_deadline(
    unreachable: str, namespace: str, url: str, timeout: float
) -> None:
    store = open_store(url.format(unreachable), namespace, timeout=timeout)
    began = monotonic()
    with pytest.raises(StoreUnavailable):
        store.perform(Read("k"))
    assert monotonic() - began < timeout * 3, "it is four times as long if each has the time that is meant for all"
    store.close()


@pytest.fixture(params=redis_binaries(), ids=describe_redis)
def every_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server of each version here."""
    with RedisServer(request.param) as server:
        yield server


@COLOURS
def test_p5_a_server_that_was_made_a_replica_answers_no_look_for_long(
    every_redis: RedisServer, namespace: str, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(every_redis.url, namespace, asynchronous=asynchronous)
    fill(store, "k")
    with redis.Redis.from_url(every_redis.url) as client:
        client.replicaof("127.0.0.1", "1")
        assert servable(store.perform(Read("k"))), "it hung up on nobody, and a look writes nothing"
        with monkeypatch.context() as at_once:
            at_once.setattr(storetime, "RESAMPLE", -1)
            assert "name its primary" in refused(store, Read("k"))
        assert "name its primary" in refused(store, Read("k")), "nor does it on a new connection"
        client.replicaof("NO", "ONE")
    assert store.perform(TakeInstant())
    store.close()


@COLOURS
def test_p6_whoever_may_not_persist_or_lacks_replicas_may_look(
    every_redis: RedisServer, namespace: str, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storetime, "RESAMPLE", -1)
    with redis.Redis.from_url(every_redis.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">w", "~*", "&*", "+@all", "-persist")
        store = opened(every_redis.tcp_url.replace("//", "//app:w@"), namespace, asynchronous=asynchronous)
        fill(store, "k")
        assert servable(store.perform(Read("k")))
        client.config_set("min-replicas-to-write", 1)
        assert servable(store.perform(Read("k")))
    store.close()


@pytest.fixture
def trickling() -> Iterator[str]:
    """The address of a server that answers anything with a very long reply, a byte at a time."""
    ended = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"$5000\r\n")
            while not ended.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=trickle, args=(connection,)))
            threads[-1].start()

    listener = socket.create_server(("127.0.0.1", 0))
    threads = [threading.Thread(target=serve)]
    threads[0].start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
    ended.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join()


@COLOURS
def test_p6_the_deadline_bounds_the_whole_operation(trickling: str, namespace: str, asynchronous: bool) -> None:
    store = opened(trickling, namespace, asynchronous=asynchronous, timeout=DEADLINE)
    refused(store, Read("k"))
    store.close()


@COLOURS
def test_p6_a_server_restarted_between_two_calls_costs_neither(
    new_redis: Callable[..., RedisServer], namespace: str, asynchronous: bool
) -> None:
    server = new_redis()
    store = opened(server.url, namespace, asynchronous=asynchronous)
    for effect in (Read("k"), TakeInstant(), Claim("other", "t", MINUTE)):
        store.perform(TakeInstant())
        server.restart()
        store.perform(effect)
    lease = store.perform(TakeInstant())
    server.restart()
    assert store.perform(Put("k", entry_of(lease), MINUTE, ANY)) is Filed.INVALIDATED
    store.close()


def test_p2_a_put_whose_answer_was_lost_is_not_sent_again(redis_url: str, namespace: str) -> None:
    """It could come to lie over a newer one; an addition would count twice."""
    store = open_store(redis_url, namespace, timeout=PATIENT)
    lease = store.perform(TakeInstant())
    number = entry_of(lease, payload=b"1", kind=Kind.NUMBER)
    assert store.perform(Put("n", number, MINUTE, ANY)) is Filed.ADMITTED
    assert store.perform(Add("n", lease, 1)) == 2
    link = store._pool.take(monotonic() + PATIENT)
    assert link._bounds is not None
    link._bounds = Deaf(link._bounds._socket, monotonic())
    store._pool.give(link)
    with pytest.raises(StoreUnavailable):
        store.perform(Add("n", lease, 1))
    assert store.perform(Add("n", lease, 1)) == 4
    store.close()


class Deaf(BoundedSocket):
    """A socket that sends, and then loses the connection."""

    def recv_into(self, buffer: Any) -> int:
        super().recv_into(buffer)
        raise ConnectionResetError("the answer is lost")


def test_p2_a_delayed_put_arrives_late(new_redis: Callable[..., RedisServer], namespace: str) -> None:
    server = new_redis()
    slow = open_store(server.url, namespace, timeout=PATIENT)
    other = open_store(server.url, namespace, timeout=PATIENT)
    lease = slow.perform(TakeInstant())
    # Half of what its caller waits, so that there is no doubt on which side of it the server wakes up.
    slow._commands._deadline = int(DEADLINE * 500_000)
    server.pause()
    hurry(slow, DEADLINE)
    with pytest.raises(StoreUnavailable):
        slow.perform(Put("k", entry_of(lease, payload=b"old"), MINUTE, ANY))
    server.resume()
    entry = other.perform(Read("k")).entry
    newer = entry_of(other.perform(TakeInstant()), payload=b"new")
    assert other.perform(Put("k", newer, MINUTE, ANY)) is Filed.ADMITTED
    assert entry is None
    assert other.perform(Read("k")).entry == newer
    slow.close()
    other.close()


def test_p6_a_put_that_arrives_after_its_deadline_says_so(redis_url: str, namespace: str) -> None:
    store = open_store(redis_url, namespace, timeout=PATIENT)
    lease = store.perform(TakeInstant())
    store._commands._deadline = -1_000_000
    assert store.perform(Put("k", entry_of(lease), MINUTE, ANY)) is Filed.LATE
    assert store.perform(Read("k")).entry is None
    store.close()


@COLOURS
def test_p6_what_redis_refuses_comes_with_a_remedy(
    new_redis: Callable[..., RedisServer], namespace: str, asynchronous: bool
) -> None:
    server = new_redis()
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">w", "~*", "&*", "+@read", "+@connection", "+info")
        client.execute_command("ACL", "SETUSER", "default", ">secret")
        refusals = {
            "correct the URL": server.tcp_url,
            "ACL": server.tcp_url.replace("//", "//reader:w@"),
        }
        for remedy, url in refusals.items():
            store = opened(url, namespace, asynchronous=asynchronous)
            assert remedy in refused(store, Read("k"))
            store.close()
        store = opened(server.tcp_url.replace("//", "//:secret@"), namespace, asynchronous=asynchronous)
        lease = granted(store, "k")
        client.config_set("maxmemory", "1")
        assert "maxmemory" in refused(store, Fill("k", "t", entry_of(lease), MINUTE))
        client.config_set("maxmemory", "0")
        client.replicaof("127.0.0.1", "1")
        assert "primary" in refused(store, Fill("k", "t", entry_of(lease), MINUTE))
        client.replicaof("NO", "ONE")
        assert fill(store, "other") is Filed.ADMITTED
        store.close()


def test_p6_a_pool_that_is_used_up_is_waited_for_until_the_deadline(
    redis_url: str, namespace: str
) -> None:
    store = open_store(redis_url, namespace, timeout=DEADLINE, max_connections=2)
    held = [store._pool.take(monotonic() + PATIENT) for _ in range(2)]
    with pytest.raises(StoreUnavailable, match="max_connections"):
        store.perform(Read("k"))
    for link in held:
        store._pool.give(link)
    hurry(store, PATIENT)
    assert store.perform(TakeInstant())
    store.close()


async def test_p7_a_cancelled_caller_affects_nobody_else(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)
    steps = [asyncio.ensure_future(store.perform(effect)) for _ in range(20)
             for effect in (Read("same"), Read("k"), TakeInstant())]
    await asyncio.sleep(0)
    for step in steps[::2]:
        step.cancel()
    answers = await asyncio.gather(*steps, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert not any(isinstance(answer, BaseException) for answer in answers[1::2])
    await store.aclose()


async def test_p6_a_slow_command_costs_its_caller_and_nobody_behind_it(redis_url: str, namespace: str) -> None:
    """The reply of an overdue one is let pass: it must never be read as somebody else's."""
    store = open_async_store(redis_url, namespace, timeout=PATIENT)
    lease = (await store.perform(Claim("k", "t", MINUTE))).lease
    assert lease is not None
    assert await store.perform(Fill("k", "t", entry_of(lease, payload=b"v"), MINUTE)) is Filed.ADMITTED
    line, _ = store._here()
    overdue = asyncio.ensure_future(store.perform(TakeInstant()))
    behind = asyncio.ensure_future(store.perform(Read("k")))
    await asyncio.sleep(0)
    job = next(iter(line._jobs))
    job.deadline = 0.0
    line._watch()
    with pytest.raises(StoreUnavailable):
        await overdue
    look = await behind
    assert look.entry is not None
    assert look.entry.payload == b"v"
    assert servable(look)
    await store.aclose()


def test_p6_what_arrived_while_the_process_stood_still_is_an_answer(
    redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, late = BoundedSocket.recv_into, True

    def stand_still(bounded: BoundedSocket, buffer: Any) -> int:
        if late:
            select([bounded], [], [], PATIENT)
            bounded.deadline = monotonic() - 1.0
        return receive(bounded, buffer)

    store = open_store(redis_url, namespace, timeout=PATIENT)
    fill(store, "k", payload=b"v")
    monkeypatch.setattr(BoundedSocket, "recv_into", stand_still)
    entry = store.perform(Read("k")).entry
    assert entry is not None
    assert entry.payload == b"v"
    late = False
    assert store.perform(TakeInstant())
    store.close()


def test_p6_nothing_is_waited_for_after_the_deadline() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(PATIENT)
        bounded, buffer = BoundedSocket(one, monotonic() - 1.0), bytearray(8)
        other.sendall(b"ab")
        assert bounded.recv_into(buffer) == 2
        with pytest.raises(TimeoutError):
            bounded.recv_into(buffer)
        with pytest.raises(TimeoutError):
            bounded.sendall(b"ab")
        assert one.gettimeout() == PATIENT


async def test_p6_what_arrived_while_the_loop_stood_still_is_an_answer(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)
    line, _ = store._here()
    greet, sent = line._greet, asyncio.Queue[Any]()

    async def greeted(connection: Any) -> None:
        await greet(connection)
        send = connection.send_packed_command

        async def send_and_tell(*command: Any, **terms: Any) -> None:
            await send(*command, **terms)
            sent.put_nowait(connection._writer.get_extra_info("socket"))

        connection.send_packed_command = send_and_tell

    line._greet = greeted
    assert await store.perform(TakeInstant())
    await sent.get()
    asked = asyncio.ensure_future(store.perform(TakeInstant()))
    select([await sent.get()], [], [], PATIENT)
    next(iter(line._jobs)).deadline = 0.0
    line._timer.cancel()
    line._watch_from(line._loop.time() - 1.0)
    assert await asked
    await store.aclose()


async def test_an_answer_that_nobody_foresaw_is_its_caller_s_only(redis_url: str, namespace: str) -> None:
    store = open_async_store(redis_url, namespace, timeout=PATIENT)
    line, _ = store._here()

    def strange() -> Any:
        yield [("PING",)]
        raise ZeroDivisionError

    broken, sound = line.run(strange, repeat=True), store.perform(TakeInstant())
    with pytest.raises(ZeroDivisionError):
        await broken
    assert await sound
    await store.aclose()
