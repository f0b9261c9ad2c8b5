"""Every way to write, of row 1 wherever it can name a row; and some that nobody sees."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, migrations, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models import F
from django.test import Client

from cachefence_web.django import fence
from tests.django_following.shop.models import Author, Book, Box, Ebook, Label, Review

Write = Callable[[], object]


def one() -> Book:
    return Book.objects.get(pk=1)


def new(pk: int = 900) -> Book:
    return Book(pk=pk, title="New", isbn=f"isbn-{pk}", price=9, author_id=1)


def saved() -> None:
    book = one()
    book.title, book.price = "1", 5
    book.save()


def saved_in_async_code() -> None:
    book = one()
    book.title = "1"
    async_to_sync(book.asave)()


def saved_partly() -> None:
    book = one()
    book.title = "1"
    book.save(update_fields=["title"])


def deleted() -> None:
    one().delete()


def deleted_in_async_code() -> None:
    async_to_sync(one().adelete)()


def cleared() -> None:
    one().labels.clear()


def cleared_from_the_other_end() -> None:
    Author.objects.get(pk=1).books.clear()


def bulk_updated() -> None:
    book = one()
    book.title = "1"
    Book.objects.bulk_update([book], ["title"])


def upserted() -> None:
    changed = new()
    there = Book(pk=1, title="1", isbn="isbn-1", price=8, author_id=1)
    Book.objects.bulk_create(
        [changed, there], update_conflicts=True, unique_fields=["id"], update_fields=["title", "price"])


def run(sql: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


def ran_many(sql: str, rows: list[tuple[object, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


INSERT = "INSERT INTO followed_book (id, title, isbn, price, author_id) VALUES (%s, %s, %s, %s, %s)"


def loaded() -> None:
    rows = [{"model": "followed.book", "pk": pk, "fields": {"title": "Loaded", "isbn": f"isbn-{pk}", "price": 4}}
            for pk in (1, 900)]
    with tempfile.TemporaryDirectory() as folder:
        fixture = Path(folder) / "books.json"
        fixture.write_text(json.dumps(rows))
        call_command("loaddata", str(fixture), verbosity=0)


def edited_in_the_admin() -> None:
    user, _ = get_user_model().objects.get_or_create(
        username="staff", defaults={"is_staff": True, "is_superuser": True, "password": "!"})
    client = Client(headers={"host": "shop.example"})
    client.force_login(user)
    answer = client.post("/admin/followed/book/1/change/", {
        "title": "Edited", "isbn": "isbn-1", "price": 6, "author": 1, "labels": ["new"]})
    assert answer.status_code == 302, answer.content


def in_a_savepoint() -> None:
    with transaction.atomic():
        Author.objects.filter(pk=2).update(name="B")
        with suppress(ZeroDivisionError), transaction.atomic():
            Book.objects.filter(pk=2).update(price=99)
            raise ZeroDivisionError
        with transaction.atomic():
            Book.objects.filter(pk=1).update(title="1")


def before_a_hook_that_raises() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with suppress(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(fail)
        Book.objects.filter(pk=1).update(title="1")


def by_hand() -> None:
    transaction.set_autocommit(False)
    try:
        Book.objects.filter(pk=1).update(title="1")
        transaction.commit()
        Book.objects.filter(pk=1).update(title="never")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)


def in_words() -> None:
    run("BEGIN")
    run("UPDATE followed_book SET title = %s WHERE id = %s", "1", 1)
    run("COMMIT")


def past_django() -> None:
    """The driver's own COMMIT is seen by nobody; the next event is."""
    with transaction.atomic():
        Book.objects.filter(pk=1).update(title="1")
        connection.connection.commit()


def locked_and_saved() -> None:
    with transaction.atomic():
        book = Book.objects.select_for_update().get(pk=1)
        book.title = "1"
        book.save()


def migrated() -> None:
    """Rows changed by SQL and by Python, and an index that comes and goes."""
    index = models.Index(fields=["title"], name="followed_by_title")

    def rename(apps: object, editor: object) -> None:
        Book.objects.filter(pk=2).update(title="2")

    class Migration(migrations.Migration):
        operations = [  # noqa: RUF012
            migrations.RunSQL("UPDATE followed_book SET title = '1' WHERE id = 1"),
            migrations.RunPython(rename),
            migrations.AddIndex("book", index),
            migrations.RemoveIndex("book", index.name),
        ]

    with connection.schema_editor() as editor:
        Migration("0002", "followed").apply(ProjectState.from_apps(apps), editor)


