"""A commit that the cache cannot be told of is made and told later, refused, or logged, as the cache says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from cachefence_web import CacheFence, StoreUnavailable
from cachefence_web.sqlalchemy.drivers import in_transaction
from tests.following.outages import LONG, another_process, settled
from tests.servers import RedisServer
from tests.sqlalchemy_following.library import Book

Follow = Callable[..., Any]


def rename(engine: Engine, to: str) -> None:
    with Session(engine) as session:
        session.get_one(Book, 1).title = to
        session.commit()


def test_p6_refused_is_rolled_back_and_the_session_goes_on(
    engine: Engine, follow: Follow, new_redis: Callable[[], RedisServer],
) -> None:
    server = new_redis()
    with CacheFence(server.url, timeout=LONG, on_outage="raise") as fence:
        following = follow(engine, fence)
        rename(engine, "New")
        server.kill()
        with Session(engine) as session:
            session.get_one(Book, 1).title = "Newer"
            with pytest.raises(StoreUnavailable, match="is rolled back"):
                session.commit()
            session.rollback()
            assert session.get_one(Book, 1).title == "New"
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            with pytest.raises(StoreUnavailable, match="nothing is written"):
                connection.execute(text("UPDATE book SET title = 'Alone' WHERE id = 1"))
            assert connection.scalar(text("SELECT title FROM book WHERE id = 1")) == "New"
        with engine.connect() as connection:
            connection.execute(text("UPDATE book SET title = 'Locked' WHERE id = 1"))
            with pytest.raises(StoreUnavailable):
                connection.commit()
            assert in_transaction(connection.connection.driver_connection) is False, "it keeps no lock"
        with pytest.raises(StoreUnavailable), engine.begin() as connection:
            connection.execute(text("UPDATE book SET title = 'Begun' WHERE id = 1"))
        following.remove()
        with Session(engine) as session:
            assert session.get_one(Book, 1).title == "New"
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_p6_a_commit_is_made_and_told_when_the_store_is_back(
    engine: Engine, follow: Follow, namespace: str, new_redis: Callable[[], RedisServer],
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    with CacheFence(server.url, namespace=namespace, timeout=1.0) as fence:
        follow(engine, fence)
        for row in (1, 2):
            other.set(f"book:{row}", "old", tags=[f"book:{row}"])
        server.pause()
        rename(engine, "New")
        server.resume()
        settled(fence)
        assert (other.get("book:1"), other.get("book:2")) == (None, "old")
    other.close()
    with Session(engine) as session:
        assert session.get_one(Book, 1).title == "New"


def test_p6_on_outage_log_lets_the_commit_return(
    engine: Engine, follow: Follow, new_redis: Callable[[], RedisServer], caplog: pytest.LogCaptureFixture,
) -> None:
    server = new_redis()
    with CacheFence(server.url, timeout=LONG, on_outage="log") as fence:
        follow(engine, fence)
        server.kill()
        with caplog.at_level(logging.ERROR, "cachefence_web"):
            rename(engine, "New")
    assert "did not reach the store" in caplog.text


async def test_p6_told_when_the_store_is_back_in_an_event_loop(
    async_engine: AsyncEngine, follow: Follow, namespace: str, new_redis: Callable[[], RedisServer],
) -> None:
    server = new_redis()
    fence, other = CacheFence(server.url, namespace=namespace, timeout=1.0), another_process(server, namespace)
    follow(async_engine, fence.aio)
    other.set("book:1", "old", tags=["book:1"])
    server.pause()
    async with AsyncSession(async_engine) as session:
        (await session.get_one(Book, 1)).title = "New"
        await session.commit()
    server.resume()
    settled(fence)
    assert other.get("book:1") is None
    other.close()
    await fence.aio.aclose()
    fence.close()


async def test_p6_refused_in_an_event_loop(
    async_engine: AsyncEngine, follow: Follow, new_redis: Callable[[], RedisServer],
) -> None:
    server = new_redis()
    fence = CacheFence(server.url, timeout=LONG, on_outage="raise").aio
    follow(async_engine, fence)
    server.kill()
    async with AsyncSession(async_engine) as session:
        (await session.get_one(Book, 1)).title = "New"
        with pytest.raises(StoreUnavailable, match="is rolled back"):
            await session.commit()
        await session.rollback()
        assert (await session.get_one(Book, 1)).title == "One"
    await fence.aclose()
