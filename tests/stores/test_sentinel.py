"""Redis behind Sentinels, in both colours: found by them, found anew after a failover, and within the deadline."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel

from cachefence_web import CacheFence
from cachefence_web.core.effects import ANY, Add, Claim, Delete, Filed, Invalidate, Put, Read, TakeInstant, Wait
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.stores.redis import open_async_store, open_store, storetime
from tests.servers import RedisServer, free_port
from tests.servers_sentinel import SERVICE, SentinelServer, Watched
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, hurry, servable

MINUTE = 60.0
COLOURS = ("threads", "tasks")


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """A primary, its replica and two Sentinels; whichever of the servers is the primary now."""
    with Watched() as made:
        yield made


@pytest.fixture(scope="module")
def guarded() -> Iterator[Watched]:
    """The same, where the servers ask for one password and the Sentinels for another."""
    with Watched(1, password="inner", their_password="outer") as made:
        yield made


@pytest.fixture
def both(watched: Watched, namespace: str) -> Iterator[list[Any]]:
    """A store of each colour, by the URL of the Sentinels."""
    made = [opened(colour, watched.url, namespace) for colour in COLOURS]
    yield made
    for store in made:
        store.close()


def opened(colour: str, where: Any, namespace: str, timeout: float = PATIENT) -> Any:
    if colour == "threads":
        return open_store(where, namespace, timeout=timeout)
    return Blocking(open_async_store(where, namespace, timeout=timeout))


def test_the_sentinels_lead_to_the_primary(watched: Watched, both: list[Any], namespace: str) -> None:
    for number, store in enumerate(both):
        key = f"k{number}"
        assert fill(store, key, "a") is Filed.ADMITTED
        assert servable(store.perform(Read(key)))
        assert granted(store, f"held {key}")
        assert store.perform(Wait(f"held {key}", "t", 0.01)) > 0
        with watched.client(watched.servers[0]) as client:
            assert client.exists(f"{namespace}:e:{{{key}}}")


@pytest.mark.parametrize("hang_up", [True, False], ids=["hung-up", "refused"])
def test_p5_a_failover_is_followed_at_once_and_resurrects_nothing(
    watched: Watched, both: list[Any], hang_up: bool
) -> None:
    keys = ("k", "tagged", "kept")
    for key in keys:
        fill(both[0], key, key)
    assert all(servable(store.perform(Read(key))) for store in both for key in keys)
    both[0].perform(Delete("k"))
    both[0].perform(Invalidate(("tagged",)))
    watched.fail_over(hang_up=hang_up)
    for store in both:
        assert store.perform(TakeInstant()).instant, "the first that is asked of a new primary"
        assert not any(servable(store.perform(Read(key))) for key in keys), "a new epoch has begun"
    assert fill(both[0], "k", "k") is Filed.ADMITTED
    assert all(servable(store.perform(Read("k"))) for store in both)


def test_p6_what_must_not_be_sent_twice_follows_a_failover_too(watched: Watched, both: list[Any]) -> None:
    leases = [store.perform(TakeInstant()) for store in both]
    watched.fail_over(hang_up=False)
    for store, lease in zip(both, leases, strict=True):
        filed = store.perform(Put("k", entry_of(lease), MINUTE, ANY))
        assert filed is Filed.INVALIDATED, "it is dated in the epoch that ended"
    watched.fail_over(hang_up=False)
    for store, lease in zip(both, leases, strict=True):
        assert store.perform(Add("k", lease, 1)) is None
        assert store.perform(TakeInstant()).instant, "on the new one"
    watched.fail_over(hang_up=False)
    for store in both:
        keys = [f"k {id(store)}", f"l {id(store)}"]
        answers = store.perform_all([Claim(key, "t", MINUTE) for key in keys])
        assert all(claimed.lease is not None for claimed in answers)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look asks for the time, as each does that comes five seconds after another."""
    monkeypatch.setattr(storetime, "RESAMPLE", -1)


@pytest.fixture
def demoted(watched: Watched, both: list[Any]) -> Iterator[list[Any]]:
    """Stores that have read `k`, and are still connected to a server that is no primary, and has lost the new one."""
    fill(both[0], "k")
    assert all(servable(store.perform(Read("k"))) for store in both)
    watched.fail_over(hang_up=False)
    primary, replica = watched.servers
    watched.ask(replica, "REPLICAOF", "127.0.0.1", 1)
    yield both
    watched.ask(replica, "REPLICAOF", "127.0.0.1", primary.port)
    watched.until(lambda: watched.info(replica)["master_link_status"] == "up")


def test_p5_a_demoted_primary_that_hung_up_on_nobody_is_left_with_the_next_question_for_the_time(
    demoted: list[Any], impatient: None
) -> None:
    for store in demoted:
        assert not servable(store.perform(Read("k"))), "a new epoch has begun elsewhere"
    assert fill(demoted[0], "k") is Filed.ADMITTED
    assert all(servable(store.perform(Read("k"))) for store in demoted)


