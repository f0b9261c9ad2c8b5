"""Each driver in its own words: what it says of its transactions, its errors and its rows is understood."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.core.effects import Outcome
from cachefence_web.runtime.recording import recording
from cachefence_web.sqlalchemy.drivers import (
    commits_alone,
    in_transaction,
    never_committed,
    refused,
    sees_a_snapshot,
)
from tests.postgres import PostgresServer
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Base, Book, empty, fill, new_engine, postgres_url
from tests.sqlalchemy_following.pages import BOOK_1, Page, read_in, rename, title
from tests.sqlalchemy_following.test_asyncio import commit as acommit
from tests.sqlalchemy_following.test_asyncio import title as atitle

Follow = Callable[..., Any]

KILL = text("SELECT pg_terminate_backend(:it, 60000)")
PROCESS = text("SELECT pg_backend_pid()")
RENAME_1 = update(Book).where(Book.id == 1)
IN_PARTS = select(Book.title).where(Book.id.in_([1, 2])).execution_options(yield_per=1)
NOT_ALL_THERE = select(Book.title).where(Book.id.in_([1, 99])).execution_options(yield_per=1)


@pytest.fixture(params=["psycopg", "psycopg2", "pysqlite"])
def driven(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """The library behind each driver for threads."""
    if request.param == "pysqlite":
        engine = new_engine(f"sqlite+pysqlite:///{tmp_path}/library.sqlite3")
    else:
        engine = new_engine(postgres_url(request.getfixturevalue("postgres_server"), request.param))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        empty(session)
        fill(session)
    yield engine
    engine.dispose()


@pytest.fixture(params=["psycopg_async", "asyncpg", "aiosqlite"])
async def driven_on_a_loop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """The library behind each driver for event loops."""
    if request.param == "aiosqlite":
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/library.sqlite3")
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        engine = create_async_engine(postgres_url(server, request.param))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        await session.run_sync(empty)
        await session.run_sync(fill)
    yield engine
    await engine.dispose()


def test_p3_each_driver_commits_rolls_back_and_commits_by_itself(
    driven: Engine, fence: CacheFence, follow: Follow, heard: Heard
) -> None:
    follow(driven, fence)
    page = Page(fence, driven)
    assert page() == page() == "One"
    with Session(driven) as session:
        rename(session, "Never")
        session.rollback()
    assert (page(), page.made, heard.take()) == ("One", 1, [])
    with Session(driven) as session:
        rename(session, "New")
        with session.begin_nested():
            rename(session, "Newer")
        session.commit()
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    assert (page(), page(), page.made) == ("Newer", "Newer", 2)
    with driven.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(RENAME_1.values(title="Alone"))
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        assert page() == "Alone"
        with pytest.raises(DBAPIError):
            connection.execute(RENAME_1.values(isbn="i2"))
        assert heard.take() == [BOOK_1, Outcome.ROLLED_BACK]
    assert (page(), page.made) == ("Alone", 3)


def test_p3_the_rows_that_each_driver_found_are_known(driven: Engine, fence: CacheFence, follow: Follow) -> None:
    follow(driven, fence)

    def found() -> list[str]:
        with driven.connect() as connection:
            return list(connection.scalars(select(Book.title).where(Book.id.in_([1, 9]))))

    def page() -> list[str]:
        return fence.get_or_set("found", found, ttl=60)

    assert page() == ["One"]
    assert read_in(driven, IN_PARTS) == {"book:1", "book:2", "book:*", "db:*"}
    assert read_in(driven, NOT_ALL_THERE) == {"book", "db:*"}
    with Session(driven) as session:
        session.add(Book(id=9, isbn="i9", title="Nine"))
        session.commit()
    assert sorted(page()) == ["Nine", "One"]
    with Session(driven) as session:
        rename(session, "2", 2)
        session.commit()
    assert fence.get("found") is not None, "both rows were found: no other is depended on"


def test_p4_a_connection_that_each_driver_loses_at_its_commit_invalidates(
    driven: Engine, fence: CacheFence, follow: Follow, heard: Heard
) -> None:
    if driven.dialect.name == "sqlite":
        return  # whose connections nobody can kill
    follow(driven, fence)
    page = Page(fence, driven)
    assert page() == "One"
    with Session(driven) as session:
        rename(session, "New")
        process = session.scalar(PROCESS)

        def kill() -> None:
            with driven.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                other.execute(KILL, {"it": process})

        heard.at_fence = kill
        with pytest.raises(DBAPIError):
            session.commit()
        session.rollback()
    assert heard.take() == [BOOK_1, Outcome.UNKNOWN]
    assert (page(), page.made, title(driven)) == ("One", 2, "One")


async def test_p3_each_driver_of_event_loops_does_so_too(
    driven_on_a_loop: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, heard: Heard
) -> None:
    engine = driven_on_a_loop
    follow(engine, async_fence)
    made: list[str] = []

    async def load() -> str:
        made.append("")
        return await atitle(engine)

    async def page() -> tuple[str, int]:
        return await async_fence.get_or_set("page", load, ttl=60), len(made)

    assert [await page(), await page()] == [("One", 1)] * 2
    async with AsyncSession(engine) as session:
        await session.execute(RENAME_1.values(title="Never"))
        await session.rollback()
    assert (await page(), heard.take()) == (("One", 1), [])
    await acommit(engine, "New")
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    assert [await page(), await page()] == [("New", 2)] * 2
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(RENAME_1.values(title="Alone"))
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        with pytest.raises(DBAPIError):
            await connection.execute(RENAME_1.values(isbn="i2"))
        assert heard.take() == [BOOK_1, Outcome.ROLLED_BACK]
    assert await page() == ("Alone", 3)


async def test_p3_rows_streamed_by_each_driver_are_known(
    driven_on_a_loop: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow
) -> None:
    follow(driven_on_a_loop, async_fence)
    for statement, tags in ((IN_PARTS, {"book:1", "book:2", "book:*", "db:*"}), (NOT_ALL_THERE, {"book", "db:*"})):
        with recording(()) as recorded:
            async with driven_on_a_loop.connect() as connection:
                assert [row async for row in await connection.stream(statement)]
        assert set(recorded.settled()) == tags


async def test_p4_a_connection_lost_at_its_commit_in_an_event_loop_invalidates(
    driven_on_a_loop: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow, heard: Heard
) -> None:
    engine = driven_on_a_loop
    if engine.dialect.name == "sqlite":
        return  # whose connections nobody can kill
    follow(engine, async_fence)
    assert await async_fence.get_or_set("page", lambda: atitle(engine), ttl=60) == "One"
    async with AsyncSession(engine) as session:
        await session.execute(RENAME_1.values(title="New"))
        process = await session.scalar(PROCESS)
        killer = new_engine(engine.url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")

        def kill() -> None:
            with killer.connect() as other:
                other.execute(KILL, {"it": process})

        heard.at_fence = kill
        with pytest.raises(DBAPIError):
            await session.commit()
        await session.rollback()
        killer.dispose()
    assert heard.take() == [BOOK_1, Outcome.UNKNOWN]
    assert await async_fence.get("page") is None


async def test_p3_a_snapshot_of_each_driver_older_than_the_compute_is_not_stored(
    driven_on_a_loop: AsyncEngine, async_fence: AsyncCacheFence, follow: Follow
) -> None:
    engine = driven_on_a_loop
    sqlite = engine.dialect.name == "sqlite"
    follow(engine, async_fence)
    reader = engine if sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
    async with reader.connect() as connection:
        if sqlite:
            await connection.exec_driver_sql("BEGIN")
        ask = select(Book.title).where(Book.id == 1)
        assert await connection.scalar(ask) == "One"
        if not sqlite:
            await acommit(engine, "New")

        async def old() -> str | None:
            return await connection.scalar(ask)

        assert await async_fence.get_or_set("page", old, ttl=60) == "One"
        assert await async_fence.get("page") is None


class Mysql:
    """What SQLAlchemy gives for a connection of one of MySQL's drivers, none of which is run here."""

    def __init__(self, driver: Any, **options: Any) -> None:
        self.connection = SimpleNamespace(driver_connection=driver)
        self.dialect = SimpleNamespace(name="mysql")
        self.default_isolation_level = "REPEATABLE READ"
        self._options = options

    def get_execution_options(self) -> dict[str, Any]:
        return self._options


