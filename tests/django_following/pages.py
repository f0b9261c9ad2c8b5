"""Every kind of read, as a page that is cached for an hour and names no tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse

from cachefence_web.django import cache_view
from tests.django_following.shop.models import Author, Book, Box, Ebook, Label, Parcel, Review

Read = Callable[[int], Any]


def _titles(books: Any) -> str:
    return ", ".join(sorted(f"{book.title}/{book.price}" for book in books))


def _raw(pk: int) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT title, price FROM followed_book WHERE id = %s", [pk])
        return cursor.fetchone()


def _raw_list(_: int) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT title FROM followed_book WHERE price > 0 ORDER BY title")
        return cursor.fetchall()


READS: dict[str, Read] = {
    "pk": lambda pk: _titles(Book.objects.filter(pk=pk)),
    "pk_get": lambda pk: getattr(Book.objects.filter(pk=pk).first(), "title", None),
    "pk_not_there_yet": lambda pk: _titles(Book.objects.filter(pk=900)),
    "pk_in": lambda pk: _titles(Book.objects.filter(pk__in=[pk, 2])),
    "pk_in_not_all_there": lambda pk: _titles(Book.objects.filter(pk__in=[pk, 900])),
    "unique": lambda pk: _titles(Book.objects.filter(isbn=f"isbn-{pk}")),
    "unique_not_there_yet": lambda pk: _titles(Book.objects.filter(isbn="isbn-900")),
    "filtered": lambda pk: _titles(Book.objects.filter(price__gte=2)),
    "count": lambda pk: Book.objects.count(),
    "count_pk": lambda pk: Book.objects.filter(pk=pk).count(),
    "exists": lambda pk: Book.objects.filter(pk=900).exists(),
    "aggregate": lambda pk: Book.objects.aggregate(Sum("price")),
    "annotated": lambda pk: list(Author.objects.annotate(n=Count("books")).values_list("name", "n").order_by("name")),
    "joined": lambda pk: [(book.title, getattr(book.author, "name", None))
                          for book in Book.objects.select_related("author").filter(pk=pk)],
    "foreign": lambda pk: [getattr(book.author, "name", None) for book in Book.objects.filter(pk=pk)],
    "prefetched": lambda pk: [(each.name, _titles(each.books.all()))
                              for each in Author.objects.prefetch_related("books").order_by("name")],
    "m2m": lambda pk: [sorted(label.code for label in book.labels.all()) for book in Book.objects.filter(pk=pk)],
    "m2m_prefetched": lambda pk: [sorted(label.code for label in book.labels.all())
                                  for book in Book.objects.prefetch_related("labels").order_by("pk")],
    "m2m_back": lambda pk: _titles(Book.objects.filter(labels__code="new")),
    "reverse": lambda pk: sorted(Review.objects.filter(book_id=pk).values_list("stars", flat=True)),
    "values": lambda pk: list(Book.objects.filter(pk=pk).values("title", "price")),
    "subquery": lambda pk: _titles(Book.objects.filter(author__in=Author.objects.filter(name__startswith="A"))),
    "union": lambda pk: sorted(Book.objects.filter(pk=pk).values_list("title").union(
        Author.objects.values_list("name"))),
    "raw": _raw,
    "raw_list": _raw_list,
    "raw_queryset": lambda pk: _titles(Book.objects.raw("SELECT * FROM followed_book WHERE id = %s", [pk])),
    "iterated": lambda pk: _titles(Book.objects.all().iterator(chunk_size=1)),
    "child": lambda pk: [(each.title, each.size) for each in Ebook.objects.filter(pk=3)],
    "parent_of_child": lambda pk: _titles(Book.objects.filter(pk=3)),
    "parcels": lambda pk: Parcel.objects.count(),
    "boxes": lambda pk: sorted(Box.objects.values_list("name", flat=True)),
    "text_key": lambda pk: [each.code for each in Label.objects.filter(pk="new")],
}

KINDS: dict[str, tuple[str, ...]] = {
    "by pk": ("pk", "pk_get", "pk_in", "child", "parent_of_child", "text_key"),
    "by a pk not there yet": ("pk_not_there_yet", "pk_in_not_all_there", "exists"),
    "unique field": ("unique", "unique_not_there_yet"),
    "filtered list": ("filtered", "iterated", "subquery", "union"),
    "count": ("count", "count_pk", "parcels"),
    "aggregate": ("aggregate", "annotated"),
    "join": ("joined",),
    "m2m": ("m2m", "m2m_prefetched", "m2m_back"),
    "reverse": ("reverse", "foreign", "prefetched"),
    "values": ("values", "boxes"),
    "raw": ("raw", "raw_list", "raw_queryset"),
    "other rows by pk": ("another row",),
}
"""The columns of the table in docs/invalidation.md, and the pages that each stands for."""


def _view(read: Read) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponse(repr(read(pk)))

    return view


VIEWS: dict[str, Callable[..., Any]] = {}
for _name, _read in READS.items():
    _made = _view(_read)
    _made.__qualname__ = f"page_{_name}"
    VIEWS[_name] = cache_view(ttl=3600)(_made)
