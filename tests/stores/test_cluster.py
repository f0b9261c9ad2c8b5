"""A Redis Cluster: what belongs together is kept together, slots move, nodes die, and the promises hold."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any
from uuid import uuid4

import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.core.effects import (
    ANY,
    Add,
    Claim,
    Delete,
    Filed,
    Fill,
    Invalidate,
    Put,
    Read,
    Release,
    TakeInstant,
    Wait,
)
from cachefence_web.core.entry import Kind
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.stores.memory import MemoryStore
from cachefence_web.stores.redis import aiolistener, listener, open_async_store, open_store
from cachefence_web.stores.redis.cluster import link, slots
from cachefence_web.stores.redis.cluster.slots import Node, slot_of
from cachefence_web.stores.redis.link import Link
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.scripts import call, scripts
from tests.servers import RedisCluster, RedisServer
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, hurry, servable
from tests.stores.test_differential import STEPS, Side, Step

MINUTE = 60.0
SHORT = 0.5
"""A deadline that is meant to be over."""

COLOURS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def opened(where: Any, namespace: str, *, asynchronous: bool, timeout: float = PATIENT) -> Any:
    if asynchronous:
        return Blocking(open_async_store(where, namespace, timeout=timeout))
    return open_store(where, namespace, timeout=timeout)


@dataclass(frozen=True)
class Placed:
    """Where a namespace's metadata are, and keys that live elsewhere."""

    cluster: RedisCluster
    namespace: str

    def server(self, slot: int) -> RedisServer:
        """The primary of a slot."""
        for first, last, primary, *_ in self.cluster.ask(self.cluster.primaries[-1], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(one for one in self.cluster.servers if one.port == primary[1])
        raise AssertionError(slot)

    @property
    def home(self) -> RedisServer:
        return self.server(slot_of(Names(self.namespace).epoch))

    def slot(self, key: str) -> int:
        return slot_of(Names(self.namespace).entry(key))

    def keys_on(self, server: RedisServer) -> Iterator[str]:
        """Keys whose primary it is."""
        ranges = [(first, last) for first, last, primary, *_ in self.cluster.ask(server, "CLUSTER", "SLOTS")
                  if primary[1] == server.port]
        return (key for key in map("k{}".format, count())
                if any(first <= self.slot(key) <= last for first, last in ranges))

    def away(self) -> RedisServer:
        """A primary that has no metadata."""
        return next(server for server in self.cluster.primaries if server is not self.home)


@pytest.fixture
def placed(cluster: RedisCluster, namespace: str) -> Placed:
    return Placed(cluster, namespace)


# Naming a cluster.


@pytest.mark.parametrize(("url", "says"), [
    ("redis+cluster://", "host:port,host:port"),
    ("redis+cluster://a:1,", "host:port,host:port"),
    ("redis+cluster://a:x", "host:port,host:port"),
    ("redis+cluster://a:0", "host:port,host:port"),
    ("redis+cluster://a:1,b:2/3", "database 0"),
    ("redis+cluster://a:1?db=3", "database 0"),
    ("redis+cluster://user:hunter2@a:1?unknown=1", "unknown"),
])
def test_a_cluster_s_url_that_cannot_work_is_refused_at_once(url: str, says: str) -> None:
    for opener in (open_store, open_async_store):
        with pytest.raises(ConfigurationError, match=says) as refused:
            opener(url, "shop")
        assert "hunter2" not in str(refused.value)


def test_one_cluster_has_one_identity_whatever_the_order_of_its_nodes() -> None:
    first, second = "redis+cluster://a:1,b:2", "redis+cluster://user:word@b:2,a:1"
    assert open_store(first, "shop").identity == open_async_store(second, "shop").identity
    assert open_store(first, "shop").identity == open_store(f"{first},a:1", "shop").identity
    assert open_store(first, "shop").identity != open_store(first, "other").identity
    assert open_store(first, "shop").identity != open_store("redis+cluster://a:1", "shop").identity


@COLOURS
def test_a_cluster_client_of_the_user_s_own_shows_the_way(
    cluster: RedisCluster, namespace: str, asynchronous: bool
) -> None:
    port = cluster.primaries[1].port
    told: set[tuple[str, int]] = set()

    def reached(address: tuple[str, int]) -> tuple[str, int]:
        told.add(address)
        return "localhost", address[1]

    with redis.RedisCluster(host="127.0.0.1", port=port, client_name="shown", address_remap=reached) as client:
        store = opened(client, namespace, asynchronous=asynchronous)
    told.clear()
    fill(store, "k", "a")
    assert told == {("127.0.0.1", server.port) for server in cluster.servers}
    store.close()
    store = opened(redis.asyncio.RedisCluster(host="127.0.0.1", port=port), namespace, asynchronous=asynchronous)
    assert servable(store.perform(Read("k")))
    store.close()


@COLOURS
@pytest.mark.parametrize(("address", "says"), [
    ("redis+cluster://127.0.0.1:{port}", "no Redis Cluster: write redis://.*cluster support disabled"),
    ("redis+cluster://:wrong@127.0.0.1:{port}", "correct the URL"),
    ("redis+cluster://127.0.0.1:1", "cannot be reached.*127.0.0.1:1"),
    ("redis+cluster://127.0.0.1:1,127.0.0.1:{port}", "cluster support disabled"),
], ids=["no cluster", "password", "nobody there", "of two"])
def test_p6_a_cluster_that_cannot_be_asked_is_refused_with_the_reason(
    redis_server: RedisServer, namespace: str, asynchronous: bool, address: str, says: str
) -> None:
    store = opened(address.format(port=redis_server.port), namespace, asynchronous=asynchronous)
    for act in (lambda: store.perform(Read("k")), lambda: list(store.scan("*"))):
        with pytest.raises(StoreUnavailable, match=f"(?s){says}") as refused:
            act()
        assert "no node serves" not in str(refused.value)
    store.close()


def test_a_node_of_a_cluster_that_is_named_as_one_redis_says_how_to_name_it(placed: Placed) -> None:
    with pytest.raises(StoreUnavailable, match=r"redis\+cluster://"):
        open_store(placed.home.tcp_url, placed.namespace, timeout=PATIENT).perform(Claim("k", "t", MINUTE))


def test_a_cluster_whose_slots_nobody_serves_says_so(namespace: str) -> None:
    with RedisCluster(primaries=1).servers[0] as alone:
        store = open_store(alone.tcp_url.replace("redis:", "redis+cluster:"), namespace, timeout=PATIENT)
        with pytest.raises(StoreUnavailable, match="no node serves"):
            store.perform(Read("k"))


# Steps.


@COLOURS
def test_a_process_that_meets_a_cluster_first_loses_nothing_later(placed: Placed, asynchronous: bool) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous)
    keys = [next(placed.keys_on(server)) for server in placed.cluster.primaries]
    for key in keys:
        fill(store, key, "shared", key)
    other = opened(placed.cluster.url, placed.namespace, asynchronous=not asynchronous)
    assert all(servable(one.perform(Read(key))) for one in (store, other) for key in keys)
    assert all(map(servable, other.perform_all([Read(key) for key in keys])))
    store.close()
    other.close()


