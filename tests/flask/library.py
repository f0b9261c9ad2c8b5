"""An application for a real server: one slow page over Flask-SQLAlchemy, and a form that changes it.

LIBRARY_CACHE, LIBRARY_NAMESPACE and LIBRARY_FOLDER say where its cache and its files are. Each time the page is
made a line goes to `made.log`; making it takes until nobody holds `gate` any more.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cachefence_web.flask import CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
fence = CacheFence()


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


following = invalidate_on_commit(db.session, fence, {Book: ["book:{id}", "book"]})


def create_app() -> Flask:
    folder = Path(os.environ["LIBRARY_FOLDER"])
    app = Flask("library")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder}/library.sqlite3"
    app.config["CACHEFENCE_URL"] = os.environ["LIBRARY_CACHE"]
    app.config["CACHEFENCE_TIMEOUT"] = 20.0  # 500 clients on two cores are no outage
    app.config["CACHEFENCE_NAMESPACE"] = os.environ["LIBRARY_NAMESPACE"]
    db.init_app(app)
    fence.init_app(app)

    @app.get("/books/<int:number>")
    @fence.cache_view(ttl=60, tags=["book:{number}"])
    def book(number: int) -> str:
        note_and_wait(folder)
        return db.get_or_404(Book, number).title

    @app.post("/books/<int:number>")
    def save(number: int) -> str:
        db.get_or_404(Book, number).title = request.form["title"]
        db.session.commit()
        return "saved"

    @app.post("/books/<int:number>/undone")
    def undo(number: int) -> str:
        with db.session.begin_nested() as savepoint:
            db.get_or_404(Book, number).title = request.form["title"]
            savepoint.rollback()
        db.session.commit()
        return "not saved"

    @app.get("/news")
    @fence.cache_view(ttl=60, stale_for=600, tags=["news"])
    def news() -> str:
        return f"edition {note_and_wait(folder)}"

    @app.get("/old-news")
    def expire() -> str:
        fence.expire_tags("news")
        return "old"

    @app.get("/health")
    def health() -> str:
        return "well"

    return app


def note_and_wait(folder: Path) -> int:
    """How many have been made by now, this one included, when nobody holds the gate any more."""
    log = os.open(folder / "made.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    gate = os.open(folder / "gate", os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        os.write(log, b"made\n")
        fcntl.flock(gate, fcntl.LOCK_SH)
        return (folder / "made.log").read_bytes().count(b"\n")
    finally:
        os.close(log)
        os.close(gate)
