"""The outbox on a connection of Django's: past its wrappers and its ORM, so that nobody follows, counts or logs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from django.db import connections, router, transaction

from cachefence_web.following import Committing
from cachefence_web.following.outbox import ID, NAMESPACE, TABLE, TAGS, Row, rows_for
from cachefence_web.runtime.engine import log

_SAVEPOINT = "cachefence_outbox"


def can_begin(connection: Any) -> bool:
    """Whether a statement in autocommit can be given a transaction: on a connection that Django knows the thread by."""
    return bool(connection.autocommit) and connections[connection.alias] is connection and not is_alone(connection)


def is_alone(connection: Any) -> bool:
    """Whether nobody else sees the database: one in memory."""
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


def may_hold(alias: str) -> bool:
    """Whether routers let a database have the table."""
    return bool(router.allow_migrate(alias, "cachefence", model_name="outbox"))


def begun(connection: Any) -> Any:
    """A transaction for a statement that would have none."""
    return transaction.atomic(using=connection.alias)


def keep(connection: Any, committing: Committing, tags: tuple[str, ...]) -> None:
    """Write rows into the transaction that is open, for the caches that are told by one; else journals have it."""
    if not committing.unheard:
        return
    try:
        _insert(connection, committing.unheard, tags)
    except Exception as error:
        say = log.debug if connection.alias in _said else log.error
        _said.add(connection.alias)
        remedy = f'run "manage.py migrate --database {connection.alias}"' if may_hold(connection.alias) else \
            "let DATABASE_ROUTERS migrate the app cachefence there"
        say("a commit on the database %r could not be kept in its table %s (%s), and is remembered by this process"
            " alone: %s", connection.alias, TABLE, error, remedy)
        committing.forgo()


def _insert(connection: Any, namespaces: Sequence[str], tags: tuple[str, ...]) -> None:
    names = ", ".join(_named(connection))
    insert = f"INSERT INTO {_table(connection)} ({names}) VALUES (%s, %s, %s)"  # noqa: S608 (our own names)
    with closing(connection.create_cursor()) as cursor, _saved(connection, cursor):
        for row in rows_for(namespaces, tags):
            cursor.execute(insert, row)


class Looking:
    """A look into the outbox, on a connection that nobody else uses; `rows` of `following.outbox`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        names = _named(connection)
        features, ops = connection.features, connection.ops
        self._locks = features.has_select_for_update_skip_locked and features.supports_select_for_update_with_limit
        table = _table(connection)
        lock = f" {ops.for_update_sql(skip_locked=True)}" if self._locks else ""
        self._any = (f"SELECT {names[0]} FROM {table} WHERE {names[1]} = %s"  # noqa: S608 (our own names)
                     f" {ops.limit_offset_sql(0, 1)}")
        self._some = (f"SELECT {names[0]}, {names[2]} FROM {table} WHERE {names[1]} = %s"  # noqa: S608 (our own names)
                      " {limit}" + lock)
        self._forget = f"DELETE FROM {table} WHERE {names[0]} = %s"  # noqa: S608 (our own names)

    def exists(self) -> bool:
        """Whether there is such a table."""
        with closing(self._connection.create_cursor()) as cursor:
            return TABLE in [str(each.name).lower() for each in self._connection.introspection.get_table_list(cursor)]

    def some(self, namespace: str, most: int) -> Sequence[Row]:
        """As `Rows.some`."""
        if self._locks and self._connection.autocommit:
            self._connection.set_autocommit(False)
        some = self._some.format(limit=self._connection.ops.limit_offset_sql(0, most))
        return [(str(row), str(tags)) for row, tags in self._run(some, namespace)]

    def any(self, namespace: str) -> bool:
        """As `Rows.any`."""
        return bool(self._run(self._any, namespace))

    def forget(self, ids: Sequence[str]) -> None:
        """As `Rows.forget`."""
        if self._connection.autocommit:
            self._connection.set_autocommit(False)
        with closing(self._connection.create_cursor()) as cursor:
            cursor.executemany(self._forget, [(each,) for each in ids])

    def ended(self) -> None:
        """As `Rows.ended`."""
        if not self._connection.autocommit:
            self._connection.commit()

    def _run(self, text: str, namespace: str) -> list[Any]:
        with closing(self._connection.create_cursor()) as cursor:
            cursor.execute(text, (namespace,))
            return list(cursor.fetchall())


def _table(connection: Any) -> str:
    return str(connection.ops.quote_name(TABLE))


def _named(connection: Any) -> list[str]:
    return [str(connection.ops.quote_name(name)) for name in (ID, NAMESPACE, TAGS)]


@contextmanager
def _saved(connection: Any, cursor: Any) -> Iterator[None]:
    """What fails in here leaves the transaction as it was: in PostgreSQL it would have ended it."""
    ops = connection.ops
    cursor.execute(ops.savepoint_create_sql(_SAVEPOINT))
    try:
        yield
    except BaseException:
        cursor.execute(ops.savepoint_rollback_sql(_SAVEPOINT))
        raise
    if released := ops.savepoint_commit_sql(_SAVEPOINT):
        cursor.execute(released)


_said: set[str] = set()
