"""What the models say of the tables: their keys, and what the database changes by itself.

A key counts only where the database and we agree which of its values are equal: integers and UUIDs everywhere, texts
where they are compared byte by byte. A table of any other key is followed as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from cachefence_web.django.declared import declared
from cachefence_web.sql import Exact, Schema, Table

_INTEGERS = frozenset({
    "AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField", "SmallIntegerField",
    "PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField",
})
_TEXTS = frozenset({"CharField", "TextField", "SlugField", "FileField", "FilePathField"})
_INTEGER_TYPES = ("int", "bigint", "smallint", "serial", "bigserial", "smallserial", "number", "tinyint", "mediumint")


def schema_of(connection: BaseDatabaseWrapper) -> Schema:
    """All that models and settings tell of a database's tables."""
    said = declared()
    every = apps.get_models(include_auto_created=True, include_swapped=True)
    tables = [each for model in every if not model._meta.proxy for each in _tables_of(model, connection)]
    tables += [Table(name, {}, (), of) for name, of in said.triggers.items()]
    # Declared twice, a table keeps its key only if both agree about it.
    keys = {table.name: table.key for table in tables if table.key}
    tables = [Table(each.name, keys.get(each.name, {}), each.cascades, each.triggers)
              if each.name in said.triggers else each for each in tables]
    return Schema(tables, views=said.views, routines=said.routines)


def _tables_of(model: type[models.Model], connection: BaseDatabaseWrapper) -> Iterator[Table]:
    """A model's own table, and what is changed in it when the rows that it refers to go."""
    own = model._meta.db_table
    yield Table(own, _key(model, connection))
    for field in model._meta.local_fields:
        remote = field.remote_field
        if remote is not None and _by_database(getattr(remote, "on_delete", None)):
            other: Any = remote.model
            yield Table(other._meta.db_table, _key(other, connection), (own,))


def _by_database(on_delete: object) -> bool:
    """DB_CASCADE, DB_SET_NULL, DB_SET_DEFAULT; and DO_NOTHING, which leaves it to whatever the database was told."""
    return hasattr(on_delete, "on_delete_sql") or on_delete is models.DO_NOTHING


def _key(model: type[models.Model], connection: BaseDatabaseWrapper) -> dict[str, Exact]:
    """The columns of the primary key; none if one of them does not compare exactly."""
    primary: Any = model._meta.pk
    fields = getattr(model._meta, "pk_fields", None) or [primary]
    key: dict[str, Exact] = {}
    for field in fields:
        try:
            kind = _exact(field, connection)
        except Exception:  # a field of the project's own; no connection is to fail because of it
            kind = None
        if kind is None or field.column is None:
            return {}
        key[field.column] = kind
    return key


def _exact(field: Any, connection: BaseDatabaseWrapper) -> Exact | None:
    """How a column compares; a reference compares as what it refers to."""
    while field.remote_field is not None and hasattr(field, "target_field"):
        field = field.target_field
    internal, column = field.get_internal_type(), (field.db_type(connection) or "").lower()
    if internal in _INTEGERS and column.startswith(_INTEGER_TYPES):
        return Exact.INTEGER
    if internal == "UUIDField":
        return Exact.UUID if column.startswith(("uuid", "char(32)", "varchar2(32)")) else None
    bytewise = connection.vendor in ("postgresql", "sqlite") and not getattr(field, "db_collation", None)
    if internal in _TEXTS and bytewise and column.startswith(("varchar", "text")):
        return Exact.TEXT
    return None
