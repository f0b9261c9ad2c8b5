"""From MetaData to what `sql` knows of a database: keys that compare exactly, what the database changes by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Dialect, ForeignKeyConstraint, Integer, MetaData, Table, TypeDecorator, Uuid
from sqlalchemy.sql import visitors

from cachefence_web import sql
from cachefence_web.sql import Exact, Routine, Schema, folded

# Not CHAR, which is padded, nor CITEXT.
_TEXTS = ("string", "text", "unicode", "unicode_text", "VARCHAR", "TEXT", "NVARCHAR")
_ACTS = ("CASCADE", "SET NULL", "SET DEFAULT")


def schema_of(
    models: Iterable[MetaData],
    dialect: Dialect,
    *,
    views: Mapping[str, Iterable[str]] | None = None,
    triggers: Mapping[str, Iterable[str]] | None = None,
    routines: Mapping[str, Routine] | None = None,
) -> Schema:
    """The schema of all their tables, as one database compares their keys.

    views, triggers, routines: what models do not tell, as in `Schema` and `sql.Table`.
    """
    tables = [table for metadata in models for table in list(metadata.tables.values())]
    keys: dict[str, list[tuple[str, dict[str, Exact]]]] = defaultdict(list)
    cascades: dict[str, set[str]] = defaultdict(set)
    written: dict[str, set[str]] = defaultdict(set)
    replacing: dict[str, set[str]] = {}
    for name, others in (triggers or {}).items():
        written[folded(name)].update(others)
    for table in tables:
        keys[folded(table.name)].append((_named(table), _key(table, dialect)))
        if _replaces(table, dialect):
            replacing[folded(table.name)] = cascades[folded(table.name)]
        for constraint in list(table.foreign_key_constraints):
            for parent, by_key in _parents(constraint):
                (cascades if by_key else written)[parent].add(table.name)
    named = {**dict.fromkeys(keys), **dict.fromkeys(cascades), **dict.fromkeys(written)}
    return Schema(
        [sql.Table(called, key, sorted(cascades[name]), sorted(written[name] | replacing.get(name, set())))
         for name in named for called, key in (keys[name] or [(name, {})])],
        views=views, routines=routines)


def met_in(statement: Any) -> Iterator[MetaData]:
    """The MetaData of the tables that a construct names."""
    named = getattr(statement, "element", statement)  # of a CREATE or DROP, which may be of a mere name
    for part in visitors.iterate(named) if hasattr(named, "get_children") else ():
        table = part if isinstance(part, Table) else getattr(part, "table", None)
        if isinstance(table, Table):
            yield table.metadata


def _named(table: Table) -> str:
    return table.name if table.schema is None else f'"{table.schema}"."{table.name}"'


def _replaces(table: Table, dialect: Dialect) -> bool:
    """Whether rows that are in the way of one that is written are removed, as SQLite can be told in a definition."""
    return dialect.name == "sqlite" and any(
        name.startswith("sqlite_on_conflict") and str(action).upper() == "REPLACE"
        for part in (*table.columns, *table.constraints) for name, action in part.dialect_kwargs.items())


def _key(table: Table, dialect: Dialect) -> dict[str, Exact]:
    found: dict[str, Exact] = {}
    if _replaces(table, dialect):
        return found
    for column in table.primary_key:
        exact = _exact(column, dialect)
        if exact is None:
            return {}
        found[column.name] = exact
    return found


def _exact(column: Column[Any], dialect: Dialect) -> Exact | None:
    kind: Any = column.type
    while isinstance(kind, TypeDecorator):
        kind = kind.load_dialect_impl(dialect)
    if isinstance(kind, Integer):
        return Exact.INTEGER
    if isinstance(kind, Uuid):
        return Exact.UUID
    plain = getattr(kind, "__visit_name__", None) in _TEXTS and getattr(kind, "collation", None) is None
    return Exact.TEXT if plain and dialect.name in ("sqlite", "postgresql") else None


def _parents(constraint: ForeignKeyConstraint) -> Iterator[tuple[str, bool]]:
    """The tables whose writes change rows here, and whether only those do that remove rows or change a key."""
    for foreign in constraint.elements:
        parent = folded(foreign.target_fullname.rpartition(".")[0])
        if _acts(constraint.ondelete):
            yield parent, True
        if _acts(constraint.onupdate):
            try:
                by_key = foreign.column.primary_key
            except Exception:  # the table it refers to is not declared
                by_key = False
            yield parent, by_key


def _acts(action: str | None) -> bool:
    return action is not None and action.strip().upper().startswith(_ACTS)
