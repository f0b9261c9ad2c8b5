"""Replicas answer what may be behind, and only that; whatever they cannot answer well costs one look at the primary."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.redis import replica as replica_module
from cachefence_web.stores.redis import storetime
from tests.servers import RedisServer
from tests.servers_sentinel import Watched
from tests.stores.build import PATIENT

EVENTUAL = {"consistency": "eventual", "ttl": 60}


class Pair:
    """A primary and its replica."""

    def __init__(self, primary: RedisServer, replica: RedisServer) -> None:
        self.primary, self.replica = primary, replica

    def ask(self, server: RedisServer, *command: Any) -> Any:
        """One command, and its reply."""
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            return client.execute_command(*command)

    def looks(self, server: RedisServer) -> int:
        """How many MGETs it has answered so far."""
        told = self.ask(server, "INFO", "commandstats")
        return int(told.get("cmdstat_mget", {"calls": 0})["calls"])

    def caught_up(self) -> None:
        """Return once the replica has all that the primary has written by now."""
        with redis.Redis.from_url(self.primary.url) as client:
            client.set("written", 1)
            assert client.wait(1, int(PATIENT * 1000)) == 1

    def follow(self, primary: RedisServer | None = None) -> None:
        """Have the replica follow its primary, or another, and return once it does."""
        self.ask(self.replica, "REPLICAOF", "127.0.0.1", (primary or self.primary).port)
        Watched.until(lambda: self.ask(self.replica, "INFO", "replication").get("master_link_status") == "up")

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """The replica takes nothing from its primary, and does not know; it answers all the same."""
        # A pause of writes holds back the replication stream, and lets all commands of clients through that only read.
        self.ask(self.replica, "CLIENT", "PAUSE", int(PATIENT * 6000), "WRITE")
        try:
            yield
        finally:
            self.ask(self.replica, "CLIENT", "UNPAUSE")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with RedisServer(args=("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")) as primary:
        with RedisServer() as replica:
            made = Pair(primary, replica)
            made.follow()
            yield made


class Face:
    """A cache of one colour, with blocking methods."""

    def __init__(self, colour: str, pair: Pair, namespace: str, **options: Any) -> None:
        kind = CacheFence if colour == "threads" else AsyncCacheFence
        self.fence: Any = kind(
            pair.primary.url, namespace=namespace, **{"timeout": PATIENT, "replicas": [pair.replica.url], **options})
        self.runner = asyncio.Runner() if colour == "tasks" else None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.fence, name)
        runner = self.runner
        return method if runner is None else lambda *args, **options: runner.run(method(*args, **options))

    def close(self) -> None:
        if self.runner is None:
            self.fence.close()
        else:
            self.runner.run(self.fence.aclose())
            self.runner.close()


@pytest.fixture(params=["threads", "tasks"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows the time does not ask for it again, however slow the test is: only the primary could tell."""
    monkeypatch.setattr(storetime, "RESAMPLE", 10**12)


@pytest.fixture
def face(colour: str, pair: Pair, namespace: str) -> Iterator[Face]:
    """A cache with one replica, that knows the time already."""
    made = Face(colour, pair, namespace)
    made.get("anything")
    yield made
    made.close()


def served_by_the_replica(pair: Pair, ask: Any) -> bool:
    """Whether the replica was asked, and the primary was not."""
    replica, primary = pair.looks(pair.replica), pair.looks(pair.primary)
    ask()
    assert pair.looks(pair.replica) - replica + pair.looks(pair.primary) - primary >= 1
    return pair.looks(pair.primary) == primary


def test_only_what_may_be_behind_goes_to_a_replica(pair: Pair, face: Face) -> None:
    for key in ("k", "l"):
        face.set(key, key, ttl=60, tags=["a"])
    pair.caught_up()
    assert served_by_the_replica(pair, lambda: face.get_or_set("k", lambda: 1 / 0, **EVENTUAL) == "k" or 1 / 0)
    assert served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == "k" or 1 / 0)
    assert served_by_the_replica(
        pair, lambda: face.get_or_set_many(["k", "l"], lambda keys: 1 / 0, **EVENTUAL) == {"k": "k", "l": "l"} or 1 / 0)
    for consistency in ("committed", "strict"):
        assert not served_by_the_replica(
            pair, lambda consistency=consistency: face.peek("k", consistency=consistency))


def test_a_policy_of_the_cache_decides_for_get_and_get_many(colour: str, pair: Pair, namespace: str) -> None:
    from cachefence_web import Policy

    face = Face(colour, pair, namespace, policy=Policy(consistency="eventual"))
    face.set_many({"k": 1, "l": 2})
    pair.caught_up()
    assert served_by_the_replica(pair, lambda: face.get("k") == 1 or 1 / 0)
    assert served_by_the_replica(pair, lambda: face.get_many(["k", "l"]) == {"k": 1, "l": 2} or 1 / 0)
    assert not served_by_the_replica(pair, lambda: face.touch("k") or 1 / 0)
    assert face.add("k", 5) is False
    face.close()


def test_p1_to_be_behind_costs_one_more_look_and_no_compute(pair: Pair, face: Face) -> None:
    computes: list[str] = []
    face.set("old", "old", ttl=60)
    pair.caught_up()
    with pair.held_back():
        assert face.get_or_set("new", lambda: computes.append("new") or "new", **EVENTUAL) == "new"
        assert face.get_or_set("new", lambda: computes.append("again"), **EVENTUAL) == "new"
        assert computes == ["new"], "the replica has not heard of it, the primary has"
        face.set("old", "newer", ttl=60)
        assert face.peek("old", **EVENTUAL).value == "old", "the replica is behind, as it may be"
        assert face.get("old") == "newer"


