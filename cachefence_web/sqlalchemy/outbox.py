"""The outbox of SQLAlchemy's databases: on the driver's own cursors, past all events, so that nobody follows it.

It is looked into on connections that are made for it, in the way that the engine makes its own: by a thread, with an
event loop of its own where the driver wants one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeVar

from sqlalchemy import Column, Dialect, Engine, MetaData, String, Table, Text, inspect, or_, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from cachefence_web.core.keys import LONGEST_NAMESPACE
from cachefence_web.errors import ConfigurationError
from cachefence_web.following.outbox import ID, NAMESPACE, TABLE, TAGS, Cache, Row, drained, rows_for, stores_of
from cachefence_web.runtime.engine import log
from cachefence_web.stores.base import Store

R = TypeVar("R")

_SAVEPOINT = "cachefence_outbox"
_SKIPS_LOCKED = {"postgresql": (9, 5), "mysql": (8, 0, 1), "mariadb": (10, 6)}


def outbox_table(metadata: MetaData, name: str = TABLE, *, schema: str | None = None) -> Table:
    """The table for `invalidate_on_commit(..., outbox=...)`, for `create_all()` or Alembic to make; mostly empty."""
    return Table(
        name, metadata,
        Column(ID, String(32), primary_key=True), Column(NAMESPACE, String(LONGEST_NAMESPACE), nullable=False),
        Column(TAGS, Text().with_variant(LONGTEXT(), "mysql", "mariadb"), nullable=False), schema=schema)


def check_outbox(table: object) -> Table | None:
    """The table itself.

    Raises:
        ConfigurationError: if it is none that `outbox_table` makes.
    """
    if table is None or (isinstance(table, Table) and {ID, NAMESPACE, TAGS} <= set(table.c.keys())):
        return table
    raise ConfigurationError(f"outbox is the table that outbox_table(metadata) makes, not {table!r:.60}")


def drain_outbox(engine: Engine | AsyncEngine, fence: Cache, table: Table) -> int:
    """Tell a cache what waits for it in a database; how many commits. It blocks: `asyncio.to_thread` calls it in loops.

    A process that has this outbox given to `invalidate_on_commit` does so by itself; this is for a cron job.

    Raises:
        StoreUnavailable: the store is away.
        SQLAlchemyError or the driver's error: the database could not be looked into.
    """
    bind = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    return drain(bind, fence.namespace, stores_of([fence], fence.namespace), table)


def drain(engine: Engine, namespace: str, stores: Sequence[Store], table: Table) -> int:
    """The same for all stores of a namespace."""
    if is_alone(engine):
        return 0
    if not engine.dialect.is_async:
        return _look(engine, namespace, stores, table)
    return asyncio.run(_in_a_greenlet(lambda: _look(engine, namespace, stores, table)))


def is_alone(engine: Engine) -> bool:
    """Whether nobody else sees the database: one in memory."""
    place = engine.url
    return place.get_backend_name() == "sqlite" and (
        place.database in (None, "", ":memory:") or place.query.get("mode") == "memory"
        or "mode=memory" in str(place.database))


def keep(connection: Any, dialect: Dialect, table: Table, namespaces: Sequence[str], tags: tuple[str, ...]) -> None:
    """Write a row for each into the transaction that is open on a driver's connection.

    Raises:
        Exception: whatever the driver says; the transaction is as it was then.
    """
    saved = dialect.name == "postgresql"  # where what fails ends the transaction
    with closing(connection.cursor()) as cursor:
        if saved:
            cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            for row, namespace, told in rows_for(namespaces, tags):
                made = table.insert().inline().values({ID: row, NAMESPACE: namespace, TAGS: told})
                _execute(dialect, cursor, made)
        except BaseException:
            if saved:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            raise
        if saved:
            cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")


def not_kept(table: Table | None, error: object) -> None:
    """Say once what keeps commits from having a row."""
    name = TABLE if table is None else table.fullname
    say = log.debug if name in _said else log.error
    _said.add(name)
    say("a commit could not be kept in the table %s (%s), and is remembered by this process alone: make the table, of"
        " outbox_table(metadata), and give it to invalidate_on_commit(..., outbox=...)", name, error)


class Looking:
    """A look into the outbox; `Rows` of `following.outbox`."""

    def __init__(self, connection: PoolProxiedConnection, dialect: Dialect, table: Table) -> None:
        self._connection, self._dialect, self._table = connection, dialect, table
        version = getattr(dialect, "server_version_info", None) or (0,)
        name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
        self._locks = name in _SKIPS_LOCKED and version >= _SKIPS_LOCKED[name]

    def some(self, namespace: str, most: int) -> Sequence[Row]:
        """As `Rows.some`."""
        columns = self._table.c
        found = select(columns[ID], columns[TAGS]).where(columns[NAMESPACE] == namespace).limit(most)
        if self._locks:
            found = found.with_for_update(skip_locked=True)
        return [(str(row), str(tags)) for row, tags in self._run(found)]

    def any(self, namespace: str) -> bool:
        """As `Rows.any`."""
        columns = self._table.c
        there = bool(self._run(select(columns[ID]).where(columns[NAMESPACE] == namespace).limit(1)))
        self.ended()
        return there

    def forget(self, ids: Sequence[str]) -> None:
        """As `Rows.forget`."""
        with closing(self._connection.cursor()) as cursor:
            _execute(self._dialect, cursor, self._table.delete().where(or_(*[self._table.c[ID] == row for row in ids])))

    def ended(self) -> None:
        """As `Rows.ended`."""
        self._connection.commit()

    def _run(self, statement: Any) -> list[Any]:
        with closing(self._connection.cursor()) as cursor:
            _execute(self._dialect, cursor, statement)
            return list(cursor.fetchall())


def _execute(dialect: Dialect, cursor: Any, statement: Any) -> None:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    given = compiled.construct_params()
    ordered = [given[name] for name in compiled.positiontup] if compiled.positional else None
    cursor.execute(str(compiled), given if ordered is None else tuple(ordered))


def _look(engine: Engine, namespace: str, stores: Sequence[Store], table: Table) -> int:
    dialect, own = engine.dialect, engine.pool
    pool = NullPool(own._creator, dialect=dialect, _dispatch=own.dispatch)
    with closing(pool.connect()) as connection:
        looking = Looking(connection, dialect, table)
        try:
            return drained(looking, namespace, stores)
        except dialect.loaded_dbapi.Error:  # there is no such table, or nothing may be written here, as on a standby
            connection.rollback()
            with Engine(pool, dialect, engine.url).connect() as another:
                exists = inspect(another).has_table(table.name, schema=table.schema)
            if exists and looking.any(namespace):
                raise
            return 0


async def _in_a_greenlet(work: Callable[[], R]) -> R:
    return await greenlet_spawn(work)


_said: set[str] = set()
