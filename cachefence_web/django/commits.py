"""What a connection has written and not yet committed, and its commits: fenced right before, lifted right after.

Writes only collect tags. The commit itself is wrapped on the connection's instance, below Django's own checks and
above the driver, so that the user's `on_commit` callbacks come later and cannot prevent it. What the driver says of its
transaction is believed before Django's flags: a commit that went past us is made good at the next event.

A TestCase never commits: leaving the outermost block that is not the test's own counts as a commit, and what was told
in a test's block is told once more when that block is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from django.db import DatabaseError, DataError, IntegrityError, NotSupportedError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cachefence_web.core.effects import Outcome
from cachefence_web.django import outbox
from cachefence_web.django.audience import audience
from cachefence_web.django.isolation import has_snapshots, names_a_snapshot, reads_on
from cachefence_web.errors import StoreUnavailable
from cachefence_web.following import Committing, Touched
from cachefence_web.following.committing import tell
from cachefence_web.stores.memory import now_in_microseconds

R = TypeVar("R")

ATTRIBUTE = "cachefence_commits"
"""Where a connection holds its own."""

_KNOWN_TO_HAVE_FAILED = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
_OPEN = frozenset({1, 2, 3})  # libpq's words for a connection within a transaction


class CommitRefused(DatabaseError):
    """A cache that is told to refuse commits it cannot hear of is out of reach: nothing was committed. Try again."""


@dataclass(slots=True, eq=False)
class _Unfinished:
    """A transaction that has written, to those who were called from it in another thread."""

    open: bool = True


class Commits:
    """Those of one connection.

    written: whether anything is written, and not committed.
    touched: that.
    began: when the first statement of this transaction was run, in microseconds of the monotonic clock, if all of the
        transaction sees the database as it was then; otherwise None.
    in_words: whether a BEGIN was run as a statement, and nothing since that ends it.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection: Any = connection
        self.touched = Touched()
        self.written = False
        self.began: int | None = None
        self.in_words = False
        self._unfinished: _Unfinished | None = None
        self._tested = Touched()
        self._snapshots = has_snapshots(connection)
        self._parts: WeakSet[Any] = WeakSet()
        for name, wrapped in (("_commit", self._committing), ("_rollback", self._giving_up),
                              ("_close", self._giving_up), ("_set_autocommit", self._setting_autocommit),
                              ("chunked_cursor", self._reading_in_parts)):
            setattr(connection, name, wrapped(getattr(connection, name)))

    def connected(self) -> None:
        """The connection is a new one: what the last one left behind was never heard of again."""
        self._snapshots = has_snapshots(self.connection)
        self.in_words = False
        self._ended()
        self.made_good()

    def isolated(self, text: str) -> None:
        """A statement that may have changed what transactions see; believed until the connection is made anew."""
        self._snapshots = self._snapshots or names_a_snapshot(text)

    def run(self) -> None:
        """A statement that reads or writes rows is about to be run."""
        if self._snapshots:
            if not self.looks_back():
                self._ended()
            elif self.began is None:
                self.began = now_in_microseconds()
                _late.add(id(self))

    def looks_back(self) -> bool:
        """Whether what is read now may be read as it was for an earlier statement."""
        return self.begins() or bool(self._parts)

    def begins(self) -> bool:
        """Whether what is written now is committed later."""
        connection = self.connection
        if connection.in_atomic_block:
            return not self.in_test()
        return not connection.autocommit or self._within() is True

    def in_test(self) -> bool:
        """Whether the innermost block is a test's own, which no commit ends."""
        blocks = self.connection.atomic_blocks
        return bool(blocks) and getattr(blocks[-1], "_from_testcase", False)

    def wrote(self, tags: tuple[str, ...]) -> None:
        """These are written in a transaction."""
        if tags:
            self.touched.add(tags)
            self.written = True
            _writing.add(id(self))
            if self._unfinished is None:
                self._unfinished = _Unfinished()
                _mine.set((*[each for each in _mine.get() if each.open], self._unfinished))

    def notice(self) -> None:
        """Look whether what was written has been committed behind our back."""
        if self.written:
            connection, within = self.connection, self._within()
            alone = self.in_test() if connection.in_atomic_block else connection.autocommit and not within
            if alone or within is False:
                self.made_good()

    def made_good(self) -> None:
        """What was written is committed, or gone: tell the caches, who were not told before."""
        if self.written:
            tags = self._taken()
            if self.in_test():
                self._tested.add(tags)
            tell(audience(), tags)

    def around(self, tags: tuple[str, ...], run: Callable[[], R], *, plain: bool = False, wholly: bool = False) -> R:
        """Run what commits these tags by itself.

        plain: it may as well be run in a transaction, in which a row can tell of it.
        wholly: it is one that commits everything or nothing. Of others (an `executemany`, a procedure, INSERT OR FAIL)
            a part may be committed before they fail.
        """
        if self.in_test():
            self._tested.add(tags)
            plain = False
        committing = self._raised(tags, by_row=plain and outbox.can_begin(self.connection))
        if not committing.unheard:
            return self._run(committing, run, wholly=wholly)
        committing.after(Outcome.ROLLED_BACK)
        with outbox.begun(self.connection):
            self.wrote(tags)
            return run()

    def over(self) -> None:
        """A transaction has ended, and nothing of it is committed by this connection."""
        self.in_words = False
        self._taken()

    def savepoint_ended(self, *, rolled_back: bool) -> None:
        """A savepoint is gone; in a test it may have stood for a transaction."""
        if self.in_test():
            self.made_good()
            self._ended()
            if rolled_back and self._tested:
                tell(audience(), self._tested.tags())

    def _taken(self) -> tuple[str, ...]:
        self.written = False
        _writing.discard(id(self))
        if self._unfinished is not None:
            self._unfinished.open = False
            self._unfinished = None
        self._ended()
        return self.touched.take()

    def _ended(self) -> None:
        """What is read from now on is read as it is now."""
        if self.began is not None and not self._parts:
            self.began = None
            _late.discard(id(self))

    def _raised(self, tags: tuple[str, ...], *, by_row: bool) -> Committing:
        """The fences, up. by_row: there is a transaction for the row of a cache that is told by one, or can be."""
        committing = Committing(audience(), tags, outbox=by_row)
        try:
            committing.before()
        except StoreUnavailable as away:
            raise CommitRefused(
                "nothing was committed: the cache is to hear of it first, and its store is out of reach."
                f' OPTIONS["on_outage"] says that it is refused then. {away}') from away
        return committing

    @staticmethod
    def _run(committing: Committing, run: Callable[[], R], *, wholly: bool) -> R:
        outcome = Outcome.UNKNOWN
        try:
            result = run()
            outcome = Outcome.COMMITTED
        except Exception as error:
            outcome = _outcome_of(error) if wholly else Outcome.UNKNOWN
            raise
        finally:
            committing.after(outcome)
        return result

    def _committing(self, original: Callable[[], R]) -> Callable[[], R]:
        def commit() -> R:
            result = self.committed(original)
            self.in_words = False
            return result

        return commit

    def committed(self, run: Callable[[], R], tags: tuple[str, ...] = (), *, wholly: bool = True) -> R:
        """Run what ends the transaction by committing it.

        tags: what it writes besides. wholly: as in `around`.
        """
        self.notice()
        self.wrote(tags)
        if not self.written:
            self._ended()
            return run()
        done = False
        try:
            tags = self.touched.tags()
            committing = self._raised(tags, by_row=self._keeps())
            outbox.keep(self.connection, committing, tags)
            result = self._run(committing, run, wholly=wholly)
            done = True
        finally:
            if done or self._within() is False:
                self._taken()
        return result

    def _keeps(self) -> bool:
        """Whether a row can be written into what is about to be committed."""
        connection = self.connection
        open_ = not connection.autocommit or self._within() is True
        return open_ and not self.in_test() and not outbox.is_alone(connection)

    def _giving_up(self, original: Callable[[], R]) -> Callable[[], R]:
        """A rollback, or a close: what was not committed by then never is."""
        def give_up() -> R:
            self.notice()
            try:
                return original()
            finally:
                self.over()
                self._test_over()

        return give_up

    def _setting_autocommit(self, original: Callable[[bool], R]) -> Callable[[bool], R]:
        def set_autocommit(autocommit: bool) -> R:
            if autocommit:  # where a transaction is open, some databases commit it
                return self.committed(lambda: original(autocommit))
            return original(autocommit)

        return set_autocommit

    def _reading_in_parts(self, original: Callable[[], R]) -> Callable[[], R]:
        """Cursors of `QuerySet.iterator`, which live as long as they are read."""
        def chunked_cursor() -> R:
            cursor = original()
            if reads_on(self.connection):
                self._parts.add(cursor)
                self.run()
            return cursor

        return chunked_cursor

    def _test_over(self) -> None:
        if self._tested:
            tell(audience(), self._tested.take())

    def _within(self) -> bool | None:
        """Whether the driver is within a transaction; None if neither it nor a BEGIN has said so."""
        own = self.connection.connection
        if own is None:
            return False
        if self.connection.vendor == "sqlite":
            return bool(own.in_transaction)
        info = getattr(own, "info", None)
        status = getattr(info, "transaction_status", None)
        return (self.in_words or None) if status is None else status in _OPEN


