"""Autocommit, raw BEGIN and COMMIT, snapshots: what a statement sees and when it counts is the database's to say."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, NullPool, event, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from cachefence_web.core.effects import Outcome
from cachefence_web.runtime.recording import recording
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Base, Book, fill, new_engine
from tests.sqlalchemy_following.pages import BOOK_1, ONE, Page, commit, in_a_thread, rename, title

Follow = Callable[..., Any]


@pytest.mark.parametrize("how", ["option", "statement", "session", "begin"])
def test_p3_a_snapshot_older_than_the_compute_is_not_stored(engine: Engine, page: Page, how: str) -> None:
    sqlite = engine.dialect.name == "sqlite"
    reader = engine if how != "option" or sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
    with reader.connect() as connection:
        if sqlite:
            connection.exec_driver_sql("BEGIN")
        elif how == "statement":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        elif how == "session":
            connection.exec_driver_sql("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            connection.commit()
        elif how == "begin":
            connection.connection.driver_connection.autocommit = True
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL SERIALIZABLE")
        assert connection.scalar(text(ONE)) == "One"
        if sqlite:  # a reader keeps a writer of a rollback journal from committing
            old = page.fence.get_or_set("old", lambda: connection.scalar(text(ONE)), ttl=60)
            assert page.fence.get("old") is None
        else:
            in_a_thread(lambda: commit(engine, "New"))
            old = page.fence.get_or_set("page", lambda: connection.scalar(text(ONE)), ttl=60)
        assert old == "One"
        connection.rollback()
        connection.invalidate()
    assert page() == ("One" if sqlite else "New")


def test_p3_a_connection_from_the_pool_is_asked_anew_what_it_sees(
    postgres: Engine, follow: Follow, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres.dialect, "skip_autocommit_rollback", True, raising=False)
    with CacheFence() as fence:
        follow(postgres, fence)
        with recording(()), postgres.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.scalar(text(ONE))
        with postgres.execution_options(isolation_level="REPEATABLE READ").connect() as connection:
            connection.scalar(text(ONE))
            with recording(()) as recorded:
                connection.scalar(text(ONE))
            assert recorded.private


@pytest.mark.parametrize("ends", ["closed", "forgotten"])
@pytest.mark.parametrize("streamed", [True, False])
def test_p3_rows_of_sqlite_yet_to_be_fetched_hold_a_snapshot(
    tmp_path: Path, fence: CacheFence, follow: Follow, streamed: bool, ends: str,
) -> None:
    engine = new_engine(f"sqlite:///{tmp_path}/library.sqlite3")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # a writer commits while others read
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
    follow(engine, fence)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id FROM book"))
        assert rows.fetchone() if streamed else rows.all()
        in_a_thread(lambda: commit(engine, "New"))
        found = fence.get_or_set("page", lambda: connection.scalar(text(ONE)), ttl=60)
        assert (found, fence.get("page")) == (("One", None) if streamed else ("New", "New"))
        if ends == "closed":
            rows.close()
        del rows
        gc.collect()
        assert fence.get_or_set("page", lambda: connection.scalar(text(ONE)), ttl=60) == fence.get("page") == "New"
    engine.dispose()


def test_p11_what_others_may_never_commit_is_not_stored(fence: CacheFence, follow: Follow) -> None:
    engine = new_engine("sqlite:///file:uncommitted?mode=memory&cache=shared&uri=true",
                        isolation_level="READ UNCOMMITTED", poolclass=NullPool)
    page = Page(fence, engine)
    with engine.connect() as writer:
        Base.metadata.create_all(writer)
        writer.commit()
        with Session(writer) as session:
            fill(session)
        follow(engine, fence)
        with Session(writer) as session:
            rename(session, "Never")
            assert in_a_thread(page) == "Never"
            session.rollback()
        assert in_a_thread(page) == "One"


def test_a_snapshot_begun_in_the_compute_is_stored(engine: Engine, page: Page) -> None:
    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")

    assert page() == page() == "One"
    assert page.made == 1


def test_p3_in_autocommit_each_statement_is_a_commit(engine: Engine, page: Page, heard: Heard) -> None:
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    assert page() == "One"
    with alone.connect() as connection:
        connection.execute(update(Book).where(Book.id == 1).values(title="New"))
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        assert page() == "New"
        connection.execute(update(Book).where(Book.id == 2).values(title="2"))
        with pytest.raises(DBAPIError):
            connection.execute(update(Book).where(Book.id == 1).values(isbn="i2"))
        assert heard.take()[-2:] == [BOOK_1, Outcome.ROLLED_BACK]
        assert (page(), page.made) == ("New", 2)
    with Session(alone) as session:
        rename(session, "Session")
        assert page() == "Session"
        session.commit()
    heard.take()
    commit(engine, "And on")
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]


def test_p4_a_statement_that_nobody_heard_fail_counts_as_done(engine: Engine, page: Page, heard: Heard) -> None:
    unheard = engine.execution_options(isolation_level="AUTOCOMMIT", skip_user_error_events=True)
    assert page() == "One"
    with unheard.connect() as connection:
        with pytest.raises(DBAPIError):
            connection.execute(update(Book).where(Book.id == 1).values(isbn="i2"))
        connection.scalar(text("SELECT 1"))
    assert heard.take() == [BOOK_1, Outcome.UNKNOWN]
    assert (page(), page.made) == ("One", 2)


def test_p3_begin_and_commit_are_read_from_the_text(engine: Engine, page: Page, heard: Heard) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for end, told in (("ROLLBACK", []), ("COMMIT", [BOOK_1, Outcome.COMMITTED])):
            assert (page(), page.made) == ("One", 1)
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql("UPDATE book SET title = 'New' WHERE id = 1")
            connection.exec_driver_sql("SELECT 1")
            assert not heard.said
            connection.exec_driver_sql(end)
            assert heard.take() == told
    assert page() == "New"


def test_p3_statements_that_sqlite_begins_nothing_for_are_commits(
    engine: Engine, page: Page, heard: Heard,
) -> None:
    if engine.dialect.name == "postgresql":
        return
    assert page() == "One"
    with engine.connect() as connection:
        seen: list[str] = []
        heard.at_fence = lambda: seen.append(title(engine))
        connection.execute(text("WITH new AS (SELECT 'New' AS it) UPDATE book SET title = (SELECT it FROM new)"))
        assert seen == ["One"], "the fence was up before it"
        assert page() == "New"
        heard.take()
        connection.execute(text("/* a remark */ UPDATE book SET title = 'Remark' WHERE id = 1"))
        connection.rollback()
        assert Outcome.COMMITTED not in heard.take()
        assert page() == "New"
        connection.execute(text("DROP TABLE shelf"))
        assert Outcome.COMMITTED in heard.take()


def test_p3_a_statement_that_committed_unforeseen_is_made_good(
    engine: Engine, page: Page, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cachefence_web.sqlalchemy.statements.commits_alone", lambda *_: False)
    assert page() == "One"
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(update(Book).where(Book.id == 1).values(title="New"))
        assert in_a_thread(page) == "New"
