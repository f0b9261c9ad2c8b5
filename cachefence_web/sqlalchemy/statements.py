"""Around a statement: what is written is collected until the COMMIT, what is read is recorded if anybody asks.

Nothing is sent to the database here. A statement that commits by itself, as in autocommit, has its fence around it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import CompoundSelect, Connection, Select
from sqlalchemy.engine.interfaces import ExecutionContext

from cachefence_web.core.effects import Outcome
from cachefence_web.errors import StoreUnavailable
from cachefence_web.following import read
from cachefence_web.runtime.recording import fall_behind, keep_private, recorder
from cachefence_web.sql import Kind, Statement
from cachefence_web.sqlalchemy.commits import notice, rolled_back
from cachefence_web.sqlalchemy.counting import count_rows, keep_reading
from cachefence_web.sqlalchemy.drivers import (
    commits_alone,
    in_transaction,
    never_committed,
    refused,
    sees_a_snapshot,
    sees_uncommitted,
)
from cachefence_web.sqlalchemy.transactions import Work, begun_on, work_of

if TYPE_CHECKING:
    from cachefence_web.sqlalchemy.databases import Database

_SNAPSHOT = re.compile(r"isolation.*(repeatable|serializable)|consistent\s+snapshot", re.IGNORECASE | re.DOTALL)
_FOR_GOOD = re.compile(r"session|default_transaction", re.IGNORECASE)
_WRITES = (Kind.WRITE, Kind.DDL, Kind.UNKNOWN)
_READS = (Kind.READ, *_WRITES)
_SELECTS = (Select, CompoundSelect)


def before(
    database: Database, connection: Connection, text: str, parameters: Any, context: ExecutionContext
) -> Work | None:
    """A statement is about to be sent. Gives what its transaction is at; None if the statement is the driver's own.

    Raises:
        StoreUnavailable: it would commit, and the cache is told to refuse that; the transaction is rolled back.
    """
    work = begun_on(connection)
    if work is None or work.committing:
        return None
    if work.under is not None:
        _lift(work, Outcome.UNKNOWN)
    if work.touched:
        notice(database, work)
    if work.began is None:
        work.begin()
    work.seen, work.many = None, context.executemany
    if recorder() is None and _only_reads(database, context):
        return work
    statement = work.seen = database.understand(text, parameters, context)
    if statement.kind is Kind.READ:
        return work
    tags = database.writes(statement, parameters, context)
    if tags:
        database.check()
    if statement.commits or (tags and commits_alone(connection, text)):
        _fence(database, connection, work, tags, alone=not statement.commits)
    else:
        work.wrote(tags, connection)
    return work


def after(
    database: Database, connection: Connection, work: Work, cursor: Any, text: str, parameters: Any,
    context: ExecutionContext,
) -> None:
    """It was executed; its rows are yet to be fetched."""
    statement = work.seen
    if statement is not None:
        if statement.kind is not Kind.READ:
            _executed(database, connection, work, statement, text)
        if statement.kind in _READS and recorder() is not None:
            _record(database, connection, cursor, work, statement, text, parameters, context)
    if database.is_sqlite:
        keep_reading(context, cursor, work.reading)


def failed(database: Database, connection: Connection, error: BaseException, *, lost: bool) -> None:
    """It was not executed, as far as is known.

    lost: the connection with it, and what it had not committed.
    """
    work = work_of(connection) if not (connection.closed or connection.invalidated) else None
    if work is None or work.committing:
        return
    if work.under is not None:
        _lift(work, _outcome(database, connection, work, error, lost=lost))
    if lost:
        rolled_back(database, work)


def _fence(database: Database, connection: Connection, work: Work, tags: tuple[str, ...], *, alone: bool) -> None:
    """Raise a fence around one statement that commits, over all that the transaction has written."""
    work.touched.absorb(work.told)
    work.touched.add(tags)
    if not work.touched:
        return
    under = database.under(
        work.touched.tags(), connection.connection if not alone and in_transaction(work.driver) else None)
    try:
        under.before()
    except StoreUnavailable as error:
        work.ended()
        if not alone:
            database.dialect.do_rollback(connection.connection)
        raise StoreUnavailable(
            f"nothing is written, since the cache could not be told to expect it: repeat it. {error}") from error
    work.under = under


def _outcome(database: Database, connection: Connection, work: Work, error: BaseException, *, lost: bool) -> Outcome:
    """How a statement ended that would have committed; what was not committed and is open still stays touched."""
    statement = work.seen
    if statement is None or lost:
        return Outcome.UNKNOWN
    if statement.commits:
        known = never_committed(database.dialect, connection.connection, error)
    else:
        known = len(statement.kinds) == 1 and not work.many and refused(database.dialect, connection.connection, error)
        if known:
            work.ended()
    return Outcome.ROLLED_BACK if known else Outcome.UNKNOWN


def _lift(work: Work, outcome: Outcome) -> None:
    under, work.under = work.under, None
    if outcome is not Outcome.ROLLED_BACK:
        work.ended()
    if under is not None:
        under.after(outcome)


def _executed(database: Database, connection: Connection, work: Work, statement: Statement, text: str) -> None:
    if work.under is not None:
        if statement.commits or not in_transaction(work.driver):
            _lift(work, Outcome.COMMITTED)
        else:  # it has begun a transaction after all
            tags, under, work.under = work.touched.take(), work.under, None
            work.wrote(tags, connection)
            under.after(Outcome.ROLLED_BACK)
    elif statement.commits:
        work.ended()
    elif statement.kind is Kind.ROLLBACK:
        rolled_back(database, work)
    elif statement.kind in _WRITES:
        notice(database, work)
    if statement.kind in (Kind.NEUTRAL, Kind.BEGIN) and _SNAPSHOT.search(text):
        work.snapshot = True
        work.snapshots = work.snapshots or _FOR_GOOD.search(text) is not None


def _record(
    database: Database, connection: Connection, cursor: Any, work: Work, statement: Statement, text: str,
    parameters: Any, context: ExecutionContext,
) -> None:
    if work.touched:
        keep_private("it was read within a transaction that has written")
    if work.snapshot is None:
        work.snapshot, work.dirty = sees_a_snapshot(connection), sees_uncommitted(connection)
    if work.dirty:
        keep_private("it may have read what is never committed")
    if work.snapshot and in_transaction(work.driver) is not False:
        since = work.began
    else:
        since = work.read_since() if work.reading else None
    if since is not None:
        keep_private("it was read from a snapshot older than the compute", after=since)
    if database.declared.max_lag:
        fall_behind(database.declared.max_lag)
    found = read(statement, parameters, text)
    if found is not None:
        count_rows(context, cursor, found, known=database.is_postgresql)


def _only_reads(database: Database, context: ExecutionContext) -> bool:
    """Whether a statement is known to be a SELECT without being analysed; not if functions may write."""
    if database.declared.routines:
        return False
    compiled = context.compiled
    # A text with columns calls itself a SELECT too, whatever it says.
    return (compiled is not None and isinstance(compiled.statement, _SELECTS)
            and not getattr(compiled, "ctes", True))
