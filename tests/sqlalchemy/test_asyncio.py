"""The same for AsyncSession: told before `await commit()` returns, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from cachefence_web import AsyncCacheFence, CacheFence
from tests.sqlalchemy.shelf import AsyncTold, Author, Base, Book, Told

ROW = {Book: ["book:{id}"]}
Follow = Callable[..., Any]


@pytest.fixture(params=["aiosqlite", "psycopg"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A database with one book."""
    if request.param == "aiosqlite":
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shelf.sqlite3")
    else:
        server = request.getfixturevalue("postgres_server")
        engine = create_async_engine(server.url.replace("postgresql://", "postgresql+psycopg_async://"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add(Author(id=1, name="Ada", books=[Book(id=1, title="One")]))
        await session.commit()
    yield engine
    await engine.dispose()


@pytest.fixture
def sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(engine)


@asynccontextmanager
async def changed(sessions: Callable[[], AsyncSession]) -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        (await session.get_one(Book, 1)).title += "!"
        yield session


async def test_p3_a_commit_has_told_the_cache_when_it_returns(
    sessions: async_sessionmaker[AsyncSession], follow: Follow,
) -> None:
    async with AsyncTold() as fence:
        follow(ROW, of=sessions, cache=fence)
        async with changed(sessions) as session:
            await session.flush()
            assert fence.told() == []
            await session.commit()
            assert fence.told() == [{"book:1"}]
        async with changed(sessions) as session:
            await session.flush()
            await session.rollback()
        async with changed(sessions) as session, session.begin_nested():
            await session.flush()
        assert fence.told() == []


async def test_either_colour_of_cache_will_do(sessions: async_sessionmaker[AsyncSession], follow: Follow) -> None:
    for fence in (CacheFence(), AsyncCacheFence()):
        aio = fence if isinstance(fence, AsyncCacheFence) else fence.aio
        following = follow(ROW, of=sessions, cache=fence)
        await aio.set("page", "old", tags=["book:1"])
        async with changed(sessions) as session:
            await session.commit()
        assert await aio.get("page") is None
        following.remove()
        await aio.aclose()


def test_a_cache_for_event_loops_serves_threads(tmp_path: Path, follow: Follow) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    engine: Engine = create_engine(f"sqlite:///{tmp_path}/shelf.sqlite3")
    Base.metadata.create_all(engine)
    fence = AsyncCacheFence()
    follow(ROW, of=engine, cache=fence)
    fence.sync.set("page", "old", tags=["book:1"])
    with Session(engine) as session:
        session.add(Author(id=1, name="Ada", books=[Book(id=1, title="One")]))
        session.commit()
    assert fence.sync.get("page") is None
    fence.sync.close()
    engine.dispose()


async def test_sessions_are_named_by_what_makes_them(engine: AsyncEngine, follow: Follow) -> None:
    sessions = async_sessionmaker(engine)
    elsewhere = create_async_engine("sqlite+aiosqlite://")
    async with elsewhere.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    scoped = async_scoped_session(sessions, asyncio.current_task)
    single = AsyncSession(engine)

    class Own(AsyncSession):
        pass

    async with AsyncTold() as fence:
        for of, make in ((engine, sessions), (sessions, sessions), (scoped, scoped), (Own, lambda: Own(engine)),
                         (single, lambda: single)):
            following = follow(ROW, of=of, cache=fence)
            async with changed(make) as session:
                await session.commit()
            assert fence.told() == [{"book:1"}], of
            async with AsyncSession(elsewhere) as session, session.begin():
                session.add(Author(name="Bo", books=[Book(title="Nine")]))
            assert fence.told() == [], of
            following.remove()
    await scoped.remove()
    await elsewhere.dispose()


async def test_the_event_loop_runs_while_the_cache_is_told(
    sessions: async_sessionmaker[AsyncSession], follow: Follow,
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow(AsyncTold):
        async def invalidate_tags(self, *tags: str) -> None:
            asked.set()
            await answer.wait()
            await super().invalidate_tags(*tags)

    async with Slow() as fence:
        follow(ROW, of=sessions, cache=fence)
        async with changed(sessions) as session:
            commit = asyncio.create_task(session.commit())
            await asked.wait()
            assert not commit.done()
            answer.set()
            await commit
        assert fence.told() == [{"book:1"}]


async def test_p7_a_commit_cancelled_while_it_tells_the_cache_has_told_it_when_it_ends(
    sessions: async_sessionmaker[AsyncSession], follow: Follow,
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    class Slow(AsyncTold):
        async def invalidate_tags(self, *tags: str) -> None:
            asked.set()
            await answer.wait()
            await super().invalidate_tags(*tags)

    async with Slow() as fence:
        follow(ROW, of=sessions, cache=fence)
        async with changed(sessions) as session:
            commit = asyncio.create_task(session.commit())
            await asked.wait()
            commit.cancel()
            await asyncio.wait([commit], timeout=0)
            assert not commit.done()
            answer.set()
            with pytest.raises(asyncio.CancelledError):
                await commit
        assert fence.told() == [{"book:1"}]


def test_the_two_caches_of_these_tests_are_of_the_two_colours() -> None:
    assert issubclass(Told, CacheFence)
    assert issubclass(AsyncTold, AsyncCacheFence)