def test_p2_what_a_compute_reads_is_never_behind(pair: Pair, face: Face) -> None:
    face.set("inner", 1, ttl=60, tags=["row"])
    pair.caught_up()
    with pair.held_back():
        face.set("inner", 2, ttl=60, tags=["row"])
        assert face.peek("inner", **EVENTUAL).value == 1
        if face.runner is None:
            def outer() -> Any:
                return face.peek("inner", **EVENTUAL).value
        else:
            async def outer() -> Any:
                return (await face.fence.peek("inner", **EVENTUAL)).value
        assert face.get_or_set("outer", outer, ttl=60) == 2


def test_p6_a_replica_that_fails_is_left_alone_and_the_primary_answers(
    pair: Pair, face: Face, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.set("k", 1, ttl=60)
    pair.caught_up()
    pair.ask(pair.replica, "REPLICAOF", "NO", "ONE")
    monkeypatch.setattr(replica_module, "REST", 0.0)  # each look asks first how it stands
    with caplog.at_level(logging.WARNING, "cachefence_web"):
        assert not served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == 1 or 1 / 0)
        assert not served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == 1 or 1 / 0)
    (told,) = [message for message in caplog.messages if "is left alone" in message]
    assert "it is no replica" in told
    pair.ask(pair.replica, "REPLICAOF", "127.0.0.1", 1)
    assert not served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == 1 or 1 / 0)
    pair.follow()
    assert served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == 1 or 1 / 0)


def test_p1_a_replica_of_another_primary_is_left_alone(
    pair: Pair, face: Face, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.set("k", "mine", ttl=60)
    pair.caught_up()
    monkeypatch.setattr(replica_module, "REST", 0.0)
    with RedisServer(args=("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")) as other:
        pair.follow(other)
        with caplog.at_level(logging.WARNING, "cachefence_web"):
            assert not served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == "mine" or 1 / 0)
        assert "another primary" in caplog.text
        assert face.get_or_set("l", lambda: "own", **EVENTUAL) == "own"
    pair.follow()
    assert served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == "mine" or 1 / 0)


def test_a_primary_that_took_another_replication_id_is_known_again(
    pair: Pair, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    face.set("k", 1, ttl=60)
    monkeypatch.setattr(replica_module, "REST", 0.0)
    # As of a primary that had no replica for an hour: it keeps its connections.
    was = pair.ask(pair.primary, "INFO", "replication")["master_replid"]
    pair.ask(pair.primary, "REPLICAOF", "127.0.0.1", 1)
    pair.ask(pair.primary, "REPLICAOF", "NO", "ONE")
    assert pair.ask(pair.primary, "INFO", "replication")["master_replid"] != was
    pair.ask(pair.replica, "REPLICAOF", "NO", "ONE")
    pair.follow()
    assert face.peek("k", **EVENTUAL) is None, "the primary was asked once more who it is, and began an epoch"
    face.set("k", 1, ttl=60)
    pair.caught_up()
    assert served_by_the_replica(pair, lambda: face.peek("k", **EVENTUAL).value == 1 or 1 / 0)


def test_p6_a_hung_replica_leaves_the_primary_time_to_answer(
    pair: Pair, colour: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = Face(colour, pair, namespace, timeout=8.0)
    face.set("k", 1, ttl=60)
    monkeypatch.setattr(replica_module, "REST", PATIENT * 6)
    pair.replica.pause()
    try:
        assert face.peek("k", **EVENTUAL).value == 1
        assert face.get_many(["k"]) == {"k": 1}
        assert face.peek("k", **EVENTUAL).value == 1, "it is left alone now"
    finally:
        pair.replica.resume()
    face.close()


def test_what_names_no_replica_is_refused_at_once(pair: Pair) -> None:
    url = "redis://localhost:6379/0"
    for options, message in [
        ({"url": url, "replicas": url}, "a list of URLs"),
        ({"url": url, "replicas": ["redis+sentinel://localhost/shop"]}, "by its own address"),
        ({"url": url, "replicas": ["memory://"]}, "by its own address"),
        ({"url": url, "replicas": [url]}, "is the primary: leave it out"),
        ({"url": url, "replicas": ["redis://other:6379/1"]}, "database 0"),
        ({"url": "memory://", "replicas": [url]}, "memory:// has none"),
        ({"url": "redis+sentinel://localhost/shop", "replicas": [url]}, "behind Sentinels"),
        ({"url": url, "max_connections": 0}, "1 or more"),
        ({"url": url, "max_connections": True}, "1 or more"),
        ({"url": url, "max_connections": "5"}, "1 or more"),
    ]:
        with pytest.raises(ConfigurationError, match=message):
            CacheFence(**options)


def test_p6_no_more_connections_are_opened_than_were_allowed(pair: Pair, namespace: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with RedisServer() as server, ThreadPoolExecutor(16) as pool:
        fence = CacheFence(server.url, namespace=namespace, timeout=PATIENT, max_connections=2)
        assert list(pool.map(fence.get, map(str, range(200)))) == [None] * 200
        with redis.Redis.from_url(server.url) as client:
            assert len(client.client_list()) <= 1 + 2
        fence.close()
