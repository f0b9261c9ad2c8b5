"""Databases to commit to: SQLite in a file, and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session, sessionmaker

from cachefence_web.sqlalchemy import Following, invalidate_on_commit
from tests.sqlalchemy.shelf import Author, Base, Book, Genre, Told


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database with an author, two books and a genre in it."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path}/shelf.sqlite3")
        # The driver begins no transaction before a SAVEPOINT of its own accord.
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    else:
        server = request.getfixturevalue("postgres_server")
        engine = create_engine(server.url.replace("postgresql://", "postgresql+psycopg://"))
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        ada = Author(id=1, name="Ada")
        session.add_all([ada, Book(id=1, title="One", author=ada), Book(id=2, title="Two", author=ada)])
        session.add_all([Author(id=2, name="Bo"), Genre(id=1, name="Sea")])
        session.commit()
    if request.param == "postgresql":
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER SEQUENCE author_id_seq RESTART WITH 50")
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return sessionmaker(engine)


@pytest.fixture
def fence() -> Iterator[Told]:
    with Told() as fence:
        yield fence


@pytest.fixture
def follow(request: pytest.FixtureRequest, fence: Told) -> Iterator[Callable[..., Following]]:
    """`follow({Book: [...]})`, until the end of the test."""
    with ExitStack() as following:

        def start(models: Mapping[type, Any], *, of: Any = None, cache: Any = fence) -> Following:
            made = invalidate_on_commit(of or request.getfixturevalue("sessions"), cache, models)
            following.callback(made.remove)
            return made

        yield start
