"""The same page as SQLAlchemy and Jinja make it: a session for each, mapped classes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment
from sqlalchemy import Engine, ForeignKey, Numeric, create_engine, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship

from benchmarks.pages_django import AUTHORS, BOOKS, REVIEWS, SHELVES
from cachefence_web import CacheFence
from cachefence_web.sqlalchemy import Following, invalidate_on_commit
from tests.postgres import PostgresServer

if TYPE_CHECKING:
    from benchmarks.pages import Site

TEMPLATE = """<h1>{{ author.name }}</h1><p>{{ count }} books</p>
{% for book in shown %}<h2>{{ book.title }}</h2><p>{{ book.price }} by {{ book.author.name }}</p>{% endfor %}
{% for shelf in shelves %}<ul>{% for book in shelf %}<li>{{ book.title }}, {{ book.published.strftime("%d %B %Y") }},
{{ book.price }}</li>{% endfor %}</ul>{% endfor %}
<ol>{% for review in reviews %}<li>{{ review.stars }} {{ review.text|truncate(20) }}, of {{ review.book.title }}
by {{ review.book.author.name }}</li>{% endfor %}</ol>
"""


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    born: Mapped[date]


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    price: Mapped[Decimal] = mapped_column(Numeric(8, 2, asdecimal=False))
    pages: Mapped[int]
    published: Mapped[date]
    shelf: Mapped[int] = mapped_column(index=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship()


class Review(Base):
    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    stars: Mapped[int] = mapped_column(index=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))
    book: Mapped[Book] = relationship()


@contextmanager
def site(where: PostgresServer | Path, cache: CacheFence) -> Iterator[Site]:
    """The page over a new database, and what has its engine followed, or not."""
    engine = _engine(where)
    Base.metadata.create_all(engine)
    _fill(engine)
    template = Environment(autoescape=True).from_string(TEMPLATE)
    following: Following | None = None

    def page() -> str:
        """10 books by key, and the author of each; 6 shelves of 20; a count, an author by key, 20 reviews in a join,
        and the dearest book.
        """
        with Session(engine) as session:
            shown = [session.get_one(Book, key) for key in range(1, 11)]
            authors = [book.author for book in shown]  # before the session meets them elsewhere
            shelves = [session.scalars(select(Book).where(Book.shelf == shelf).order_by(Book.title).limit(20)).all()
                       for shelf in range(6)]
            reviews = session.scalars(
                select(Review).where(Review.stars >= 4).options(joinedload(Review.book).joinedload(Book.author))
                .order_by(Review.stars.desc(), Review.id).limit(20)).all()
            dearest = session.scalars(
                select(Book).where(Book.shelf == 1).order_by(Book.price.desc()).limit(1)).first()
            return template.render(
                shown=shown, shelves=shelves, reviews=reviews, author=session.get(Author, AUTHORS),
                count=session.scalar(select(func.count()).select_from(Book)), authors=authors,
                dearest=dearest)

    def follow(followed: bool) -> bool:
        nonlocal following
        if followed is (following is not None):
            return False
        if following is None:
            following = invalidate_on_commit(engine, cache)
        else:
            following.remove()
            following = None
        return True

    yield page, follow
    follow(False)
    engine.dispose()


def _engine(where: PostgresServer | Path) -> Engine:
    if isinstance(where, PostgresServer):
        return create_engine(where.url.replace("postgresql://", "postgresql+psycopg://"))
    return create_engine(f"sqlite:///{where}/sqlalchemy.db")


def _fill(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(insert(Author), [
            {"id": key, "name": f"Author {key}", "born": date(1900 + key, 1, 1)} for key in range(1, AUTHORS + 1)])
        session.execute(insert(Book), [
            {"id": key, "title": f"The book of {key}", "price": Decimal(key) / 10, "pages": key, "shelf": key % SHELVES,
             "published": date(2000, 1 + key % 12, 1), "author_id": 1 + key % AUTHORS} for key in range(1, BOOKS + 1)])
        session.execute(insert(Review), [
            {"text": "It is as good as it is long, and it is long.", "stars": 1 + (key + number) % 5, "book_id": key}
            for key in range(1, BOOKS + 1) for number in range(REVIEWS)])
        session.commit()
