"""What a statement is and touches, as its text says it: no parameter is looked at here."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from cachefence_web.sql.schema import Exact
from cachefence_web.sql.shaping import Constant


class Kind(enum.Enum):
    """What a statement does."""

    READ = "read"
    WRITE = "write"
    DDL = "ddl"
    NEUTRAL = "neutral"  # neither reads nor writes rows: SET, SHOW, FETCH, LISTEN, VACUUM
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback to"
    PREPARE = "prepare"  # the first phase of a two-phase commit
    COMMIT_PREPARED = "commit prepared"
    ROLLBACK_PREPARED = "rollback prepared"
    UNKNOWN = "unknown"  # it may have written anything


@dataclass(frozen=True, slots=True)
class Place:
    """A parameter of the shape. `spread`: its value is a list of values, as of `= ANY(...)`."""

    number: int
    spread: bool = False


Operand: TypeAlias = Place | Constant
"""What a column of a key is compared with, or given."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The rows that a statement names: no other row satisfies it.

    columns: for each column of the primary key, in its order, the values named.
    zipped: the values belong together by their position; else every combination is meant.
    """

    exact: tuple[Exact, ...]
    columns: tuple[tuple[Operand, ...], ...]
    zipped: bool = False


@dataclass(frozen=True, slots=True)
class Sought:
    """Rows read by primary key.

    tables: those read at these keys: one, or more that are joined by their primary keys.
    several: whether as many rows in the result as keys named prove that every one was found. For a single key one row
        always does.
    """

    tables: tuple[str, ...]
    keys: Keys
    several: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A table that is written.

    keys: the rows, or None where the text does not tell.
    fresh: rows are only added: none that was there before changes.
    """

    table: str
    keys: Keys | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What one statement is and touches.

    reads: tables read in no way that names rows.
    everything: it may have written any table.
    refusal: why a result that depends on it must not be stored.
    commits: it ends the transaction that is open by committing it.
    """

    kind: Kind
    reads: frozenset[str] = frozenset()
    sought: Sought | None = None
    changes: tuple[Change, ...] = ()
    everything: bool = False
    refusal: str | None = None
    commits: bool = False
