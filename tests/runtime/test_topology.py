"""P10: threads, loops that come and go, forks, and both colours in one process; and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from cachefence_web import CacheFence
from cachefence_web.core.effects import Renew
from tests.faces.places import LONG, Compute
from tests.runtime.test_journal import until
from tests.servers import RedisServer


@pytest.fixture(params=["memory", "redis"])
def fence(request: pytest.FixtureRequest, redis_server: RedisServer, namespace: str) -> Iterator[CacheFence]:
    """A cache over either store."""
    url = redis_server.url if request.param == "redis" else f"memory://{namespace}"
    with CacheFence(url, namespace=namespace, timeout=LONG) as made:
        yield made


def possessions() -> tuple[int, set[str]]:
    """Open files and running threads, after what is garbage has gone."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), {thread.name for thread in threading.enumerate()}


def ours() -> set[str]:
    """The names of the cache's running threads."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("cachefence")}


def test_p10_one_cache_serves_loops_that_come_and_go(fence: CacheFence) -> None:
    async def ask(number: int) -> str:
        async def load() -> str:
            return f"made {number}"

        return await fence.aio.get_or_set(f"book:{number // 2}", load)

    answers = [asyncio.run(ask(number)) for number in range(10)]
    assert answers == [f"made {number // 2 * 2}" for number in range(10)]


def test_p10_loops_in_several_threads_share_a_compute(fence: CacheFence) -> None:
    compute = Compute("value", held=True)

    async def ask() -> list[str]:
        return await asyncio.gather(*[fence.aio.get_or_set("book", compute) for _ in range(10)])

    with ThreadPoolExecutor(8) as pool:
        loops = [pool.submit(asyncio.run, ask()) for _ in range(4)]
        threads = [pool.submit(fence.get_or_set, "book", compute) for _ in range(4)]
        _until_aboard(fence, "book", 44)
        compute.release()
        assert [future.result() for future in loops] == [["value"] * 10] * 4
        assert [future.result() for future in threads] == ["value"] * 4
    assert compute.runs == 1


def test_p10_the_loop_of_the_leader_ends_and_the_others_take_over(fence: CacheFence) -> None:
    begun = threading.Event()

    async def led() -> None:
        async def for_ever() -> str:
            begun.set()
            await asyncio.Event().wait()
            return "never"

        leader = asyncio.create_task(fence.aio.get_or_set("book", for_ever, lease=0.3))
        await asyncio.to_thread(_until_aboard, fence, "book", 2)
        assert not leader.done()

    with ThreadPoolExecutor(2) as pool:
        loop = pool.submit(asyncio.run, led())
        assert begun.wait(20)
        follower = pool.submit(fence.get_or_set, "book", Compute("taken over"))
        loop.result()
        assert follower.result() == "taken over"


def test_p10_a_refresh_that_its_loop_s_end_cut_short_is_begun_again(fence: CacheFence) -> None:
    """A task cancelled before its first step runs nothing: the key must not count as being refreshed for ever."""
    terms = {"ttl": 100.0, "stale_for": 100.0, "tags": ["row:1"]}

    async def first() -> str:
        return "first"

    async def second() -> str:
        return "second"

    async def ask() -> str:
        value = await fence.aio.get_or_set("book", second, **terms)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        return value

    async def ask_and_stay() -> str:
        value = await fence.aio.get_or_set("book", second, **terms)
        while fence._terms.engine.flights._table:  # noqa: ASYNC110 - a refresh has no event for others
            await asyncio.sleep(0.001)
        return value

    asyncio.run(_awaited(fence.aio.get_or_set("book", first, **terms)))
    fence.expire_tags("row:1")
    for _ in range(3):
        assert asyncio.run(ask()) == "first"
        assert not fence._terms.engine.flights._table
    assert asyncio.run(ask_and_stay()) == "first"
    assert fence.get("book") == "second"


async def _awaited(call: object) -> object:
    return await call  # type: ignore[misc]


def test_p10_a_child_forked_after_use_has_its_own_connections(
    fence: CacheFence, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Compute("value")
    assert fence.get_or_set("book", compute) == "value"
    asyncio.run(_awaited(fence.aio.get("book")))
    held = Compute("parent's", held=True)
    with ThreadPoolExecutor(2) as pool:
        flight = pool.submit(fence.get_or_set, "held", held, lease=3.0)
        _until_aboard(fence, "held", 1)
        children = [_fork(lambda: _child(fence, compute)) for _ in range(3)]
        for number in range(50):
            assert fence.get_or_set(f"parent:{number}", Compute(number)) == number
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
        renewed = threading.Event()
        monkeypatch.setattr(type(fence._driver.store), "perform_all", _watched(fence, renewed))
        assert renewed.wait(20), "the parent's heart goes on beating"
        held.release()
        assert flight.result() == "parent's"
    assert fence.get("held") == "parent's"


def _child(fence: CacheFence, compute: Compute) -> None:
    """What a worker of a prefork server does: everything works, nothing is shared but the store."""
    assert fence.get_or_set("book", Compute("never")) == "value"
    mine = f"child:{os.getpid()}"
    for number in range(50):
        assert fence.get_or_set(f"{mine}:{number}", Compute(number)) == number
    assert asyncio.run(_awaited(fence.aio.get("book"))) == "value"
    assert asyncio.run(_awaited(fence.aio.get_or_set(f"{mine}:async", Compute("computed")))) == "computed"
    assert fence.get_or_set(f"{mine}:free", Compute("not waiting for a flight of the parent's"), wait=0.3)
    assert not fence._terms.engine.flights.under_way(("held", False, False)), "nobody here leads it"
    renewed = threading.Event()
    type(fence._driver.store).perform_all = _watched(fence, renewed)  # type: ignore[method-assign]
    assert fence.get_or_set(f"{mine}:long", partial(renewed.wait, 20), lease=0.15) is True
    # Those of a loop that has ended end as soon as they are told.
    until(lambda: ours() <= {"cachefence-heartbeat"})
    fence.close()


def _watched(fence: CacheFence, renewed: threading.Event) -> Callable[[Any, Any], Any]:
    """Its store's `perform_all`, which tells of renewals of leases."""
    perform_all = type(fence._driver.store).perform_all

    def watched(self: Any, effects: Any) -> Any:
        if any(isinstance(effect, Renew) for effect in effects):
            renewed.set()
        return perform_all(self, effects)

    return watched


