"""Around a COMMIT: the fence is up before it and down after it, whatever the transaction is made of and ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from cachefence_web.core.effects import Outcome
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Book, new_engine
from tests.sqlalchemy_following.pages import BOOK_1, ONE, Page, commit, in_a_thread, rename, title

Follow = Callable[..., Any]


def test_p3_the_fence_goes_up_before_the_commit_and_comes_down_after_it(
    engine: Engine, page: Page, heard: Heard,
) -> None:
    seen: list[str] = []

    def look() -> None:
        with engine.connect() as other:
            seen.append(other.scalar(text(ONE)))

    heard.at_fence = heard.at_lift = look
    with Session(engine) as session:
        rename(session, "New")
        assert not heard.said
        session.commit()
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    assert seen == ["One", "New"]


def test_p3_what_is_rolled_back_is_never_told(engine: Engine, page: Page, heard: Heard) -> None:
    assert page() == "One"
    with Session(engine) as session:
        rename(session, "New")
        session.rollback()
        session.commit()
        rename(session, "Newer")
    with engine.connect() as connection:
        connection.execute(text("UPDATE book SET title = 'Core'"))
    assert (page(), page.made, heard.take()) == ("One", 1, [])


def test_p3_who_has_written_reads_what_is_written_and_stores_nothing(engine: Engine, page: Page) -> None:
    assert page() == "One"
    with Session(engine) as session:
        rename(session, "New")
        found = page.fence.get_or_set("page", lambda: session.scalar(select(Book.title).where(Book.id == 1)), ttl=60)
        assert found == "New"
        assert in_a_thread(page) == "One"
        session.rollback()
        assert (page(), page.made) == ("One", 1)


def test_p3_what_was_read_uncommitted_is_never_stored_whoever_asked(engine: Engine, page: Page) -> None:
    with Session(engine) as session:
        rename(session, "New")

        def dirty() -> str:
            return page.fence.get_or_set("page", lambda: session.scalar(text(ONE)), ttl=60)

        assert in_a_thread(dirty) == "New"
        session.rollback()
    assert page() == "One"


def test_p3_a_nested_transaction_belongs_to_the_outer_one(engine: Engine, page: Page, heard: Heard) -> None:
    with Session(engine) as session:
        with session.begin_nested():
            rename(session, "Nested")
            with session.begin_nested():
                rename(session, "2", 2)
        assert not heard.said
        session.commit()
    assert heard.take() == [BOOK_1 | {"book:2"}, Outcome.COMMITTED]


def test_a_hook_of_the_users_that_raises_at_commit_leaves_no_fence(engine: Engine, page: Page, heard: Heard) -> None:
    assert page() == "One"
    with Session(engine) as session:
        rename(session, "New")

        def refuse(connection: object) -> None:
            raise RuntimeError("not today")

        event.listen(session.connection(), "commit", refuse)
        with pytest.raises(RuntimeError, match="not today"):
            session.commit()
        session.rollback()
    assert (page(), page.made, heard.take()) == ("One", 1, [])


def test_p4_a_connection_that_dies_at_its_commit_invalidates(postgres: Engine, follow: Follow, heard: Heard) -> None:
    with CacheFence() as fence:
        follow(postgres, fence)
        page = Page(fence, postgres)
        assert page() == "One"
        with Session(postgres) as session:
            rename(session, "New")
            process = session.scalar(text("SELECT pg_backend_pid()"))

            def kill() -> None:
                with postgres.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                    other.execute(text("SELECT pg_terminate_backend(:it, 60000)"), {"it": process})

            heard.at_fence = kill
            with pytest.raises(OperationalError):
                session.commit()
            session.rollback()
        assert heard.take() == [BOOK_1, Outcome.UNKNOWN]
        assert (page(), page.made) == ("One", 2)
        with Session(postgres) as session:
            rename(session, "Newer")
            session.commit()
        assert page() == "Newer"


@contextmanager
def deferred(engine: Engine) -> Iterator[None]:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE book ADD CONSTRAINT later UNIQUE (title) DEFERRABLE INITIALLY DEFERRED"))
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE book DROP CONSTRAINT later"))


def test_p3_a_commit_that_the_database_refused_invalidates_nothing(
    postgres: Engine, follow: Follow, fence: CacheFence, heard: Heard,
) -> None:
    with deferred(postgres):
        follow(postgres, fence)
        page = Page(fence, postgres)
        assert page() == "One"
        with Session(postgres) as session:
            rename(session, "Two")
            with pytest.raises(DBAPIError, match="later"):
                session.commit()
            session.rollback()
        assert heard.take() == [BOOK_1, Outcome.ROLLED_BACK]
        assert (page(), page.made) == ("One", 1)


def test_p3_a_serialization_failure_invalidates_nothing(
    postgres: Engine, follow: Follow, fence: CacheFence, heard: Heard,
) -> None:
    follow(postgres, fence)
    serializable = postgres.execution_options(isolation_level="SERIALIZABLE")
    with Session(serializable) as first, Session(serializable) as second:
        for session, book in ((first, 2), (second, 1)):
            session.scalars(select(Book.title)).all()
            rename(session, "Both", book)
        first.commit()
        assert heard.take() == [frozenset(["book", "book:2"]), Outcome.COMMITTED]
        with pytest.raises(DBAPIError, match="serialize"):
            second.commit()
        assert heard.take() in ([], [BOOK_1, Outcome.ROLLED_BACK])


def test_p3_a_commit_that_a_lock_held_up_invalidates_nothing(
    engine: Engine, page: Page, heard: Heard,
) -> None:
    if engine.dialect.name == "postgresql":
        return
    assert page() == "One"
    hasty = new_engine(engine.url, connect_args={"timeout": 0})
    following = invalidate_on_commit(hasty, page.fence)
    with engine.connect() as reader, hasty.connect() as writer:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT * FROM book").all()
        writer.execute(update(Book).where(Book.id == 1).values(title="New"))
        with pytest.raises(OperationalError, match="locked"):
            writer.commit()
        writer.rollback()
    assert heard.take() == [BOOK_1, Outcome.ROLLED_BACK]
    assert (page(), page.made) == ("One", 1)
    following.remove()
    hasty.dispose()


def test_p3_a_session_in_its_users_tests_commits_when_its_savepoint_is_released(
    engine: Engine, fence: CacheFence, follow: Follow,
) -> None:
    follow(engine, fence)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        engine.dispose()
    with engine.connect() as connection, connection.begin() as everything:
        made: list[str] = []

        def read() -> str:
            made.append("")
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                return session.get_one(Book, 1).title

        def page() -> str:
            return fence.get_or_set("page", read, ttl=60)

        assert page() == page() == "One"
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            rename(session, "New")
            session.commit()
        assert page() == page() == "New"
        assert len(made) == 2
        everything.rollback()
    assert fence.get_or_set("page", lambda: title(engine), ttl=60) == "One"


def test_p3_what_such_a_session_told_is_told_again_if_its_connection_is_lost(
    postgres: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(postgres, fence)
    with postgres.connect() as connection:
        everything = connection.begin()
        process = connection.scalar(text("SELECT pg_backend_pid()"))
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            rename(session, "New")
            session.commit()
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        with postgres.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:it, 60000)"), {"it": process})
        with pytest.raises(OperationalError):
            connection.scalar(text(ONE))
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        everything.rollback()
    assert heard.take() == []


def test_p3_what_such_a_session_told_is_fenced_if_it_is_committed_after_all(
    engine: Engine, page: Page, heard: Heard,
) -> None:
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            rename(session, "New")
            session.commit()
        heard.take()
        outer.commit()
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    assert page() == "New"


def test_p3_a_session_that_joined_a_transaction_commits_with_it(engine: Engine, page: Page) -> None:
    assert page() == "One"
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="rollback_only") as session:
            rename(session, "New")
            session.commit()
        assert in_a_thread(page) == "One"
        outer.commit()
    assert page() == "New"


@pytest.mark.parametrize("then", ["a statement", "nothing"])
def test_p3_a_commit_of_the_drivers_own_is_noticed(engine: Engine, page: Page, then: str) -> None:
    assert page() == "One"
    with engine.connect() as connection:
        connection.execute(update(Book).where(Book.id == 1).values(title="New"))
        connection.connection.driver_connection.commit()
        if then == "a statement":
            connection.scalar(text("SELECT 1"))
            assert in_a_thread(page) == "New"
    assert page() == "New"


def test_p1_who_writes_on_the_same_connection_later_is_somebody_else(engine: Engine, page: Page) -> None:
    commit(engine, "Mine")
    assert (page(), page.made) == ("Mine", 1)

    def begin() -> Session:
        session = Session(engine)
        rename(session, "Theirs")
        return session

    with in_a_thread(begin) as session:
        assert (page(), page.made) == ("Mine", 1), "a hit: the caller has written nothing since"
        session.rollback()
