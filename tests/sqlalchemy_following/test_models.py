"""What is known of rows: keys that compare exactly, what the database changes by itself, how many were found."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    CHAR,
    Column,
    Enum,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    select,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect, Engine

from cachefence_web import CacheFence
from cachefence_web.following import Open
from cachefence_web.sql import Exact, Reads
from cachefence_web.sqlalchemy.counting import count_rows
from cachefence_web.sqlalchemy.models import schema_of
from tests.sqlalchemy_following.library import Base, Book
from tests.sqlalchemy_following.pages import read_in

Follow = Callable[..., Any]


@pytest.mark.parametrize(("fetch", "found"), [
    (lambda result: result.all(), True),
    (lambda result: result.fetchmany(2), True),
    (lambda result: [result.fetchone(), result.fetchone()], True),
    (list, True),
    (lambda result: result.partitions(1), None),
    (lambda result: result.first(), None),
    (lambda result: result.close(), None),
], ids=["all", "many", "one by one", "iterated", "unread", "first", "closed"])
def test_rows_by_key_are_counted_as_they_come(
    engine: Engine, fence: CacheFence, follow: Follow, fetch: Callable[[Any], object], found: bool | None,
) -> None:
    follow(engine, fence, metadata=Base)
    statement = select(Book.title).where(Book.id.in_([1, 2]))
    # PostgreSQL's driver says how many there are; elsewhere those that nobody fetched may not be there.
    exact = found or engine.dialect.name == "postgresql"
    assert read_in(engine, statement, fetch) == (
        {"book:1", "book:2", "book:*", "db:*"} if exact else {"book", "db:*"})
    absent = select(Book.title).where(Book.id.in_([1, 99]))
    assert read_in(engine, absent, fetch) == {"book", "db:*"}


def test_a_row_count_is_believed_of_drivers_that_have_one() -> None:
    class Cursor:
        rowcount = 5

        def fetchall(self) -> list[tuple[int]]:
            return [(1,)]

    for known, fetched, rows in ((True, False, 5), (False, False, 0), (False, True, 1)):
        statement, context = Open(Reads(("book:1",), 1, ("book",)), ""), SimpleNamespace(cursor=Cursor())
        count_rows(context, context.cursor, statement, known=known)  # type: ignore[arg-type]
        if fetched:
            context.cursor.fetchall()
        assert statement.rows == rows


def test_rows_are_counted_behind_a_server_side_cursor(engine: Engine, fence: CacheFence, follow: Follow) -> None:
    follow(engine, fence, metadata=Base)
    for wanted, tags in (([1, 2], {"book:1", "book:2", "book:*", "db:*"}), ([1, 99], {"book", "db:*"})):
        statement = select(Book.title).where(Book.id.in_(wanted)).execution_options(yield_per=1)
        assert read_in(engine, statement) == tags


ODD = MetaData()
Table("plain", ODD, Column("id", Integer, primary_key=True))
Table("named", ODD, Column("name", String(10), primary_key=True))
Table("unique", ODD, Column("id", Uuid, primary_key=True))
Table("folded", ODD, Column("name", String(10, collation="NOCASE"), primary_key=True))
Table("padded", ODD, Column("name", CHAR(10), primary_key=True))
Table("insensitive", ODD, Column("name", postgresql.CITEXT, primary_key=True))
Table("floating", ODD, Column("at", Float, primary_key=True))
Table("listed", ODD, Column("kind", Enum("a", "b", name="listed_kind"), primary_key=True))
Table("keyless", ODD, Column("it", Integer))
Table("child", ODD, Column("id", ForeignKey("plain.id", ondelete="cascade", onupdate="CASCADE"), primary_key=True))
Table("renamed", ODD, Column("it", ForeignKey("keyless.it", onupdate="SET NULL")), Column("x", Integer))
Table("kept", ODD, Column("it", ForeignKey("plain.id", ondelete="RESTRICT")))
Table("outside", ODD, Column("it", ForeignKey("missing.id", ondelete="SET NULL")))


@pytest.mark.parametrize(("dialect", "texts"), [
    (sqlite.dialect(), True), (postgresql.dialect(), True), (mysql.dialect(), False)], ids=["sqlite", "pg", "mysql"])
def test_keys_have_rows_only_if_they_compare_exactly(dialect: Dialect, texts: bool) -> None:
    schema = schema_of([ODD], dialect)
    assert schema.key("plain") == {"id": Exact.INTEGER}
    assert schema.key("unique") == {"id": Exact.UUID}
    assert schema.key("child") == {"id": Exact.INTEGER}
    assert schema.key("named") == ({"name": Exact.TEXT} if texts else {})
    for name in ("folded", "padded", "insensitive", "floating", "listed", "keyless", "missing"):
        assert schema.key(name) == {}, name


def test_p3_sqlite_may_be_told_to_remove_the_rows_that_are_in_the_way() -> None:
    models = MetaData()
    Table("page", models, Column("id", Integer, primary_key=True),
          Column("slug", String, unique=True, sqlite_on_conflict_unique="REPLACE"))
    Table("comment", models, Column("id", Integer, primary_key=True),
          Column("page_id", ForeignKey("page.id", ondelete="CASCADE")))
    found = schema_of([models], sqlite.dialect())
    assert not found.key("page"), "an INSERT of a row may end another"
    assert found.reached("page", cascading=False) == {"comment"}
    found = schema_of([models], postgresql.dialect())
    assert found.key("page")
    assert not found.reached("page", cascading=False)


def test_rows_of_a_table_in_a_schema_are_known_where_a_statement_names_it() -> None:
    models = MetaData()
    Table("book", models, Column("id", Integer, primary_key=True), schema="Shop")
    found = schema_of([models], postgresql.dialect())
    assert found.key("book", "shop") == found.key("book") == {"id": Exact.INTEGER}
    assert not found.key("book", "audit")


def test_what_the_database_changes_by_itself_is_known_from_foreign_keys() -> None:
    schema = schema_of([ODD], sqlite.dialect())
    assert schema.reached("plain", cascading=True) == {"child"}
    assert schema.reached("plain", cascading=False) == set()
    assert schema.reached("keyless", cascading=False) == {"renamed"}
    assert schema.reached("missing", cascading=True) == {"outside"}
