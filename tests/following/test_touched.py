"""The tags of a transaction: all of them, and never too many."""

from __future__ import annotations

import pytest

from cachefence_web.following import Touched
from cachefence_web.following.touched import MOST_ROWS, MOST_TAGS


@pytest.mark.parametrize(("written", "told"), [
    ([("book", "book:1")], {"book", "book:1"}),
    ([("book", "book:1"), ("book", "book:2"), ("author", "author:1")],
     {"book", "book:1", "book:2", "author", "author:1"}),
    ([("book", "book:1"), ("book", "book:*")], {"book", "book:*"}),
    ([("book", "book:*"), ("book", "book:1")], {"book", "book:*"}),
    ([("mydb", "mydb:*"), ("db:*",)], {"mydb", "mydb:*", "db:*"}),
    ([("a.book", "a.book:1")], {"a.book", "a.book:1"}),
])
def test_what_was_written_is_told(written: list[tuple[str, ...]], told: set[str]) -> None:
    touched = Touched()
    for tags in written:
        touched.add(tags)
    assert touched
    assert set(touched.tags()) == told
    assert len(touched.take()) == len(told)
    assert not touched


def test_many_rows_of_a_table_are_the_table() -> None:
    touched = Touched()
    for row in range(MOST_ROWS + 1):
        touched.add(("book", f"book:{row}"))
    touched.add(("author", "author:1"))
    assert set(touched.tags()) == {"book", "book:*", "author", "author:1"}


def test_many_rows_of_many_tables_are_their_tables() -> None:
    touched = Touched()
    tables = [f"t{number}" for number in range(MOST_TAGS // MOST_ROWS + 1)]
    for row in range(MOST_ROWS):
        touched.add([tag for table in tables for tag in (table, f"{table}:{row}")])
    assert len(touched.tags()) <= 2 * len(tables) + MOST_TAGS
    assert {f"{tables[0]}:*", tables[0]} <= set(touched.tags())
