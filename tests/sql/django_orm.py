"""Run by itself: everything that Django's ORM can do with a few models, and the statements it was, as JSON.

`python django_orm.py sqlite3 :memory:` or `python django_orm.py postgresql FOLDER-OF-THE-SOCKET`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings

ENGINE, PLACE = sys.argv[1:]
ANSWER = {"ENGINE": f"django.db.backends.{ENGINE}", "NAME": PLACE}
if ENGINE == "postgresql":
    ANSWER |= {"NAME": "postgres", "USER": "postgres", "HOST": PLACE, "OPTIONS": {"options": "-c search_path=orm"}}
settings.configure(
    DATABASES={"default": ANSWER}, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
    INSTALLED_APPS=[type("Library", (AppConfig,), {"label": "library"})("library", sys.modules["__main__"])])
django.setup()

from django.db import connection, models, transaction  # noqa: E402
from django.db.models import (  # noqa: E402
    Avg,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.functions import Coalesce, Concat, Lower, Now, RowNumber, TruncMonth  # noqa: E402


class Author(models.Model):
    class Meta:
        app_label = "library"

    name = models.CharField(max_length=50, unique=True)


class Tag(models.Model):
    class Meta:
        app_label = "library"

    code = models.CharField(max_length=20, primary_key=True)


class Book(models.Model):
    class Meta:
        app_label = "library"

    title = models.CharField(max_length=50)
    price = models.DecimalField(max_digits=6, decimal_places=2, default=1)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books", null=True)
    tags = models.ManyToManyField(Tag, related_name="books")
    data = models.JSONField(default=dict)
    published = models.DateTimeField(null=True)


class Ebook(Book):
    class Meta:
        app_label = "library"

    size = models.IntegerField(default=1)


class Entry(models.Model):
    class Meta:
        app_label = "library"

    pk = models.CompositePrimaryKey("shelf", "place")
    shelf = models.IntegerField()
    place = models.IntegerField()
    note = models.CharField(max_length=20)


MODELS: list[type[models.Model]] = [Author, Tag, Book, Ebook, Entry]


def written() -> None:
    ada, bo = Author.objects.bulk_create([Author(name="Ada"), Author(name="Bo")])
    Tag.objects.bulk_create([Tag(code="a"), Tag(code="b")], ignore_conflicts=True)
    one = Book.objects.create(title="One", author=ada, data={"a": {"b": 1}})
    two = Book(title="Two", author=bo)
    two.save()
    two.title = "2"
    two.save(update_fields=["title"])
    Ebook.objects.create(title="E", size=2)
    one.tags.add("a", "b")
    one.tags.set(["a"])
    one.tags.remove("a")
    one.tags.clear()
    Book.objects.filter(pk=1).update(price=F("price") + 1, title=Concat("title", Value("!")))
    Book.objects.filter(author__name="Ada").update(title=Lower("title"))
    Ebook.objects.update(title="x", size=3)
    for book in (books := list(Book.objects.all())):
        book.title += "?"
    Book.objects.bulk_update(books, ["title", "price"])
    Author.objects.bulk_create(
        [Author(id=1, name="A"), Author(id=9, name="Z")], update_conflicts=True, unique_fields=["id"],
        update_fields=["name"])
    Author.objects.get_or_create(name="Q")
    Author.objects.update_or_create(name="Q", defaults={"name": "R"})
    Entry.objects.bulk_create([Entry(shelf=1, place=1, note="x"), Entry(shelf=1, place=2, note="y")])
    Entry.objects.filter(pk=(1, 1)).update(note="z")
    with transaction.atomic(), transaction.atomic():
        list(Book.objects.select_for_update().filter(pk=1))  # a plain SELECT in SQLite
    Book.objects.filter(pk=two.pk).delete()
    Author.objects.filter(name="R").delete()
    Ebook.objects.all()[0].delete()
    Entry.objects.filter(pk__in=[(1, 1), (1, 2)]).delete()


def read() -> list[Any]:
    reviews = Book.objects.filter(author=OuterRef("pk"))
    rows = [
        Book.objects.filter(pk=1), Book.objects.filter(pk__in=[1, 2, 3]), Book.objects.select_related("author"),
        Ebook.objects.filter(pk=3), Book.objects.select_related("author", "ebook").filter(pk=1),
        Book.objects.prefetch_related("tags", Prefetch("author", Author.objects.only("name"))),
        Author.objects.prefetch_related("books__tags"), Book.objects.filter(tags__code="a").distinct(),
        Author.objects.annotate(n=Count("books"), cheapest=Max("books__price")).filter(n__gt=0),
        Author.objects.annotate(last=Subquery(reviews.values("title")[:1]), has=Exists(reviews)),
        Author.objects.filter(Exists(reviews)), Author.objects.filter(books__in=Book.objects.filter(price__gt=1)),
        Book.objects.annotate(row=Window(RowNumber(), partition_by="author", order_by="price")).filter(row=1),
        Book.objects.filter(data__a__b=1), Book.objects.filter(data__has_key="a"), Book.objects.values("data__a"),
        Book.objects.filter(title="x").union(Book.objects.filter(title="y")).order_by("title"),
        Book.objects.values_list("author").annotate(Sum("price")).order_by(),
        Book.objects.filter(Q(pk=1) | Q(title="x")),
        Book.objects.exclude(tags__code="a"), Book.objects.filter(title__icontains="o"), Book.objects.order_by("?")[:2],
        Book.objects.annotate(month=TruncMonth("published")).values("month").annotate(n=Count("pk")),
        Book.objects.filter(published__year=2020), Book.objects.filter(published__lt=Now())[5:10],
        Book.objects.annotate(name=Coalesce("author__name", Value("?"))).filter(name="?"),
        Book.objects.raw("SELECT * FROM library_book WHERE id = %s", [1]), Entry.objects.filter(pk=(1, 1)),
        Entry.objects.filter(pk__in=[(1, 1), (1, 2)]), Tag.objects.filter(pk="a"), Book.objects.defer("data"),
    ]
    if ENGINE == "postgresql":
        from django.contrib.postgres.aggregates import ArrayAgg
        from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVector

        rows += [
            Book.objects.annotate(found=SearchVector("title")).filter(found=SearchQuery("one")),
            Book.objects.annotate(rank=SearchRank(SearchVector("title"), SearchQuery("one"))).order_by("-rank"),
            Book.objects.values("author").annotate(all=ArrayAgg("title", distinct=True)),
            Book.objects.distinct("author").order_by("author"), Book.objects.filter(data__contains={"a": 1}),
        ]
    return [
        *[list(each) for each in rows], Book.objects.count(), Book.objects.filter(pk=1).exists(),
        Book.objects.in_bulk([1]),
        Book.objects.aggregate(Avg("price")), Book.objects.first(), Author(pk=1).books.count(),
        Book.objects.filter(pk=1).count(), Book.objects.earliest("title"), list(Book.objects.dates("published",
        "year")),
        Book.objects.filter(pk__in=[]).exists(), list(Book.objects.iterator(chunk_size=2)),
    ]


def main() -> None:
    statements: list[tuple[str, bool, bool]] = []

    def door(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        statements.append((str(sql), params is not None, many))
        return execute(sql, params, many, context)

    if ENGINE == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA orm")
    with connection.execute_wrapper(door):
        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        defined = len(statements)
        written()
        read()
        done = len(statements)
        with connection.schema_editor() as editor:
            field = models.IntegerField(default=3)
            field.set_attributes_from_name("stars")
            editor.add_field(Book, field)
            editor.remove_field(Book, field)
            editor.alter_db_table(Tag, "library_tag", "library_label")
            editor.delete_model(Ebook)
    json.dump({"used": statements[defined:done], "defined": statements[:defined] + statements[done:]}, sys.stdout)


main()