def _fork(work: Callable[[], None]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException as error:
        os.write(2, f"the child failed: {error!r}\n".encode())
    finally:
        os._exit(status)


def test_p10_a_fork_beside_a_refresh_leaves_the_child_able_to_refresh(fence: CacheFence) -> None:
    terms = {"ttl": 100.0, "stale_for": 100.0, "tags": ["row:1"]}
    fence.get_or_set("book", Compute("first"), **terms)
    fence.expire_tags("row:1")
    _refreshes(fence, "book", terms, "first")
    fence.expire_tags("row:1")
    parent = Compute("parent's", held=True)
    assert fence.get_or_set("book", parent, **terms) == "refreshed"
    until(lambda: parent.runs)
    fence.set("other", "old", **terms)
    fence.expire_tags("row:1")
    child = _fork(lambda: _refreshes(fence, "other", terms, "old"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    parent.release()


def _refreshes(fence: CacheFence, key: str, terms: dict[str, object], old: str) -> None:
    """Have a value refreshed by a thread that then stands idle."""
    assert fence.get_or_set(key, Compute("refreshed"), **terms) == old
    until(lambda: fence.get(key) == "refreshed" and not fence._terms.engine.flights.under_way((key, False, False)))


def test_p10_twenty_starts_and_stops_leave_nothing(redis_server: RedisServer, namespace: str) -> None:
    before = None
    for at in range(20):
        for url in ("memory://", redis_server.url):
            _everything(CacheFence(url, namespace=namespace, timeout=LONG), f"{at}:{url}")
        # The threads of a loop that has ended end as soon as they are told.
        until(lambda: not ours())
        before = before or possessions()
    files, threads = possessions()
    assert files <= before[0], "what others have left may go meanwhile"
    assert threads <= before[1]


def _everything(fence: CacheFence, name: str) -> None:
    """Use every part that has threads, tasks or sockets: heartbeat, refresh, waiting, loops."""
    terms = {"ttl": 100.0, "stale_for": 100.0, "tags": [name], "soft_timeout": 5.0}
    compute = Compute("value", held=True)

    async def tasks() -> None:
        callers = [asyncio.create_task(fence.aio.get_or_set(name, compute, **terms)) for _ in range(5)]
        await asyncio.to_thread(_until_aboard, fence, name, 10)
        compute.release()
        assert await asyncio.gather(*callers) == ["value"] * 5
        await fence.aio.expire_tags(name)
        assert await fence.aio.get_or_set(name, Compute("second"), **terms) == "second"
        await fence.aio.aclose()

    with ThreadPoolExecutor(6) as pool:
        loop = pool.submit(asyncio.run, tasks())
        callers = [pool.submit(fence.get_or_set, name, compute, **terms) for _ in range(5)]
        assert [caller.result() for caller in callers] == ["value"] * 5
        loop.result()
    fence.expire_tags(name)
    fence.get_or_set(name, Compute("third"), ttl=100.0, stale_for=100.0)
    fence.close()


def test_p10_a_closed_cache_can_be_used_again(fence: CacheFence) -> None:
    for _ in range(3):
        fence.set("book", "value")
        assert fence.get_or_set("book", Compute("never")) == "value"
        fence.close()


def test_p10_hundreds_of_threads_at_once_are_all_answered(fence: CacheFence) -> None:
    """The pool is bounded and waited for: 200 threads with keys of their own, and none of them fails."""
    together = threading.Barrier(200)

    def ask(number: int) -> int:
        together.wait(30)
        return fence.get_or_set(f"book:{number}", lambda: number)

    with ThreadPoolExecutor(200) as pool:
        assert list(pool.map(ask, range(200))) == list(range(200))


async def test_p10_hundreds_of_tasks_at_once_are_all_answered(redis_server: RedisServer, namespace: str) -> None:
    fence = CacheFence(redis_server.url, namespace=namespace, timeout=LONG).aio

    async def ask(number: int) -> int:
        async def load() -> int:
            return number

        return await fence.get_or_set(f"book:{number}", load)

    assert await asyncio.gather(*[ask(number) for number in range(500)]) == list(range(500))
    await fence.aclose()


def _until_aboard(fence: CacheFence, key: str, callers: int) -> None:
    """Return once so many share the key's flight."""
    table = fence._terms.engine.flights._table
    until(lambda: any(name[0] == key and flight.present >= callers for name, flight in list(table.items())))
