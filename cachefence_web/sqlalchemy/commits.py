"""A fence goes up right before the COMMIT of a dialect, and comes down right after it.

Events there are before a COMMIT only, so the methods of the dialect *instance* are wrapped: `do_commit` and
`do_commit_twophase`, and both rollbacks. An engine, those that `execution_options()` makes of it, and their pool (which
commits too, if told to) share one dialect, and call nothing else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.util import await_only

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.effects import Outcome
from cachefence_web.errors import StoreUnavailable
from cachefence_web.following import AsyncCommitting, Committing
from cachefence_web.sqlalchemy.drivers import in_transaction, never_committed
from cachefence_web.sqlalchemy.transactions import Work, begun_on, work_of

if TYPE_CHECKING:
    from cachefence_web.sqlalchemy.databases import Database

EVERYTHING = "db:*"

Keep: TypeAlias = Callable[[tuple[str, ...]], bool]
"""Writes a row for each of these namespaces into the transaction that is open; whether it did."""


class Under:
    """A commit under way, from a thread or from a greenlet of SQLAlchemy's asyncio, whose loop is not held up."""

    __slots__ = ("_after", "_before", "_committing", "_keep")

    def __init__(
        self, caches: Sequence[CacheFence | AsyncCacheFence], tags: tuple[str, ...], *, on_loop: bool,
        keep: Keep | None = None,
    ) -> None:
        """keep: writes the rows of caches that are told by one; None where there is no transaction for them."""
        self._keep = keep
        self._before: Callable[..., Awaitable[None] | None]
        self._after: Callable[[Outcome], Awaitable[None] | None]
        self._committing: Committing | AsyncCommitting
        if on_loop:
            waited = self._committing = AsyncCommitting(
                [each if isinstance(each, AsyncCacheFence) else each.aio for each in caches], tags,
                outbox=keep is not None)
            self._before, self._after = waited.before, waited.after
        else:
            done = self._committing = Committing(
                [each if isinstance(each, CacheFence) else each.sync for each in caches], tags,
                outbox=keep is not None)
            self._before, self._after = done.before, done.after

    def before(self, *, made: bool = False) -> None:
        """Raise the fences. made: the commit was made already.

        Raises:
            StoreUnavailable: the commit must not be made; no fence is left that matters.
        """
        try:
            _settled(self._before(made=made))
            namespaces = self._committing.unheard
            if self._keep is not None and namespaces and not self._keep(namespaces):
                _settled(self._committing.forgo())
        except BaseException:
            self.after(Outcome.ROLLED_BACK)
            raise

    def after(self, outcome: Outcome) -> None:
        """Take them down."""
        _settled(self._after(outcome))


def _settled(answer: Awaitable[None] | None) -> None:
    if answer is not None:
        await_only(answer)


def make_good(database: Database, tags: tuple[str, ...], outcome: Outcome = Outcome.COMMITTED) -> None:
    """Tell of a commit after the fact, which may not raise."""
    if tags:
        under = database.under(tags)
        under.before(made=True)
        under.after(outcome)


def fence_commits(database: Database) -> None:
    """Wrap the methods of a dialect; `Database.unwrap` ends it."""
    dialect: Any = database.dialect
    commit, rollback = dialect.do_commit, dialect.do_rollback
    commit_twophase, rollback_twophase = dialect.do_commit_twophase, dialect.do_rollback_twophase

    @wraps(commit)
    def do_commit(connection: Any) -> None:
        _commit(database, connection, lambda: commit(connection), lambda: rollback(connection), within=connection)

    @wraps(commit_twophase)
    def do_commit_twophase(connection: Any, xid: Any, is_prepared: bool = True, recover: bool = False) -> None:
        # What another connection has prepared, and this one commits, is not known here.
        unseen: tuple[str, ...] = ()
        if recover:
            unseen = (database.space + EVERYTHING,)
            begun_on(connection)
        _commit(database, connection.connection,
                lambda: commit_twophase(connection, xid, is_prepared=is_prepared, recover=recover),
                lambda: rollback_twophase(connection, xid, is_prepared=is_prepared, recover=recover), unseen)

    @wraps(rollback)
    def do_rollback(connection: Any) -> None:
        work = work_of(connection)
        if work is not None and not work.committing and work.touched and in_transaction(work.driver) is False:
            work.told.absorb(work.touched)  # committed past us, as by the driver's own `commit()`
        rollback(connection)
        rolled_back(database, work)

    @wraps(rollback_twophase)
    def do_rollback_twophase(connection: Any, xid: Any, is_prepared: bool = True, recover: bool = False) -> None:
        rollback_twophase(connection, xid, is_prepared=is_prepared, recover=recover)
        rolled_back(database, work_of(connection))

    for method in (do_commit, do_commit_twophase, do_rollback, do_rollback_twophase):
        database.wrap(method.__name__, method)


def notice(database: Database, work: Work) -> None:
    """Tell of what was committed past us, as by the driver's own `commit()`; it may as well have been prepared only."""
    if work.touched and in_transaction(work.driver) is False:
        tags = work.touched.take()
        work.told.add(tags)
        make_good(database, tags)


def rolled_back(database: Database, work: Work | None) -> None:
    """Nothing of it was committed; what was told before its time is told again."""
    if work is not None and not work.committing:
        told = work.told.take()
        work.ended()
        make_good(database, told)


def _commit(
    database: Database, connection: Any, commit: Callable[[], None], rollback: Callable[[], None],
    unseen: tuple[str, ...] = (), within: Any = None,
) -> None:
    """within: the connection, if its transaction is one that a row can still be written into; not when prepared."""
    work = work_of(connection)
    if work is not None:
        work.touched.absorb(work.told)
    if work is None or work.committing or not (work.touched or unseen):
        commit()
        if work is not None and not work.committing:
            work.ended()
        return
    work.touched.add(unseen)
    under = database.under(work.touched.tags(), within)
    work.committing = True
    try:
        _raise_fences(under, work, rollback)
        try:
            commit()
        except BaseException as error:
            certain = never_committed(database.dialect, connection, error)
            under.after(Outcome.ROLLED_BACK if certain else Outcome.UNKNOWN)
            if not certain or in_transaction(work.driver) is False:
                work.ended()
            raise
        work.ended()
        under.after(Outcome.COMMITTED)
    finally:
        work.committing = False


def _raise_fences(under: Under, work: Work, rollback: Callable[[], None]) -> None:
    try:
        under.before()
    except StoreUnavailable as error:
        rollback()
        work.ended()
        raise StoreUnavailable(
            "the transaction is rolled back, since the cache could not be told to expect its commit: repeat it."
            f" {error}") from error
