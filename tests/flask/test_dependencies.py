"""Views and functions over Flask-SQLAlchemy without a single tag: right after every commit, and hits otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cachefence_web import StoreUnavailable
from cachefence_web.flask import CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.flask.behind import LONG
from tests.servers import RedisServer


class Base(DeclarativeBase):
    pass


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


@pytest.fixture(params=["db", "db.session"])
def blog(request: pytest.FixtureRequest, app: Flask, fence: CacheFence, tmp_path: Path) -> Iterator[Flask]:
    db = SQLAlchemy(model_class=Base)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/blog.sqlite3"
    following = invalidate_on_commit(db if request.param == "db" else db.session, fence)
    db.init_app(app)
    write(app, db, fence)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        db.session.add_all([Post(id=1, title="One"), Post(id=2, title="Two")])
        db.session.commit()
    yield app
    following.remove()
    with app.app_context():
        db.engine.dispose()


def write(app: Flask, db: SQLAlchemy, fence: CacheFence) -> None:
    """The views."""
    made: list[str] = []
    app.extensions["made"] = made

    @app.get("/posts/<int:number>")
    @fence.cache_view(ttl=3600)
    def post(number: int) -> str:
        made.append(f"post {number}")
        return db.get_or_404(Post, number).title

    @app.get("/posts")
    @fence.cache_view(ttl=3600)
    def posts() -> str:
        made.append("posts")
        return f"{', '.join(db.session.scalars(select(Post.title).order_by(Post.id)))}; {count()} posts"

    @fence.memoize(ttl=3600, key="count")
    def count() -> int:
        made.append("count")
        return db.session.scalar(select(func.count()).select_from(Post)) or 0

    @app.post("/posts/<int:number>")
    def save(number: int) -> str:
        db.get_or_404(Post, number).title = request.form["title"]
        db.session.commit()
        return "saved"

    @app.post("/posts")
    def add() -> str:
        db.session.add(Post(title=request.form["title"]))
        db.session.commit()
        return f"saved as one of {count()}"

    @app.post("/posts/<int:number>/undone")
    def undo(number: int) -> str:
        db.get_or_404(Post, number).title = "Undone"
        db.session.flush()
        shown = db.session.scalar(select(Post.title).where(Post.id == number))
        db.session.rollback()
        return str(shown)

    @app.post("/shout")
    def shout() -> str:
        with db.engine.begin() as connection:
            connection.execute(update(Post).values(title=func.upper(Post.title)))
            connection.execute(text("DELETE FROM post WHERE id = 2"))
        return "done"


def test_p3_a_view_is_right_after_every_write_and_others_stay(blog: Flask) -> None:
    client, made = blog.test_client(), blog.extensions["made"]

    def shown(*paths: str) -> list[str]:
        made.clear()
        return [client.get(path).text for path in paths]

    every = ("/posts/1", "/posts/2", "/posts")
    assert shown(*every) == ["One", "Two", "One, Two; 2 posts"]
    assert shown(*every) == ["One", "Two", "One, Two; 2 posts"]
    assert made == []
    client.post("/posts/1", data={"title": "New"})
    assert shown(*every) == ["New", "Two", "New, Two; 2 posts"]
    assert "post 2" not in made
    assert client.post("/posts/1/undone").text == "Undone"
    assert shown(*every) == ["New", "Two", "New, Two; 2 posts"]
    assert made == []
    assert client.post("/posts", data={"title": "Three"}).text == "saved as one of 3"
    assert shown(*every) == ["New", "Two", "New, Two, Three; 3 posts"]
    assert set(made) <= {"posts", "count"}
    client.post("/shout")
    assert shown("/posts/1", "/posts") == ["NEW", "NEW, THREE; 2 posts"]
    assert client.get("/posts/2").status_code == 404


def test_p3_a_page_of_what_is_not_there_ends_when_it_appears(blog: Flask) -> None:
    client = blog.test_client()
    assert client.get("/posts/3").status_code == 404
    client.post("/posts", data={"title": "Three"})
    assert client.get("/posts/3").text == "Three"


def test_p3_a_first_write_that_no_session_makes_is_seen(tmp_path: Path, namespace: str) -> None:
    app, db, fence = Flask("core"), SQLAlchemy(model_class=Base), CacheFence(namespace=namespace)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/core.sqlite3"
    db.init_app(app)
    fence.init_app(app)
    following = invalidate_on_commit(db, fence)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        fence.set("page", "old", ttl=60, tags=["post"])
        with db.engine.begin() as connection:
            connection.execute(text("INSERT INTO post (title) VALUES ('x')"))
        assert fence.get("page") is None
        db.engine.dispose()
    following.remove()
    fence.of(app).close()


def test_p6_a_commit_that_is_refused_is_said_to_the_view(
    tmp_path: Path, namespace: str, new_redis: Callable[..., RedisServer],
) -> None:
    server: Any = new_redis()
    app, db = Flask("refusing"), SQLAlchemy(model_class=Base)
    fence = CacheFence(url=server.url, namespace=namespace, timeout=LONG, on_outage="raise")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/refusing.sqlite3"
    db.init_app(app)
    fence.init_app(app)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        following = invalidate_on_commit(db, fence)
        server.kill()
        db.session.add(Post(id=1, title="One"))
        with pytest.raises(StoreUnavailable, match="rolled back"):
            db.session.commit()
        db.session.rollback()
        assert db.session.get(Post, 1) is None
        db.session.remove()  # what it holds would go back to a pool that is given up, and close with nobody
        db.engine.dispose()
    following.remove()
    fence.of(app).close()
