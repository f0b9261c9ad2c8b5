"""What is cleared is not served from that moment on; some time later it does not lie in Redis any more either."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import redis

from cachefence_web import CacheFence
from cachefence_web.core import sweeping
from cachefence_web.core.effects import Claim, Fill, Release, Unswept
from cachefence_web.core.entry import Kind
from cachefence_web.core.tags import Lease
from cachefence_web.runtime.sweeping import Sweeper
from cachefence_web.stores.redis import open_store
from tests.servers import RedisCluster, RedisServer
from tests.stores.build import PATIENT, entry_of, fill, granted

LONG = 20.0
COLOURS = ("threads", "tasks")


@pytest.fixture
def fence(redis_url: str, namespace: str) -> Iterator[CacheFence]:
    """A cache that sweeps at the first sign, in either colour."""
    with CacheFence(redis_url, namespace=namespace, timeout=PATIENT) as made:
        prompt(made)
        yield made
        asyncio.run(made.aio.aclose())


def prompt(fence: CacheFence) -> None:
    """Let it sweep at the first sign, and at the next at once."""
    equip(fence, Sweeper(fence._terms.store, at_first=0.0, apart=0.01))


class Deaf(Sweeper):
    """A sweeper that cannot be told anything."""

    def want(self) -> None:
        """Look away."""


def never(fence: CacheFence) -> None:
    """Let it not sweep by itself."""
    equip(fence, Deaf(fence._terms.store))


@contextmanager
def quiet(url: str, namespace: str) -> Iterator[CacheFence]:
    """A cache that does not sweep by itself."""
    with CacheFence(url, namespace=namespace, timeout=PATIENT) as made:
        never(made)
        yield made


def equip(fence: CacheFence, sweeper: Sweeper) -> None:
    """Let this one sweep, whichever colour is told."""
    for driver in (fence._driver, fence.aio._driver):
        driver.sweeper = sweeper
        driver.store.on_leftovers(sweeper.want)


def entries(redis_url: str, namespace: str) -> set[str]:
    """The keys that have an entry in Redis, servable or not."""
    with redis.Redis.from_url(redis_url) as client:
        return {name.decode().partition(":e:{")[2][:-1] for name in client.scan_iter(f"{namespace}:e:*", 1000)}


def until(what: Callable[[], bool]) -> None:
    """Return once it is so."""
    ends = time.monotonic() + LONG
    while not what():
        assert time.monotonic() < ends, "it never came to be so"
        time.sleep(0.005)


def ask(fence: CacheFence, colour: str, method: str, *args: Any, **options: Any) -> Any:
    """Call a method in a colour; an event loop that is made for it ends right after."""
    if colour == "threads":
        return getattr(fence, method)(*args, **options)

    async def call() -> Any:
        return await getattr(fence.aio, method)(*args, **options)

    return asyncio.run(call())


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("where", ["memory", "redis", "cluster"])
def test_a_sweep_removes_what_was_cleared_and_nothing_else(
    where: str, colour: str, redis_url: str, namespace: str, request: pytest.FixtureRequest
) -> None:
    url = {"memory": f"memory://{namespace}", "redis": redis_url}.get(where) or request.getfixturevalue("cluster").url
    with CacheFence(url, namespace=namespace, timeout=PATIENT) as fence, \
            CacheFence(url, namespace=namespace + "-other", timeout=PATIENT) as other:
        never(fence)
        other.set_many(dict.fromkeys("abc", 1), ttl=None)
        many = 300 if where == "memory" else 600  # a store in the process sweeps by itself after a thousand writes
        fence.set_many({f"old:{number}": number for number in range(many)}, ttl=None, tags=["book"])
        ask(fence, colour, "invalidate_all")
        fence.set_many({"new": 1, "old:7": 2}, ttl=None, tags=["book"])
        fence.set("passing", 3, ttl=60)
        assert ask(fence, colour, "sweep") == many - 1
        assert fence.get_many(["new", "old:7", "passing", "old:8"]) == {"new": 1, "old:7": 2, "passing": 3}
        assert other.get_many(["a", "b", "c"]) == {"a": 1, "b": 1, "c": 1}
        assert ask(fence, colour, "sweep") == 0
        asyncio.run(fence.aio.aclose())


@pytest.mark.parametrize("colour", COLOURS)
def test_what_was_cleared_is_swept_in_the_background_though_the_loop_has_ended(
    fence: CacheFence, colour: str, redis_url: str, namespace: str
) -> None:
    fence.set_many({f"old:{number}": number for number in range(600)}, ttl=None)
    ask(fence, colour, "invalidate_all")
    fence.set("new", 1, ttl=None)
    until(lambda: entries(redis_url, namespace) == {"new"})
    assert fence.get("new") == 1


@pytest.mark.parametrize("colour", COLOURS)
def test_p10_what_another_process_left_is_swept_by_whoever_meets_it(
    fence: CacheFence, colour: str, redis_url: str, namespace: str
) -> None:
    with CacheFence(redis_url, namespace=namespace, timeout=PATIENT) as gone:
        never(gone)  # as if it were killed before it could
        gone.set_many(dict.fromkeys("abc", 1), ttl=None)
        gone.invalidate_all()
    assert entries(redis_url, namespace) == {"a", "b", "c"}
    assert ask(fence, colour, "get_or_set_many", ["a", "d"], lambda keys: dict.fromkeys(keys, 2)) == {"a": 2, "d": 2}
    until(lambda: entries(redis_url, namespace) == {"a", "d"})


def test_all_nodes_of_a_cluster_are_swept_in_the_background(cluster: RedisCluster, namespace: str) -> None:
    with CacheFence(cluster.url, namespace=namespace, timeout=PATIENT) as fence:
        prompt(fence)
        fence.set_many({f"old:{number}": number for number in range(60)}, ttl=None)
        fence.invalidate_all()
        fence.set("new", 1, ttl=None)
        until(lambda: [key for keys in fence.scan() for key in keys] == ["new"])
        assert fence.get("new") == 1


def test_one_process_sweeps_at_a_time(fence: CacheFence, redis_url: str, namespace: str) -> None:
    store = fence._terms.store
    never(fence)
    fence.set_many(dict.fromkeys("abc", 1), ttl=None)
    fence.invalidate_all()
    assert store.perform(Claim(sweeping.SWEEPER, "another", 60.0)).lease
    sweeper = Sweeper(store)
    sweeper._sweep()
    assert entries(redis_url, namespace) == {"a", "b", "c"}
    store.perform(Release(sweeping.SWEEPER, "another"))
    sweeper._sweep()
    assert entries(redis_url, namespace) == set()
    assert store.perform(Claim(sweeping.SWEEPER, "the next", 60.0)).lease


def test_a_sweeper_that_lost_its_lease_stops(fence: CacheFence, redis_url: str, namespace: str) -> None:
    never(fence)
    fence.set_many({f"old:{number}": number for number in range(600)}, ttl=None)
    fence.invalidate_all()
    store = fence._terms.store

    class Slow:
        """A store on whose first batch the sweeper dawdles until it counts as dead."""

        scanned = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def scan(self, pattern: str) -> Iterator[list[str]]:
            found = [key for keys in store.scan(pattern) for key in keys]
            for at in range(0, len(found), 100):
                yield found[at:at + 100]
                self.scanned += 1
                with redis.Redis.from_url(redis_url) as client:
                    client.set(f"{namespace}:l:{{{sweeping.SWEEPER}}}", "another")

    slow = Slow()
    Sweeper(cast("Any", slow))._sweep()
    assert slow.scanned == 1
    assert len(entries(redis_url, namespace)) == 500


def test_what_no_entry_is_stays(fence: CacheFence, redis_url: str, namespace: str) -> None:
    never(fence)
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{namespace}:e:{{foreign}}", b"somebody else's, and longer than an entry's head is at least")
        client.sadd(f"{namespace}:e:{{set}}", 1)
        fence.set("k", 1, ttl=None)
        fence.invalidate_all()
        assert fence.sweep() == 1
        assert entries(redis_url, namespace) == {"foreign", "set"}


def test_a_compute_under_way_is_not_disturbed_by_the_sweep(redis_url: str, namespace: str) -> None:
    store = open_store(redis_url, namespace, timeout=PATIENT)
    fill(store, "k", life=None)
    fence = CacheFence(redis_url, namespace=namespace, timeout=PATIENT)
    never(fence)
    fence.invalidate_all()
    lease: Lease = granted(store, "k")
    assert fence.sweep() == 1
    assert store.perform(Fill("k", "t", entry_of(lease, payload=b"7", kind=Kind.NUMBER), 60.0)).value == "admitted"
    assert fence.get("k") == 7
    fence.close()
    store.close()


def test_p6_a_sweep_that_fails_is_logged_and_begun_again_until_it_succeeds(
    namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cachefence_web")
    with RedisServer() as server, CacheFence(server.url, namespace=namespace, timeout=PATIENT) as fence:
        prompt(fence)
        sweeper = fence._driver.sweeper
        fence.set_many(dict.fromkeys("abc", 1), ttl=None)
        server.stop()
        sweeper.want()
        until(lambda: "did not come to its end" in caplog.text)
        server.start()
        fence.set_many(dict.fromkeys("abc", 1), ttl=None)
        fence.invalidate_all()
        until(lambda: entries(server.url, namespace) == set() and sweeper._thread is None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_p10_a_forked_child_sweeps_with_a_thread_of_its_own(
    fence: CacheFence, redis_url: str, namespace: str
) -> None:
    equip(fence, Sweeper(fence._terms.store, at_first=LONG))  # so that the parent waits with its own
    fence.set_many(dict.fromkeys("abc", 1), ttl=None)
    fence.invalidate_all()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fence._driver.sweeper._at_first = 0.0
            assert fence.get_or_set("a", lambda: 2, ttl=None) == 2
            until(lambda: entries(redis_url, namespace) == {"a"})
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert fence.get("a") == 2


def restart(url: str, namespace: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.delete(f"{{{namespace}}}:epoch")


def clear_and_die(url: str, namespace: str) -> None:
    with CacheFence(url, namespace=namespace, timeout=PATIENT) as gone:
        never(gone)
        gone.invalidate_all()


def clear_while_another_sweeps(url: str, namespace: str) -> None:
    with CacheFence(url, namespace=namespace, timeout=PATIENT) as gone:
        never(gone)
        assert gone._terms.store.perform(Claim(sweeping.SWEEPER, "killed", 0.2)).lease
        gone.invalidate_all()


def go_on(fence: CacheFence, colour: str, use: str) -> None:
    match use:
        case "get":
            ask(fence, colour, "get", "a")
        case "set":
            ask(fence, colour, "set", "other", 1, ttl=None)
        case _:
            ask(fence, colour, "touch", "a")


@pytest.mark.parametrize("use", ["get", "set", "touch"])
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("end", [restart, clear_and_die, clear_while_another_sweeps],
                         ids=["an epoch that nobody began on purpose", "who cleared is dead", "who swept is dead"])
def test_p4_an_ended_epoch_is_swept_though_nobody_computes_and_who_should_have_swept_is_gone(
    redis_url: str, namespace: str, end: Callable[[str, str], None], colour: str, use: str
) -> None:
    with CacheFence(redis_url, namespace=namespace, timeout=PATIENT) as writer:
        writer.set_many(dict.fromkeys("abc", 1), ttl=None)
    end(redis_url, namespace)
    with CacheFence(redis_url, namespace=namespace, timeout=PATIENT) as fence:  # one who knows nothing of all this
        prompt(fence)
        go_on(fence, colour, use)
        until(lambda: not entries(redis_url, namespace) & set("abc"))
        until(lambda: fence._driver.sweeper._thread is None)
        asyncio.run(fence.aio.aclose())


def test_a_sweep_in_the_foreground_leaves_the_background_nothing_to_do(
    fence: CacheFence, redis_url: str, namespace: str
) -> None:
    never(fence)
    fence.set_many(dict.fromkeys("abc", 1), ttl=None)
    fence.invalidate_all()
    assert fence._terms.store.perform(Unswept()) is not None
    seen: list[int] = []
    assert fence.sweep(progress=seen.append) == 3
    assert seen[-1] == 3
    assert fence._terms.store.perform(Unswept()) is None
    fence.invalidate_all()
    assert fence._terms.store.perform(Unswept()) is not None


def test_p6_a_sweep_in_the_foreground_that_broke_off_does_not_count(namespace: str) -> None:
    with RedisServer() as server, \
            CacheFence(server.url, namespace=namespace, timeout=PATIENT, on_outage="log") as fence:
        never(fence)
        fence.set_many(dict.fromkeys("abc", 1), ttl=None)
        fence.invalidate_all()

        def pull(_: int) -> None:
            with redis.Redis.from_url(server.url) as client:
                client.delete(f"{{{namespace}}}:epoch")  # the walk ends in another epoch than it began in

        fence.sweep(progress=pull)
        assert fence._terms.store.perform(Unswept()) is not None


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("where", ["memory", "redis", "cluster"])
def test_endless_entries_go_at_last_when_their_tag_was_invalidated(
    where: str, colour: str, redis_url: str, namespace: str, request: pytest.FixtureRequest
) -> None:
    url = {"memory": f"memory://{namespace}", "redis": redis_url}.get(where) or request.getfixturevalue("cluster").url
    with CacheFence(url, namespace=namespace, timeout=PATIENT) as fence:
        never(fence)
        fence.set_many({f"old:{number}": number for number in range(300)}, ttl=None, tags=["book"])
        fence.set("live", 1, ttl=None, tags=["author"])
        fence.invalidate_tags("book")
        fence.set("new", 1, ttl=None, tags=["book"])
        assert ask(fence, colour, "sweep") == 300
        assert fence.get_many(["live", "new"]) == {"live": 1, "new": 1}
        asyncio.run(fence.aio.aclose())


DAY = 86_400


def records(client: Any, namespace: str) -> dict[str, int]:
    return {name.decode().partition(":t:")[2]: client.ttl(name) for name in client.scan_iter(f"{{{namespace}}}:t:*")}


@pytest.mark.parametrize("way", ["set", "persisted"])
def test_a_record_of_endless_entries_ends_thirty_days_after_the_last_of_them_was_seen(
    redis_url: str, namespace: str, way: str
) -> None:
    with quiet(redis_url, namespace) as fence, redis.Redis.from_url(redis_url) as client:
        fence.set_many({"k": 1, "gone": 2}, ttl=None if way == "set" else 60, tags=["book"])
        fence.set("gone", 2, ttl=None if way == "set" else 60, tags=["other"])
        if way == "persisted":
            assert fence.touch("k", ttl=None)
            assert fence.touch("gone", ttl=None)
        lives = records(client, namespace)
        assert all(29 * DAY < left <= 30 * DAY for left in lives.values()), lives
        fence.delete("gone")
        for tag in ("book", "other"):
            client.expire(f"{{{namespace}}}:t:{tag}", 5 * DAY)  # twenty-five days pass
        fence.sweep()
        lives = records(client, namespace)
        assert lives["book"] > 29 * DAY
        assert lives["other"] <= 5 * DAY
        client.delete(f"{{{namespace}}}:t:book")  # all processes were away for a month
        assert fence.get("k") is None
        assert fence.get_or_set("k", lambda: 3, ttl=None, tags=["book"]) == 3


@pytest.mark.parametrize("way", ["set", "persisted"])
def test_endless_entries_are_walked_over_once_a_day(redis_url: str, namespace: str, way: str) -> None:
    with quiet(redis_url, namespace) as fence, redis.Redis.from_url(redis_url) as client:
        clock, store = f"{{{namespace}}}:clock", fence._terms.store
        fence.set("k", 1, ttl=60)
        assert client.hget(clock, "due") is None  # what ends by itself needs no walk
        if way == "set":
            fence.set("k", 1, ttl=None)
        else:
            fence.touch("k", ttl=None)
        assert store.perform(Unswept()) is None
        due = int(client.hget(clock, "due"))
        assert 0 <= due - fence.instant().instant + 60_000_000 - DAY * 1_000_000 <= 60_000_000
        client.hset(clock, "due", due - DAY * 1_000_000)  # a day passes
        prompt(fence)
        fence.instant()
        until(lambda: int(client.hget(clock, "due")) >= due)
        assert fence.get("k") == 1


def test_a_new_namespace_has_nothing_to_sweep_and_one_that_lost_a_part_of_its_memory_does(
    redis_url: str, namespace: str
) -> None:
    with quiet(redis_url, namespace) as fence, redis.Redis.from_url(redis_url) as client:
        fence.set("k", 1, ttl=60)
        assert fence._terms.store.perform(Unswept()) is None
        client.delete(f"{{{namespace}}}:clock")
        assert fence._terms.store.perform(Unswept()) is not None


def test_a_live_entry_stays_though_the_clock_was_lost_between_two_steps_of_a_sweep(
    redis_url: str, namespace: str
) -> None:
    """The clock goes back with its offset: by their instants alone, what is new would look older than the sweep."""
    with quiet(redis_url, namespace) as fence, redis.Redis.from_url(redis_url) as client:
        clock = f"{{{namespace}}}:clock"
        fence.set("old", 1, ttl=None)
        client.hset(clock, "last", int(client.hget(clock, "last")) + 10**9)
        before = fence.instant()
        plan = sweeping.sweep(["old", "live"])
        answers = fence._terms.store.perform_all(list(next(plan).effects))  # type: ignore[attr-defined]
        client.delete(clock)
        fence.set("live", 2, ttl=60)
        assert fence.instant().instant < before.instant
        with pytest.raises(StopIteration):
            plan.send(tuple(answers))
        assert fence.sweep() == 1
        assert fence.get("live") == 2


def test_a_store_in_the_process_frees_by_itself_what_was_cleared(namespace: str) -> None:
    with CacheFence(f"memory://{namespace}", namespace=namespace) as fence:
        fence.set_many({f"old:{number}": number for number in range(600)}, ttl=None)
        fence.invalidate_all()
        assert not fence._driver.sweeper.is_used
        for number in range(1200):
            fence.set("new", number, ttl=None)
        assert list(fence.scan()) == [["new"]]


def test_a_store_in_the_process_frees_what_was_invalidated_and_records_that_nothing_carries(namespace: str) -> None:
    with CacheFence(f"memory://{namespace}", namespace=namespace) as fence:
        for number in range(600):
            fence.set(f"old:{number}", number, ttl=None, tags=[f"book:{number}", "book"])
        fence.invalidate_tags("book")
        fence.set("live", 1, ttl=None, tags=["author"])
        for number in range(4000):
            fence.set("new", number, ttl=None)
        assert sorted(key for keys in fence.scan() for key in keys) == ["live", "new"]
        assert set(fence._terms.store._ledger.dates.records) == {"author"}  # type: ignore[attr-defined]
        assert fence.get("live") == 1
