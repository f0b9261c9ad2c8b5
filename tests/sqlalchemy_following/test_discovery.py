"""Engines of a Flask-SQLAlchemy that come after the cache follows it, and who is not to notice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, create_engine, insert, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from cachefence_web import CacheFence, ConfigurationError
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Base, Genre

Follow = Callable[..., Any]


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("library")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/library.sqlite3"
    return app


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database whose statements nobody understands."""

    class Odd(SQLiteDialect_pysqlite):
        name = "odd"
        supports_statement_cache = True

    module = ModuleType("odd_dialect")
    module.Odd = Odd  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "odd_dialect", module)
    registry.register("odd", "odd_dialect", "Odd")
    yield "odd:///"
    registry.impls.pop("odd")


def engine_of(app: Flask, db: SQLAlchemy, bind: str | None = None) -> Engine:
    with app.app_context():
        Base.metadata.create_all(db.engine)
        return db.engines[bind]


def test_engines_that_are_made_later_are_followed(
    app: Flask, fence: CacheFence, follow: Follow, heard: Heard
) -> None:
    db = SQLAlchemy()
    follow(db, fence)
    with app.app_context():
        db.init_app(app)
        Base.metadata.create_all(db.engine)
        heard.take()
        with db.engine.begin() as connection:
            connection.execute(insert(Genre).values(id=1, name="x"))
    assert "genre" in heard.take()[0]


@pytest.mark.parametrize("when", ["before the cache", "outside of the application"])
def test_a_connection_that_was_there_before_is_followed(
    app: Flask, fence: CacheFence, follow: Follow, heard: Heard, when: str
) -> None:
    db = SQLAlchemy(app)
    engine = engine_of(app, db)
    if when == "outside of the application":
        follow(db, fence)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1")).all()
        connection.rollback()
        if when == "before the cache":
            follow(db, fence)
        heard.take()
        with app.app_context():
            connection.execute(insert(Genre).values(id=1, name="x"))
            connection.commit()
    assert "genre" in heard.take()[0]


def test_a_database_that_cannot_be_followed_is_nobody_else_s_trouble(
    app: Flask, fence: CacheFence, follow: Follow, heard: Heard, unknown: str
) -> None:
    app.config["SQLALCHEMY_BINDS"] = {"legacy": unknown}
    db = SQLAlchemy()
    follow(db, fence)
    db.init_app(app)
    elsewhere = create_engine("sqlite://")
    with app.app_context():
        Base.metadata.create_all(db.engine)
        for engine in (elsewhere, db.engine):
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT 1")) == 1
        elsewhere.raw_connection().close()
        heard.take()
        db.session.execute(insert(Genre).values(id=1, name="x"))
        db.session.commit()
        assert "genre" in heard.take()[0]
        with pytest.raises(ConfigurationError, match="'odd'"):
            db.engines["legacy"].connect()
        db.session.remove()
    elsewhere.dispose()


def test_nothing_of_the_application_is_looked_at_once_it_is_no_longer_followed(
    app: Flask, fence: CacheFence, follow: Follow, heard: Heard
) -> None:
    db = SQLAlchemy(app)
    engine = engine_of(app, db)
    follow(db, fence).remove()
    heard.take()
    with app.app_context(), engine.begin() as connection:
        connection.execute(insert(Genre).values(id=1, name="x"))
    assert heard.take() == []