@COLOURS
def test_scripts_that_every_node_forgot_are_told_again(placed: Placed, asynchronous: bool) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous)
    keys = [next(placed.keys_on(server)) for server in placed.cluster.primaries]
    for key in keys:
        for server in placed.cluster.primaries:
            placed.cluster.ask(server, "SCRIPT", "FLUSH")
        assert fill(store, key, "a") is Filed.ADMITTED
        for server in placed.cluster.primaries:
            placed.cluster.ask(server, "SCRIPT", "FLUSH")
        lease = store.perform(TakeInstant())
        number = entry_of(lease, "a", payload=b"1", kind=Kind.NUMBER)
        assert store.perform_all([Put(key, number, MINUTE, ANY), Add(key, lease, 2)]) == [Filed.ADMITTED, 3]
    store.close()


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_a_cluster_answers_as_the_memory_does(cluster: RedisCluster, steps: list[Step]) -> None:
    namespace = f"d{uuid4().hex[:10]}"
    memory = Side(MemoryStore(namespace))
    remote = Side(opened(cluster.url, namespace, asynchronous=False))
    first = Step("instant", "k", (), "t", 0, True, Kind.VALUE)
    told = [(step, memory.take(step), remote.take(step)) for step in (first, *steps)]
    assert [here for _, here, _ in told] == [there for _, _, there in told], told
    remote.store.close()


