"""The door that every statement of every connection passes: what it reads is recorded, what it writes invalidates.

It is the outermost of the connection's execute wrappers. Reads are looked at only while something is computed. What
does not pass it: `callproc`, COPY, and what is done with the driver's own cursors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from cachefence_web.django.commits import ATTRIBUTE, Commits, has_written, is_late
from cachefence_web.django.counting import Counting, Kept
from cachefence_web.django.declared import declared, edition
from cachefence_web.django.tables import schema_of
from cachefence_web.errors import ConfigurationError
from cachefence_web.following import read
from cachefence_web.runtime.bypassing import ask_first
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.recording import current, fall_behind, gathered, keep_private, recorder
from cachefence_web.sql import Analyser, Kind, Statement

Execute = Callable[[Any, Any, bool, dict[str, Any]], Any]


class Door:
    """That of one connection."""

    __slots__ = ("_analyser", "_commits", "_connection", "_counts", "_edition", "_lag", "_replica", "_wholly")

    def __init__(self, connection: BaseDatabaseWrapper, commits: Commits) -> None:
        self._connection, self._commits = connection, commits
        self._edition = -1
        self._analyser: Analyser | None = None
        self._counts = connection.vendor == "postgresql"  # its driver knows how many rows it has fetched
        self._wholly = connection.vendor == "postgresql"  # a statement that fails has done nothing
        self._replica = False
        self._lag: float | None = None

    def __call__(self, execute: Execute, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Django's own signature."""
        commits = self._commits
        if commits.written:
            commits.notice()
        text = sql if type(sql) is str else self._text(sql)
        statement = self._understood(text, params)
        kind = statement.kind
        if kind is Kind.READ:
            commits.run()
            if current() is None and gathered() is None:
                return execute(sql, params, many, context)
            return self._read(statement, text, lambda: execute(sql, params, many, context), None if many else params,
                              context["cursor"])

        def run() -> Any:
            return execute(sql, params, many, context)

        if statement.commits:
            result = self._commit(statement, run, self._written(statement, params, many))
        elif kind in (Kind.WRITE, Kind.DDL, Kind.UNKNOWN):
            wholly = self._wholly and not many and statement.kinds == (Kind.WRITE,)
            result = self._write(kind, run, self._written(statement, params, many), context, wholly=wholly)
        else:
            result = self._control(statement, run, text)
        if recorder() is not None:
            self._told_too(statement, text, context["cursor"].cursor)
        return result

    def _text(self, sql: Any) -> str:
        """What psycopg takes as well: bytes, and texts that are composed."""
        if isinstance(sql, bytes):
            return sql.decode("utf-8", "replace")
        compose = getattr(sql, "as_string", None)
        return str(compose(self._connection.connection)) if compose is not None else str(sql)

    def _understood(self, text: str, params: Any) -> Statement:
        analyser = self._analyser
        if analyser is None or self._edition != edition():
            analyser = self._analyser = _analyser_of(self._connection)
            self._edition = edition()
            replicas = declared().replicas
            self._replica = self._connection.alias in replicas
            self._lag = replicas.get(self._connection.alias)
        try:
            return analyser.analyse(text, bound=params is not None)
        except Exception:  # no statement is to fail because it was not understood
            log.exception("a statement was not understood, and counts as one that writes everything: %.200s", text)
            return analyser.analyse("CALL unknown()", bound=False)

    def _written(self, statement: Statement, params: Any, many: bool) -> tuple[str, ...]:
        if Kind.COMMIT_PREPARED in statement.kinds:
            return (f"{declared().spaces.get(self._connection.alias, '')}db:*",)  # nobody here knows what was prepared
        return statement.writes_many(params) if many else statement.writes(params)

    def _read(self, statement: Statement, text: str, run: Callable[[], Any], params: Any, cursor: Any) -> Any:
        commits = self._commits
        if commits.written:
            keep_private("it was read within a transaction that has written")
        elif commits.began is not None:
            keep_private("it was read as it had been before the compute began", after=commits.began)
        if self._replica:
            self._behind(self._lag)
        found = read(statement, params, text)
        result = run()
        if found is not None:
            rows = cursor.cursor.rowcount if self._counts else -1
            if rows >= 0:
                found.rows = rows
            else:
                cursor.cursor = Counting(cursor.cursor, found)
        return result

    def _behind(self, lag: float | None) -> None:
        recording = recorder()
        if recording is None:
            return
        if lag is not None:
            fall_behind(lag)
            return
        recording.spoil(f"it read the replica {self._connection.alias!r}, of which nobody knows how late it is")

    def _told_too(self, statement: Statement, text: str, cursor: Any) -> None:
        """What does something else may tell rows as well: by RETURNING, or by a SELECT in the same text."""
        if Kind.READ in statement.kinds or cursor.description is not None:
            if self._commits.written:
                keep_private("it was read within a transaction that has written")
            read(statement, None, text)

    def _write(
        self, kind: Kind, run: Callable[[], Any], tags: tuple[str, ...], context: dict[str, Any], *, wholly: bool
    ) -> Any:
        commits = self._commits
        if not commits.begins():
            result = commits.around(
                tags, lambda: _to_its_end(run(), context), plain=kind is Kind.WRITE, wholly=wholly)
            if commits.begins():  # the text has begun a transaction, and not ended it
                commits.wrote(tags)
            return result
        commits.run()
        commits.wrote(tags)
        result = run()
        commits.notice()
        return result

    def _commit(self, statement: Statement, run: Callable[[], Any], tags: tuple[str, ...]) -> Any:
        """A text that commits, whatever else it does."""
        commits = self._commits
        result = commits.committed(run, tags, wholly=statement.kinds == (Kind.COMMIT,))
        commits.in_words = Kind.BEGIN in statement.kinds
        if commits.in_words:
            commits.wrote(tags)  # nobody knows on which side of the commit they were written
        return result

    def _control(self, statement: Statement, run: Callable[[], Any], text: str) -> Any:
        commits, kind = self._commits, statement.kind
        if statement.refusal is not None and (recording := recorder()) is not None:
            recording.spoil(statement.refusal)
        result = run()
        match kind:
            case Kind.NEUTRAL:
                commits.isolated(text)
            case Kind.BEGIN:
                commits.in_words = True
                commits.isolated(text)
            case Kind.ROLLBACK | Kind.PREPARE:  # what is prepared is told when it is committed
                commits.over()
                commits.in_words = Kind.BEGIN in statement.kinds
            case Kind.RELEASE:
                commits.savepoint_ended(rolled_back=False)
            case Kind.ROLLBACK_TO:
                commits.savepoint_ended(rolled_back=True)
            case _:
                pass
        return result


