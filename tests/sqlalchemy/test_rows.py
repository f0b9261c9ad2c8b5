"""Which tags a change of a row has, and what a statement that changes many of them does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session, sessionmaker

from cachefence_web import ConfigurationError
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.sqlalchemy.shelf import Atlas, Author, Base, Book, Genre, Told

ROW = {Book: ["book:{id}", "book"]}

Follow = Callable[..., Any]
Sessions = sessionmaker[Session]


def test_a_function_sees_a_new_row_whole_with_what_it_refers_to(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Author: lambda author: [f"author:{author.id}"],
            Book: lambda book: [f"book:{book.id}:{book.kind}", f"of:{book.author.name}"]})
    with sessions.begin() as session:
        session.add_all([Book(id=9, title="Nine", author_id=2), author := Author(name="Cy")])
        session.flush()
        number = author.id
    assert fence.told() == [{"of:Bo", "book:9:book", f"author:{number}"}]


def test_p3_a_template_invalidates_what_the_row_was_called_before(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Book: ["of:{author_id}", "book:{title}"]})
    with sessions.begin() as session:
        session.get_one(Book, 1).author_id = 2
    assert fence.told() == [{"of:1", "of:2", "book:One"}]


def test_p3_the_old_name_is_read_from_the_row_if_it_was_not_loaded(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Book: ["of:{author_id}", "name:{title}"]})
    with sessions() as session:
        book = session.get_one(Book, 1)
        session.commit()
        book.title = "New"
        book.author_id = 2
        session.commit()
        assert fence.told() == [{"of:1", "of:2", "name:One", "name:New"}]
        session.expire(book)
        book.id = 77
        session.commit()
        assert fence.told() == [{"of:2", "name:New"}]


def test_p3_rows_that_go_with_their_parent_are_seen(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow({Book: ["book:{id}"]})
    with sessions.begin() as session:
        author = session.get_one(Author, 1)
        author.books.remove(session.get_one(Book, 1))  # an orphan, deleted by the flush
    assert fence.told() == [{"book:1"}]
    with sessions.begin() as session:
        session.delete(session.get_one(Author, 1))
    assert fence.told() == [{"book:2"}]


def test_p3_a_deleted_row_that_was_not_loaded_has_its_tags(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow({Book: lambda book: [f"of:{book.author.name}"]})
    with sessions() as session:
        book = session.get_one(Book, 1)
        session.commit()
        session.delete(book)
        session.commit()
    assert fence.told() == [{"of:Ada"}]


def test_p3_a_change_of_many_to_many_is_a_change(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow({Book: ["book:{id}"]})
    with sessions.begin() as session:
        book = session.get_one(Book, 1)
        book.genres.append(session.get_one(Genre, 1))
    assert fence.told() == [{"book:1"}]


def test_an_assignment_that_changes_nothing_invalidates_nothing(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Book: ["book:{id}"]})
    with sessions.begin() as session:
        book = session.get_one(Book, 1)
        book.title = str(book.title)
        session.get_one(Author, 1).name = "Not followed"
    assert fence.told() == []


def test_p3_tags_of_a_base_class_hold_for_its_subclasses(sessions: Sessions, fence: Told, follow: Follow) -> None:
    follow({Book: ["book:{id}"], Atlas: ["atlas:{id}", "atlas"]})
    with sessions.begin() as session:
        session.add(Atlas(id=5, title="World", author_id=1))
    assert fence.told() == [{"book:5", "atlas:5", "atlas"}]
    with sessions.begin() as session:
        session.get_one(Atlas, 5).maps = 3
    assert fence.told() == [{"book:5", "atlas:5", "atlas"}]


@pytest.mark.parametrize("statement", [
    update(Book).values(title="All"),
    delete(Book).where(Book.id == 2),
    insert(Book).values(id=8, title="Eight", kind="book", author_id=1),
    update(Base.metadata.tables["book"]).values(title="Core"),
], ids=["update", "delete", "insert", "core"])
def test_p3_a_statement_invalidates_the_plain_tags(
    sessions: Sessions, fence: Told, follow: Follow, statement: Any,
) -> None:
    follow({Book: [lambda book: [f"book:{book.id}"], "book"], Author: ["author"]})
    with sessions.begin() as session:
        session.execute(statement)
        session.execute(select(Author))
        assert fence.told() == []
    assert fence.told() == [{"book"}]


@pytest.mark.parametrize("change", [
    lambda session: session.execute(update(Book).values(title="All")),
    lambda session: session.query(Book).filter_by(id=2).delete(),
    lambda session: session.execute(insert(Book), [{"id": 8, "title": "Eight", "kind": "book", "author_id": 1}]),
    lambda session: session.scalars(
        select(Book).from_statement(update(Book).values(title="All").returning(Book))).all(),
], ids=["update", "query", "insert", "from_statement"])
def test_p3_a_statement_may_be_the_first_act_of_a_session(
    sessions: Sessions, fence: Told, follow: Follow, change: Callable[[Session], object],
) -> None:
    follow(ROW)
    with sessions() as session:
        change(session)
        session.rollback()
        assert fence.told() == []
        change(session)
        session.commit()
        assert fence.told() == [{"book"}]


def test_a_session_that_begins_nothing_itself_still_refuses_a_statement_outside_of_a_transaction(
    engine: Engine, fence: Told, follow: Follow,
) -> None:
    follow(ROW, of=engine)
    with Session(engine, autobegin=False) as session:
        with pytest.raises(InvalidRequestError, match="begin"):
            session.execute(update(Book).values(title="All"))
        assert not session.in_transaction()
        with session.begin():
            session.execute(update(Book).values(title="All"))
    assert fence.told() == [{"book"}]


def test_p3_a_statement_on_a_base_table_is_one_on_its_subclasses(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Atlas: ["atlas"]})
    with sessions.begin() as session:
        session.execute(update(Book).values(title="All"))
    assert fence.told() == [{"atlas"}]


def test_p3_a_statement_without_a_plain_tag_invalidates_everything_and_says_so(
    sessions: Sessions, fence: Told, follow: Follow, caplog: pytest.LogCaptureFixture,
) -> None:
    follow({Book: lambda book: [f"book:{book.id}"]})
    fence.set("page", "old", tags=["book:1"])
    with caplog.at_level(logging.WARNING, "cachefence_web"), sessions.begin() as session:
        session.execute(update(Book).values(title="All"))
    assert fence.told() == [{"everything"}]
    assert fence.get("page") is None
    assert "plain tag" in caplog.text


def test_a_function_that_raises_ends_the_flush_with_nothing_committed(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Book: lambda book: [f"book:{book.price}"]})
    with sessions() as session:
        session.get_one(Book, 1).title = "New"
        with pytest.raises(AttributeError, match="price"):
            session.commit()
        session.rollback()
        assert session.get_one(Book, 1).title == "One"
    assert fence.told() == []


def test_p3_a_transaction_with_thousands_of_rows_is_told_in_a_few_parts(
    sessions: Sessions, fence: Told, follow: Follow,
) -> None:
    follow({Genre: ["genre:{id}"]})
    with sessions.begin() as session:
        session.add_all(Genre(id=number, name="x") for number in range(10, 1510))
    calls = fence.told()
    assert [len(call) for call in calls] == [1000, 500]
    assert set().union(*calls) == {f"genre:{number}" for number in range(10, 1510)}


@pytest.mark.parametrize(("models", "says"), [
    ({Book: "book"}, r"write \['book'\]"),
    ({Book: []}, "has no tags"),
    ({Book: 7}, "a list or a function"),
    ({Book: ["book:{isbn}"]}, "isbn"),
    ({Book: ["two words"]}, "reserved"),
    ({Base: ["x"]}, "mapped classes"),
    ({int: ["x"]}, "mapped classes"),
    ({}, "models is a dict"),
    ([Book], "models is a dict"),
])
def test_models_and_tags_that_cannot_be_are_refused_at_once(
    sessions: Sessions, fence: Told, models: Any, says: str,
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        invalidate_on_commit(sessions, fence, models)


def test_anything_but_sessions_and_a_cache_is_refused(sessions: Sessions, fence: Told) -> None:
    for sessions_of in (object(), dict, None, "sqlite://"):
        with pytest.raises(ConfigurationError, match=r"db\.session"):
            invalidate_on_commit(sessions_of, fence, {Book: ["book"]})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="fence is"):
        invalidate_on_commit(sessions, "memory://", {Book: ["book"]})  # type: ignore[arg-type]
