"""What docs/explaining.md shows runs, and depends on as little as it says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import path

from cachefence_web.django.explaining import Explained, explain
from cachefence_web.responding.telling import LONGEST, written
from cachefence_web.runtime.wasting import LEAST
from tests.django_following.shop import models
from tests.django_tools.explained import database

__all__ = ["database"]

PAGE = (Path(__file__).parents[2] / "docs" / "explaining.md").read_text()


@pytest.fixture
def shown(settings: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the page's block of views, which are the site."""
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.models", models)
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "shop.views"}
    exec(compile(block, "docs/explaining.md", "exec"), names)  # noqa: S102 (it is our own)
    settings.ROOT_URLCONF = (
        path("isbn/<isbn>/", names["by_isbn"]), path("author/<int:pk>/", names["with_author"]),
        path("count/<int:pk>/", names["with_count"]), path("best/", names["bestsellers"]),
        path("parts/", names["dear_parts"]))
    models.Book.objects.filter(pk=1).update(author=models.Author.objects.order_by("pk").first())
    return names


def depends(found: Explained) -> dict[str, str]:
    (made,) = found.made
    assert made.stored
    return {each.tag: each.what for each in made.depends if each.what in ("row", "table", "named")}


@pytest.mark.parametrize(("url", "what"), [
    ("/isbn/isbn-1/", {"followed_book:1": "row"}),
    ("/author/1/", {"followed_book:1": "row", "followed_author:1": "row"}),
    ("/count/1/", {"followed_book:1": "row"}),
    ("/best/", {"bestsellers": "named"}),
    ("/parts/", {"followed_author": "table", "followed_book": "table"}),
])
@pytest.mark.usefixtures("shown")
def test_each_view_depends_on_what_the_page_says(url: str, what: dict[str, str]) -> None:
    assert depends(explain(url)) == what


def test_the_command_header_and_bounds_are_those_that_there_are(shown: dict[str, Any], capsys: Any) -> None:
    (command,) = re.findall(r"^```sh\npython manage.py (.*?)\n```", PAGE, flags=re.MULTILINE)
    words = command.split()
    call_command(*words[:-1], "/count/1/")
    printed = capsys.readouterr().out
    assert "stored    yes" in printed
    assert "address   url:" in printed
    assert LONGEST == 4096
    assert LEAST == 10
    statement = " ".join(["SELECT", *["shop_book.title,"] * 10, "shop_book.isbn FROM shop_book WHERE id = %s"])
    value = written({"shop_book:1": (statement,), "shop_book:*": (), "db:*": ()}).decode()
    assert f"X-CacheFence-Depends: {value}" in PAGE
