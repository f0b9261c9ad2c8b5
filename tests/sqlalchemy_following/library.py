"""The models of these tests, and a small library to begin each of them with."""

from __future__ import annotations

from sqlalchemy import URL, Column, ForeignKey, MetaData, String, Table, create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tests.postgres import PostgresServer


class Base(DeclarativeBase):
    metadata = MetaData()


book_genre = Table(
    "book_genre", Base.metadata,
    Column("book_id", ForeignKey("book.id", ondelete="CASCADE"), primary_key=True),
    Column("genre_id", ForeignKey("genre.id", ondelete="CASCADE"), primary_key=True))


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author", passive_deletes=True)


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    isbn: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    price: Mapped[int] = mapped_column(default=10)
    kind: Mapped[str] = mapped_column(default="book")
    author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id", ondelete="CASCADE"))
    author: Mapped[Author | None] = relationship(back_populates="books")
    genres: Mapped[list[Genre]] = relationship(secondary=book_genre, passive_deletes=True)

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "book"}  # noqa: RUF012


class Atlas(Book):
    __tablename__ = "atlas"

    id: Mapped[int] = mapped_column(ForeignKey("book.id", ondelete="CASCADE"), primary_key=True)
    maps: Mapped[int] = mapped_column(default=0)

    __mapper_args__ = {"polymorphic_identity": "atlas"}  # noqa: RUF012


class Genre(Base):
    __tablename__ = "genre"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[list[Note]] = relationship(cascade="all, delete-orphan")


class Note(Base):
    """What goes with its genre, which the ORM sees to."""

    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    genre_id: Mapped[int] = mapped_column(ForeignKey("genre.id"))
    text: Mapped[str]


class Shelf(Base):
    """A key of two columns, one of them a text."""

    __tablename__ = "shelf"

    room: Mapped[str] = mapped_column(String(20), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]


def fill(session: Session) -> None:
    """Four books by two authors; the fourth is an atlas, and nobody writes book 3."""
    ada, bo = Author(id=1, name="Ada"), Author(id=2, name="Bo")
    sea, sky = Genre(id=1, name="Sea"), Genre(id=2, name="Sky", notes=[Note(id=1, text="blue")])
    session.add_all([
        Book(id=1, isbn="i1", title="One", author=ada, genres=[sea]), Book(id=2, isbn="i2", title="Two", author=ada),
        Book(id=3, isbn="i3", title="Three", author=bo), Atlas(id=4, isbn="i4", title="Four", author=bo, maps=7),
        sky, Shelf(room="a/b", number=1, label="first"), Shelf(room="a", number=2, label="second")])
    session.commit()


def empty(session: Session) -> None:
    """Remove every row."""
    for table in reversed(Base.metadata.sorted_tables):
        session.execute(table.delete())
    session.commit()


def postgres_url(server: PostgresServer, driver: str) -> str:
    """The address as SQLAlchemy takes it."""
    return server.url.replace("postgresql://", f"postgresql+{driver}://")


def new_engine(url: str | URL, **options: object) -> Engine:
    """An engine that lets SQLite obey foreign keys."""
    from sqlalchemy import event

    engine = create_engine(url, **options)  # type: ignore[arg-type]
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    return engine
