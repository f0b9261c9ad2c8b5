"""A driver's cursor, watched: rows are counted as they are fetched, or fetched at once so that they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachefence_web.following import Open


def bare(cursor: Any) -> Any:
    """The driver's own cursor."""
    return cursor._cursor if isinstance(cursor, Counting | Kept) else cursor


class Counting:
    """Counts what is fetched, for whoever wants to know whether every row was found."""

    def __init__(self, cursor: Any, found: Open) -> None:
        self._cursor = bare(cursor)
        self._found: Open | None = found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, *args: Any, **options: Any) -> Any:
        """Another statement: what it returns is counted for nobody."""
        self._found = None
        return self._cursor.execute(*args, **options)

    def executemany(self, *args: Any, **options: Any) -> Any:
        """As `execute`."""
        self._found = None
        return self._cursor.executemany(*args, **options)

    def fetchone(self) -> Any:
        """One row, or None."""
        row = self._cursor.fetchone()
        if row is not None:
            self._count(1)
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        """Some rows."""
        rows = self._cursor.fetchmany(*args, **kwargs)
        if rows:
            self._count(len(rows))
        return rows

    def fetchall(self) -> Any:
        """All rows."""
        rows = self._cursor.fetchall()
        self._count(len(rows))
        return rows

    def close(self) -> None:
        """Here, since it is always asked for, and what is not a name of this class is found slowly."""
        self._cursor.close()

    def __iter__(self) -> Iterator[Any]:
        for row in self._cursor:
            self._count(1)
            yield row

    def _count(self, rows: int) -> None:
        found = self._found
        if found is not None and found.rows is not None:
            found.rows += rows


class Kept:
    """A cursor whose rows have all been fetched already."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = bare(cursor)
        self._rows: Iterator[Any] | None = iter(cursor.fetchall())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, *args: Any, **options: Any) -> Any:
        """Another statement, whose rows are the cursor's own."""
        self._rows = None
        return self._cursor.execute(*args, **options)

    def executemany(self, *args: Any, **options: Any) -> Any:
        """As `execute`."""
        self._rows = None
        return self._cursor.executemany(*args, **options)

    def fetchone(self) -> Any:
        """One row, or None."""
        return self._cursor.fetchone() if self._rows is None else next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> Any:
        """Some rows."""
        wanted = self._cursor.arraysize if size is None else size
        if self._rows is None:
            return self._cursor.fetchmany(wanted)
        return [row for _, row in zip(range(wanted), self._rows, strict=False)]

    def fetchall(self) -> Any:
        """All rows that are left."""
        return self._cursor.fetchall() if self._rows is None else list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor if self._rows is None else self._rows)