def test_p5_one_connection_to_another_primary_ends_those_to_the_demoted_one(demoted: list[Any]) -> None:
    threads, tasks = demoted
    pool = threads._pool
    held = [pool.take(time.monotonic() + PATIENT)]
    held.append(pool.take(time.monotonic() + PATIENT))  # a new one, which finds the new primary
    for link in reversed(held):
        pool.give(link)
    assert not servable(threads.perform(Read("k")))
    with asyncio.Runner() as other_loop:
        assert not servable(other_loop.run(tasks.store.perform(Read("k"))))
        assert not servable(tasks.perform(Read("k")))
        other_loop.run(tasks.store.aclose())


def test_p6_a_failover_away_from_a_silent_primary_costs_one_operation_however_many_connections_lay_idle(
    namespace: str
) -> None:
    with Watched(1) as watched:
        store = opened("threads", watched.url, namespace, timeout=1.0)
        held = [store._pool.take(time.monotonic() + PATIENT) for _ in range(5)]
        for link in held:
            store._pool.give(link)
        silent = watched.servers[0]
        silent.pause()
        try:
            watched.take_over()
            with pytest.raises(StoreUnavailable):
                store.perform(Read("k"))
            assert not store._pool._idle
            hurry(store, PATIENT)
            assert store.perform(TakeInstant()).instant
        finally:
            store.close()
            silent.resume()


def test_a_primary_that_dies_is_left_for_the_one_that_took_over(namespace: str) -> None:
    with Watched(1) as watched:
        stores = [opened(colour, watched.url, namespace) for colour in COLOURS]
        for store in stores:
            fill(store, "k")
        hurried = opened("threads", watched.url, namespace, timeout=0.5)
        watched.servers[0].kill()
        with pytest.raises(StoreUnavailable):
            hurried.perform(Read("k"))
        hurry(hurried, PATIENT)
        watched.take_over()
        for store in (*stores, hurried):
            assert not servable(store.perform(Read("k")))
            assert fill(store, f"own {id(store)}") is Filed.ADMITTED
            store.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_p6_a_silent_sentinel_costs_a_share_of_the_deadline_and_not_the_operation(
    watched: Watched, namespace: str, colour: str
) -> None:
    silent, other = watched.sentinels
    url = f"redis+sentinel://127.0.0.1:{silent.port},127.0.0.1:{other.port}/{SERVICE}"
    silent.pause()
    try:
        store = opened(colour, url, namespace, timeout=8.0)
        assert fill(store, "k") is Filed.ADMITTED
        store.close()
        other.pause()
        try:
            began = time.monotonic()
            store = opened(colour, url, namespace, timeout=0.3)
            with pytest.raises(StoreUnavailable):
                store.perform(Read("k"))
            assert time.monotonic() - began < PATIENT
            store.close()
        finally:
            other.resume()
    finally:
        silent.resume()


@pytest.mark.parametrize("colour", COLOURS)
def test_a_sentinel_that_is_behind_is_not_believed(namespace: str, colour: str) -> None:
    with Watched(1) as old, Watched(1) as new:
        port = old.servers[1].port
        behind = old.sentinels[0]
        # It takes a replica for the primary, and has not heard otherwise yet.
        old.ask(behind, "SENTINEL REMOVE", SERVICE)
        old.ask(behind, "SENTINEL MONITOR", SERVICE, "127.0.0.1", port, 1)
        hosts = f"127.0.0.1:{behind.port},127.0.0.1:{new.sentinels[0].port}"
        behind_role = old.info(old.servers[1])["role"]
        store = opened(colour, f"redis+sentinel://{hosts}/{SERVICE}", namespace)
        assert behind_role == "slave"
        assert fill(store, "k") is Filed.ADMITTED
        with new.client(new.servers[0]) as client:
            assert client.exists(f"{namespace}:e:{{k}}")
        store.close()


def test_the_message_names_the_service_that_no_sentinel_knows(watched: Watched, namespace: str) -> None:
    for colour in COLOURS:
        store = opened(colour, watched.url.replace(SERVICE, "other"), namespace)
        with pytest.raises(StoreUnavailable, match="no Sentinel knows of a primary of 'other'"):
            store.perform(Read("k"))
        store.close()


def test_p10_loops_come_and_go_behind_sentinels(watched: Watched, namespace: str) -> None:
    fence = CacheFence(watched.url, namespace=namespace, timeout=PATIENT)
    for number in range(3):
        async def once(number: int = number) -> Any:
            found = await fence.aio.get_or_set("k", lambda: number, ttl=60)
            await fence.aio.aclose()
            return found

        assert asyncio.run(once()) == 0
    assert fence.get("k") == 0
    fence.close()