class Connector:
    """MySQL Connector, which asks the server for what looks like an attribute."""

    in_transaction = False

    @property
    def autocommit(self) -> bool:
        raise AssertionError("a query is sent")


def mysqlclient(*, autocommit: bool) -> Any:
    """Its `autocommit` and `info` are methods."""
    return SimpleNamespace(get_autocommit=lambda: int(autocommit), autocommit=lambda on: None, info=lambda: "")


def pymysql(*, autocommit: bool, within: bool) -> Any:
    """PyMySQL and, in other words, aiomysql."""
    return SimpleNamespace(
        get_autocommit=lambda: autocommit, autocommit=lambda value: None, server_status=2 * autocommit + within)


@pytest.mark.parametrize(("driver", "options", "within", "alone"), [
    (mysqlclient(autocommit=False), {}, None, False),
    (mysqlclient(autocommit=True), {}, None, True),
    (mysqlclient(autocommit=False), {"isolation_level": "AUTOCOMMIT"}, None, True),
    (pymysql(autocommit=False, within=False), {}, False, False),
    (pymysql(autocommit=True, within=False), {}, False, True),
    (pymysql(autocommit=True, within=True), {}, True, False),
    (Connector(), {}, False, False),
])
def test_what_the_drivers_of_mysql_say_as_they_are_documented(
    driver: Any, options: Any, within: bool | None, alone: bool
) -> None:
    connection: Any = Mysql(driver, **options)
    assert in_transaction(driver) is within
    assert commits_alone(connection, "UPDATE book SET title = 'x'") is alone
    assert sees_a_snapshot(connection) is (options == {})


def test_p4_an_error_of_mysql_does_not_say_that_nothing_was_written() -> None:
    dialect: Any = SimpleNamespace(
        name="mysql", loaded_dbapi=SimpleNamespace(Error=ValueError), is_disconnect=lambda *_: False)
    connection: Any = SimpleNamespace(dbapi_connection=None)
    assert not refused(dialect, connection, ValueError())
    assert not never_committed(dialect, connection, ValueError())
    dialect.name = "postgresql"
    assert refused(dialect, connection, ValueError())