def copied() -> None:
    with connection.cursor() as cursor, cursor.copy("COPY followed_book (title, isbn, price) FROM STDIN") as rows:
        rows.write_row(("Copied", "isbn-900", 9))


def by_the_driver() -> None:
    connection.ensure_connection()
    own = connection.connection.cursor()
    own.execute("UPDATE followed_book SET title = '1' WHERE id = 1")
    own.close()


def fenced(write: Write, *tags: str) -> Write:
    def within() -> None:
        with fence().fencing(*tags):
            write()

    return within


WRITES: dict[str, Write] = {
    "save": saved,
    "save, of a new row": lambda: new().save(),
    "save, of a row locked with select_for_update": locked_and_saved,
    "save(update_fields)": saved_partly,
    "asave": saved_in_async_code,
    "create": lambda: Book.objects.create(title="New", isbn="isbn-900", pk=900, price=9),
    "create, of a key that the database makes": lambda: Book.objects.create(title="New", isbn="isbn-900", price=9),
    "acreate": lambda: async_to_sync(Book.objects.all().acreate)(title="New", isbn="isbn-900", pk=900, price=9),
    "update": lambda: Book.objects.filter(pk=1).update(title="1"),
    "update with F()": lambda: Book.objects.filter(pk=1).update(price=F("price") + 5),
    "update of a primary key": lambda: Label.objects.filter(pk="new").update(code="newer"),
    "update of a list": lambda: Book.objects.filter(price__lt=2).update(price=7),
    "aupdate": lambda: async_to_sync(Book.objects.filter(pk=1).aupdate)(title="1"),
    "bulk_create": lambda: Book.objects.bulk_create([new(), new(901)]),
    "bulk_create, ignoring conflicts": lambda: Book.objects.bulk_create([new(), new(1)], ignore_conflicts=True),
    "bulk_create, updating conflicts": upserted,
    "bulk_update": bulk_updated,
    "delete": deleted,
    "adelete": deleted_in_async_code,
    "delete of a list": lambda: Book.objects.filter(pk=1).delete(),
    "delete, cascading": lambda: Author.objects.get(pk=1).delete(),
    "delete, cascading in the database": lambda: Box.objects.get(name="one").delete(),
    "get_or_create": lambda: Book.objects.get_or_create(pk=900, defaults={"title": "New", "isbn": "isbn-900"}),
    "update_or_create": lambda: Book.objects.update_or_create(pk=1, defaults={"title": "1"}),
    "update_or_create, of a new row": lambda: Book.objects.update_or_create(
        pk=900, defaults={"title": "New", "isbn": "isbn-900"}),
    "aupdate_or_create": lambda: async_to_sync(Book.objects.all().aupdate_or_create)(
        pk=1, defaults={"title": "1"}),
    "m2m add": lambda: one().labels.add("new"),
    "m2m add, from the other end": lambda: Label.objects.get(pk="new").books.add(one()),
    "m2m remove": lambda: one().labels.remove("old"),
    "m2m set": lambda: one().labels.set(["new"]),
    "m2m clear": cleared,
    "m2m through model: create": lambda: Book.labels.through.objects.create(book_id=1, label_id="new"),
    "m2m through model: delete": lambda: Book.labels.through.objects.filter(book_id=1).delete(),
    "reverse add": lambda: Author.objects.get(pk=2).books.add(one()),
    "reverse set": lambda: Author.objects.get(pk=2).books.set([one(), Book.objects.get(pk=2)]),
    "reverse remove": lambda: Author.objects.get(pk=1).books.remove(one()),
    "reverse clear": cleared_from_the_other_end,
    "child save": lambda: Ebook(pk=3, title="3", isbn="isbn-3", price=4, size=8).save(),
    "child update, of the parent's column": lambda: Ebook.objects.filter(pk=3).update(title="3"),
    "parent update": lambda: Book.objects.filter(pk=3).update(title="3"),
    "child delete": lambda: Ebook.objects.get(pk=3).delete(),
    "related save": lambda: Author.objects.filter(pk=1).update(name="A"),
    "related create": lambda: Review.objects.create(book_id=1, stars=1),
    "raw UPDATE": lambda: run("UPDATE followed_book SET title = %s WHERE id = %s", "1", 1),
    "raw UPDATE without parameters": lambda: run("UPDATE followed_book SET title = '100%' WHERE id = 1"),
    "raw INSERT": lambda: run(INSERT, 900, "New", "isbn-900", 9, 1),
    "raw DELETE": lambda: run("DELETE FROM followed_review WHERE book_id = 1"),
    "raw upsert": lambda: run(
        f"{INSERT} ON CONFLICT (id) DO UPDATE SET title = excluded.title", 1, "1", "isbn-1", 9, 1),
    "raw UPDATE in a CTE": lambda: run(
        "WITH w AS (SELECT 1 AS one) UPDATE followed_book SET title = '1' WHERE id IN (SELECT one FROM w)"),
    "raw UPDATE with RETURNING": lambda: run(
        "UPDATE followed_book SET title = '1' WHERE id = 1 RETURNING title"),
    "raw UPDATE ... FROM": lambda: run(
        "UPDATE followed_book SET title = a.name FROM followed_author a WHERE a.id = author_id AND a.id = 1"),
    "raw INSERT ... SELECT": lambda: run(
        "INSERT INTO followed_book (title, isbn, price) SELECT title, 'isbn-900', price FROM followed_book"
        " WHERE id = 1"),
    "raw CTE that writes": lambda: run(
        "WITH gone AS (DELETE FROM followed_review WHERE book_id = 1 RETURNING book_id)"
        " UPDATE followed_book SET title = '1' WHERE id IN (SELECT book_id FROM gone)"),
    "raw REPLACE": lambda: run(INSERT.replace("INSERT", "REPLACE"), 1, "1", "isbn-1", 9, 1),
    "raw MERGE": lambda: run(
        "MERGE INTO followed_book b USING (SELECT 1 AS id) s ON b.id = s.id WHEN MATCHED THEN UPDATE SET title = '1'"),
    "raw TRUNCATE": lambda: run("TRUNCATE followed_review"),
    "raw DO": lambda: run("DO $$ BEGIN UPDATE followed_book SET title = '1' WHERE id = 1; END $$"),
    "executemany": lambda: ran_many("UPDATE followed_book SET title = %s WHERE id = %s", [("1", 1), ("3", 3)]),
    "executemany of INSERT": lambda: ran_many(INSERT, [(900, "New", "isbn-900", 9, 1), (901, "N", "isbn-901", 9, 1)]),
    "loaddata": loaded,
    "admin": edited_in_the_admin,
    "a migration": migrated,
    "in a savepoint": in_a_savepoint,
    "before a hook that raises": before_a_hook_that_raises,
    "set_autocommit(False)": by_hand,
    "BEGIN and COMMIT in words": in_words,
    "the driver's own commit": past_django,
    "COPY": copied,
    "COPY, within fencing()": fenced(copied, "followed_book", "followed_book:*"),
    "a cursor of the driver's": by_the_driver,
    "a cursor of the driver's, within fencing()": fenced(by_the_driver, "followed_book", "followed_book:1"),
}

ON_POSTGRESQL = frozenset({
    "raw CTE that writes", "raw MERGE", "raw TRUNCATE", "raw DO", "COPY", "COPY, within fencing()",
})
ON_SQLITE = frozenset({"raw REPLACE"})

UNSEEN = frozenset({"COPY", "a cursor of the driver's"})
"""Those that leave pages as they were."""

UNKNOWN_ROWS = frozenset({
    "update of a list", "bulk_create, updating conflicts", "raw upsert", "raw UPDATE in a CTE",
    "raw UPDATE ... FROM", "raw CTE that writes", "raw REPLACE", "raw MERGE", "raw DO", "reverse clear",
    "in a savepoint", "a migration", "COPY, within fencing()",
})
"""Those whose text does not tell the rows of books, or which name row 2 as well: pages of other rows are not hits."""
