"""Databases to commit to, and a cache that follows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.sqlalchemy import Following, invalidate_on_commit
from tests import sharing
from tests.postgres import PostgresServer
from tests.sqlalchemy_following.hearing import Heard, listen
from tests.sqlalchemy_following.library import Base, empty, fill, new_engine, postgres_url
from tests.sqlalchemy_following.pages import Page

postgres_server = sharing.postgres_server


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with the library in it."""
    if request.param == "sqlite":
        engine = new_engine(f"sqlite:///{tmp_path}/library.sqlite3")
    else:
        engine = new_engine(postgres_url(request.getfixturevalue("postgres_server"), "psycopg"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        empty(session)
        fill(session)
        _count_on(session)
    yield engine
    engine.dispose()


def _count_on(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql("SELECT setval('book_id_seq', 1000)")
        session.commit()


@pytest.fixture(params=["aiosqlite", "psycopg"])
async def async_engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """The same for event loops."""
    if request.param == "aiosqlite":
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/library.sqlite3")
        event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = 1"))
    else:
        engine = create_async_engine(postgres_url(request.getfixturevalue("postgres_server"), "psycopg_async"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        await session.run_sync(empty)
        await session.run_sync(fill)
        await session.run_sync(_count_on)
    yield engine
    await engine.dispose()


@pytest.fixture
def fence() -> Iterator[CacheFence]:
    with CacheFence() as fence:
        yield fence


@pytest.fixture
async def async_fence() -> AsyncIterator[AsyncCacheFence]:
    async with AsyncCacheFence() as fence:
        yield fence


@pytest.fixture
def follow() -> Iterator[Callable[..., Following]]:
    """`follow(engine, fence)`, until the end of the test."""
    with ExitStack() as following:

        def start(sessions: Any, fence: Any, **options: Any) -> Following:
            made = invalidate_on_commit(sessions, fence, **options)
            following.callback(made.remove)
            return made

        yield start


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """What all caches are told."""
    return listen(monkeypatch)


@pytest.fixture
def page(fence: CacheFence, engine: Engine, follow: Callable[..., Following]) -> Page:
    """A page over an engine that is followed."""
    follow(engine, fence)
    return Page(fence, engine)


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[Engine]:
    """A PostgreSQL with the library in it, for what SQLite does not have."""
    engine = new_engine(postgres_url(postgres_server, "psycopg"))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        empty(session)
        fill(session)
    yield engine
    engine.dispose()
