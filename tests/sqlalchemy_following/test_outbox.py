"""`on_outage="outbox"`: a commit that the cache cannot be told of has a row in its own transaction, told by anybody."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from cachefence_web import CacheFence, ConfigurationError
from cachefence_web.following.outbox import rows_for
from cachefence_web.runtime.outboxes import Busy
from cachefence_web.sqlalchemy import drain_outbox, invalidate_on_commit, outbox_table
from tests.following.outages import LONG, another_process, out_of_reach, settled
from tests.postgres import PostgresServer
from tests.servers import RedisServer
from tests.sqlalchemy_following.library import Book, postgres_url
from tests.sqlalchemy_following.pages import commit, rename, title

Follow = Callable[..., Any]
NOWHERE = "redis://127.0.0.1:1/0"
TABLE = outbox_table(MetaData())


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads waits for the first look, however long that takes."""
    monkeypatch.setattr("cachefence_web.runtime.outboxes.FIRST_LOOK", LONG)


@pytest.fixture
def kept(engine: Engine) -> Iterator[Callable[[], list[set[str]]]]:
    """The tags of the rows there are, by a connection that is not followed."""
    TABLE.metadata.create_all(engine)
    look = create_engine(engine.url)

    def rows() -> list[set[str]]:
        with look.connect() as connection:
            return [set(json.loads(tags)) for tags in connection.scalars(select(TABLE.c.tags))]

    with look.begin() as connection:
        connection.execute(TABLE.delete())
    yield rows
    look.dispose()
    TABLE.metadata.drop_all(engine)


@pytest.fixture
async def kept_there(async_engine: AsyncEngine) -> AsyncIterator[AsyncEngine]:
    async with async_engine.begin() as connection:
        await connection.run_sync(TABLE.metadata.create_all)
    yield async_engine
    async with async_engine.begin() as connection:
        await connection.run_sync(TABLE.metadata.drop_all)


def outboxed(url: str, namespace: str, timeout: float = LONG) -> CacheFence:
    """So long a life that the look which follows each other after one life meets nothing of the test."""
    return CacheFence(url, namespace=namespace, timeout=timeout, fence_life=600.0, on_outage="outbox")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_words(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("UPDATE book SET title = 'New' WHERE id = 1"))
        connection.execute(text("COMMIT"))


