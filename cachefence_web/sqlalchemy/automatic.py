"""Databases followed by their statements: found by what names them, then left to the door of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Dialect, Pool, event
from sqlalchemy.orm import Session, SessionTransaction

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.errors import ConfigurationError
from cachefence_web.runtime.bypassing import ask_first
from cachefence_web.sqlalchemy.commits import make_good
from cachefence_web.sqlalchemy.databases import Declared, database_of, follow, leave
from cachefence_web.sqlalchemy.sessions import (
    Sessions,
    dialect_over,
    dialects_of,
    each_context,
    engine_of,
    governing,
    has_engines,
)
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
        self._one_follows = threading.Lock()
        for dialect in dialects_of(sessions):
            self._follow(dialect)
        self._forget_contexts = each_context(self._look) if has_engines(sessions) else None
        _add(self)

    def remove(self) -> None:
        """Follow no longer; what was committed before is invalidated already."""
        _drop(self)
        if self._forget_contexts is not None:
            self._forget_contexts()
        for dialect in list(self._dialects):
            leave(dialect, self._cache)
        self._dialects.clear()

    def met(self, connection: Connection, session: Session) -> None:
        """A connection of a session, and of a database that may not be followed yet."""
        if connection.dialect not in self._dialects and self._governs(session, connection):
            self._follow(connection.dialect)

    def checked_out(self, pool: Pool) -> None:
        """A connection leaves a pool; an application may have engines that it had not when this began."""
        if has_engines(self._sessions) and (dialect := dialect_over(self._sessions, pool)) is not None:
            self._follow(dialect)

    def _look(self) -> None:
        """An application is at hand, and its engines. Those that cannot be followed say so when they are used."""
        for dialect in dialects_of(self._sessions):
            with suppress(ConfigurationError):
                self._follow(dialect)

    def _follow(self, dialect: Dialect) -> None:
        if dialect in self._dialects:
            return
        with self._one_follows:  # who comes second waits until the first can be sure of its commits
            if dialect in self._dialects:
                return
            database = follow(dialect, self._cache, self._declared)
            if has_engines(self._sessions):
                database.meet(self._sessions.metadatas.values())
            self._dialects[dialect] = None
        if database.looks and (engine := engine_of(self._sessions, dialect)) is not None:
            database.look_into(engine)


def _checked_out(driver: Any, record: object, connection: Any) -> None:
    del driver, record
    for following in _followings:
        following.checked_out(connection._pool)


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
