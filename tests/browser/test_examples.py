"""The example projects, edited in a browser: a page is right at once, and those that show nothing of it are hits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="the browser is driven through a web socket: pip install websockets")
pytest.importorskip("gunicorn", reason="the pages need their server: pip install gunicorn")
pytest.importorskip("django", reason="one of the examples is Django's: pip install django")
pytest.importorskip("flask_sqlalchemy", reason="one of the examples is Flask's: pip install flask-sqlalchemy")

from tests.browser.chromium import Tab, Visit
from tests.examples.projects import ROOT, Project, served
from tests.servers import RedisServer

BOOKS = ["/books/5/", "/books/8/", "/books/9/", "/books/12/", "/books/17/"]
"""None of them shows another one of them."""

ADDED = {"title": "A Chart of Small Hours", "author": "Ines Calloway", "genre": "Novel", "published": "2026",
         "price": "11.10", "blurb": "One night, four clocks."}


class Reader:
    """Somebody with a browser, at a site that is kept in a Redis by two processes."""

    def __init__(self, tab: Tab, origin: str) -> None:
        self.tab, self.origin = tab, origin

    def go(self, path: str) -> Visit:
        return self.tab.go(self.origin + path)

    def fill(self, path: str, fields: Mapping[str, str], button: str) -> Visit:
        """Open a page, fill in its form by CSS selectors, and press a button."""
        self.go(path)
        return self.press(button, *[f"{one(field)}.value = {json.dumps(value)};" for field, value in fields.items()])

    def press(self, button: str, *before: str) -> Visit:
        return self.tab.run("".join([*before, f"{one(button)}.click()"]))

    def made(self, path: str) -> str:
        """What a page shows that is made for this visit, and then kept."""
        visit = self.go(path)
        assert not is_hit(visit), path
        assert is_hit(self.tab.reload()), path
        return visit.text

    def kept(self, *paths: str) -> None:
        """These pages are answered from the cache."""
        for path in paths:
            assert is_hit(self.go(path)), path


def one(selector: str) -> str:
    """What is there, in JavaScript."""
    return f"document.querySelector({json.dumps(selector)})"


def is_hit(visit: Visit) -> bool:
    return "; hit" in visit.headers["cache-status"]


@contextmanager
def reading(tab: Tab, name: str, data: Path) -> Iterator[Reader]:
    folder = ROOT / "example_projects" / name
    empty = data / "empty"
    empty.mkdir()
    project = Project(folder / "run.py", empty, json.loads((folder / "scenario.json").read_text()))
    with RedisServer() as redis, served(project, data / "site", "--redis", redis.url, "--workers=2") as site:
        yield Reader(tab, str(site.visitor.base_url).rstrip("/"))


@pytest.fixture
def shop(tab: Tab, tmp_path: Path) -> Iterator[Reader]:
    """The bookshop, and somebody who is logged in to its admin."""
    with reading(tab, "django_shop", tmp_path) as reader:
        entered = reader.fill("/admin/", {"#id_username": "admin", "#id_password": "admin"}, "[type=submit]")
        assert "Site administration" in entered.text
        yield reader


def test_p3_what_is_done_in_the_admin_shows_at_once_and_pages_of_other_books_are_still_hits(shop: Reader) -> None:
    for page in ("/", *BOOKS):
        shop.made(page)
    change_one(shop)
    change_in_the_list(shop)
    change_by_an_action(shop)
    add_and_delete(shop)


def change_one(shop: Reader) -> None:
    """The price of book 17, in its form."""
    saved = shop.fill("/admin/shop/book/17/change/", {"#id_price": "31.40"}, "[name=_save]")
    assert "was changed successfully" in saved.text
    assert "€31.40" in shop.made("/books/17/")
    assert "€31.40" in shop.made("/")
    shop.kept(*BOOKS)


def change_in_the_list(shop: Reader) -> None:
    """The price of book 12, in the list of all of them."""
    shop.go("/admin/shop/book/")
    row = one("#result_list tr:has([value='12'])")
    saved = shop.press("[name=_save]", f"{row}.querySelector('[name$=price]').value = '41.50';")
    assert "1 book was changed successfully" in saved.text
    assert "€41.50" in shop.made("/books/12/")
    assert "€41.50" in shop.made("/")
    shop.kept(*BOOKS)


def change_by_an_action(shop: Reader) -> None:
    """The prices of books 8 and 9, by one UPDATE."""
    shop.go("/admin/shop/book/")
    chosen = [one(f".action-select[value='{book}']") + ".click();" for book in (8, 9)]
    shop.press("button[name=index]", *chosen, one("[name=action]") + ".value = 'reduce';")
    assert "€20.25" in shop.made("/books/8/")
    assert "€15.75" in shop.made("/books/9/")
    assert {"€20.25", "€15.75"} <= set(shop.made("/").split())
    shop.kept(*BOOKS)


def add_and_delete(shop: Reader) -> None:
    """A book that was nowhere to be found."""
    assert shop.go("/books/25/").status == 404
    assert ADDED["title"] not in shop.go("/books/").text
    fields = {f"#id_{name}": value for name, value in ADDED.items()}
    assert "was added successfully" in shop.fill("/admin/shop/book/add/", fields, "[name=_save]").text
    assert ADDED["title"] in shop.made("/books/25/")
    assert ADDED["title"] in shop.made("/")
    assert ADDED["title"] in shop.go("/books/").text
    shop.kept(*BOOKS)
    assert "was deleted successfully" in shop.fill("/admin/shop/book/25/delete/", {}, "#content [type=submit]").text
    assert ADDED["title"] not in shop.made("/")
    assert ADDED["title"] not in shop.go("/books/").text
    assert shop.go("/books/25/").status == 404
    shop.kept(*BOOKS)


def test_p3_an_edited_post_shows_at_once_and_pages_of_other_posts_are_still_hits(tab: Tab, tmp_path: Path) -> None:
    with reading(tab, "flask_blog", tmp_path) as blog:
        for page in ("/", "/posts/1", "/posts/2", "/posts/3", "/posts/4"):
            blog.made(page)
        saved = blog.fill("/posts/1/edit", {"#title": "Take the other boat"}, "button")
        assert "Take the other boat" in saved.text
        for page in ("/", "/posts/3"):
            assert "Take the other boat" in blog.made(page), "its readers went on to it, or it is listed"
        blog.kept("/posts/1", "/posts/2", "/posts/4")