def _to_its_end(result: Any, context: dict[str, Any]) -> Any:
    """SQLite commits a statement with RETURNING when its last row is fetched: fetch them, so that it has."""
    wrapper = context["cursor"]
    if wrapper.db.vendor == "sqlite" and wrapper.cursor.description is not None:
        wrapper.cursor = Kept(wrapper.cursor)
        return wrapper.cursor
    return result


def follow_databases() -> None:
    """Put a door into each connection there is, and each that is made.

    Raises:
        ConfigurationError: for a setting CACHEFENCE that cannot work.
    """
    declared()
    connection_created.connect(_connected, dispatch_uid=__name__)
    for connection in connections.all(initialized_only=True):
        _follow(connection)
    ask_first(has_written, is_late)


def _connected(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    _follow(connection)


def _follow(connection: BaseDatabaseWrapper) -> None:
    known: Commits | None = getattr(connection, ATTRIBUTE, None)
    if known is not None:
        known.connected()
        return
    try:
        _analyser_of(connection)
    except ConfigurationError as unknown:
        log.warning("the database %r is not followed: %s", connection.alias, unknown)
        return
    commits = Commits(connection)
    setattr(connection, ATTRIBUTE, commits)
    connection.execute_wrappers.insert(0, Door(connection, commits))


def _analyser_of(connection: BaseDatabaseWrapper) -> Analyser:
    """One for all connections of an alias: what was understood once is remembered for all threads."""
    key = (connection.alias, connection.vendor, edition())
    found = _analysers.get(key)
    if found is None:
        space = declared().spaces.get(connection.alias, "")
        made = Analyser(connection.vendor, "pyformat", schema_of(connection), space=space)
        found = _analysers.setdefault(key, made)
    return found


_analysers: dict[tuple[str, str, int], Analyser] = {}
