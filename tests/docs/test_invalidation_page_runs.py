"""What docs/invalidation.md shows runs as it stands, and what it says can be declared is what can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import RequestFactory
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cachefence_web import CacheFence
from cachefence_web.django import cache_view, declared
from cachefence_web.django.declared import Declared
from cachefence_web.flask import CacheFence as FlaskFence
from cachefence_web.sql import Routine
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.django.library.models import Book as DjangoBook

PAGE = (Path(__file__).parents[2] / "docs" / "invalidation.md").read_text()
BLOCKS = re.findall(r"^```python (\w+)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def run(of: str, block: int = 0, **names: Any) -> dict[str, Any]:
    """What there is after one of the blocks."""
    exec(compile([text for kind, text in BLOCKS if kind == of][block], "docs/invalidation.md", "exec"), names)  # noqa: S102
    return names


@pytest.mark.django_db(transaction=True)
def test_the_page_without_tags_is_right_in_django() -> None:
    from django.http import HttpResponse

    book = DjangoBook.objects.create(title="Emma")
    detail = run("django", cache_view=cache_view, HttpResponse=HttpResponse, Book=DjangoBook)["detail"]
    visit = RequestFactory().get("/")
    assert detail(visit, pk=book.pk).content == b"Emma"
    assert "hit" in detail(visit, pk=book.pk)["Cache-Status"]
    DjangoBook.objects.update(title="Persuasion")
    assert detail(visit, pk=book.pk).content == b"Persuasion"


@pytest.fixture
def shop() -> Iterator[tuple[Flask, SQLAlchemy]]:
    """An application with a database."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app)
    with app.app_context():
        yield app, db
        db.session.remove()
        db.engine.dispose()


def test_the_page_without_tags_is_right_in_flask(shop: tuple[Flask, SQLAlchemy]) -> None:
    app, db = shop
    mapped: Any = db.Model

    class Book(mapped):  # type: ignore[misc]
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    fence = FlaskFence(app, url="memory://")
    made: list[Any] = []

    def follow(*args: Any) -> None:
        made.append(invalidate_on_commit(*args))

    run("flask", app=app, db=db, fence=fence, Book=Book, invalidate_on_commit=follow)
    db.create_all()
    db.session.add(Book(id=7, title="Emma"))
    db.session.commit()
    client = app.test_client()
    assert client.get("/books/7").text == client.get("/books/7").text == "Emma"
    db.session.get_one(Book, 7).title = "Persuasion"
    db.session.commit()
    assert client.get("/books/7").text == "Persuasion"
    made[0].remove()
    fence.close()


def test_what_the_page_declares_in_settings_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = dict.fromkeys(["default", "replica1", "far_away", "archive"])
    monkeypatch.setattr(declared, "settings", SimpleNamespace(DATABASES=databases))
    assert declared._read(run("settings")["CACHEFENCE"]).replicas == {"replica1": 2.0, "far_away": None}
    everything = run("settings", 1)["CACHEFENCE"]
    assert declared._read(everything).triggers == {"shop_order": ("audit",)}
    assert {*everything, "debug_header"} >= {*Declared.__dataclass_fields__}


def test_what_the_page_declares_in_arguments_can_be() -> None:
    class Base(DeclarativeBase):
        pass

    engine = create_engine("sqlite://")
    made: list[Any] = []

    def follow(*args: Any, **options: Any) -> None:
        made.append(invalidate_on_commit(*args, **options))

    with CacheFence() as fence:
        run("sqlalchemy", invalidate_on_commit=follow, engine=engine, fence=fence, Base=Base, Routine=Routine)
        made[0].remove()
    engine.dispose()
