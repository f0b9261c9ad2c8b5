"""Which sessions are meant, by whatever they are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, cast

from sqlalchemy import Connection, Dialect, Engine, Pool
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session, async_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from cachefence_web.errors import ConfigurationError


class HasEngines(Protocol):
    """What Flask-SQLAlchemy's `db` is: engines of the application in hand, and sessions over them."""

    @property
    def engines(self) -> Mapping[Any, Any]: ...

    @property
    def session(self) -> Any: ...


Sessions: TypeAlias = (
    Engine | AsyncEngine | sessionmaker[Any] | async_sessionmaker[Any] | scoped_session[Any] | async_scoped_session[Any]
    | Session | AsyncSession | type[Session] | type[AsyncSession] | HasEngines
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
        case _ if has_engines(sessions):
            return governing(cast("Any", sessions).session)
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


def has_engines(sessions: object) -> bool:
    """Whether it is Flask-SQLAlchemy's `db`; asked of its class, since outside of an application it has none."""
    return isinstance(getattr(type(sessions), "engines", None), property) and hasattr(sessions, "session")


def dialects_of(sessions: Any) -> Iterable[Dialect]:
    """The databases that are known already, without a session at hand."""
    return [bind.dialect for bind in _binds_of(sessions)]


def dialect_over(sessions: Any, pool: Pool) -> Dialect | None:
    """The one of them whose connections come from this pool."""
    for bind in _binds_of(sessions):
        if getattr(bind, "pool", None) is pool:
            found: Dialect = bind.dialect
            return found
    return None


def each_context(hook: Callable[[], None]) -> Callable[[], None]:
    """Call this whenever an application is at hand that may have engines; gives what ends that."""
    try:
        from flask import appcontext_pushed
    except ImportError:  # another framework's extension of the same shape
        return lambda: None

    def pushed(*_: object, **__: object) -> None:
        hook()

    appcontext_pushed.connect(pushed, weak=False)
    return lambda: appcontext_pushed.disconnect(pushed)


def engine_of(sessions: Any, dialect: Dialect) -> Engine | None:
    """The engine of one of them, if that is known already."""
    for bind in _binds_of(sessions):
        found = getattr(bind, "sync_engine", None) or bind.engine
        if bind.dialect is dialect and isinstance(found, Engine):
            return found
    return None


def _binds_of(sessions: Any) -> list[Any]:
    match sessions:
        case Engine() | AsyncEngine():
            return [sessions]
        case scoped_session() | async_scoped_session():
            return _binds_of(sessions.session_factory)
        case sessionmaker() | async_sessionmaker():
            binds = [sessions.kw.get("bind"), *(sessions.kw.get("binds") or {}).values()]
            return [bind for bind in binds if bind is not None]
        case Session() | AsyncSession():
            return [sessions.bind] if sessions.bind is not None else []
        case _ if has_engines(sessions):
            try:
                return list(sessions.engines.values())
            except RuntimeError:  # outside of an application
                return []
        case _:
            return []
