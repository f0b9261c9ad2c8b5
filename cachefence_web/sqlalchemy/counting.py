"""Rows looked for by key are counted as they are fetched, where the driver does not say how many there are.

In SQLite what is not yet read to its end holds the snapshot that all else on the connection is read from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine.interfaces import ExecutionContext

from cachefence_web.following import Open
from cachefence_web.stores.memory import now_in_microseconds


def count_rows(context: ExecutionContext, cursor: Any, statement: Open, *, known: bool) -> None:
    """Let the statement know how many rows come back.

    known: whether the driver's `rowcount` of a SELECT says it.
    """
    rows = cursor.rowcount if known else -1
    if isinstance(rows, int) and rows >= 0:
        statement.rows = rows
    else:
        context.cursor = Counted(cursor, statement)


def keep_reading(context: ExecutionContext, cursor: Any, reading: dict[int, int]) -> None:
    """Note in `reading` that this cursor was executed now, for as long as it is not read to its end."""
    if cursor.description is None or not getattr(cursor, "server_side", True):
        return
    counted = context.cursor
    if not isinstance(counted, Counted):
        context.cursor = counted = Counted(cursor, None)
    counted.held_in(reading)


class Counted:
    """A cursor of the driver, whose rows are counted; what is always asked for is named here, for speed."""

    _held_in: dict[int, int] | None = None

    def __init__(self, cursor: Any, statement: Open | None) -> None:
        self._cursor, self._statement = cursor, statement

    def held_in(self, reading: dict[int, int]) -> None:
        """Keep in `reading`, until it is closed or forgotten, when this was executed: now."""
        reading[id(self)] = now_in_microseconds()
        self._held_in = reading

    def __del__(self) -> None:
        if self._held_in is not None:
            self._held_in.pop(id(self), None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    @property
    def description(self) -> Any:
        """The columns; some cursors know them only once a row was fetched."""
        return self._cursor.description

    def close(self) -> None:
        """Let it go, as SQLAlchemy does after the last row too."""
        if self._held_in is not None:
            self._held_in.pop(id(self), None)
            self._held_in = None
        self._cursor.close()

    def __iter__(self) -> Iterator[Any]:
        for row in self._cursor:
            self._count(1)
            yield row

    def fetchone(self) -> Any:
        """One row, or None."""
        row = self._cursor.fetchone()
        self._count(row is not None)
        return row

    def fetchmany(self, *size: int) -> Any:
        """Some rows."""
        rows = self._cursor.fetchmany(*size)
        self._count(len(rows))
        return rows

    def fetchall(self) -> Any:
        """The rows that are left."""
        rows = self._cursor.fetchall()
        self._count(len(rows))
        return rows

    def _count(self, rows: int) -> None:
        statement = self._statement
        if statement is not None and statement.rows is not None:
            statement.rows += rows
