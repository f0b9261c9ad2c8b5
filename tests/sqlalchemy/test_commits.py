"""What a session changed is told once, when it is committed, and what was rolled back never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tests.postgres import PostgresServer
from tests.sqlalchemy.shelf import Author, Book, Told

ROW = {Book: ["book:{id}", "book"]}

Follow = Callable[..., Any]
Sessions = sessionmaker[Session]


def title(session: Session, book: int, to: str) -> None:
    session.get_one(Book, book).title = to


def test_p3_a_commit_invalidates_what_its_flushes_changed_in_one_go(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow(ROW)
    with sessions() as session:
        title(session, 1, "1")
        session.flush()
        session.add(Book(id=9, title="Nine", author_id=1))
        session.flush()
        session.delete(session.get_one(Book, 2))
        assert fence.told() == []
        session.commit()
        assert fence.told() == [{"book:1", "book:9", "book:2", "book"}]


def test_p3_the_commit_is_in_the_database_when_it_is_told(engine: Engine, sessions: Sessions, follow: Follow) -> None:
    seen: list[str] = []

    class Looks(Told):
        def invalidate_tags(self, *tags: str) -> None:
            with engine.connect() as other:
                seen.append(other.scalar(text("SELECT title FROM book WHERE id = 1")))

    follow(ROW, cache=Looks())
    with sessions() as session:
        title(session, 1, "New")
        session.commit()
    assert seen == ["New"]


def test_p3_a_reader_after_the_commit_sees_it(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow(ROW)

    def read() -> str:
        with sessions() as session:
            return session.get_one(Book, 1).title

    def cached() -> str:
        return fence.get_or_set("title", read, tags=["book:1"], ttl=60)

    assert cached() == "One"
    with sessions.begin() as session:
        title(session, 1, "New")
        session.flush()
        assert cached() == "One"
    assert cached() == "New"


def test_what_is_rolled_back_or_closed_invalidates_nothing(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow(ROW)
    with sessions() as session:
        title(session, 1, "1")
        session.flush()
        session.rollback()
        title(session, 2, "2")
        session.flush()
    assert fence.told() == []
    with sessions() as session:
        session.commit()
    assert fence.told() == []


def test_p3_a_savepoint_that_is_released_waits_for_the_commit(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow(ROW)
    with sessions() as session:
        with session.begin_nested():
            title(session, 1, "1")
            with session.begin_nested():
                title(session, 2, "2")
        assert fence.told() == []
        session.commit()
    assert fence.told() == [{"book:1", "book:2", "book"}]


def test_a_rollback_to_a_savepoint_drops_only_what_came_after_it(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow(ROW)
    with sessions() as session:
        title(session, 1, "1")  # flushed by the next line, before the savepoint
        savepoint = session.begin_nested()
        title(session, 2, "2")
        with session.begin_nested():
            session.add(Book(id=9, title="Nine", author_id=1))
        savepoint.rollback()
        session.commit()
    assert fence.told() == [{"book:1", "book"}]


def test_p3_a_commit_with_savepoints_open_tells_all(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow(ROW)
    with sessions() as session:
        title(session, 1, "1")
        session.begin_nested()
        title(session, 2, "2")
        session.commit()
    assert fence.told() == [{"book:1", "book:2", "book"}]


def test_a_flush_that_failed_in_a_savepoint_leaves_the_rest(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow(ROW)
    with sessions() as session:
        session.get_one(Book, 2)
        title(session, 1, "1")
        savepoint = session.begin_nested()
        session.add(Book(id=7, title="Seven", author_id=1))
        with pytest.raises(IntegrityError):
            session.execute(text("INSERT INTO book (id, title, kind, author_id) VALUES (2, 'x', 'book', 1)"))
        savepoint.rollback()
        session.commit()
    assert fence.told() == [{"book:1", "book"}]


def test_p4_a_commit_whose_outcome_is_unknown_invalidates(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow(ROW)
    with sessions() as session:
        title(session, 1, "1")
        session.flush()

        def break_down(connection: object) -> None:
            raise ConnectionError("the network has gone")

        event.listen(session.connection(), "commit", break_down)
        with pytest.raises(ConnectionError):
            session.commit()
        session.rollback()
    assert fence.told() == [{"book:1", "book"}]


def test_p3_the_second_phase_of_a_two_phase_commit_is_waited_for(fence: Told, follow: Follow) -> None:
    with PostgresServer({"max_prepared_transactions": "10"}) as server:
        engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))
        Book.metadata.create_all(engine)
        follow(ROW, of=engine)
        with Session(engine, twophase=True) as session:
            session.add(Author(id=1, name="Ada", books=[Book(id=1, title="One")]))
            session.prepare()
            assert fence.told() == []
            session.commit()
        assert fence.told() == [{"book:1", "book"}]
        engine.dispose()


def test_sessions_are_named_by_what_makes_them(engine: Engine, sessions: Sessions, fence: Told, follow: Follow) -> None:
    scoped = scoped_session(sessions)

    class Own(Session):
        pass

    single = Session(engine)
    named = [(engine, Session(engine)), (engine, Session(engine.execution_options(a=1))), (sessions, sessions()),
             (scoped, scoped()), (Own, Own(engine)), (single, single)]
    for turn, (of, session) in enumerate(named):
        following = follow(ROW, of=of)
        with session:
            title(session, 1, str(turn))
            session.commit()
        assert fence.told() == [{"book:1", "book"}], of
        with Session(engine) as another:
            title(another, 2, str(turn))
            another.commit()
        assert len(fence.told()) == (1 if of is engine else 0), of
        following.remove()
    scoped.remove()


def test_removing_it_ends_it(sessions: Sessions, fence: Told, follow: Follow) -> None:
    following = follow(ROW)
    following.remove()
    following.remove()
    with sessions.begin() as session:
        title(session, 1, "1")
    assert fence.told() == []
