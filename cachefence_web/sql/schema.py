"""What the statements cannot say and the application knows: keys, cascades, triggers, views and routines.

Tables are known by the last part of their name, casefolded, with neither quotes nor schema. Two that are merged by
that and do not agree about their key have none: merging may only ever invalidate too much.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cachefence_web.errors import ConfigurationError


class Exact(enum.Enum):
    """How a column compares, if two values are equal to the database exactly when they are to us.

    A column that compares in another way (floats, padded characters, dates, a collation that takes two texts for one,
    as all of MySQL's default ones do) has none of these, and its table no known rows.
    """

    INTEGER = "integer"
    UUID = "uuid"
    TEXT = "text"  # under a binary, or in PostgreSQL any deterministic, collation


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    name: its name, or any qualified or quoted form of it. Its rows are known where a statement qualifies it the same
        way, or not at all: `audit.book` is another table, of which nothing is known.
    key: the columns of its primary key and how each compares; empty if its rows cannot be told apart exactly, and if
        another column has the name of one of them but for its case.
    cascades: the tables whose rows the database changes by itself when rows of this one go or change their key
        (ON DELETE CASCADE, SET NULL).
    triggers: the tables that the database writes at any write to this one (triggers, ON UPDATE CASCADE of columns
        outside of the key).
    """

    name: str
    key: Mapping[str, Exact] = field(default_factory=dict)
    cascades: Iterable[str] = ()
    triggers: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Routine:
    """What a function or procedure of the database touches, as far as the application has declared it."""

    reads: Iterable[str] = ()
    writes: Iterable[str] = ()


class Schema:
    """All that is known of a database; without an argument nothing is, and every dependency is on whole tables.

    views: for each view, or parent of partitions, the tables it stands for. Materialized views are tables: they change
        when they are refreshed.
    routines: for each function or procedure what it touches; a function that is not here is taken to touch nothing, a
        procedure everything.

    Raises:
        ConfigurationError: for views that are defined by one another, and values of other types.
    """

    __slots__ = ("_keys", "_qualifiers", "_reached", "_routines", "_views", "names")

    def __init__(
        self,
        tables: Iterable[Table] = (),
        *,
        views: Mapping[str, Iterable[str]] | None = None,
        routines: Mapping[str, Routine] | None = None,
    ) -> None:
        tables = list(tables)
        self._views = {folded(name): _names(of, f"the view {name}") for name, of in (views or {}).items()}
        for name in self._views:
            self._under(name, ())
        self._keys: dict[str, dict[str, Exact]] = {}
        self._qualifiers: dict[str, set[str]] = {}
        for table in tables:
            key = {folded(column): _exact(kind, table, column) for column, kind in table.key.items()}
            name = folded(table.name)
            self._qualifiers.setdefault(name, {""}).add(_qualifier(table.name))
            if self._keys.setdefault(name, key) != key or name in self._views:
                self._keys[name] = {}
        self._reached = _closures(tables)
        self._routines = {
            folded(name): Routine(_names(of.reads, name), _names(of.writes, name))
            for name, of in (routines or {}).items()
        }
        self.names: frozenset[str] = frozenset([*self._keys, *self._views])

    def key(self, table: str, qualifier: str = "") -> Mapping[str, Exact]:
        """The columns of a table's primary key by folded name; empty if it has no key that compares exactly.

        qualifier: the folded name of the database or schema that the statement puts before it, if it does.
        """
        return self._keys.get(table, {}) if qualifier in self._qualifiers.get(table, ()) else {}

    def under(self, table: str) -> frozenset[str]:
        """The tables that a name stands for, itself included."""
        return self._under(table, ()) if table in self._views else frozenset([table])

    def reached(self, table: str, *, cascading: bool) -> frozenset[str]:
        """The other tables that the database writes when this one is written; `cascading`: rows may go."""
        cascades, triggers = self._reached.get(table, (frozenset(), frozenset()))
        return cascades if cascading else triggers

    @property
    def knows_routines(self) -> bool:
        """Whether any was declared."""
        return bool(self._routines)

    def routine(self, name: str) -> Routine | None:
        """What was declared of a routine, its tables folded."""
        return self._routines.get(name)

    def _under(self, name: str, within: tuple[str, ...]) -> frozenset[str]:
        if name in within:
            raise ConfigurationError(f"the view {name} is declared to read itself: name the tables beneath it")
        found = {name}
        for table in self._views.get(name, ()):
            found |= {table} if table == name else self._under(table, (*within, name))
        return frozenset(found)


def folded(name: str) -> str:
    """The last part of a name, without quotes and case."""
    last = name.strip()
    if last[-1:] in _CLOSING:
        opening = _CLOSING[last[-1]]
        return last[last.rfind(opening, 0, -1) + 1:-1].casefold()
    return last.rpartition(".")[2].strip().casefold()


def _qualifier(name: str) -> str:
    """The part before the last one, folded; empty if there is none."""
    last = name.strip()
    opening = _CLOSING.get(last[-1:])
    start = last.rfind(opening, 0, -1) if opening is not None else last.rfind(".") + 1
    before = last[:start].strip().removesuffix(".")
    return folded(before) if before else ""


_CLOSING = {'"': '"', "`": "`", "]": "["}


def _names(names: Iterable[str], of: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigurationError(f"the tables of {of} are a list of names, not one text: write [{names!r}]")
    return tuple([folded(name) for name in names])


def _exact(kind: object, table: Table, column: str) -> Exact:
    if not isinstance(kind, Exact):
        raise ConfigurationError(
            f"{table.name}.{column} compares as one of {', '.join(str(each) for each in Exact)}, not {kind!r:.60};"
            " give the table no key if it compares in another way")
    return kind


def _closures(tables: list[Table]) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """For each table what a write with cascades reaches, and what one without does."""
    cascades: dict[str, set[str]] = {}
    triggers: dict[str, set[str]] = {}
    for table in tables:
        name = folded(table.name)
        triggers.setdefault(name, set()).update(_names(table.triggers, table.name))
        cascades.setdefault(name, set()).update(_names(table.cascades, table.name))
    closed = {}
    for name, cascaded in cascades.items():
        # What a trigger does is not known: it may delete, and that cascades.
        by_triggers = _reachable(triggers[name], cascades, triggers)
        by_cascades = _reachable(cascaded | triggers[name], cascades, triggers)
        closed[name] = (by_cascades, by_triggers)
    return closed


def _reachable(first: set[str], cascades: dict[str, set[str]], triggers: dict[str, set[str]]) -> frozenset[str]:
    found, left = set(first), list(first)
    while left:
        name = left.pop()
        further = (cascades.get(name, set()) | triggers.get(name, set())) - found
        found |= further
        left += further
    return frozenset(found)
