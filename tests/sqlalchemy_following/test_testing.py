"""In the tests of users a session's commit is the release of a savepoint: their pages are invalidated all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

APPLICATION = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from cachefence_web.flask import CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit

class Base(DeclarativeBase):
    pass

db = SQLAlchemy(model_class=Base, session_options={"join_transaction_mode": "create_savepoint"})
fence = CacheFence()
invalidate_on_commit(db, fence)

class Post(Base):
    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]

def create_app(url):
    app = Flask("blog")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    fence.init_app(app)

    @app.get("/")
    @fence.cache_view(ttl=3600)
    def titles():
        return ",".join(db.session.scalars(select(Post.title).order_by(Post.id)))

    @app.post("/<title>")
    def add(title):
        db.session.add(Post(title=title))
        db.session.commit()
        return "added"

    return app
"""

TESTS = """
import pytest
from sqlalchemy import event
from blog import Post, create_app, db

@pytest.fixture(scope="session")
def app(tmp_path_factory):
    app = create_app(f"sqlite:///{tmp_path_factory.mktemp('db')}/blog.sqlite3")
    with app.app_context():
        # As SQLAlchemy's page on SQLite says, for savepoints that can be relied on.
        event.listen(db.engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
        event.listen(db.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        db.create_all()
        yield app
        db.engine.dispose()

@pytest.fixture
def client(app):
    engine = db.engine
    with engine.connect() as connection:
        everything = connection.begin()
        db.engines[None] = connection
        yield app.test_client()
        db.session.remove()
        db.engines[None] = engine
        everything.rollback()

@pytest.mark.parametrize("turn", [1, 2])
def test_right(client, turn):
    assert [client.get("/").text for _ in range(2)] == ["", ""]
    client.post("/One")
    assert [client.get("/").text for _ in range(2)] == ["One", "One"]
    db.session.add(Post(title="Two"))
    db.session.flush()
    db.session.rollback()
    assert client.get("/").text == "One"
    with db.session.begin_nested():
        db.session.add(Post(title="Three"))
    db.session.commit()
    answer = client.get("/")
    assert answer.text == "One,Three"
    assert "hit" not in answer.headers["Cache-Status"]
    assert "hit" in client.get("/").headers["Cache-Status"]
"""


def test_p3_a_session_of_pytest_with_flask_sqlalchemy_sees_its_pages_invalidated(tmp_path: Path) -> None:
    (tmp_path / "blog.py").write_text(APPLICATION)
    (tmp_path / "test_blog.py").write_text(TESTS)
    (tmp_path / "pytest.toml").write_text("[pytest]\nfilterwarnings = ['error']\npythonpath = ['.']\n")
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django"], cwd=tmp_path, check=False,
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 passed" in answer.stdout
