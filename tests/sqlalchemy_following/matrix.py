"""Every way to write against every way to read: what a page shows after the write is what the database has.

`READS` and `WRITES` name the ways; `found` tries one of them, for a test or for a table of all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, bindparam, delete, func, insert, select, text, update
from sqlalchemy.orm import Session, joinedload, selectinload

from cachefence_web import CacheFence
from tests.invalidation_table import Shown
from tests.sqlalchemy_following.library import Atlas, Author, Book, Genre, Shelf, book_genre
from tests.sqlalchemy_following.others import by_flask_sqlalchemy, by_sqlmodel

Read = Callable[[Session], Any]

READS: dict[str, Read] = {
    "by pk": lambda session: _title(session.get(Book, 1)),
    "by a pk that does not exist yet": lambda session: _title(session.get(Book, 9)),
    "by several pks": lambda session: session.scalars(
        select(Book.title).where(Book.id.in_([1, 2])).order_by(Book.id)).all(),
    "by pk of a joined subclass": lambda session: _maps(session.get(Atlas, 4)),
    "by a pk of two columns": lambda session: _label(session.get(Shelf, ("a/b", 1))),
    "by a unique field": lambda session: session.scalar(select(Book.title).where(Book.isbn == "i1")),
    "filtered list": lambda session: session.scalars(
        select(Book.title).where(Book.price < 50).order_by(Book.id)).all(),
    "count": lambda session: session.scalar(select(func.count()).select_from(Book)),
    "count of a pk": lambda session: session.scalar(select(func.count(Book.id)).where(Book.id == 9)),
    "aggregate": lambda session: session.scalar(select(func.sum(Book.price))),
    "join": lambda session: [list(row) for row in session.execute(
        select(Book.title, Author.name).join(Book.author).order_by(Book.id))],
    "many to many": lambda session: [genre.name for book in session.scalars(select(Book).where(Book.id == 1))
                                     for genre in sorted(book.genres, key=lambda genre: genre.id)],
    "reverse": lambda session: sorted([book.title for book in _books(session)]),
    "reverse, of what goes with its parent": lambda session: [note.text for genre in session.scalars(
        select(Genre).options(selectinload(Genre.notes)).order_by(Genre.id)) for note in genre.notes],
    "joined load": lambda session: session.scalars(
        select(Book).options(joinedload(Book.author)).where(Book.id == 1)).unique().one_or_none() is None,
    "values": lambda session: [dict(row._mapping) for row in session.execute(
        select(Book.id, Book.title, Book.price).order_by(Book.id))],
    "text": lambda session: session.execute(text("SELECT title FROM book ORDER BY id")).scalars().all(),
    "text by pk": lambda session: session.scalar(text("SELECT title FROM book WHERE id = :id"), {"id": 1}),
    "driver's text": lambda session: [list(row) for row in session.connection().exec_driver_sql(
        "SELECT title, price FROM book WHERE id = 1")],
}

OTHER = "another row"
PAGES: dict[str, Read] = {**READS, OTHER: lambda session: session.get_one(Book, 3).title}

KINDS: dict[str, tuple[str, ...]] = {
    "by pk": ("by pk", "by several pks", "by pk of a joined subclass", "by a pk of two columns"),
    "by a pk not there yet": ("by a pk that does not exist yet",),
    "unique field": ("by a unique field",),
    "filtered list": ("filtered list",),
    "count": ("count", "count of a pk"),
    "aggregate": ("aggregate",),
    "join": ("join", "joined load"),
    "m2m": ("many to many",),
    "reverse": ("reverse", "reverse, of what goes with its parent"),
    "values": ("values",),
    "raw": ("text", "text by pk", "driver's text"),
    "other rows by pk": (OTHER,),
}
"""The columns of the table in docs/invalidation.md, and the pages that each stands for."""


def _title(book: Book | None) -> str | None:
    return book and book.title


def _maps(atlas: Atlas | None) -> tuple[int, str] | None:
    return atlas and (atlas.maps, atlas.title)


def _label(shelf: Shelf | None) -> str | None:
    return shelf and shelf.label


def _books(session: Session) -> list[Book]:
    author = session.get(Author, 1, options=[selectinload(Author.books)])
    return author.books if author is not None else []


@dataclass(frozen=True, slots=True)
class Write:
    """A way to write.

    rows: whether it tells which rows, so that pages of other rows stay.
    on: the one database that can do it.
    unseen: whether it leaves pages as they were, unless it is done within a fence over these tags.
    """

    write: Callable[[Session], object]
    rows: bool = True
    on: str | None = None
    unseen: bool = False
    fenced: tuple[str, ...] = ()


def _bulk(session: Session) -> None:
    one, two = session.get_one(Book, 1), session.get_one(Book, 2)
    session.expunge_all()
    one.title, two.title = "1", "2"
    session.bulk_save_objects([one, two])


def _upsert(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as upsert
    else:
        from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
    start = upsert(Book).values(id=1, isbn="i1", title="Upserted", price=3, kind="book")
    session.execute(start.on_conflict_do_update(index_elements=[Book.id], set_={"title": start.excluded.title}))


def _new_or_nothing(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as upsert
    else:
        from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
    session.execute(upsert(Book).values([{**_NEW, "id": 9}, {**_NEW, "id": 1, "isbn": "i1"}]).on_conflict_do_nothing())


def _savepoint(session: Session) -> None:
    with session.begin_nested():
        session.get_one(Book, 1).title = "Nested"
    with session.begin_nested() as undone:
        session.get_one(Book, 2).title = "Undone"
        session.flush()
        undone.rollback()


def _append_genre(session: Session) -> None:
    book = session.get_one(Book, 1)
    book.genres.append(session.get_one(Genre, 2))


def _clear_genres(session: Session) -> None:
    book = session.get_one(Book, 1)
    book.genres.clear()


def _orphan(session: Session) -> None:
    genre = session.get_one(Genre, 2)
    genre.notes.clear()


def _append_book(session: Session) -> None:
    author = session.get_one(Author, 1)
    author.books.append(Book(id=9, isbn="i9", title="Nine"))


def _change(session: Session, book: int, **values: object) -> None:
    for name, value in values.items():
        setattr(session.get_one(Book, book), name, value)


def _autocommitted(session: Session) -> None:
    connection = session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    connection.execute(update(Book).where(Book.id == 1).values(title="New"))


def _writing_cte(session: Session) -> None:
    gone = delete(book_genre).where(book_genre.c.book_id == 1).returning(book_genre.c.book_id).cte()
    session.execute(update(Book).where(Book.id.in_(select(gone.c.book_id))).values(title="New"),
                    execution_options={"synchronize_session": False})


def _by_the_driver(session: Session) -> None:
    cursor = session.connection().connection.cursor()
    cursor.execute("UPDATE book SET title = 'D' WHERE id = 1")
    cursor.close()


_NEW = {"isbn": "i9", "title": "Nine", "price": 5, "kind": "book"}

WRITES: dict[str, Write] = {
    "flush: update": Write(lambda session: _change(session, 1, title="New")),
    "flush: insert": Write(lambda session: session.add(Book(id=9, isbn="i9", title="Nine", author_id=1))),
    "flush: delete": Write(lambda session: session.delete(session.get_one(Book, 1))),
    "flush: joined subclass": Write(lambda session: setattr(session.get_one(Atlas, 4), "maps", 8)),
    "flush: base of a joined subclass": Write(lambda session: _change(session, 4, title="4")),
    "flush: insert of many": Write(lambda session: session.add_all(
        [Book(isbn=f"n{number}", title="N", author_id=1) for number in range(3)])),
    "flush: key of two columns": Write(lambda session: setattr(session.get_one(Shelf, ("a/b", 1)), "label", "new")),
    "flush: another pk": Write(lambda session: _change(session, 2, id=9), rows=False),
    "flush: delete, cascading in Python": Write(lambda session: session.delete(session.get_one(Genre, 2))),
    "flush: orphans": Write(_orphan),
    "flush: merge": Write(lambda session: session.merge(Book(id=1, isbn="i1", title="Merged"))),
    "many to one: another": Write(lambda session: setattr(
        session.get_one(Book, 1), "author", session.get_one(Author, 2))),
    "many to many: append": Write(_append_genre),
    "many to many: clear": Write(_clear_genres),
    "reverse: append": Write(_append_book),
    "delete with ON DELETE CASCADE": Write(lambda session: session.delete(session.get_one(Author, 1)), rows=False),
    "savepoints": Write(_savepoint),
    "ORM update by pk": Write(lambda session: session.execute(update(Book).where(Book.id == 1).values(title="New"))),
    "ORM update": Write(lambda session: session.execute(
        update(Book).where(Book.isbn == "i1").values(price=Book.price + 90)), rows=False),
    "ORM update of many by pk": Write(lambda session: session.execute(
        update(Book), [{"id": 1, "title": "1"}, {"id": 2, "title": "2"}])),
    "ORM delete": Write(lambda session: session.execute(delete(Book).where(Book.isbn == "i2")), rows=False),
    "ORM delete by pk": Write(lambda session: session.execute(delete(Book).where(Book.id == 1))),
    "Query.update": Write(lambda session: session.query(Book).filter_by(id=1).update({"title": "New"})),
    "Query.delete": Write(lambda session: session.query(Book).filter_by(id=1).delete()),
    "ORM insert of many": Write(lambda session: session.execute(
        insert(Book), [{**_NEW, "isbn": f"n{number}"} for number in range(3)])),
    "ORM insert with RETURNING": Write(lambda session: session.scalars(insert(Book).returning(Book), [_NEW]).all()),
    "ORM update with RETURNING": Write(lambda session: session.scalars(
        update(Book).where(Book.id == 1).values(title="New").returning(Book.title)).all()),
    "ORM delete with RETURNING": Write(lambda session: session.scalars(
        delete(Book).where(Book.id == 1).returning(Book.id)).all()),
    "insert().values([...])": Write(lambda session: session.execute(
        insert(Book).values([{**_NEW, "id": 9}, {**_NEW, "id": 10, "isbn": "i10"}]))),
    "insert from select": Write(lambda session: session.execute(insert(Book).from_select(
        ["isbn", "title", "price", "kind"],
        select(Book.isbn + "x", Book.title, Book.price, Book.kind).where(Book.id == 1)))),
    "upsert": Write(_upsert, rows=False),
    "upsert, doing nothing": Write(_new_or_nothing),
    "bulk_save_objects": Write(_bulk),
    "bulk_insert_mappings": Write(lambda session: session.bulk_insert_mappings(Book, [{**_NEW, "id": 9}])),
    "bulk_update_mappings": Write(lambda session: session.bulk_update_mappings(
        Book, [{"id": 1, "title": "1"}, {"id": 2, "title": "2"}])),
    "Core insert": Write(lambda session: session.connection().execute(
        insert(Book.__table__).values({**_NEW, "id": 9}))),
    "Core insert of many": Write(lambda session: session.connection().execute(
        insert(Book.__table__), [{**_NEW, "id": 9}, {**_NEW, "id": 10, "isbn": "i10"}])),
    "Core update": Write(lambda session: session.connection().execute(
        update(Book.__table__).where(Book.__table__.c.id == 1).values(title="New"))),
    "Core executemany": Write(lambda session: session.connection().execute(
        update(Book.__table__).where(Book.__table__.c.id == bindparam("key")).values(title=bindparam("new")),
        [{"key": 1, "new": "1"}, {"key": 2, "new": "2"}])),
    "Core delete of many to many": Write(lambda session: session.connection().execute(delete(book_genre))),
    "UPDATE in a CTE": Write(lambda session: session.execute(
        text("UPDATE book SET title = 'W' WHERE id IN (WITH w AS (SELECT 1 AS id) SELECT id FROM w)")), rows=False),
    "text": Write(lambda session: session.execute(text("UPDATE book SET title = 'T' WHERE id = :id"), {"id": 1})),
    "text without a row": Write(lambda session: session.execute(text("UPDATE book SET price = 60")), rows=False),
    "text: executemany": Write(lambda session: session.execute(
        text("UPDATE book SET title = :new WHERE id = :id"), [{"id": 1, "new": "1"}, {"id": 2, "new": "2"}])),
    "driver's text": Write(lambda session: session.connection().exec_driver_sql("DELETE FROM book WHERE id = 1")),
    "CTE that writes": Write(_writing_cte, rows=False, on="postgresql"),
    "text: MERGE": Write(lambda session: session.execute(text(
        "MERGE INTO book b USING (SELECT 1 AS id) s ON b.id = s.id WHEN MATCHED THEN UPDATE SET title = 'M'")),
        rows=False, on="postgresql"),
    "text: TRUNCATE": Write(lambda session: session.execute(text("TRUNCATE book_genre")), on="postgresql"),
    "AUTOCOMMIT": Write(_autocommitted),
    "Flask-SQLAlchemy": Write(by_flask_sqlalchemy),
    "SQLModel": Write(by_sqlmodel),
    "a cursor of the driver's": Write(_by_the_driver, unseen=True),
    "a cursor of the driver's, within fencing()": Write(_by_the_driver, fenced=("book", "book:1")),
}


def tried(*databases: str) -> list[tuple[str, str]]:
    """Each way to write, on each of the databases that can; a driver's name may tell one as well."""
    return [(write, database) for write in WRITES for database in databases
            if WRITES[write].on is None or (WRITES[write].on == "sqlite") is ("sqlite" in database)]


def found(engine: Engine, fence: CacheFence, write: str) -> dict[str, Shown]:
    """Show every page twice, write in this way, and show them again."""
    made: list[str] = []

    def direct(name: str) -> Any:
        with Session(engine) as session:
            return plain(PAGES[name](session))

    def page(name: str) -> Any:
        def make() -> Any:
            made.append(name)
            return direct(name)

        return fence.get_or_set(f"page {name}", make, ttl=3600)

    before = {name: page(name) for name in PAGES}
    assert {name: page(name) for name in PAGES} == before
    assert made == list(PAGES), "nothing written, nothing made again"
    fenced = WRITES[write].fenced
    with fence.fencing(*fenced) if fenced else nullcontext(), Session(engine) as session:
        WRITES[write].write(session)
        session.commit()
    made.clear()
    after = {name: page(name) for name in PAGES}
    return {name: Shown(before[name], after[name], direct(name), name not in made) for name in PAGES}


def plain(value: Any) -> Any:
    """What comes back from the cache has lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