def refused_put(placed: Placed, *, late: bool, elsewhere: bool) -> tuple[bytes, bytes]:
    """A put that its node must not take: what it says, and what stands there then."""
    key = next(placed.keys_on(placed.away()))
    names, ask = Names(placed.namespace), placed.cluster.ask
    entry, lease, error = names.of_key(key)
    for name in (entry, lease, error):
        ask(placed.away(), "SET", name, "before")
    time, node = ask(placed.away(), "EVAL", scripts()["time"].source, 1, entry)
    command = call("lay", [entry, lease, error], [
        "admitted", "after", "", names.channel(key), "any", int(time) + (-1 if late else 10**9),
        b"another" if elsewhere else node])
    said = ask(placed.away(), "EVAL", scripts()["lay"].source, *command[2:])
    return said, b"".join(ask(placed.away(), "GET", name) for name in (entry, lease, error))


def test_p9_a_put_is_late_by_the_clock_of_the_node_that_was_asked_for_it(placed: Placed) -> None:
    assert refused_put(placed, late=True, elsewhere=False) == (b"late", b"before" * 3)
    assert refused_put(placed, late=False, elsewhere=True) == (b"moved", b"before" * 3)


def test_a_put_that_finds_another_entry_changes_nothing(placed: Placed) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=False)
    fill(store, "k", "a", payload=b"first")
    granted(store, "k", "computing")
    put = entry_of(store.perform(TakeInstant()), "a", payload=b"second")
    assert store.perform(Put("k", put, MINUTE, None)) is Filed.CONFLICT
    assert store.perform(Read("k")).entry.payload == b"first"
    assert store.perform(Claim("k", "other", MINUTE, None)).holder == "computing"
    store.close()


async def test_reads_of_a_tick_are_one_pipeline_a_node(placed: Placed) -> None:
    store = open_async_store(placed.cluster.url, placed.namespace, timeout=PATIENT)
    keys = [f"k{number}" for number in range(100)]
    lease = await store.perform(TakeInstant())
    await store.perform_all([Put(key, entry_of(lease, "shared", key), MINUTE, ANY) for key in keys])

    def reads() -> int:
        stats = placed.cluster.ask(placed.home, "INFO", "commandstats").decode()
        return int(stats.partition("cmdstat_mget:calls=")[2].partition(",")[0])

    await asyncio.gather(*[store.perform(Read(key)) for key in keys])
    at_home = [key for key in keys if placed.server(placed.slot(key)) is placed.home]
    before = reads()
    looks = await asyncio.gather(*[store.perform(Read(key)) for key in keys])
    assert all(map(servable, looks))
    # An entry each, and the tags once for each node; twenty for what a busy machine may have had to read again.
    assert reads() - before <= len(at_home) + 20
    await store.aclose()


# Waiting.


