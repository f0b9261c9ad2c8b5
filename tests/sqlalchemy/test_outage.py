"""A commit that the cache could not be told of: it has happened, and whoever asked for it hears what did not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from cachefence_web import StoreUnavailable
from tests.servers import RedisServer
from tests.sqlalchemy.shelf import AsyncTold, Author, Base, Book, Told

Sessions = sessionmaker[Session]


class Unreachable(Told):
    """A cache whose store is gone."""

    def invalidate_tags(self, *tags: str) -> None:
        self.calls.append(set(tags))
        self._outage("invalidate_tags", StoreUnavailable("gone"))


def test_p6_the_rows_are_committed_and_the_session_goes_on_when_the_store_is_gone(
    engine: Engine, sessions: Sessions, follow: Callable[..., Any],
) -> None:
    follow({Book: ["book:{id}"]}, cache=Unreachable(on_outage="raise"))
    with sessions() as session:
        session.get_one(Book, 1).title = "New"
        with pytest.raises(StoreUnavailable, match=r"is committed.*'book:1'"):
            session.commit()
        assert not session.in_transaction()
        assert session.get_one(Book, 1).title == "New"
        session.rollback()
    with sessions() as session:
        assert session.get_one(Book, 1).title == "New"
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_p6_on_outage_log_lets_the_commit_return_and_is_not_silent(
    sessions: Sessions, follow: Callable[..., Any], caplog: pytest.LogCaptureFixture,
) -> None:
    cache = Unreachable(on_outage="log")
    follow({Book: ["book:{id}"]}, cache=cache)
    with caplog.at_level(logging.ERROR, "cachefence_web"), sessions.begin() as session:
        session.get_one(Book, 1).title = "New"
    assert cache.told() == [{"book:1"}]
    assert "did not reach the store" in caplog.text


def test_p6_a_redis_that_is_gone_is_said_by_the_commit_within_its_deadline(
    sessions: Sessions, follow: Callable[..., Any], new_redis: Callable[[], RedisServer],
) -> None:
    server = new_redis()
    with Told(server.url, timeout=30.0, on_outage="raise") as cache:
        follow({Book: ["book:{id}"]}, cache=cache)
        with sessions.begin() as session:
            session.get_one(Book, 1).title = "New"
        assert cache.told() == [{"book:1"}]
        server.kill()
        with sessions() as session:
            session.get_one(Book, 1).title = "Newer"
            with pytest.raises(StoreUnavailable, match="is committed"):
                session.commit()
            assert session.get_one(Book, 1).title == "Newer"


async def test_p6_an_async_commit_says_it_too(tmp_path: Path, follow: Callable[..., Any]) -> None:
    class Gone(AsyncTold):
        async def invalidate_tags(self, *tags: str) -> None:
            raise StoreUnavailable("gone")

    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shelf.sqlite3")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    follow({Author: ["author:{id}"]}, of=engine, cache=Gone())
    async with AsyncSession(engine) as session:
        session.add(Author(id=1, name="Ada"))
        with pytest.raises(StoreUnavailable, match="is committed"):
            await session.commit()
        assert (await session.get_one(Author, 1)).name == "Ada"
    await engine.dispose()
