"""A commit that is told by a row: who writes it, who is told, and when nobody may read before that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from cachefence_web import CacheFence, StoreUnavailable
from cachefence_web.core.effects import Outcome
from cachefence_web.following import AsyncCommitting, Committing
from cachefence_web.following.outbox import Row, attach, detach, drained, rows_for
from cachefence_web.runtime.outboxes import Busy
from tests.faces.places import set_deadline
from tests.following.outages import LONG, SHORT, another_process, settled
from tests.servers import RedisServer

GONE = "redis://127.0.0.1:1/0"


class Table:
    """A table of rows, some of which another is about to tell."""

    def __init__(self, *rows: Row, locked: Sequence[Row] = ()) -> None:
        self.rows, self.locked = list(rows), list(locked)
        self.ends = 0

    def some(self, namespace: str, most: int) -> Sequence[Row]:
        return self.rows[:most]

    def any(self, namespace: str) -> bool:
        return bool(self.rows or self.locked)

    def forget(self, ids: Sequence[str]) -> None:
        self.rows = [row for row in self.rows if row[0] not in ids]

    def ended(self) -> None:
        self.ends += 1


@pytest.fixture
def cache(namespace: str) -> CacheFence:
    cache = CacheFence(f"memory://{namespace}", namespace=namespace)
    for tag in ("a", "b", "c"):
        cache.set(tag, "old", tags=[tag])
    return cache


def told(table: Table, *caches: CacheFence) -> int:
    return drained(table, caches[0].namespace, [cache._terms.store for cache in caches])


def left_in(cache: CacheFence) -> list[str]:
    return list(cache.get_many(["a", "b", "c"]))


def test_p6_what_rows_name_is_forbidden_and_the_rows_are_gone(cache: CacheFence) -> None:
    table = Table(*[(row, tags) for row, _, tags in rows_for(["x", "y"], ("a", "b"))])
    assert told(table, cache) == 2
    assert (table.rows, left_in(cache)) == ([], ["c"])


@pytest.mark.parametrize("tags", ["", "a", '{"a": 1}', "[1]", "null"])
def test_p6_a_row_that_is_none_of_ours_may_mean_anything(tags: str, cache: CacheFence) -> None:
    assert told(Table(("1", tags)), cache) == 1
    assert left_in(cache) == []


def test_p6_nobody_is_done_while_another_tells(cache: CacheFence) -> None:
    table = Table(("1", '["a"]'), locked=[("2", '["b"]')])
    with pytest.raises(Busy):
        told(table, cache)
    assert (table.rows, left_in(cache)) == ([], ["b", "c"])


def test_p6_what_could_not_be_told_to_all_stays(cache: CacheFence) -> None:
    table = Table(("1", '["a"]'))
    with CacheFence(GONE, timeout=LONG) as gone, pytest.raises(StoreUnavailable):
        told(table, cache, gone)
    assert len(table.rows) == 1


@pytest.mark.parametrize("colour", ["threads", "tasks"])
@pytest.mark.parametrize("outcome", Outcome)
async def test_p6_a_row_committed_behind_the_look_is_told_before_the_store_is_read(
    colour: str, outcome: Outcome, namespace: str, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    other.set("k", "old", tags=["a"])
    table = Table()
    with CacheFence(server.url, namespace=namespace, timeout=LONG, on_outage="outbox", fence_life=60) as cache:
        attach(cache, "table", lambda: told(table, cache))
        assert cache.get("k") == "old"
        server.pause()
        set_deadline(cache, SHORT)
        threads, tasks = Committing([cache], ("a",), outbox=True), AsyncCommitting([cache.aio], ("a",), outbox=True)
        if colour == "threads":
            threads.before()
        else:
            await tasks.before()
        assert (threads.unheard or tasks.unheard) == (namespace,)
        set_deadline(cache, LONG)
        server.resume()
        settled(cache)
        assert cache.get("k") == "old", "all that was committed by now is told"
        if outcome is not Outcome.ROLLED_BACK:
            table.rows = [("1", '["a"]')]
        if colour == "threads":
            threads.after(outcome)
        else:
            await tasks.after(outcome)
        assert (cache.get("k") == "old") is (outcome is Outcome.ROLLED_BACK)
        settled(cache)
        assert (other.get("k") == "old") is (outcome is Outcome.ROLLED_BACK)
        detach(cache, "table")
        await cache.aio.aclose()
    other.close()


@pytest.mark.parametrize("colour", ["threads", "tasks"])
async def test_p6_without_a_row_the_process_remembers(
    colour: str, namespace: str, new_redis: Callable[..., RedisServer]
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    other.set("k", "old", tags=["a"])
    with CacheFence(server.url, namespace=namespace, timeout=SHORT, on_outage="outbox") as cache:
        server.pause()
        if colour == "threads":
            committing = Committing([cache], ("a",), outbox=True)
            committing.before()
            committing.forgo()
            assert committing.unheard == ()
            committing.after(Outcome.COMMITTED)
        else:
            awaited = AsyncCommitting([cache.aio], ("a",), outbox=True)
            await awaited.before()
            await awaited.forgo()
            await awaited.after(Outcome.COMMITTED)
        assert cache.stats().journaled > 0
        set_deadline(cache, LONG)
        server.resume()
        settled(cache)
        assert other.get("k") is None
        await cache.aio.aclose()
    other.close()


def test_p6_a_cache_that_refuses_leaves_no_row(cache: CacheFence) -> None:
    away = CacheFence(GONE, timeout=LONG, on_outage="outbox")
    refusing = CacheFence(GONE, timeout=LONG, on_outage="raise")
    committing = Committing([away, refusing], ("a",), outbox=True)
    with pytest.raises(StoreUnavailable):
        committing.before()
    assert committing.unheard == ()