@COLOURS
def test_p1_who_waits_is_told_by_whatever_node_has_the_key(
    placed: Placed, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (listener, aiolistener):
        monkeypatch.setattr(module, "pause", lambda *, listening: MINUTE)
    store, other = (opened(placed.cluster.url, placed.namespace, asynchronous=one) for one in (asynchronous, False))
    keys = [next(placed.keys_on(server)) for server in placed.cluster.primaries]
    for key in keys:
        granted(other, key, f"holds {key}", life=MINUTE)
        assert store.perform(Claim(key, "waits", MINUTE)).holder == f"holds {key}"
    with ThreadPoolExecutor(1) as pool:
        for key in keys:
            waiting = pool.submit(store.perform, Wait(key, f"holds {key}", MINUTE))
            placed.cluster.until(lambda: any(
                placed.cluster.ask(server, "PUBSUB", "NUMPAT") for server in placed.cluster.servers), "listen")
            other.perform(Release(key, f"holds {key}"))
            assert waiting.result() < MINUTE / 2
    store.close()
    other.close()


# Slots that move.


@dataclass(frozen=True)
class Move:
    """A slot on its way from its primary to another."""

    placed: Placed
    slot: int
    origin: RedisServer
    target: RedisServer

    @classmethod
    def begin(cls, placed: Placed, slot: int) -> Move:
        origin = placed.server(slot)
        target = placed.cluster.primaries[placed.cluster.primaries.index(origin) - 1]
        ask, id_of = placed.cluster.ask, placed.cluster.id_of
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(origin))
        ask(origin, "CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(target))
        return cls(placed, slot, origin, target)

    def carry(self, *names: str) -> None:
        """Move some of what is in it; all, if none is named."""
        found = names or self.placed.cluster.ask(self.origin, "CLUSTER", "GETKEYSINSLOT", self.slot, 1000)
        if found:
            self.placed.cluster.ask(
                self.origin, "MIGRATE", "127.0.0.1", self.target.port, "", 0, 10_000, "KEYS", *found)

    def end(self) -> None:
        """Move the rest, and say so to every node."""
        self.carry()
        owner = self.placed.cluster.id_of(self.target)
        for server in (self.target, self.origin, *self.placed.cluster.servers):
            with suppress(redis.ResponseError):
                self.placed.cluster.ask(server, "CLUSTER", "SETSLOT", self.slot, "NODE", owner)


@COLOURS
def test_a_slot_on_its_way_is_read_in_both_places_and_written_when_it_has_arrived(
    placed: Placed, asynchronous: bool
) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous)
    moving, staying = some_of_one_slot(placed, 2)
    for key in (moving, staying):
        fill(store, key, "a", payload=key.encode())
    move = Move.begin(placed, placed.slot(moving))
    move.carry(Names(placed.namespace).entry(moving))
    try:
        looks = store.perform_all([Read(key) for key in (moving, staying)])
        assert [look.entry.payload for look in looks] == [moving.encode(), staying.encode()]
        assert servable(store.perform(Read(moving)))
        hasty = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous, timeout=SHORT)
        with pytest.raises(StoreUnavailable, match=r"being moved to another node|no answer in time"):
            hasty.perform(Delete(moving))
        hasty.close()
        with ThreadPoolExecutor(1) as pool:
            deleted = pool.submit(store.perform, Delete(moving))
            move.end()
            assert deleted.result() is True
    finally:
        move.end()
    assert fill(store, moving, "a", payload=b"new") is Filed.ADMITTED
    assert servable(store.perform(Read(staying)))
    store.close()


def some_of_one_slot(placed: Placed, many: int) -> list[str]:
    """Keys that share a slot, which is not the metadata's."""
    by_slot: dict[int, list[str]] = {}
    for key in placed.keys_on(placed.away()):
        there = by_slot.setdefault(placed.slot(key), [])
        there.append(key)
        if len(there) == many:
            return there
    raise AssertionError


