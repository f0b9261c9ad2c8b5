"""The page as Django makes it: models, managers, its template language."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.db import connection, connections
from django.template import Context, Engine

from tests.postgres import PostgresServer

if TYPE_CHECKING:
    from benchmarks.pages import Site

AUTHORS, BOOKS, SHELVES, REVIEWS = 20, 400, 20, 4

TEMPLATE = """<h1>{{ author.name }}</h1><p>{{ count }} books</p>
{% for book in shown %}<h2>{{ book.title }}</h2><p>{{ book.price }} by {{ book.author.name }}</p>{% endfor %}
{% for shelf in shelves %}<ul>{% for book in shelf %}<li>{{ book.title }}, {{ book.published|date:"j F Y" }},
{{ book.price }}</li>{% endfor %}</ul>{% endfor %}
<ol>{% for review in reviews %}<li>{{ review.stars }} {{ review.text|truncatewords:5 }}, of {{ review.book.title }}
by {{ review.book.author.name }}</li>{% endfor %}</ol>
"""


@contextmanager
def site(where: PostgresServer | Path, redis: str) -> Iterator[Site]:
    """The page over a new database, and what opens and shuts the door of its connection."""
    _set_up(redis)
    from benchmarks.shop.models import Author, Book, Review

    _stand_in(where)
    with connection.schema_editor() as editor:
        for model in (Author, Book, Review):
            editor.create_model(model)
    _fill(Author, Book, Review)
    template = Engine().from_string(TEMPLATE)

    def page() -> str:
        """10 books by key, and the author of each; 6 shelves of 20; a count, an author by key, 20 reviews in a join,
        and the dearest book.
        """
        shown = [Book.objects.get(pk=pk) for pk in range(1, 11)]
        shelves = [list(Book.objects.filter(shelf=shelf).order_by("title")[:20]) for shelf in range(6)]
        reviews = list(
            Review.objects.filter(stars__gte=4).select_related("book__author").order_by("-stars", "pk")[:20])
        given = {"shown": shown, "shelves": shelves, "reviews": reviews, "author": Author.objects.get(pk=1),
                 "count": Book.objects.count(), "dearest": Book.objects.filter(shelf=1).order_by("-price").first()}
        return template.render(Context(given))

    doors = list(connection.execute_wrappers)

    def follow(followed: bool) -> bool:
        before = bool(connection.execute_wrappers)
        connection.execute_wrappers[:] = doors if followed else []
        return before is not followed

    assert doors, "cachefence_web.django follows every connection"
    yield page, follow
    follow(True)
    connection.close()


def _set_up(redis: str) -> None:
    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=["cachefence_web.django", "benchmarks.shop"], USE_TZ=True,
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            CACHES={"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": redis}})
        django.setup()


def _stand_in(where: PostgresServer | Path) -> None:
    """Another database under the alias `default`."""
    place = ({"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres",
              "HOST": str(where.folder)} if isinstance(where, PostgresServer)
             else {"ENGINE": "django.db.backends.sqlite3", "NAME": str(where / "django.db")})
    connections.settings["default"] = connections.configure_settings({"default": place})["default"]
    if hasattr(connections._connections, "default"):  # type: ignore[attr-defined]
        connections["default"].close()
        del connections["default"]
    connection.ensure_connection()


def _fill(author: Any, book: Any, review: Any) -> None:
    author.objects.bulk_create(
        [author(pk=pk, name=f"Author {pk}", born=date(1900 + pk, 1, 1)) for pk in range(1, AUTHORS + 1)])
    book.objects.bulk_create(
        [book(pk=pk, title=f"The book of {pk}", price=Decimal(pk) / 10, pages=pk, published=date(2000, 1 + pk % 12, 1),
              shelf=pk % SHELVES, author_id=1 + pk % AUTHORS) for pk in range(1, BOOKS + 1)])
    review.objects.bulk_create(
        [review(text="It is as good as it is long, and it is long.", stars=1 + (pk + number) % 5, book_id=pk)
         for pk in range(1, BOOKS + 1) for number in range(REVIEWS)])
