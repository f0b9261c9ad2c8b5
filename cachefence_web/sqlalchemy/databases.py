"""One database that is followed: what its models say, how its statements are understood, and which caches to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cachebox import LRUCache
from sqlalchemy import Connection, Dialect, Engine, MetaData, Table, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import ExecuteStyle, ExecutionContext

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.errors import ConfigurationError
from cachefence_web.following.outbox import attach, detach, keeps, stores_of
from cachefence_web.sql import Analyser, Routine, Statement
from cachefence_web.sqlalchemy import outbox, statements
from cachefence_web.sqlalchemy.commits import Under, fence_commits
from cachefence_web.sqlalchemy.door import open_door
from cachefence_web.sqlalchemy.models import met_in, schema_of

_ATTRIBUTE = "_cachefence_web_database"
_TEXTS = 4_000
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Declared:
    """What the application says of a database; see `invalidate_on_commit`."""

    metadata: tuple[MetaData, ...] = ()
    views: Mapping[str, Iterable[str]] = field(default_factory=dict)
    triggers: Mapping[str, Iterable[str]] = field(default_factory=dict)
    routines: Mapping[str, Routine] = field(default_factory=dict)
    space: str = ""
    max_lag: float | None = None
    outbox: Table | None = None


class Database:
    """A database, known by its dialect, which all engines of it share."""

    def __init__(self, dialect: Dialect, declared: Declared) -> None:
        self.dialect = dialect
        self.is_sqlite, self.is_postgresql = dialect.name == "sqlite", dialect.name == "postgresql"
        self.declared = declared
        self.space = declared.space
        self.looks = declared.outbox is not None  # from the next statement on, where the engine is not known yet
        self.looked_into: Engine | None = None
        self._wrapped: dict[str, tuple[Any, Any]] = {}
        self._listeners: list[tuple[str, Callable[..., Any]]] = []
        self.caches: tuple[CacheFence | AsyncCacheFence, ...] = ()
        self._met = declared.metadata
        self._tables = -1
        self._texts: LRUCache[str, None] = LRUCache(_TEXTS)
        self._analyser = self._learn()

    def wrap(self, name: str, own: Any) -> None:
        """Put this in the place of what the dialect has by this name."""
        self._wrapped[name] = (own, self.dialect.__dict__.get(name))
        setattr(self.dialect, name, own)

    def listen(self, name: str, listener: Callable[..., Any]) -> None:
        """Hear of this event of the dialect's before those who listen already."""
        event.listen(self.dialect, name, listener, insert=True)
        self._listeners.append((name, listener))

    def unwrap(self) -> None:
        """Give the dialect back what it had; ours stays, and does nothing, beneath what others have put around it."""
        for name, listener in self._listeners:
            event.remove(self.dialect, name, listener)
        self._listeners.clear()
        for name, (own, before) in self._wrapped.items():
            if self.dialect.__dict__.get(name) is own:
                delattr(self.dialect, name)
                if before is not None:
                    setattr(self.dialect, name, before)

    def under(self, tags: tuple[str, ...], within: Any = None) -> Under:
        """A commit of these tags; within: the connection whose transaction it is, if rows can be written into it."""
        keep = None if within is None else partial(self._keep, within, tags)
        return Under(self.caches, tags, on_loop=self.dialect.is_async, keep=keep)

    def _keep(self, connection: Any, tags: tuple[str, ...], namespaces: tuple[str, ...]) -> bool:
        table = self.declared.outbox
        try:
            if table is None or self.looked_into is None:
                raise ConfigurationError("no table is given for it, or the database is in memory")
            outbox.keep(connection, self.dialect, table, namespaces, tags)
        except Exception as error:
            outbox.not_kept(table, error)
            return False
        return True

    def look_into(self, engine: Engine) -> None:
        """The engine is known that makes connections here: with it caches look into the outbox before they are read."""
        table = self.declared.outbox
        if table is None or self.looked_into is not None or outbox.is_alone(engine):
            self.looks = False
            return
        try:
            kept = [(cache, cache.namespace, stores_of(self.caches, cache.namespace))
                    for cache in self.caches if keeps(cache)]
        except RuntimeError:  # a Flask extension outside of its application: at a later statement, then
            return
        for cache, namespace, stores in kept:
            attach(cache, self, partial(outbox.drain, engine, namespace, stores, table))
        self.looked_into, self.looks = engine, False

    def check(self) -> None:
        """A Flask extension that has no application here says so now, not when the rows are committed."""
        for cache in self.caches:
            cache.namespace  # noqa: B018 (asking is what raises)

    def understand(self, text: str, parameters: Any, context: ExecutionContext) -> Statement:
        """What a statement does; the models that it is made of are known from then on."""
        if text not in self._texts:
            self._meet(context)
            if len(text) < _TEXTS:
                self._texts[text] = None
        if self._tables != sum([len(metadata.tables) for metadata in self._met]):
            self._analyser = self._learn()
        return self._analyser.analyse(text, bound=bool(parameters) or not context.no_parameters)

    def writes(self, statement: Statement, parameters: Any, context: ExecutionContext) -> tuple[str, ...]:
        """The tags that a statement makes untrue; a batch of "insertmanyvalues" is one statement of many rows."""
        if context.executemany and context.execute_style is not ExecuteStyle.INSERTMANYVALUES:
            return statement.writes_many(parameters)
        return statement.writes(parameters)

    def meet(self, models: Iterable[MetaData]) -> None:
        """Know these tables from now on, unless the application has said which there are."""
        found = dict.fromkeys([*self._met, *models])
        if not self.declared.metadata and len(found) > len(self._met):
            self._met = tuple(found)

    def _meet(self, context: ExecutionContext) -> None:
        if context.compiled is not None and not self.declared.metadata:
            self.meet(met_in(context.compiled.statement))

    def _learn(self) -> Analyser:
        self._tables = sum([len(metadata.tables) for metadata in self._met])
        declared = self.declared
        schema = schema_of(self._met, self.dialect, views=declared.views, triggers=declared.triggers,
                           routines=declared.routines)
        style = self.dialect.paramstyle
        return Analyser(self.dialect.name, "dollar" if style == "numeric_dollar" else style, schema, space=self.space)