def test_p2_slots_move_under_load_and_nothing_stale_is_served(placed: Placed) -> None:
    """Versions are raised, then told; whoever read a version before that must not find an older one after it."""
    fences = [CacheFence(url, namespace=placed.namespace, timeout=PATIENT) for url in apart(placed.cluster)]
    keys = [next(placed.keys_on(server)) for server in placed.cluster.primaries]
    database, told = dict.fromkeys(keys, 0), dict.fromkeys(keys, 0)
    ended = threading.Event()
    served: list[int] = []

    def read(fence: CacheFence) -> None:
        while not ended.is_set():
            for key in keys:
                least = told[key]
                served.append(fence.get_or_set(key, partial(database.__getitem__, key), ttl=60, tags=[key]))
                assert served[-1] >= least

    async def read_in_a_loop() -> None:
        fence = AsyncCacheFence(placed.cluster.url, namespace=placed.namespace, timeout=PATIENT)
        while not ended.is_set():
            for key in keys:
                least = told[key]
                found: int = await fence.get_or_set(key, partial(database.__getitem__, key), ttl=60, tags=[key])
                assert found >= least
        await fence.aclose()

    def write(fence: CacheFence, key: str) -> None:
        for version in count(1):
            if ended.is_set():
                return
            with fence.fencing(key):
                database[key] = version
            told[key] = version

    slots = [placed.slot(keys[0]), slot_of(Names(placed.namespace).epoch), placed.slot(keys[1])]
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(read, fence) for fence in fences]
        jobs += [pool.submit(write, fences[0], key) for key in keys[:2]]
        jobs.append(pool.submit(asyncio.run, read_in_a_loop()))
        try:
            for slot in slots:
                seen = len(served)
                Move.begin(placed, slot).end()
                placed.cluster.until(partial(went_on, served, seen + 20, jobs), "go on")
        finally:
            ended.set()
        for job in jobs:
            job.result()
    for fence in fences:
        fence.close()


def went_on(served: list[int], least: int, jobs: list[Any]) -> bool:
    """Whether so many reads were served, or somebody broke off."""
    return len(served) > least or any(job.done() for job in jobs)


def apart(cluster: RedisCluster) -> list[str]:
    """Addresses of one cluster that a process takes for three: their callers share no flight."""
    return [f"redis+cluster://127.0.0.1:{server.port}" for server in cluster.primaries]


# Nodes that are away.


@COLOURS
def test_p6_a_hung_node_takes_only_its_own_keys_with_it(placed: Placed, asynchronous: bool) -> None:
    # Whoever meets a node later than the others, for want of time, would begin an epoch, and end what was filled.
    patient = opened(placed.cluster.url, placed.namespace, asynchronous=False)
    store = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous, timeout=SHORT)
    hung = placed.away()
    lost, *kept = [next(placed.keys_on(server)) for server in sorted(
        placed.cluster.primaries, key=lambda server: server is not hung)]
    for key in (lost, *kept):
        assert fill(patient, key, "a") is Filed.ADMITTED
    for key in (lost, *kept):
        until(partial(serves, store, key), True)
    hung.pause()
    try:
        with pytest.raises(StoreUnavailable, match="`timeout`"):
            store.perform(Read(lost))
        for key in kept:
            until(partial(serves, store, key), True)
        until(lambda: [isinstance(one, StoreUnavailable) for one in store.perform_all(
            [Read(key) for key in (lost, *kept)])], [True, False, False])
        until(lambda: store.perform(Invalidate(("a",))) > 0, True)
    finally:
        hung.resume()
    until(partial(serves, store, lost), False)
    store.close()
    patient.close()


def test_p6_a_hung_node_leaves_time_to_connect_to_the_others(placed: Placed) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=False)
    hung = placed.away()
    lost, *kept = [next(placed.keys_on(server)) for server in sorted(
        placed.cluster.primaries, key=lambda server: server is not hung)]
    for key in (lost, *kept):
        fill(store, key)
    store.close()
    hurry(store, 8.0)
    hung.pause()
    try:
        looks = store.perform_all([Read(key) for key in (lost, *kept)])
    finally:
        hung.resume()
    assert [isinstance(look, StoreUnavailable) for look in looks] == [True, False, False]
    store.close()


def test_p6_a_silent_primary_is_left_for_the_replica_that_took_over(
    copied: RedisCluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "PACE", 0.0)
    placed = Placed(copied, namespace)
    stores = [opened(copied.url, namespace, asynchronous=one, timeout=SHORT) for one in (False, True)]
    home, away = placed.home, placed.away()
    keys = [next(placed.keys_on(server)) for server in (home, away)]
    for store in stores:
        for key in keys:
            until(partial(serves, store, key), False)
    silent: list[RedisServer] = []
    for primary in (away, home):
        replica = next(one for one in copied.replicas if copied.ask(one, "ROLE")[2] == primary.port)
        primary.pause()
        silent.append(primary)
        copied.ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        heard = [server for server in copied.servers if server not in silent]
        copied.until(lambda: all(takes_part(copied, server, replica) for server in heard), "fail over")  # noqa: B023
        for store in stores:
            for key in keys:
                until(partial(serves, store, key), False)
    for store in stores:
        store.close()


