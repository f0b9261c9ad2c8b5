"""The tags that a transaction has written so far: never too few, and never so many that anybody suffers.

They are kept across savepoints. Those of one that was rolled back stay: an invalidation too much costs a compute.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST_ROWS = 1_000
"""Rows of one table; above it all of them are meant."""

MOST_TAGS = 4_000
"""Rows of all tables; above it only tables are told apart."""


class Touched:
    """Tags as `sql.Statement.writes` gives them: `book`, `book:42`, `book:*`."""

    __slots__ = ("_rows", "_size", "_whole")

    def __init__(self) -> None:
        self._whole: dict[str, None] = {}  # `book` and `book:*`
        self._rows: dict[str, dict[str, None]] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._whole or self._rows)

    def add(self, tags: Iterable[str]) -> None:
        """Take tags in."""
        for tag in tags:
            table, colon, row = tag.partition(":")
            if not colon or row == "*":
                self._whole[tag] = None
                if colon:
                    self._size -= len(self._rows.pop(table, ()))
            elif f"{table}:*" not in self._whole:
                self._add_row(table, tag)
        if self._size > MOST_TAGS:
            self._whole.update(dict.fromkeys([f"{table}:*" for table in self._rows]))
            self._rows.clear()
            self._size = 0

    def absorb(self, other: Touched) -> None:
        """Take in what another has."""
        self.add(other.tags())

    def tags(self) -> tuple[str, ...]:
        """All of them."""
        return (*self._whole, *[tag for rows in self._rows.values() for tag in rows])

    def take(self) -> tuple[str, ...]:
        """All of them, and begin anew."""
        tags = self.tags()
        self.clear()
        return tags

    def clear(self) -> None:
        """Begin anew: nothing of it was committed, or all of it was told."""
        self._whole.clear()
        self._rows.clear()
        self._size = 0

    def _add_row(self, table: str, tag: str) -> None:
        rows = self._rows.setdefault(table, {})
        if tag not in rows:
            rows[tag] = None
            self._size += 1
            if len(rows) > MOST_ROWS:
                self._size -= len(self._rows.pop(table))
                self._whole[f"{table}:*"] = None
