"""X-CacheFence-Depends in Flask: off unless an option says so, never stored, with the statements of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from cachefence_web import ConfigurationError
from cachefence_web.flask import CacheFence, Rule
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.flask.behind import LONG

FIELD = "X-CacheFence-Depends"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Any]:
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT)"))
        connection.execute(text("INSERT INTO book VALUES (1, 'One')"))
    yield engine
    engine.dispose()


def application(engine: Any, store: str, namespace: str, **options: Any) -> Flask:
    app = Flask("shop")
    fence = CacheFence(url=store, namespace=namespace, timeout=LONG, **options)
    fence.init_app(app)

    @fence.cache_view(ttl=60, tags=["news"])
    def page() -> str:
        with engine.connect() as connection:
            return str(connection.execute(text("SELECT title FROM book")).scalar())

    app.add_url_rule("/", view_func=page)
    app.add_url_rule("/ruled", "ruled", lambda: "ruled")
    return app


def test_it_is_there_where_an_option_says_so_and_nowhere_else(engine: Any, store: str, namespace: str) -> None:
    # Two processes over one store: what one says of a page, the other does not.
    told = application(engine, store, namespace, debug_header=True, rules=[Rule("/ruled", ttl=60, tags=["rule"])])
    silent = application(engine, store, namespace)
    following = invalidate_on_commit(engine, told.extensions["cachefence"].of(told))
    try:
        made = told.test_client().get("/")
        found = told.test_client().get("/")
        ruled = told.test_client().get("/ruled")
        if store != "memory://":
            quiet = silent.test_client().get("/")
            assert "; hit" in quiet.headers["Cache-Status"]
            assert FIELD not in quiet.headers
        assert FIELD not in silent.test_client().get("/").headers
    finally:
        following.remove()
        for app in (told, silent):
            app.extensions["cachefence"].of(app).close()
    assert 'book;from="SELECT title FROM book"' in made.headers[FIELD]
    assert "news" in made.headers[FIELD]
    assert "; hit" in found.headers["Cache-Status"]
    assert {"news", "book", "db:*"} <= set(found.headers[FIELD].split(", ")), "a hit tells the tags alone"
    assert len(found.headers.getlist(FIELD)) == 1
    assert "rule" in ruled.headers[FIELD].split(", ")


def test_the_config_turns_it_on(fence: CacheFence) -> None:
    app = Flask("shop")
    app.config["CACHEFENCE_DEBUG_HEADER"] = True
    fence.init_app(app)
    app.add_url_rule("/", view_func=fence.cache_view(ttl=60, tags=["news"])(lambda: "page"))
    assert "news" in app.test_client().get("/").headers[FIELD]


def test_what_a_view_writes_there_is_not_stored(fence: CacheFence, app: Flask) -> None:
    app.add_url_rule("/", view_func=fence.cache_view(ttl=60)(lambda: ("page", 200, {FIELD: "forged"})))
    app.test_client().get("/")
    found = app.test_client().get("/")
    assert "; hit" in found.headers["Cache-Status"]
    assert FIELD not in found.headers


def test_a_text_of_the_environment_is_refused(fence: CacheFence) -> None:
    app = Flask("shop")
    app.config["CACHEFENCE_DEBUG_HEADER"] = "no"
    with pytest.raises(ConfigurationError, match="debug_header is True or False"):
        fence.init_app(app)