def test_p6_a_failover_that_nobody_was_silent_in_is_not_noticed(namespace: str) -> None:
    with RedisCluster(primaries=1, replicas=1) as cluster:
        stores = [opened(cluster.url, namespace, asynchronous=one) for one in (False, True)]
        for store in stores:
            granted(store, "k", "token", life=MINUTE)
            store.perform(Release("k", "token"))
        (promoted,) = cluster.replicas
        cluster.ask(promoted, "CLUSTER", "FAILOVER", "TAKEOVER")
        cluster.until(lambda: all(takes_part(cluster, server, promoted) for server in cluster.servers), "fail over")
        for store in stores:
            # The key's node has moved, and so has the home of the metadata, which that node is to be adopted by.
            store.perform(Release("k", "token"))
            store.close()


def test_p6_a_node_s_silence_costs_one_operation_not_one_for_each_idle_connection(
    placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=False, timeout=SHORT)
    hung = placed.away()
    key = next(placed.keys_on(hung))
    greet, greeted = link.ClusterLink._greet, set()

    def read_on_each() -> None:
        for one in links:
            store._pool.give(one)
            until(partial(serves, store, key), False)
            assert store._pool.take(0) is one

    def greet_and_note(self: link.ClusterLink, node: Node, made: Link, deadline: float) -> None:
        greet(self, node, made, deadline)
        if node.port == hung.port:
            greeted.add(self)

    links = [store._pool.take(0) for _ in range(3)]
    read_on_each()
    monkeypatch.setattr(link.ClusterLink, "_greet", greet_and_note)
    store._pool.give(links[0])
    hung.pause()
    try:
        with pytest.raises(StoreUnavailable):
            store.perform(Read(key))
    finally:
        hung.resume()
    assert store._pool.take(0) is links[0]
    read_on_each()
    assert greeted == {*links}
    for one in links:
        store._pool.give(one)
    store.close()


@pytest.fixture
def silent() -> Iterator[list[Node]]:
    """Where connections are accepted and nothing is ever said."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(10)]
        yield [Node("127.0.0.1", one.getsockname()[1]) for one in sockets]


@COLOURS
def test_p6_nodes_that_are_all_silent_do_not_starve_the_address_that_the_user_named(
    placed: Placed, asynchronous: bool, silent: list[Node]
) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous, timeout=5.0)
    nodes = (store.store if asynchronous else store)._nodes
    known = nodes.commands.slots
    known.learn([[0, 16383, *([one.host.encode(), one.port] for one in silent)]], silent[0])
    until(partial(serves, store, "k"), False, tries=4)
    assert not {*known.nodes} & {*silent}
    store.close()


def serves(store: Any, key: str) -> bool:
    """Whether a reader would be served what stands under a key."""
    return servable(store.perform(Read(key)))


def until(ask: Callable[[], object], answer: object, tries: int = 100) -> None:
    """Ask again while the store is out of reach, or has not come to it yet."""
    for _ in range(tries):
        with suppress(StoreUnavailable):
            if ask() == answer:
                return
    raise AssertionError(f"never {answer}")


def test_p5_a_connection_lost_while_another_node_was_greeted_is_not_taken_up_unmet(
    placed: Placed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without hiredis a closed connection would connect anew by itself.
    monkeypatch.setattr(link, "link", Link)
    store = opened(placed.cluster.url, placed.namespace, asynchronous=False)
    home, away = (Node("127.0.0.1", server.port) for server in (placed.home, placed.away()))
    key = next(placed.keys_on(placed.away()))
    fill(store, key, "a")
    greet, greeted = link.ClusterLink._greet, []

    def greet_and_lose(self: link.ClusterLink, node: Node, made: Link, deadline: float) -> None:
        greet(self, node, made, deadline)
        greeted.append(node)
        if node == home:
            self._links.pop(away).close()

    monkeypatch.setattr(link.ClusterLink, "_greet", greet_and_lose)
    talking = store._pool.take(0)
    talking._links.pop(home).close()
    store._pool.give(talking)
    assert servable(store.perform(Read(key)))
    assert greeted == [home, away]
    store.close()


@COLOURS
def test_p5_a_node_that_restarts_begins_a_new_epoch_before_it_is_used(placed: Placed, asynchronous: bool) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=asynchronous)
    server = placed.away()
    (key, computing), other = islice(placed.keys_on(server), 2), next(placed.keys_on(placed.home))
    fill(store, other, "a")
    fill(store, key, "a")
    lease = granted(store, computing, "computes", life=MINUTE)
    placed.cluster.ask(server, "SAVE")
    assert store.perform(Delete(key))
    store.perform(Delete(computing))
    server.kill()
    server.start()
    # The lease that was revoked is back, and the epoch it was granted in goes on until somebody meets the node.
    assert store.perform(Fill(computing, "computes", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED
    look = store.perform(Read(key))
    assert look.entry is not None
    assert not servable(look)
    assert not servable(store.perform(Read(other)))
    assert fill(store, key, "a") is Filed.ADMITTED
    placed.cluster.ask(server, "CONFIG", "SET", "save", "")
    (server.folder / "dump.rdb").unlink()
    store.close()


@pytest.fixture
def copied() -> Iterator[RedisCluster]:
    """A cluster of this test's own, whose primaries have replicas."""
    with RedisCluster(replicas=1) as cluster:
        yield cluster


