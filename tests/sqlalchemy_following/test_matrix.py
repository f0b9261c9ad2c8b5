"""After any write every page shows what the database has; pages of rows that it did not touch are not made again.

What is found is what docs/invalidation.md says, of threads and of event loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from cachefence_web import AsyncCacheFence, CacheFence
from tests.invalidation_table import CHANGED, DATABASES, KEPT, WRONG, Shown, cells, table
from tests.sqlalchemy_following.matrix import KINDS, OTHER, PAGES, READS, WRITES, found, plain, tried

TABLE = table("SQLAlchemy")


def hold(write: str, pages: Mapping[str, Shown], database: str) -> None:
    """What is promised of a write, and what the page says of it."""
    wrong = [name for name in pages if pages[name].symbol == WRONG]
    assert bool(wrong) is WRITES[write].unseen, wrong
    assert WRITES[write].unseen or CHANGED in [each.symbol for each in pages.values()], "it proves nothing"
    assert (pages[OTHER].symbol == KEPT) is WRITES[write].rows
    TABLE.agrees(write, DATABASES[database == "postgresql"], cells(pages, KINDS))


@pytest.mark.parametrize(("write", "engine"), tried("sqlite", "postgresql"), indirect=["engine"])
def test_p3_after_a_write_every_page_is_right(
    engine: Engine, fence: CacheFence, follow: Callable[..., Any], write: str,
) -> None:
    follow(engine, fence)
    hold(write, found(engine, fence, write), engine.dialect.name)


def test_every_way_to_read_has_a_write_that_shows(
    engine: Engine, fence: CacheFence, follow: Callable[..., Any],
) -> None:
    follow(engine, fence)
    changed: set[str] = set()
    for write in ("flush: update", "flush: insert", "flush: orphans", "many to many: append", "flush: joined subclass",
                  "flush: key of two columns", "delete with ON DELETE CASCADE"):
        fence.invalidate_all()
        pages = found(engine, fence, write)
        changed |= {name for name in pages if pages[name].symbol == CHANGED}
    assert changed == set(READS)


@pytest.mark.parametrize(("write", "async_engine"), tried("aiosqlite", "psycopg"), indirect=["async_engine"])
async def test_p3_after_a_write_in_an_event_loop_every_page_is_right(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Callable[..., Any], write: str,
) -> None:
    follow(async_engine, async_fence)
    made: list[str] = []

    async def read(name: str) -> Any:
        made.append(name)
        async with AsyncSession(async_engine) as session:
            return plain(await session.run_sync(PAGES[name]))

    async def page(name: str) -> Any:
        return await async_fence.get_or_set(f"page {name}", lambda: read(name), ttl=3600)

    before = {name: await page(name) for name in PAGES}
    assert {name: await page(name) for name in PAGES} == before
    assert made == list(PAGES)
    async with AsyncExitStack() as stack:
        if WRITES[write].fenced:
            await stack.enter_async_context(async_fence.fencing(*WRITES[write].fenced))
        session = await stack.enter_async_context(AsyncSession(async_engine))
        await session.run_sync(WRITES[write].write)
        await session.commit()
    made.clear()
    after = {name: await page(name) for name in PAGES}
    again = frozenset(made)
    hold(write, {name: Shown(before[name], after[name], await read(name), name not in again) for name in PAGES},
         async_engine.dialect.name)


def test_the_page_tells_of_every_write() -> None:
    assert list(TABLE.rows) == list(WRITES)
