"""What is asked of the database: two slow questions, a log of each time they were asked, and two quick ones."""

import os
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from time import perf_counter

from django.db.models import Count, Q, Sum
from django.utils import timezone

from cachefence_web import untracked

from .models import Book, Sale


@dataclass(frozen=True, slots=True)
class Shelf:
    """Books in the order an aggregation put them, and what that order cost."""

    books: list[Book]
    took: float
    counted_at: datetime

    @property
    def milliseconds(self) -> int:
        return round(self.took * 1000)


def bestsellers() -> Shelf:
    """Every book by copies sold: its ``copies``, and its ``regulars``, the readers who own half our shelf."""
    shelves = Sale.objects.values("customer").annotate(owned=Count("book", distinct=True))
    regulars = shelves.filter(owned__gte=12).values("customer")
    books = Book.objects.annotate(
        copies=Sum("sales__copies", default=0),
        regulars=Count("sales__customer", distinct=True, filter=Q(sales__customer__in=regulars)),
    )
    _log("bestsellers")
    started = perf_counter()
    return _shelf(list(books.order_by("-copies", "title")), started)


def also_bought(book: Book) -> Shelf:
    """The four books that most customers of this one took home too, each with its ``shared`` customers.

    Which four they are may be as old as the page: it depends on the books that it shows, and not on every sale.
    """
    customers = Sale.objects.filter(book=book).values("customer")
    others = Sale.objects.exclude(book=book).filter(customer__in=customers).values_list("book")
    ranked = others.annotate(shared=Count("customer", distinct=True)).order_by("-shared", "book")
    _log("also_bought")
    started = perf_counter()
    with untracked():
        shared = dict(ranked[:4])
    books = Book.objects.in_bulk(shared)
    for pk, other in books.items():
        other.shared = shared[pk]
    return _shelf([books[pk] for pk in shared if pk in books], started)


def genres() -> dict[str, int]:
    """How many books of each genre there are."""
    return dict(Book.objects.values_list("genre").annotate(books=Count("pk")).order_by("genre"))


async def matching(words: str) -> list[Book]:
    """The books with these words in their title, their author's name, their genre or their blurb."""
    fields = ("title", "author", "genre", "blurb")
    anywhere = [Q(**{f"{field}__icontains": words}) for field in fields]
    return [book async for book in Book.objects.filter(reduce(or_, anywhere))]


def _shelf(books: list[Book], started: float) -> Shelf:
    return Shelf(books, took=perf_counter() - started, counted_at=timezone.now())


def _log(question: str) -> None:
    """Append the question to the file that QUERY_LOG names; O_APPEND keeps many processes' lines whole."""
    path = os.environ.get("QUERY_LOG")
    if path:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(log, f"{question}\n".encode())
        finally:
            os.close(log)