def fail_over(cluster: RedisCluster, primary: RedisServer, lose: Callable[[], None]) -> None:
    """Kill a primary and promote its replica, which never hears of what `lose` does before that."""
    replica = next(one for one in cluster.replicas
                   if cluster.ask(one, "ROLE")[2] == primary.port)
    cluster.until(lambda: cluster.ask(replica, "INFO", "replication").count(b"master_link_status:up") == 1, "copy")
    assert cluster.ask(primary, "WAIT", 1, 10_000) == 1
    replica.pause()
    cluster.ask(primary, "CLIENT", "KILL", "TYPE", "replica")
    lose()
    primary.kill()
    replica.resume()
    cluster.ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
    others = [server for server in cluster.servers if server._process is not None]
    cluster.until(lambda: all(takes_part(cluster, server, replica) for server in others), "fail over")


def takes_part(cluster: RedisCluster, server: RedisServer, promoted: RedisServer) -> bool:
    told = cluster.ask(server, "CLUSTER", "SLOTS")
    return any(primary[1] == promoted.port for _, _, primary, *_ in told)


def test_p5_a_failover_that_lost_writes_resurrects_nothing(copied: RedisCluster, namespace: str) -> None:
    placed = Placed(copied, namespace)
    stores = [opened(copied.url, namespace, asynchronous=asynchronous) for asynchronous in (False, True)]
    writer = opened(copied.url, namespace, asynchronous=False)
    home, away = placed.home, placed.away()
    deleted = next(placed.keys_on(away))
    keys = [deleted, *[next(placed.keys_on(one)) for one in copied.primaries if one is not away]]
    for key in keys:
        fill(writer, key, "tag")
    assert all(servable(store.perform(Read(key))) for store in stores for key in keys)

    fail_over(copied, away, lambda: assert_true(writer.perform(Delete(deleted))))
    for store in stores:
        assert not servable(store.perform(Read(deleted)))
    for key in keys:
        assert fill(writer, key, "tag") is Filed.ADMITTED
    assert all(servable(store.perform(Read(key))) for store in stores for key in keys)

    fail_over(copied, home, lambda: assert_true(writer.perform(Invalidate(("tag",)))))
    for store in stores:
        assert not any(servable(store.perform(Read(key))) for key in keys)
    for key in keys:
        assert fill(writer, key, "tag") is Filed.ADMITTED
    for store in (*stores, writer):
        assert all(map(servable, store.perform_all([Read(key) for key in keys])))
        store.close()


