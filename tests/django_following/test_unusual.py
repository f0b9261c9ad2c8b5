"""P3 and P11 where a statement does more than it says, or less, and where a compute ends later than it seems to."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

import pytest
from django.core.cache import cache
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.db.models import QuerySet

from cachefence_web import AsyncCacheFence
from cachefence_web.django import fence
from cachefence_web.django.commits import ATTRIBUTE
from tests.django_following.conftest import standing_in
from tests.django_following.shop.models import Author, Book, Label
from tests.django_following.spying import listen
from tests.django_following.test_commits import elsewhere
from tests.django_following.writes import one, run

on_postgresql = pytest.mark.parametrize("vendor", ["postgresql"])
on_sqlite = pytest.mark.parametrize("vendor", ["sqlite"])


def title() -> Any:
    return one().title


def cached(compute: Callable[[], Any] = title, key: str = "key") -> Any:
    return fence().get_or_set(key, compute, ttl=60)


def fails(work: Callable[[], object]) -> None:
    with pytest.raises(DatabaseError):
        work()


def books() -> QuerySet[Book]:
    return Book.objects.order_by("pk")


LAZY: dict[str, Callable[[], Any]] = {
    "get_or_set": lambda: cached(books),
    "get_or_set_many": lambda: fence().get_or_set_many(["key"], lambda keys: {"key": books()})["key"],
    "Django's get_or_set": lambda: cache.get_or_set("key", books, 60),
}


@pytest.mark.parametrize("face", LAZY)
def test_p3_a_queryset_that_is_evaluated_as_it_is_stored_has_read_its_rows(face: str, database: Any) -> None:
    assert LAZY[face]()[0].title == "One"
    assert fence().get("key") is not None or cache.get("key") is not None
    Book.objects.filter(pk=1).update(title="else")
    assert LAZY[face]()[0].title == "else"


def written() -> Any:
    book = one()
    book.title = "mine"
    book.save()
    return book.title


def created() -> Any:
    return Author.objects.create(name="nobody").pk


@pytest.mark.parametrize("compute", [written, created])
def test_p11_what_a_compute_has_written_and_nobody_committed_is_not_stored(
    compute: Callable[[], Any], database: Any
) -> None:
    with transaction.atomic():
        cached(compute)
        assert fence().get("key") is None
        transaction.set_rollback(True)
    assert fence().get("key") is None


@pytest.mark.parametrize("compute", [written, created])
def test_p11_nor_is_its_failure(compute: Callable[[], Any], database: Any) -> None:
    def failing() -> Any:
        raise LookupError(compute())

    with transaction.atomic():
        with pytest.raises(LookupError):
            cached(failing)
        transaction.set_rollback(True)
    assert cached() == "One"


@pytest.mark.parametrize("error", [None, LookupError()])
def test_p11_nor_is_what_a_thread_of_an_event_loop_leaves_open(error: Exception | None, database: Any) -> None:
    left: list[Any] = []

    def leave_open() -> str:
        left.append(connections["default"])
        left[0].inc_thread_sharing()
        transaction.set_autocommit(False)
        Book.objects.filter(pk=1).update(title="mine")
        if error is not None:
            raise error
        return "mine"

    async def computed() -> None:
        async with AsyncCacheFence() as cache:
            with nullcontext() if error is None else pytest.raises(LookupError):
                await cache.get_or_set("key", leave_open)
            await asyncio.to_thread(left[0].close)
            assert await cache.get_or_set("key", lambda: "One") == "One"

    asyncio.run(computed())
    assert title() == "One"


@pytest.mark.parametrize("inside", [False, True])
def test_p3_what_returning_tells_was_read(inside: bool, database: Any) -> None:
    def priced() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE followed_book SET price = price WHERE id = 1 RETURNING title")
            return cursor.fetchone()[0]

    def in_a_transaction() -> Any:
        with transaction.atomic():
            return priced()

    compute = in_a_transaction if inside else priced
    assert cached(compute) == "One"
    Book.objects.filter(pk=1).update(title="else")
    assert cached(compute) == "else"


@on_postgresql
def test_p3_what_a_select_behind_another_statement_tells_was_read(vendor: str, database: Any) -> None:
    def behind() -> Any:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SAVEPOINT here; SELECT title FROM followed_book WHERE id = 1")
            cursor.nextset()
            return cursor.fetchone()[0]

    assert cached(behind) == "One"
    Book.objects.filter(pk=1).update(title="else")
    assert cached(behind) == "else"


@on_sqlite
def test_p3_an_executemany_that_fails_halfway_has_written_its_first_half(vendor: str, database: Any) -> None:
    assert cached() == "One"
    with connection.cursor() as cursor:
        fails(lambda: cursor.executemany(
            "UPDATE followed_book SET title = %s, isbn = %s WHERE id = %s", [("else", "x", 1), ("two", "isbn-3", 2)]))
    assert title() == cached() == "else"


@on_sqlite
def test_p3_an_insert_that_fails_and_keeps_its_first_rows_has_written_them(vendor: str, database: Any) -> None:
    assert cached(Label.objects.count) == 2
    fails(lambda: run("INSERT OR FAIL INTO followed_label (code) SELECT 'a' UNION ALL SELECT 'old'"))
    assert Label.objects.count() == cached(Label.objects.count) == 3


@on_sqlite
@pytest.mark.parametrize("between", [False, True])
def test_p3_while_an_iterator_is_open_in_wal_mode_its_date_is_that_of_all(
    between: bool, vendor: str, database: Any
) -> None:
    run("PRAGMA journal_mode = wal")
    try:
        def shown() -> list[Any]:
            found = []
            for book in Book.objects.order_by("pk").iterator(chunk_size=1):
                if book.pk == 1:
                    elsewhere(lambda: Book.objects.filter(pk=2).update(title="else"))
                    with transaction.atomic() if between else nullcontext():
                        Author.objects.count()
                    found.append(cached(lambda: Book.objects.get(pk=2).title, "inner"))
            return found

        assert cached(shown) == ["Two"]
        assert cached(lambda: Book.objects.get(pk=2).title, "inner") == "else"
        assert fence().get("inner") == "else"
    finally:
        connection.close()
        run("PRAGMA journal_mode = delete")


@on_postgresql
def test_p3_a_procedure_that_commits_and_fails_has_written(vendor: str, database: Any) -> None:
    run("CREATE OR REPLACE PROCEDURE commits_and_fails() LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE followed_book SET title = 'else'; COMMIT; PERFORM 1 / 0; END $$")
    assert cached() == "One"
    fails(lambda: run("CALL commits_and_fails()"))
    assert title() == cached() == "else"


@on_postgresql
def test_p3_a_text_that_begins_a_transaction_and_writes_is_told_when_it_is_committed(
    vendor: str, database: Any
) -> None:
    run("BEGIN; UPDATE followed_book SET title = 'else'")
    assert elsewhere(cached) == "One"
    run("COMMIT")
    assert elsewhere(cached) == "else"


def test_p3_a_begin_in_words_ends_with_a_commit_that_is_none(database: Any) -> None:
    run("BEGIN")
    connection.commit()
    assert not getattr(connection, ATTRIBUTE).in_words  # which MySQL's driver does not say


@on_postgresql
def test_p3_a_text_that_begins_writes_and_commits_stands_between_fence_and_lift(
    vendor: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    listen(monkeypatch, lambda effect: seen.append(f"{type(effect).__name__}: {elsewhere(title)}"))
    run("BEGIN; UPDATE followed_book SET title = 'else'; COMMIT")
    assert seen == ["Fence: One", "Lift: else"]


@on_postgresql
def test_p3_a_text_that_commits_and_fails_later_has_written(vendor: str, database: Any) -> None:
    assert cached() == "One"
    fails(lambda: run("BEGIN; UPDATE followed_book SET title = 'else'; COMMIT; SELECT 1 / 0"))
    assert title() == cached() == "else"


@on_postgresql
def test_p3_a_snapshot_that_the_role_is_configured_to_is_one(
    vendor: str, database: Any, places: dict[str, dict[str, Any]]
) -> None:
    run("DROP ROLE IF EXISTS careful")
    run("CREATE ROLE careful SUPERUSER LOGIN")
    run("ALTER ROLE careful SET default_transaction_isolation = 'repeatable read'")
    with standing_in(default={**places[vendor], "USER": "careful"}):
        with transaction.atomic():
            assert Author.objects.count() == 2
            elsewhere(lambda: Book.objects.update(title="else"))
            assert cached() == "One"
        assert cached() == "else"


@on_postgresql
def test_p3_what_else_names_a_database_names_its_level_too(
    vendor: str, database: Any, places: dict[str, dict[str, Any]]
) -> None:
    run("DROP ROLE IF EXISTS careful")
    run("CREATE ROLE careful SUPERUSER LOGIN")
    run("ALTER ROLE careful SET default_transaction_isolation = 'repeatable read'")
    for user, seen in [("postgres", "else"), ("careful", "One")]:
        Book.objects.update(title="One")
        with standing_in(default={**places[vendor], "USER": "", "OPTIONS": {"user": user}}), transaction.atomic():
            assert Author.objects.count() == 2
            elsewhere(lambda: Book.objects.update(title="else"))
            assert cached() == seen
        assert cached() == "else"


@on_sqlite
def test_of_a_locked_database_django_s_own_error_tells(
    vendor: str, database: Any, places: dict[str, dict[str, Any]]
) -> None:
    there = {**places[vendor], "OPTIONS": {"timeout": 0}}
    with closing(sqlite3.connect(there["NAME"], isolation_level=None)) as other, standing_in(default=there):
        assert Book.objects.exists()
        connection.close()
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OperationalError, match="locked"):
            list(Book.objects.iterator())
