"""Which sessions are meant, by whatever they are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, async_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from cachefence_web.errors import ConfigurationError

Sessions: TypeAlias = (
    Engine | AsyncEngine | sessionmaker[Any] | async_sessionmaker[Any] | scoped_session[Any] | async_scoped_session[Any]
    | Session | AsyncSession | type[Session] | type[AsyncSession]
)
"""What sessions are named by: who makes them, what they are bound to, or one itself."""

Governs: TypeAlias = Callable[[Session, Engine | Connection], bool]
"""Whether a session, about to use a connection, is one of those."""


def governing(sessions: Sessions) -> Governs:
    """How to tell the sessions from others.

    Raises:
        ConfigurationError: if they are named by nothing that makes or is a session.
    """
    match sessions:
        case scoped_session() | async_scoped_session():
            return governing(cast("Any", sessions).session_factory)
        case AsyncEngine():
            return governing(sessions.sync_engine)
        case AsyncSession():
            return governing(sessions.sync_session)
        case Engine():
            dialect = sessions.dialect  # shared by the engines that execution_options() makes of it
            return lambda _, bind: bind.dialect is dialect
        case Session():
            return lambda session, _: session is sessions
        case sessionmaker():
            return governing(sessions.class_)
        case async_sessionmaker():
            return _made_by(sessions)
        case type() if issubclass(sessions, Session):
            return lambda session, _: isinstance(session, sessions)
        case type() if issubclass(sessions, AsyncSession):
            return lambda session, _: isinstance(async_session(session), sessions)
        case _:
            raise ConfigurationError(
                "name the sessions by an engine, a sessionmaker, a scoped_session such as db.session, a Session class,"
                f" or the same for asyncio; not by {sessions!r:.60}")


def _made_by(maker: async_sessionmaker[Any]) -> Governs:
    """Unlike a sessionmaker's, its sessions have no class of their own: those alike on the same database count too."""

    def governs(session: Session, bind: Engine | Connection) -> bool:
        bound = maker.kw.get("bind")
        return isinstance(async_session(session), maker.class_) and (bound is None or bound.dialect is bind.dialect)

    return governs