@COLOURS
def test_p5_a_node_that_was_demoted_and_promoted_again_is_met_anew(
    copied: RedisCluster, namespace: str, asynchronous: bool
) -> None:
    placed = Placed(copied, namespace)
    store = opened(copied.url, namespace, asynchronous=asynchronous)
    first = placed.away()
    key = next(placed.keys_on(first))
    fill(store, key, "a")
    replica = next(one for one in copied.replicas if copied.ask(one, "ROLE")[2] == first.port)
    assert copied.ask(first, "WAIT", 1, 10_000) == 1
    copied.ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
    copied.until(lambda: takes_part(copied, first, replica), "hear of it")
    copied.replicas.remove(replica)
    copied.replicas.append(first)
    writer = opened(copied.url, namespace, asynchronous=False)
    assert fill(writer, key, "a", payload=b"new") is Filed.ADMITTED
    fail_over(copied, replica, lambda: assert_true(writer.perform(Delete(key))))
    # The connection to the first node is still open, and nobody has talked on it meanwhile.
    let_idle(store)
    assert not serves(store, key)
    store.close()
    writer.close()


def let_idle(store: Any) -> None:
    """As if nobody had talked on its connections for longer than they are trusted."""
    ends = [line for line, _ in store.store._ends.values()] if isinstance(store, Blocking) else store._pool._idle
    assert ends
    for end in ends:
        for node in end._told_at:
            end._told_at[node] -= 2 * link.IDLE


def assert_true(answer: object) -> None:
    assert answer


# Through the faces.


def test_p10_tasks_that_are_cut_off_by_their_loop_s_end_leave_no_warning(placed: Placed) -> None:
    store = open_async_store(placed.cluster.url, placed.namespace, timeout=PATIENT)
    keys = [next(placed.keys_on(server)) for server in placed.cluster.primaries]

    async def ask_and_go() -> None:
        await asyncio.gather(*[store.perform(Read(key)) for key in keys])
        placed.away().pause()
        left.extend(asyncio.ensure_future(store.perform(Read(key))) for key in keys)
        await asyncio.sleep(0)

    left: list[asyncio.Future[Any]] = []
    for _ in range(2):
        try:
            asyncio.run(ask_and_go())
        finally:
            placed.away().resume()
        assert all(one.cancelled() for one in left)


async def test_p1_threads_and_coroutines_over_a_cluster_compute_once(placed: Placed) -> None:
    computed: list[str] = []
    together = threading.Barrier(13)

    def compute() -> str:
        computed.append("value")
        return "value"

    def ask(fence: CacheFence) -> str:
        together.wait()
        return fence.get_or_set("k", compute, ttl=60, tags=["a"])

    fences = [CacheFence(url, namespace=placed.namespace, timeout=PATIENT) for url in apart(placed.cluster)]
    fence = AsyncCacheFence(placed.cluster.url, namespace=placed.namespace, timeout=PATIENT)
    with ThreadPoolExecutor(13) as pool:
        asked = [pool.submit(ask, one) for one in fences for _ in range(4)]
        await asyncio.to_thread(together.wait)
        values: Sequence[str] = await asyncio.gather(*[
            fence.get_or_set("k", compute, ttl=60, tags=["a"]) for _ in range(50)])
        values = [*values, *[await asyncio.wrap_future(one) for one in asked]]
    assert set(values) == {"value"}
    assert len(computed) == 1
    for one in fences:
        one.close()
    await fence.aclose()


def test_p10_a_forked_child_meets_the_cluster_for_itself(placed: Placed) -> None:
    store = opened(placed.cluster.url, placed.namespace, asynchronous=False)
    fill(store, "k", "a")
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(Exception):
            status = 0 if servable(store.perform(Read("k"))) and store.perform(Invalidate(("a",))) else 1
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert not servable(store.perform(Read("k")))
    assert store.perform(Fill("k", "t", entry_of(granted(store, "k")), MINUTE)) is Filed.ADMITTED
    store.close()