def with_core(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(Book.__table__.update().where(Book.id == 1).values(title="New"))  # type: ignore[attr-defined]


def rolled_back(engine: Engine) -> None:
    with Session(engine) as session:
        rename(session, "New")
        session.rollback()


def fails(engine: Engine) -> None:
    with Session(engine) as session:
        session.get_one(Book, 1).isbn = "i2"
        with pytest.raises(IntegrityError):
            session.commit()


WRITES: dict[str, tuple[Callable[[Engine], object], bool]] = {
    "a session": (lambda engine: commit(engine, "New"), True),
    "a connection": (with_core, True),
    "words": (in_words, True),
    "rolled back": (rolled_back, False),
    "fails": (fails, False),
}


@pytest.mark.parametrize("write", WRITES)
def test_p6_the_row_is_there_if_and_only_if_the_transaction_is_committed(
    write: str, engine: Engine, kept: Callable[[], list[set[str]]], follow: Follow, namespace: str
) -> None:
    run, commits = WRITES[write]
    with outboxed(NOWHERE, namespace) as fence:
        follow(engine, fence, outbox=TABLE)
        run(engine)
        assert [tags - {"book:*"} | {"book:1"} for tags in kept()] == [{"book", "book:1"}] * commits
        assert title(engine) == ("New" if commits else "One")


def test_p6_what_waits_is_told_when_redis_is_back(
    engine: Engine, kept: Callable[[], list[set[str]]], follow: Follow, namespace: str,
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    for row in (1, 2):
        other.set(f"book:{row}", "old", tags=[f"book:{row}"])
    with outboxed(server.url, namespace, timeout=1.0) as fence:
        follow(engine, fence, outbox=TABLE)
        until(lambda: fence.get("book:2") == "old")
        server.pause()
        commit(engine, "New")
        assert len(kept()) == 1
        assert fence.get_or_set("book:1", lambda: "new") == "new"
        server.resume()
        settled(fence)
        assert kept() == []
        assert (other.get("book:1"), other.get("book:2")) == (None, "old")
    other.close()


@pytest.mark.parametrize("reader", ["lived through it", "begins later"])
def test_p4_the_page_is_right_though_its_writer_was_killed(
    reader: str, engine: Engine, kept: Callable[[], list[set[str]]], follow: Follow, namespace: str,
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    first = another_process(server, namespace)
    first.set("page", "One", tags=["book:1"])
    fence = outboxed(server.url, namespace)
    if reader == "lived through it":
        follow(engine, fence, outbox=TABLE)
        assert fence.get("page") == "One"
    with out_of_reach(server):
        url = engine.url.render_as_string(hide_password=False)
        died = subprocess.run(
            [sys.executable, "-m", "tests.sqlalchemy_following.dying_away", url, server.url, namespace],
            cwd=Path(__file__).parents[2], check=False, timeout=60)
        assert died.returncode == -signal.SIGKILL
        assert len(kept()) == 1
        if reader == "lived through it":
            assert fence.get("page") is None
    if reader == "begins later":
        follow(engine, fence, outbox=TABLE)
    assert fence.get_or_set("page", lambda: title(engine), ttl=60) == "Killed"
    until(lambda: kept() == [])
    assert first.get("page") in (None, "Killed")
    for each in (first, fence):
        each.close()


async def test_p6_in_an_event_loop_the_row_is_written_and_told(
    kept_there: AsyncEngine, follow: Follow, namespace: str, new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    other = another_process(server, namespace)
    other.set("book:1", "old", tags=["book:1"])
    fence = outboxed(server.url, namespace).aio
    follow(kept_there, fence, outbox=TABLE)
    assert await fence.get("book:1") == "old"
    with out_of_reach(server):
        async with AsyncSession(kept_there) as session:
            (await session.get_one(Book, 1)).title = "New"
            await session.commit()
            assert len((await session.scalars(select(TABLE.c.tags))).all()) == 1
        assert await fence.get_or_set("book:1", lambda: "new") == "new"
    await asyncio.to_thread(settled, fence)
    async with AsyncSession(kept_there) as session:
        assert (await session.scalars(select(TABLE.c.tags))).all() == []
    assert other.get("book:1") is None
    other.close()
    await fence.aclose()


async def test_p6_asyncpg_writes_and_tells(
    postgres_server: PostgresServer, postgres: Engine, follow: Follow, namespace: str,
    new_redis: Callable[..., RedisServer],
) -> None:
    pytest.importorskip("asyncpg")
    TABLE.metadata.create_all(postgres)
    engine = create_async_engine(postgres_url(postgres_server, "asyncpg"))
    server = new_redis()
    fence = outboxed(server.url, namespace).aio
    follow(engine, fence, outbox=TABLE)
    await fence.set("book:1", "old", tags=["book"])
    with out_of_reach(server):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE book SET title = 'New' WHERE id = 1"))
        with postgres.connect() as look:
            assert len(look.scalars(select(TABLE.c.tags)).all()) == 1
    await asyncio.to_thread(settled, fence)
    assert await fence.get("book:1") is None
    with postgres.connect() as look:
        assert look.scalars(select(TABLE.c.tags)).all() == []
    await engine.dispose()
    await fence.aclose()
    TABLE.metadata.drop_all(postgres)


def waiting(connection: Connection, namespace: str, count: int) -> None:
    for number in range(count):
        row, whose, tags = rows_for([namespace], (f"b:{number}",))[0]
        connection.execute(TABLE.insert().values(id=row, namespace=whose, tags=tags))


def test_p6_while_another_tells_nobody_is_done(
    postgres: Engine, namespace: str, redis_url: str
) -> None:
    TABLE.metadata.create_all(postgres)
    with outboxed(redis_url, namespace) as fence:
        with postgres.begin() as connection:
            waiting(connection, namespace, 3)
        with postgres.begin() as connection:
            connection.execute(select(TABLE.c.id).limit(1).with_for_update())
            with pytest.raises(Busy):
                drain_outbox(postgres, fence, TABLE)
        assert drain_outbox(postgres, fence, TABLE) == 1
    TABLE.metadata.drop_all(postgres)


def test_p6_where_nothing_can_be_written_it_matters_only_that_nothing_waits(
    postgres: Engine, namespace: str, redis_url: str
) -> None:
    TABLE.metadata.create_all(postgres)
    there = create_engine(postgres.url, connect_args={"options": "-c default_transaction_read_only=on"})
    with outboxed(redis_url, namespace) as fence:
        assert drain_outbox(there, fence, TABLE) == 0
        with postgres.begin() as connection:
            waiting(connection, namespace, 1)
        with pytest.raises(Exception, match="read-only"):
            drain_outbox(there, fence, TABLE)
    there.dispose()
    TABLE.metadata.drop_all(postgres)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # which tells each statement that it runs
def test_while_redis_is_there_no_statement_is_added(
    engine: Engine, kept: Callable[[], list[set[str]]], follow: Follow, namespace: str, redis_url: str
) -> None:
    said: list[str] = []
    event.listen(engine, "checkout", lambda own, *_: own.set_trace_callback(said.append))
    with outboxed(redis_url, namespace) as fence:
        follow(engine, fence, outbox=TABLE)
        fence.get("any")
        said.clear()
        commit(engine, "New")
        assert [words.split()[0] for words in said] == ["SELECT", "BEGIN", "UPDATE", "COMMIT"]
        assert fence.stats().journaled == 0
    assert kept() == []


@pytest.mark.parametrize("without", ["the table in the database", "the table in the call", "a transaction"])
def test_p6_where_no_row_can_be_the_process_remembers_and_says_what_to_do(
    without: str, engine: Engine, kept: Callable[[], list[set[str]]], follow: Follow, namespace: str,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    monkeypatch.setattr("cachefence_web.sqlalchemy.outbox._said", set())
    with outboxed(server.url, namespace) as fence:
        fence.get("any")
        with out_of_reach(server):
            follow(engine, fence, outbox=None if without == "the table in the call" else TABLE)
            look = create_engine(engine.url)
            if without == "the table in the database":
                TABLE.metadata.drop_all(look)
            if without == "a transaction":
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("UPDATE book SET title = 'New' WHERE id = 1"))
            else:
                commit(engine, "Newer")
                commit(engine, "New")
                assert caplog.text.count("outbox_table(metadata)") == 1
            assert title(engine) == "New"
            assert fence.stats().journaled >= 2
            TABLE.metadata.create_all(look)
            look.dispose()
            assert kept() == []
        settled(fence)


def test_it_is_a_table_of_ours_and_goes_without_models(follow: Follow, engine: Engine) -> None:
    with CacheFence(on_outage="outbox") as fence:
        with pytest.raises(ConfigurationError, match="outbox_table"):
            follow(engine, fence, outbox=Book.__table__)
        with pytest.raises(ConfigurationError, match="without models"):
            invalidate_on_commit(engine, fence, {Book: ["book:{id}"]}, outbox=TABLE)
