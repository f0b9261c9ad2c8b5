"""The models of these tests, and a cache that writes down what it was told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from cachefence_web import AsyncCacheFence, CacheFence


class Base(DeclarativeBase):
    pass


book_genre = Table(
    "book_genre", Base.metadata,
    Column("book_id", ForeignKey("book.id"), primary_key=True),
    Column("genre_id", ForeignKey("genre.id"), primary_key=True))


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    kind: Mapped[str] = mapped_column(default="book")
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")
    genres: Mapped[list[Genre]] = relationship(secondary=book_genre)

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "book"}  # noqa: RUF012


class Atlas(Book):
    __tablename__ = "atlas"

    id: Mapped[int] = mapped_column(ForeignKey("book.id"), primary_key=True)
    maps: Mapped[int] = mapped_column(default=0)

    __mapper_args__ = {"polymorphic_identity": "atlas"}  # noqa: RUF012


class Genre(Base):
    __tablename__ = "genre"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Told(CacheFence):
    """A cache that remembers each invalidation; `told` empties the list."""

    def __init__(self, url: Any = "memory://", **options: Any) -> None:
        super().__init__(url, **options)
        self.calls: list[set[str]] = []

    def invalidate_tags(self, *tags: str) -> None:
        super().invalidate_tags(*tags)
        self.calls.append(set(tags))

    def invalidate_all(self) -> None:
        super().invalidate_all()
        self.calls.append({"everything"})

    def told(self) -> list[set[str]]:
        calls, self.calls = self.calls, []
        return calls


class AsyncTold(AsyncCacheFence):
    """The same for event loops."""

    def __init__(self, url: Any = "memory://", **options: Any) -> None:
        super().__init__(url, **options)
        self.calls: list[set[str]] = []

    async def invalidate_tags(self, *tags: str) -> None:
        await super().invalidate_tags(*tags)
        self.calls.append(set(tags))

    def told(self) -> list[set[str]]:
        calls, self.calls = self.calls, []
        return calls