def database_of(connection: Connection) -> Database | None:
    """The database of a connection, if it is followed."""
    found: Database | None = connection.dialect.__dict__.get(_ATTRIBUTE)
    return found


def follow(dialect: Dialect, cache: CacheFence | AsyncCacheFence, declared: Declared) -> Database:
    """From now on tell the cache what is committed to this database.

    Raises:
        ConfigurationError: for a database whose statements are not understood, and one of which other things were said.
    """
    with _lock:
        database: Database | None = dialect.__dict__.get(_ATTRIBUTE)
        if database is None:
            database = Database(dialect, declared)
            database.caches = (cache,)
            setattr(dialect, _ATTRIBUTE, database)
            fence_commits(database)
            database.listen("handle_error", _failed)
            open_door(database)
            return database
        if database.declared != declared:
            raise ConfigurationError(
                "this database is followed already, and something else was said of it: give metadata, views, triggers,"
                " routines, space and max_lag alike for all its caches")
        database.caches = (*database.caches, cache)
        database.looks, database.looked_into = declared.outbox is not None, None
        return database


def leave(dialect: Dialect, cache: CacheFence | AsyncCacheFence) -> None:
    """Tell the cache no longer."""
    with _lock:
        database: Database | None = dialect.__dict__.get(_ATTRIBUTE)
        if database is None:
            return
        left = list(database.caches)
        left.remove(cache)
        if database.looked_into is not None and cache not in left:
            with suppress(RuntimeError):  # a Flask extension outside of its application
                detach(cache, database)
        database.caches = tuple(left)
        if not left:
            database.unwrap()
            delattr(dialect, _ATTRIBUTE)


def _failed(context: ExceptionContext) -> None:
    connection = context.connection
    if connection is not None and (database := database_of(connection)) is not None:
        statements.failed(database, connection, context.original_exception, lost=context.is_disconnect)
