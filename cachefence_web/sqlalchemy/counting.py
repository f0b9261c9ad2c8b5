"""Rows looked for by key are counted as they are fetched, where the driver does not say how many there are.

In SQLite what is not yet read to its end holds the snapshot that all else on the connection is read from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine.interfaces import ExecutionContext

from cachefence_web.following import Open
from cachefence_web.stores.memory import now_in_microseconds


def count_rows(context: ExecutionContext | None, cursor: Any, statement: Open, *, known: bool) -> None:
    """Let the statement know how many rows come back.

    known: whether the driver's `rowcount` of a SELECT says it.
    """
    rows = cursor.rowcount if known else -1
    if isinstance(rows, int) and rows >= 0:
        statement.rows = rows
    elif context is None:
        statement.rows = None  # SQLAlchemy's own use of a cursor, which nobody can look into
    else:
        context.cursor = Counted(cursor, statement)


def keep_reading(context: ExecutionContext | None, cursor: Any) -> Counted | None:
    """The cursor, if it is one that tells when it was read to its end; None: nothing is left to be read."""
    if context is None or cursor.description is None or not getattr(cursor, "server_side", True):
        return None
    if not isinstance(context.cursor, Counted):
        context.cursor = Counted(cursor, None)
    return context.cursor


class Counted:
    """A cursor of the driver, whose rows are counted; what is always asked for is named here, for speed.

    began: when it was executed, on this machine's monotonic clock.
    """

    def __init__(self, cursor: Any, statement: Open | None) -> None:
        self._cursor, self._statement = cursor, statement
        self.began = now_in_microseconds()
        self.is_open = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    @property
    def description(self) -> Any:
        """The columns; some cursors know them only once a row was fetched."""
        return self._cursor.description

    def close(self) -> None:
        """Let it go, as SQLAlchemy does after the last row too."""
        self.is_open = False
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
