"""Databases followed by their statements: found by what names them, then left to the door of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Dialect, Pool, event
from sqlalchemy.orm import Session, SessionTransaction

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.runtime.bypassing import ask_first
from cachefence_web.sqlalchemy.commits import make_good
from cachefence_web.sqlalchemy.databases import Declared, database_of, follow, leave
from cachefence_web.sqlalchemy.sessions import Sessions, dialects_of, engine_of, governing, has_engines
from cachefence_web.sqlalchemy.transactions import within_a_writer, work_of

_lock = threading.Lock()
_followings: tuple[Automatic, ...] = ()
_stop_asking: Callable[[], None] | None = None
_JOINED = "cachefence_web_joined"


class Automatic:
    """What `invalidate_on_commit` has set up for one cache."""

    def __init__(self, sessions: Sessions, cache: CacheFence | AsyncCacheFence, declared: Declared) -> None:
        self._sessions: Any = sessions
        self._cache = cache
        self._declared = declared
        self._governs = governing(sessions)
        self._dialects: dict[Dialect, None] = {}
        for dialect in dialects_of(sessions):
            self._follow(dialect)
        _add(self)

    def remove(self) -> None:
        """Follow no longer; what was committed before is invalidated already."""
        _drop(self)
        for dialect in list(self._dialects):
            leave(dialect, self._cache)
        self._dialects.clear()

    def look(self) -> None:
        """A connection is about to be used; an application may have engines that it had not when this began."""
        if has_engines(self._sessions):
            for dialect in dialects_of(self._sessions):
                self._follow(dialect)

    def met(self, connection: Connection, session: Session) -> None:
        """A connection of a session, and of a database that may not be followed yet."""
        if connection.dialect not in self._dialects and self._governs(session, connection):
            self._follow(connection.dialect)

    def _follow(self, dialect: Dialect) -> None:
        if dialect in self._dialects:
            return
        self._dialects[dialect] = None
        try:
            database = follow(dialect, self._cache, self._declared)
        except Exception:
            del self._dialects[dialect]
            raise
        if has_engines(self._sessions):
            database.meet(self._sessions.metadatas.values())
        if database.looks and (engine := engine_of(self._sessions, dialect)) is not None:
            database.look_into(engine)


def _checked_out(driver: Any, record: object, connection: object) -> None:
    del driver, record, connection
    for following in _followings:
        following.look()


def _session_begins(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    del transaction
    for following in _followings:
        following.met(connection, session)
    if session.join_transaction_mode == "create_savepoint" and connection.in_nested_transaction():
        session.info.setdefault(_JOINED, {})[connection] = None
        if (work := work_of(connection)) is not None:
            work.began = None  # to the session, its transaction begins here


def _session_commits(session: Session) -> None:
    """A session whose outermost transaction is a savepoint, as in its users' tests, commits when that is released."""
    if session.in_nested_transaction():
        return
    for connection in session.info.pop(_JOINED, ()):
        database, work = database_of(connection), work_of(connection)
        if database is not None and work is not None and connection.in_transaction():
            tags = work.touched.take()
            work.told.add(tags)
            work.began = None
            make_good(database, tags)


def _session_ends(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_JOINED, None)


_HOOKS: tuple[tuple[type, str, Callable[..., object]], ...] = (
    (Pool, "checkout", _checked_out),
    (Session, "after_begin", _session_begins),
    (Session, "after_commit", _session_commits),
    (Session, "after_transaction_end", _session_ends),
)


def _add(following: Automatic) -> None:
    global _followings, _stop_asking  # noqa: PLW0603 (replaced as a whole: whoever walks it keeps the one it began with)
    with _lock:
        if not _followings:
            for target, name, hook in _HOOKS:
                event.listen(target, name, hook)
            _stop_asking = ask_first(within_a_writer)
        _followings = (*_followings, following)


def _drop(following: Automatic) -> None:
    global _followings, _stop_asking  # noqa: PLW0603 (as above)
    with _lock:
        if following not in _followings:
            return
        _followings = tuple([each for each in _followings if each is not following])
        if not _followings and _stop_asking is not None:
            for target, name, hook in _HOOKS:
                event.remove(target, name, hook)
            _stop_asking()
            _stop_asking = None
