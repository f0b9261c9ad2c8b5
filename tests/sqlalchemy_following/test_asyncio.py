"""The same in event loops: nothing holds them up, a cancelled commit is told to its end, tasks keep apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, async_sessionmaker

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.asking import OnOutage
from cachefence_web.cache.fenced import AsyncFenced
from cachefence_web.core.effects import Outcome
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Book

Follow = Callable[..., Any]
BOOK_1 = frozenset(["book", "book:1"])
ONE = select(Book.title).where(Book.id == 1)


async def commit(engine: AsyncEngine, to: str) -> None:
    async with AsyncSession(engine) as session:
        (await session.get_one(Book, 1)).title = to
        await session.commit()


async def title(engine: AsyncEngine) -> str:
    async with AsyncSession(engine) as session:
        return (await session.scalars(ONE)).one()


async def test_p3_either_colour_of_cache_is_told(async_engine: AsyncEngine, follow: Follow, heard: Heard) -> None:
    for number, fence in enumerate((CacheFence(), AsyncCacheFence())):
        aio = fence if isinstance(fence, AsyncCacheFence) else fence.aio
        following = follow(async_engine, fence)
        shown = await aio.get_or_set("page", lambda: title(async_engine), ttl=60)
        await commit(async_engine, f"{shown}{number}")
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        assert await aio.get_or_set("page", lambda: title(async_engine), ttl=60) == f"{shown}{number}"
        following.remove()
        await aio.aclose()


async def test_p3_who_has_written_bypasses_and_other_tasks_do_not(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow,
) -> None:
    follow(async_engine, async_fence)

    async def page() -> str:
        return await async_fence.get_or_set("page", lambda: title(async_engine), ttl=60)

    assert await page() == "One"
    outside = asyncio.Event(), asyncio.Event()

    async def elsewhere() -> str:
        outside[0].set()
        await outside[1].wait()
        return await page()

    other = asyncio.create_task(elsewhere())
    await outside[0].wait()
    async with AsyncSession(async_engine) as session:
        await session.execute(update(Book).where(Book.id == 1).values(title="New"))

        async def own() -> str:
            return (await session.scalars(ONE)).one()

        assert await async_fence.get_or_set("page", own, ttl=60) == "New"
        outside[1].set()
        assert await other == "One"
        await session.rollback()
    assert await page() == "One"


async def test_p3_the_event_loop_runs_while_a_commit_is_fenced(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, monkeypatch: pytest.MonkeyPatch,
) -> None:
    follow(async_engine, async_fence)
    asked, answer = asyncio.Event(), asyncio.Event()
    fence_tags = AsyncCacheFence.fence_tags

    async def slow(self: AsyncCacheFence, *tags: str, on_outage: OnOutage | None = None) -> AsyncFenced:
        asked.set()
        await answer.wait()
        return await fence_tags(self, *tags, on_outage=on_outage)

    monkeypatch.setattr(AsyncCacheFence, "fence_tags", slow)
    committing = asyncio.create_task(commit(async_engine, "New"))
    await asked.wait()
    assert not committing.done()
    assert await title(async_engine) == "One"
    answer.set()
    await committing
    assert await title(async_engine) == "New"


async def test_p7_a_commit_cancelled_while_it_is_told_is_told_to_its_end(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, monkeypatch: pytest.MonkeyPatch,
) -> None:
    follow(async_engine, async_fence)
    assert await async_fence.get_or_set("page", lambda: title(async_engine), ttl=60) == "One"
    asked, answer = asyncio.Event(), asyncio.Event()
    lift = AsyncFenced.lift

    async def slow(self: AsyncFenced, outcome: Outcome) -> None:
        asked.set()
        await answer.wait()
        await lift(self, outcome)

    monkeypatch.setattr(AsyncFenced, "lift", slow)
    committing = asyncio.create_task(commit(async_engine, "New"))
    await asked.wait()
    committing.cancel()
    await asyncio.wait([committing], timeout=0)
    assert not committing.done()
    answer.set()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert await async_fence.get_or_set("page", lambda: title(async_engine), ttl=60) == "New"


async def test_p7_a_commit_cancelled_while_its_fence_goes_up_is_none(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = AsyncCacheFence()
    follow(async_engine, async_fence)
    follow(async_engine, other)
    asked = asyncio.Event()
    fence_tags = AsyncCacheFence.fence_tags

    async def endless(self: AsyncCacheFence, *tags: str, on_outage: OnOutage | None = None) -> AsyncFenced:
        if self is not other:
            return await fence_tags(self, *tags, on_outage=on_outage)
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(AsyncCacheFence, "fence_tags", endless)
        committing = asyncio.create_task(commit(async_engine, "New"))
        await asked.wait()
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
    assert heard.take() == [BOOK_1, Outcome.ROLLED_BACK], "the fence that was up already is down"
    assert await title(async_engine) == "One"
    await commit(async_engine, "Newer")
    assert await title(async_engine) == "Newer"
    await other.aclose()


async def test_p3_autocommit_and_streams_in_an_event_loop(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(async_engine, async_fence)

    async def streamed() -> list[str]:
        async with async_engine.connect() as connection:
            result = await connection.stream(select(Book.title).where(Book.id.in_([1, 2])).order_by(Book.id))
            return [row.title async for row in result]

    async def page() -> list[str]:
        return await async_fence.get_or_set("page", streamed, ttl=60)

    assert await page() == ["One", "Two"]
    async with async_engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(update(Book).where(Book.id == 3).values(title="3"))
        assert (await async_fence.get_many(["page"])) == {"page": ["One", "Two"]}
        heard.take()
        await connection.execute(update(Book).where(Book.id == 2).values(title="2"))
        assert heard.take() == [frozenset(["book", "book:2"]), Outcome.COMMITTED]
        with pytest.raises(DBAPIError):
            await connection.execute(text("UPDATE book SET isbn = 'i2' WHERE id = 1"))
        assert heard.take() == [BOOK_1, Outcome.ROLLED_BACK]
    assert await page() == ["One", "2"]


async def test_sessions_are_named_by_what_makes_them(
    async_engine: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, heard: Heard,
) -> None:
    maker = async_sessionmaker(async_engine)
    scoped = async_scoped_session(async_sessionmaker(async_engine), asyncio.current_task)

    class Own(AsyncSession):
        pass

    for of, make in ((async_engine, maker), (maker, maker), (scoped, scoped), (Own, lambda: Own(async_engine))):
        following = follow(of, async_fence)
        async with make() as session:
            await session.execute(update(Book).where(Book.id == 1).values(title=str(of)))
            await session.commit()
        assert heard.take() == [BOOK_1, Outcome.COMMITTED], of
        following.remove()
        await commit(async_engine, "unheard")
        assert heard.take() == []
    await scoped.remove()
