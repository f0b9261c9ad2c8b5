"""The rows that every test begins with."""

from __future__ import annotations

from django.db import connections, transaction

from tests.django_following.shop.models import Author, Book, Box, Ebook, Label, Parcel, Review


def refill() -> None:
    """Begin with those alone."""
    connection = connections["default"]
    with transaction.atomic():
        for model in (Review, Ebook, Book.labels.through, Book, Author, Label, Parcel, Box):
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {model._meta.db_table}")  # noqa: S608 (a table of the test's)
        ada, bo = Author(pk=1, name="Ada"), Author(pk=2, name="Bo")
        Author.objects.bulk_create([ada, bo])
        Label.objects.bulk_create([Label(code="new"), Label(code="old")])
        Book.objects.bulk_create([
            Book(pk=1, title="One", isbn="isbn-1", price=1, author=ada),
            Book(pk=2, title="Two", isbn="isbn-2", price=2, author=bo),
        ])
        Ebook.objects.create(pk=3, title="Three", isbn="isbn-3", price=3, size=7)
        Book.objects.get(pk=1).labels.set(["old"])
        Book.objects.get(pk=2).labels.set(["old"])
        Review.objects.bulk_create([Review(book_id=1, stars=5), Review(book_id=2, stars=2)])
        box = Box.objects.create(uid="8b6a2f6e-0000-4000-8000-000000000001", name="one")
        Box.objects.create(uid="8b6a2f6e-0000-4000-8000-000000000002", name="two")
        Parcel.objects.create(box=box)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            for table in ("author", "book"):
                cursor.execute(f"SELECT setval('followed_{table}_id_seq', 100)")