@pytest.mark.parametrize("module", [redis.sentinel, redis.asyncio.sentinel], ids=["sync", "async"])
def test_a_client_of_redis_py_s_sentinel_shows_the_way_to_both_colours(
    watched: Watched, namespace: str, module: Any
) -> None:
    manager = module.Sentinel([("127.0.0.1", server.port) for server in watched.sentinels])
    stores = [opened(colour, manager.master_for(SERVICE, decode_responses=True), namespace)
              for colour in COLOURS]
    for store in stores:
        assert fill(store, "k", "a") is Filed.ADMITTED
        assert servable(store.perform(Read("k")))
    assert stores[0].identity == stores[1].store.identity == open_store(watched.url, namespace).identity
    with pytest.raises(ConfigurationError, match="master_for"):
        open_store(manager.slave_for(SERVICE), namespace)
    for store in stores:
        store.close()


def test_p11_servers_and_sentinels_have_passwords_of_their_own(guarded: Watched, namespace: str) -> None:
    port = guarded.sentinels[0].port
    url = f"redis+sentinel://:inner@127.0.0.1:{port}/{SERVICE}/2?sentinel_password=outer"
    for colour in COLOURS:
        store = opened(colour, url, namespace)
        assert fill(store, "k") is Filed.ADMITTED
        store.close()
        store = opened(colour, url.replace("=outer", "=wrong"), namespace)
        with pytest.raises(StoreUnavailable, match=r"(?i)auth|password"):
            store.perform(Read("k"))
        store.close()
    client = guarded.client(guarded.servers[0])
    client.select(2)
    assert client.exists(f"{namespace}:e:{{k}}")
    client.close()


@pytest.mark.parametrize("colour", COLOURS)
def test_p11_a_wrong_password_of_the_sentinels_is_named_and_nothing_else_told(
    guarded: Watched, namespace: str, colour: str
) -> None:
    at = f"127.0.0.1:{guarded.sentinels[0].port}"
    for query in ("", "?sentinel_password=wrong"):
        store = opened(colour, f"redis+sentinel://:inner@{at}/{SERVICE}{query}", namespace)
        with pytest.raises(StoreUnavailable, match=f"{at}: .*sentinel_password") as refused:
            store.perform(Read("k"))
        assert "<" not in str(refused.value), "no representation of an object"
        assert len(str(refused.value)) < 400
        store.close()


def test_p11_tls_to_the_sentinels_and_to_the_primary(tmp_path: Path, namespace: str) -> None:
    command = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
               " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem")
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    inner, outer = free_port(), free_port()
    options = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate,
               "tls-auth-clients": "no", "tls-replication": "yes"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    lines = [f"{name} {value}" for name, value in options.items()]
    with RedisServer(args=["--tls-port", str(inner), *words]):
        with SentinelServer([f"tls-port {outer}", *lines, f"sentinel monitor {SERVICE} 127.0.0.1 {inner} 1"]):
            url = f"rediss+sentinel://127.0.0.1:{outer}/{SERVICE}?ssl_ca_certs={certificate}"
            for colour in COLOURS:
                store = opened(colour, url, namespace)
                assert fill(store, "k") is Filed.ADMITTED
                store.close()
                store = opened(colour, url.replace("rediss", "redis").partition("?")[0], namespace, timeout=1.0)
                with pytest.raises(StoreUnavailable):
                    store.perform(Read("k"))
                store.close()


def test_equal_sentinels_in_any_order_are_one_place() -> None:
    def identity(url: str) -> str:
        return open_store(url, "shop").identity

    place = identity("redis+sentinel://a:1,b:26379/main/0")
    assert place == identity("redis+sentinel://user:secret@B,A:1/main?sentinel_password=x")
    assert "secret" not in place
    assert len({place, identity("redis+sentinel://a:1/main"), identity("redis+sentinel://a:1,b/other"),
                identity("redis+sentinel://a:1,b/main/1"), identity("rediss+sentinel://[::1]:1,b/main")}) == 5


@pytest.mark.parametrize(("url", "message"), [
    ("redis+sentinel://localhost", "the path names the service"),
    ("redis+sentinel:///main", "no host of a Sentinel"),
    ("redis+sentinel://a,,b/main", "no host of a Sentinel"),
    ("redis+sentinel://a:port/main", "(?i)port"),
    ("redis+sentinel://a/main/shop", "the number of a database"),
    ("redis+sentinel://a/main?sentinel_user=x", "sentinel_username and sentinel_password"),
    ("redis+sentinel://a/main?unknown=1", "unknown"),
], ids=["service", "host", "empty-host", "port", "database", "sentinel-option", "option"])
def test_a_sentinel_url_that_cannot_work_is_refused_at_once(url: str, message: str) -> None:
    for colour in COLOURS:
        with pytest.raises(ConfigurationError, match=message):
            opened(colour, url, "shop")


def test_p11_a_refusal_does_not_tell_the_sentinels_password() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store("redis+sentinel://user:hunter2@a/main?unknown=1&sentinel_password=hunter3", "shop")
    assert "hunter" not in str(refused.value)
