"""Which databases are followed, and what is known of their tables: keys, cascades, views, replicas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.schema import CreateSchema, DropSchema

from cachefence_web import CacheFence, ConfigurationError, StoreUnavailable, depends_on, untracked
from cachefence_web.core.effects import Outcome
from cachefence_web.runtime.recording import recording
from cachefence_web.sql import Routine
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Author, Base, Book, Genre, new_engine
from tests.sqlalchemy_following.pages import Page, read_in

Follow = Callable[..., Any]
BOOK_1 = frozenset(["book", "book:1"])


def rename(session: Session, to: str) -> None:
    session.get_one(Book, 1).title = to
    session.commit()


def test_databases_are_named_by_engines_and_by_sessions(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    maker, unbound = sessionmaker(engine), sessionmaker()
    scoped = scoped_session(sessionmaker(engine))

    class Own(Session):
        pass

    named: list[tuple[Any, Callable[[], Session]]] = [
        (engine, lambda: Session(engine)), (engine.execution_options(a=1), lambda: Session(engine)), (maker, maker),
        (engine, lambda: Session(engine.execution_options(a=1))), (scoped, scoped), (Own, lambda: Own(engine)),
        (unbound, lambda: unbound(bind=engine)),
    ]
    own = dict(engine.dialect.__dict__)
    for turn, (of, make) in enumerate(named):
        following = follow(of, fence)
        with make() as session:
            rename(session, str(turn))
        assert heard.take() == [BOOK_1, Outcome.COMMITTED], of
        following.remove()
        following.remove()
        with make() as session:
            rename(session, f"unheard {turn}")
        assert heard.take() == []
    scoped.remove()
    assert {name for name in engine.dialect.__dict__ if name not in own} <= {"dispatch", "_has_events"}


def test_p3_an_engine_may_be_followed_before_it_has_connected(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    fresh = new_engine(engine.url)
    follow(fresh, fence)
    with Session(fresh) as session:
        rename(session, "New")
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    fresh.dispose()


def test_other_databases_are_none_of_its_business(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard, tmp_path: Path,
) -> None:
    follow(engine, fence)
    elsewhere = new_engine(f"sqlite:///{tmp_path}/elsewhere.sqlite3")
    Base.metadata.create_all(elsewhere)
    with Session(elsewhere) as session:
        session.add(Author(name="Cy"))
        session.commit()
    assert heard.take() == []
    assert read_in(elsewhere, select(Author)) == set()
    elsewhere.dispose()


def test_p3_several_caches_hear_of_one_commit(engine: Engine, fence: CacheFence, follow: Follow, heard: Heard) -> None:
    with CacheFence() as other:
        first = follow(engine, fence)
        follow(engine, other)
        with Session(engine) as session:
            rename(session, "New")
        assert heard.take() == [BOOK_1, BOOK_1, Outcome.COMMITTED, Outcome.COMMITTED]
        first.remove()
        with Session(engine) as session:
            rename(session, "Newer")
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]
        with pytest.raises(ConfigurationError, match="alike"):
            invalidate_on_commit(engine, fence, space="other.")
        with Session(engine) as session:
            rename(session, "Newest")
        assert heard.take() == [BOOK_1, Outcome.COMMITTED]


def test_anything_but_sessions_a_cache_and_metadata_is_refused(engine: Engine, fence: CacheFence) -> None:
    for sessions in (object(), None, "sqlite://"):
        with pytest.raises(ConfigurationError, match="name the sessions"):
            invalidate_on_commit(sessions, fence)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="fence is"):
        invalidate_on_commit(engine, "memory://")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="metadata is"):
        invalidate_on_commit(engine, fence, metadata="book")


@pytest.mark.parametrize(("wrong", "message"), [
    ({"views": ["sales"]}, "views is a dict"),
    ({"triggers": {"book": "audit"}}, r'triggers\["book"\] is a list of the names of tables'),
    ({"routines": {"close": ["book"]}}, r'routines\["close"\] is a dict'),
    ({"routines": {"close": Routine(writes="book")}}, r'\["writes"\] is a list of the names of tables'),
    ({"space": 5}, "space is a text"),
    ({"space": "my archive."}, "white space"),
])
def test_a_slip_in_what_is_declared_is_named(
    engine: Engine, fence: CacheFence, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        invalidate_on_commit(engine, fence, **wrong)


def test_the_models_are_learned_from_the_statements_made_of_them(
    engine: Engine, fence: CacheFence, follow: Follow,
) -> None:
    follow(engine, fence)
    by_key = text("SELECT * FROM genre WHERE id = 1")
    assert read_in(engine, by_key) == {"genre", "db:*"}, "nothing is known of a table in a text"
    assert read_in(engine, select(Genre)) == {"genre", "db:*"}
    assert read_in(engine, by_key) == {"genre:1", "genre:*", "db:*"}


def test_p3_cascades_of_a_text_are_known_from_the_metadata(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(engine, fence, metadata=Base)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM author WHERE id = :id"), {"id": 1})
    (told, _) = heard.take()
    assert told == {"author", "author:1", "book", "book:*", "book_genre", "book_genre:*", "atlas", "atlas:*"}


def test_p3_views_triggers_and_routines_are_what_they_are_declared_to_be(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE VIEW cheap AS SELECT * FROM book WHERE price < 20"))
    try:
        follow(engine, fence, metadata=[Base, MetaData()], views={"cheap": ["book"]},
               triggers={"genre": ["shelf"]}, routines={"lower": Routine(reads=["author"], writes=["shelf"])})
        assert read_in(engine, text("SELECT title FROM cheap")) >= {"book"}
        with engine.begin() as connection:
            connection.execute(insert(Genre).values(id=7, name="New"))
        assert heard.take()[0] == {"genre", "genre:7", "shelf", "shelf:*"}
        with engine.begin() as connection:
            connection.execute(text("SELECT lower('A')"))
        assert heard.take()[0] >= {"shelf", "shelf:*"}
        with engine.begin() as connection:
            connection.execute(select(func.lower("A")))
        assert heard.take()[0] >= {"shelf", "shelf:*"}
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP VIEW cheap"))


def test_a_database_of_its_own_has_tags_of_its_own(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(engine, fence, space="archive.", metadata=Base.metadata)
    assert read_in(engine, select(Book).where(Book.id == 1)) == {"archive.book:1", "archive.book:*", "archive.db:*"}
    with Session(engine) as session:
        rename(session, "New")
    assert heard.take()[0] == {"archive.book", "archive.book:1"}


def test_p3_what_a_replica_said_is_dated_by_its_lag(engine: Engine, fence: CacheFence, follow: Follow) -> None:
    follow(engine, fence, max_lag=3600)
    with recording(()) as recorded, engine.connect() as connection:
        connection.execute(select(Book)).all()
    assert recorded.lag == 3600


def test_untracked_reads_and_objects_loaded_before_are_not_depended_on(
    engine: Engine, fence: CacheFence, follow: Follow,
) -> None:
    follow(engine, fence, metadata=Base)
    with Session(engine) as session:
        book = session.get_one(Book, 1)
        with recording(()) as recorded:
            with untracked():
                session.scalars(select(Author)).all()
            assert session.get_one(Book, 1) is book
            depends_on("book:1")
        assert set(recorded.settled()) == {"book:1"}


def test_p3_a_listener_of_the_users_may_change_a_statement(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(engine, fence, metadata=Base)

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def change(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("UPDATE genre", "UPDATE shelf"), parameters

    with engine.begin() as connection:
        connection.execute(text("UPDATE genre SET label = 'x' WHERE 1 = 1"))
    assert "shelf" in heard.take()[0]


def test_following_leaves_sqlalchemy_s_own_way_as_short_as_it_was(
    engine: Engine, fence: CacheFence, follow: Follow,
) -> None:
    """While anybody listens to an engine, SQLAlchemy prepares each statement for all who might."""
    had = engine._has_events
    follow(engine, fence, metadata=Base)
    assert engine._has_events is had


@pytest.mark.parametrize("first", [False, True], ids=["after us", "before us"])
def test_p3_what_a_listener_executes_past_the_dialect_is_seen(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard, first: bool,
) -> None:
    follow(engine, fence, metadata=Base)

    @event.listens_for(engine.dialect, "do_execute", insert=first)
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        cursor.execute(statement, parameters)
        return True

    assert read_in(engine, select(Book.title).where(Book.id == 1)) == {"book:1", "book:*", "db:*"}
    assert read_in(engine, select(Book.title).where(Book.id == 99)) == {"book", "db:*"}
    heard.take()
    with engine.begin() as connection:
        connection.execute(update(Book).where(Book.id == 1).values(title="New"))
    assert heard.take()[0] == {"book", "book:1"}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("UPDATE book SET title = 'Newer' WHERE id = 2")
    assert heard.take()[0] == {"book", "book:2"}


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "autocommit"])
def test_p3_what_a_listener_executes_before_it_fails_is_told(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard, alone: bool,
) -> None:
    follow(engine, fence, metadata=Base)

    @event.listens_for(engine.dialect, "do_execute")
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        if statement.startswith("UPDATE"):
            cursor.execute(statement, parameters)
            raise RuntimeError("the answer was lost")

    with engine.connect().execution_options(**{"isolation_level": "AUTOCOMMIT"} if alone else {}) as connection:
        with pytest.raises(RuntimeError, match="lost"):
            connection.execute(update(Book).where(Book.id == 1).values(title="New"))
        if not alone:
            connection.commit()
    assert heard.take()[0] == {"book", "book:1"}


def test_p6_what_is_refused_no_listener_executes(engine: Engine, follow: Follow) -> None:
    with CacheFence("redis://127.0.0.1:1", on_outage="refuse") as refusing:
        follow(engine, refusing, metadata=Base)
        asked = []

        @event.listens_for(engine.dialect, "do_execute")
        def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
            asked.append(statement)
            cursor.execute(statement, parameters)
            return True

        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            with pytest.raises(StoreUnavailable, match="nothing is written"):
                connection.execute(update(Book).where(Book.id == 1).values(title="New"))
    assert asked == []


@pytest.mark.parametrize("entity", [False, True], ids=["columns", "entity"])
def test_p3_a_text_with_columns_that_writes_is_a_write(engine: Engine, page: Page, entity: bool) -> None:
    write = text("UPDATE book SET title = 'New' WHERE id = 1 RETURNING *")
    assert page() == "One"
    with Session(engine) as session:
        session.execute(select(Book).from_statement(write) if entity else write.columns(Book.id)).all()
        session.commit()
    assert page() == "New"


def test_p3_a_select_over_a_cte_that_writes_is_a_write(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    if engine.dialect.name == "sqlite":
        return  # which has no such thing
    follow(engine, fence)
    written = update(Book).where(Book.id == 1).values(title="New").returning(Book.id).cte()
    with engine.begin() as connection:
        assert connection.execute(select(written.c.id)).all() == [(1,)]
    assert heard.take()[0] >= {"book"}


def test_p3_definitions_change_what_they_name(engine: Engine, fence: CacheFence, follow: Follow, heard: Heard) -> None:
    follow(engine, fence)
    new = Table("brand_new", MetaData(), Column("id", Integer, primary_key=True), Column("it", Integer, index=True))
    with engine.begin() as connection:
        new.create(connection)
    told = heard.take()
    assert "brand_new" in frozenset().union(*[each for each in told if isinstance(each, frozenset)])
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(CreateSchema("apart"))
            connection.execute(DropSchema("apart"))
        new.drop(connection)
    assert Outcome.COMMITTED in heard.take()


def test_a_locking_read_is_not_stored(engine: Engine, fence: CacheFence, follow: Follow) -> None:
    follow(engine, fence)

    def load() -> str:
        with Session(engine) as session:
            return session.scalars(select(Book.title).where(Book.id == 1).with_for_update()).one()

    assert fence.get_or_set("page", load, ttl=60) == "One"
    assert (fence.get("page") is None) is (engine.dialect.name == "postgresql"), "SQLite has no locks: none are asked"


def test_p3_rows_of_a_batch_of_many_values_are_known(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(engine, fence, metadata=Base)
    with Session(engine) as session:
        session.scalars(insert(Genre).returning(Genre), [{"id": key, "name": "g"} for key in (21, 22)]).all()
        session.commit()
    assert heard.take()[0] == {"genre", "genre:21", "genre:22"}


def test_p3_thousands_of_rows_are_told_as_their_table(
    engine: Engine, fence: CacheFence, follow: Follow, heard: Heard,
) -> None:
    follow(engine, fence, metadata=Base)
    with Session(engine) as session:
        session.execute(insert(Genre), [{"id": number, "name": "g"} for number in range(10, 2_500)])
        session.execute(update(Genre), [{"id": number, "name": "h"} for number in range(10, 2_500)])
        session.commit()
    assert heard.take() == [frozenset(["genre", "genre:*"]), Outcome.COMMITTED]


def test_a_database_whose_statements_are_not_understood_is_refused(fence: CacheFence) -> None:
    engine = create_engine("sqlite://")
    engine.dialect.name = "nosuchdb"
    with pytest.raises(ConfigurationError, match="nosuchdb"):
        invalidate_on_commit(engine, fence)
    engine.dispose()