def has_written() -> bool:
    """Whether the caller is within a transaction that has written."""
    if not _writing:
        return False
    for connection in connections.all(initialized_only=True):
        commits: Commits | None = getattr(connection, ATTRIBUTE, None)
        if commits is not None and commits.written:
            commits.notice()
            if commits.written:
                return True
    return any(each.open for each in _mine.get())  # of the thread that waits in async_to_sync for this one


def is_late() -> bool:
    """Whether the caller reads, in a transaction, what the database was like some statements ago."""
    if not _late:
        return False
    for connection in connections.all(initialized_only=True):
        commits: Commits | None = getattr(connection, ATTRIBUTE, None)
        if commits is not None and commits.began is not None and commits.looks_back():
            return True
    return False


_writing: set[int] = set()
"""Those that have written and not committed, in any thread."""

_mine: ContextVar[tuple[_Unfinished, ...]] = ContextVar("cachefence_django_unfinished", default=())

_late: set[int] = set()
"""Those within a transaction that sees what its first statement saw."""


def _outcome_of(error: Exception) -> Outcome:
    """What is known of a commit that has raised."""
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None) or ""
    failed = isinstance(error, _KNOWN_TO_HAVE_FAILED) or (state[:2] in ("23", "40") and state != "40003")
    return Outcome.ROLLED_BACK if failed else Outcome.UNKNOWN
