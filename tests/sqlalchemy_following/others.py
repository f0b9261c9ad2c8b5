"""Ways to write that packages over SQLAlchemy have, on the engine of a session."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session, registry
from sqlmodel import Field, SQLModel, select
from sqlmodel import Session as ModelSession

from tests.sqlalchemy_following.library import Base, Book


class Apart(SQLModel, registry=registry()):
    """Models that keep clear of those of other tests."""


class Volume(Apart, table=True):
    """The same books, as SQLModel maps them."""

    __tablename__ = "book"

    id: int = Field(primary_key=True)
    isbn: str
    title: str


def by_sqlmodel(session: Session) -> None:
    """Change book 1 in a session of SQLModel's."""
    with ModelSession(session.get_bind()) as own:
        book = own.exec(select(Volume).where(Volume.id == 1)).one()
        book.title = "New"
        own.add(book)
        own.commit()


def by_flask_sqlalchemy(session: Session) -> None:
    """Change book 1 in the session of an extension."""
    engine = session.get_bind()

    class Extension(SQLAlchemy):
        def _make_engine(self, bind_key: object, options: object, app: object) -> Any:
            return engine  # the one whose pages are shown

    app, extension = Flask(__name__), Extension(metadata=Base.metadata)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    extension.init_app(app)
    with app.app_context():
        extension.session.get_one(Book, 1).title = "New"
        extension.session.commit()
