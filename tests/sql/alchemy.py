"""What SQLAlchemy can do with a few tables, in the ORM and in Core."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    ForeignKey,
    String,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.engine import Engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
    subqueryload,
)

from cachefence_web.sql import Exact, Schema, Table

SCHEMA = Schema([
    Table("author", {"id": Exact.INTEGER}),
    Table("book", {"id": Exact.INTEGER}),
    Table("ebook", {"id": Exact.INTEGER}),
    Table("place", {"shelf": Exact.INTEGER, "number": Exact.INTEGER}),
])


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    books: Mapped[list[Book]] = relationship(back_populates="author")


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default="book")
    title: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author | None] = relationship(back_populates="books")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "book"}  # noqa: RUF012


class Ebook(Book):
    __tablename__ = "ebook"

    id: Mapped[int] = mapped_column(ForeignKey("book.id"), primary_key=True)
    size: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"polymorphic_identity": "ebook"}  # noqa: RUF012


class Place(Base):
    __tablename__ = "place"

    shelf: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(default="")


def everything(engine: Engine) -> None:
    """Write and read in every way."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        written(session, engine)
        read(session)
        session.execute(delete(Book).where(Book.id == 1, Book.title == "nothing has this"))
        session.execute(delete(Place))
        session.delete(session.get_one(Ebook, 3))
        session.commit()
    Base.metadata.drop_all(engine)


def written(session: Session, engine: Engine) -> None:
    session.add_all([Author(id=100, name="Ada", books=[Book(title="One"), Book(title="Two"), Ebook(title="E")])])
    session.flush()
    session.add_all([Place(shelf=1, number=number) for number in range(5)])
    session.commit()
    session.get_one(Book, 1).title = "1"
    with session.begin_nested():
        session.get_one(Ebook, 3).size = 4
    session.execute(insert(Book), [{"title": f"t{number}"} for number in range(20)])
    session.execute(insert(Author).values([{"name": "x"}, {"name": "y"}]).returning(Author.id))
    session.execute(update(Book), [{"id": 1, "title": "a"}, {"id": 2, "title": "b"}])
    session.execute(update(Book).where(Book.id.in_([1, 2])).values(title=func.lower(Book.title)))
    session.execute(update(Place).where(Place.shelf == 1, Place.number == 2).values(note="n"))
    session.execute(insert(Author).from_select(["name"], select(Book.title).where(Book.id == 1)))
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as upsert
    else:
        from sqlalchemy.dialects.sqlite import insert as upsert  # type: ignore[assignment]
    start = upsert(Author).values(id=100, name="A")
    session.execute(start.on_conflict_do_update(index_elements=[Author.id], set_={"name": start.excluded.name}))
    session.execute(start.on_conflict_do_nothing())
    session.execute(text("UPDATE book SET title = :title WHERE id = :id"), {"title": "x", "id": 1})
    session.commit()


def read(session: Session) -> None:
    other = aliased(Book)
    chosen = select(Book.id).where(Book.title == "a").cte("chosen")
    for statement in (
        select(Book).where(Book.id == 1), select(Book).where(Book.id.in_([1, 2])), select(Book, Author).join(Author),
        select(Book).options(joinedload(Book.author)).where(Book.id == 1), select(Ebook).where(Ebook.id == 3),
        select(Author).options(selectinload(Author.books)), select(Author).options(subqueryload(Author.books)),
        select(func.count()).select_from(Book),
        select(Author.name, func.count(Book.id)).outerjoin(Book).group_by(Author.id),
        select(Book).where(exists().where(Author.id == Book.author_id)), select(Book).join(other, Book.id == other.id),
        select(Book).where(Book.id.in_(select(chosen.c.id))), union_all(select(Book.id), select(Author.id)),
        select(Book.title, func.row_number().over(partition_by=Book.author_id)),
        select(Book).where(Book.title.ilike("%x%")),
        select(Book).where(Book.data["a"].as_integer() == 1), select(case((Book.id == 1, "a"), else_="b")),
        select(literal(1)),
        select(cast(Book.id, String)), select(Book).where(or_(Book.id == 1, Book.title == "b")).limit(5).offset(1),
        select(Place).where(tuple_(Place.shelf, Place.number).in_([(1, 1), (1, 2)])),
        select(Place).where(Place.shelf == 1),
        select(Book).where(Book.id == 1).with_for_update(), text("SELECT title FROM book WHERE id = 1 -- a comment"),
    ):
        session.execute(statement).unique().all()
    session.expire_all()
    session.get(Place, (1, 1))
    assert session.get_one(Author, 100).books
