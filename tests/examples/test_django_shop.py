"""The bookshop under gunicorn and uvicorn: carts are their visitors' own, and what the admin saves is seen at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.examples.projects import Project, Site, served, token
from tests.servers import RedisServer

# Whoever comes first seeds the database, which takes a busy machine minutes.
pytestmark = pytest.mark.timeout(600)

PAGES = ("/", "/books/", "/books/?genre=Novel", "/books/1/", "/search/?q=calloway", "/cart/")
"""Where the first book is to be seen, by a visitor who has it in the cart."""

SAVED = {"title": "Winter Harbour", "author": "Ines Calloway", "genre": "Novel", "published": "2019",
         "price": "31.40", "blurb": "A lighthouse, and its debts."}


@pytest.fixture(scope="module", params=["gunicorn", "uvicorn"])
def site(
    request: pytest.FixtureRequest, seeded: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Two processes of the shop, on a Redis of its own: its namespace is the same on every machine."""
    with RedisServer() as redis:
        options = ["--server", request.param, "--redis", redis.url, "--workers=2"]
        with served(seeded("django_shop"), tmp_path_factory.mktemp(request.param), *options) as site:
            yield site


@pytest.fixture
def visitor(site: Site) -> Iterator[httpx.Client]:
    """One with two copies of the first book in the cart."""
    with stranger(site) as visitor:
        bought = visitor.post("/cart/add/1/", data={"copies": "2"} | token(visitor, "/cart/add/1/"))
        assert bought.headers["location"] == "/cart/"
        yield visitor


def stranger(site: Site) -> httpx.Client:
    """Somebody of whom the site knows nothing."""
    return httpx.Client(base_url=site.visitor.base_url, timeout=30)


def test_p3_p11_what_the_admin_saves_is_on_each_page_at_the_next_request_and_no_cart_is_anybody_elses(
    site: Site, visitor: httpx.Client
) -> None:
    for page in PAGES:
        assert "Harbour Lights" in visitor.get(page).raise_for_status().text
    with stranger(site) as admin:
        log_in(admin)
        save(admin)
        for page in PAGES:
            shown = visitor.get(page).raise_for_status().text
            assert SAVED["title"] in shown, page
            assert "Harbour Lights" not in shown, page
        assert "€62.80" in visitor.get("/cart/").text
        assert visitor.get("/cart/count/").json() == {"copies": 2}
        assert "€62.80" not in admin.get("/cart/").text
        assert admin.get("/cart/count/").json() == {"copies": 0}


def log_in(visitor: httpx.Client) -> None:
    """Into the admin, whose style sheet is there too."""
    login = visitor.get("/admin/login/").raise_for_status()
    sheet = re.search(r'href="(/static/admin/css/base[^"]*)"', login.text)
    assert sheet is not None
    assert visitor.get(sheet[1]).raise_for_status().headers["content-type"].startswith("text/css")
    form = {"username": "admin", "password": "admin", "next": "/admin/"}
    entered = visitor.post("/admin/login/", data=form | token(visitor, "/admin/login/"))
    assert entered.headers["location"] == "/admin/"


def save(visitor: httpx.Client) -> None:
    """The first book, in the admin's form."""
    path = "/admin/shop/book/1/change/"
    saved = visitor.post(path, data=SAVED | token(visitor, path))
    assert saved.headers.get("location") == "/admin/shop/book/", saved.text


def test_djangos_cache_page_keeps_a_page_for_all_processes(visitor: httpx.Client) -> None:
    made = [re.findall(r'<time datetime="([^"]+)"', visitor.get("/about/").text) for _ in range(8)]
    assert len(made[0]) == 1
    assert all(each == made[0] for each in made)


def test_a_changed_cart_is_the_visitors_at_once(visitor: httpx.Client) -> None:
    changed = visitor.post("/cart/change/1/", data={"copies": "5"} | token(visitor, "/cart/"))
    assert changed.headers["location"] == "/cart/"
    assert visitor.get("/cart/count/").json() == {"copies": 5}
    visitor.post("/cart/change/1/", data={"copies": "0"} | token(visitor, "/cart/"))
    assert "Nothing in it yet" in visitor.get("/cart/").text
