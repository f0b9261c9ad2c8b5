"""`manage.py cachefence explain URL`: which rows and tables a page depends on, and by which statements."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import path

from cachefence_web import depends_on, untracked
from cachefence_web.django import cache_view, fence
from cachefence_web.django.narrowing import advice
from tests.django_following.pages import VIEWS
from tests.django_following.shop.models import Book
from tests.django_tools.explained import database

__all__ = ["database"]

FRAGMENT = Template("{% load cachefence %}{% cachefence 60 'shelf' %}{{ books.count }}{% endcachefence %}")


@cache_view(ttl=60, tags=["news"])
def made_of_parts(request: HttpRequest) -> HttpResponse:
    title = fence().get_or_set("title", lambda: Book.objects.get(pk=1).title)
    return HttpResponse(title + FRAGMENT.render(Context({"books": Book.objects.all()})))


@cache_view(ttl=60)
def personal(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user} {Book.objects.get(pk=1).title}")


@cache_view(ttl=60)
def with_cookie(request: HttpRequest) -> HttpResponse:
    answer = HttpResponse(Book.objects.get(pk=1).title)
    answer.set_cookie("seen", "1")
    return answer


@cache_view(ttl=60)
def missing(request: HttpRequest) -> HttpResponse:
    if not Book.objects.filter(pk=900).exists():
        raise Http404
    return HttpResponse("there")


@cache_view(ttl=60)
def stream(request: HttpRequest) -> HttpResponse:
    return StreamingHttpResponse([Book.objects.get(pk=1).title])  # type: ignore[return-value]


@cache_view(ttl=60)
def narrowed(request: HttpRequest) -> HttpResponse:
    with untracked():
        pk = Book.objects.values_list("pk", flat=True).get(isbn="isbn-1")
    depends_on("edition")
    return HttpResponse(Book.objects.get(pk=pk).title)


@cache_view(ttl=60)
async def asynchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await Book.objects.aget(pk=1)).title)


def broken(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def uncached(request: HttpRequest) -> HttpResponse:
    return HttpResponse(Book.objects.get(pk=1).title)


def only_a_value(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(fence().get_or_set("count", Book.objects.count)))


@pytest.fixture
def site(settings: Any, database: Any) -> None:
    urls = ModuleType("tests.django_tools.explained_urls")
    views: list[Callable[..., Any]] = [
        made_of_parts, personal, with_cookie, missing, stream, narrowed, asynchronous, broken, uncached, only_a_value]
    urls.urlpatterns = [  # type: ignore[attr-defined]
        *[path(f"{view.__name__}/", view) for view in views],
        *[path(f"{name}/<int:pk>/", view) for name, view in VIEWS.items()]]
    sys.modules[urls.__name__] = urls
    settings.ROOT_URLCONF = urls.__name__


def told(*words: str, verbosity: int = 1) -> str:
    out = io.StringIO()
    call_command("cachefence", "explain", *words, stdout=out, no_color=True, verbosity=verbosity)
    return out.getvalue()


def data(*words: str) -> Any:
    return json.loads(told(*words, "--json"))


def what(made: Any) -> dict[str, str]:
    return {each["tag"]: each["what"] for each in made["depends"] if each["what"] != "address"}


pytestmark = pytest.mark.usefixtures("site")


def test_the_rows_of_a_page_are_told_with_the_statement_each_came_from() -> None:
    found = data("/pk/1/")
    (page,) = found["made"]
    assert (found["status"], found["cached"], found["url"]) == (200, True, "http://shop.example/pk/1/")
    assert (page["kind"], page["stored"], page["why"], page["advice"]) == ("page", True, None, [])
    assert what(page) == {"followed_book:1": "row", "followed_book:*": "rows", "db:*": "database"}
    (statement,) = page["depends"][0]["statements"]
    assert statement.startswith("SELECT")
    assert "WHERE" in statement
    assert statement in told("/pk/1/", verbosity=2)
    assert "row       followed_book:1" in told("/pk/1/")


@pytest.mark.parametrize(("page", "hint"), [
    ("count", "counts or sums"), ("joined", "prefetch_related()"), ("unique", "under untracked()"),
    ("m2m_prefetched", "without a WHERE")])
def test_who_depends_on_a_whole_table_is_told_how_to_narrow_it(page: str, hint: str) -> None:
    (made,) = data(f"/{page}/1/")["made"]
    assert "table" in what(made).values()
    assert any(hint in line for line in made["advice"]), made["advice"]
    assert "narrow    followed_" in told(f"/{page}/1/")


def test_values_and_fragments_are_told_apart_and_their_statements_found_again_on_the_page() -> None:
    page, value, fragment = data("/made_of_parts/")["made"]
    assert [each["kind"] for each in (page, value, fragment)] == ["page", "value", "fragment"]
    assert value["key"] == "title"
    assert what(value)["followed_book:1"] == "row"
    assert what(fragment)["followed_book"] == "table"
    assert {"news": "named", "followed_book:1": "row", "followed_book": "table"}.items() <= what(page).items()
    assert all(each["statements"] for each in page["depends"] if each["what"] in ("row", "table"))


def test_nothing_is_served_from_the_cache_and_nothing_is_stored() -> None:
    data("/made_of_parts/")
    assert fence().get("title") is None
    client = Client(headers={"host": "shop.example"})
    assert "fwd=miss" in client.get("/pk/1/").headers["Cache-Status"]
    assert data("/pk/1/")["made"][0]["depends"][0]["statements"], "a hit has no statements"
    assert "; hit" in client.get("/pk/1/").headers["Cache-Status"]


def test_p6_a_page_is_explained_while_the_store_is_away(configure: Any) -> None:
    configure("redis://127.0.0.1:1/0")
    assert [made["stored"] for made in data("/made_of_parts/")["made"]] == [True, True, True]


@pytest.mark.parametrize(("url", "why"), [
    ("/personal/", "looked at the user"), ("/with_cookie/", "sets a cookie"), ("/missing/", "raised Http404"),
    ("/stream/", "not at hand as a whole")])
def test_what_would_not_be_stored_says_why(url: str, why: str) -> None:
    words = ["--user", "alice"] if url == "/personal/" else []
    if words:
        User.objects.create_user("alice")
    (page,) = data(url, *words)["made"]
    assert not page["stored"]
    assert why in page["why"]
    assert "stored    no: " in told(url, *words)
    assert any(each["what"] in ("row", "table") for each in page["depends"])


def test_nobody_is_logged_in_for_good(settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    alice = User.objects.create_user("alice")
    assert "looked at the user" in data("/personal/", "--user", "alice")["made"][0]["why"]
    alice.refresh_from_db()
    assert alice.last_login is None
    assert not Session.objects.exists()


def test_what_is_untracked_is_not_depended_on() -> None:
    (page,) = data("/narrowed/")["made"]
    assert what(page) == {
        "edition": "named", "followed_book:1": "row", "followed_book:*": "rows", "db:*": "database"}


def test_asynchronous_views_are_explained() -> None:
    (page,) = data("/asynchronous/")["made"]
    assert what(page)["followed_book:1"] == "row"


def test_a_page_that_is_not_cached_shows_what_was_cached_in_it() -> None:
    found = data("/only_a_value/")
    assert (found["cached"], [made["kind"] for made in found["made"]]) == (False, ["value"])
    assert "The page itself is not cached" in told("/only_a_value/")


@pytest.mark.parametrize(("words", "error"), [
    (["/nowhere/"], "no URL pattern matches"),
    (["nowhere"], "is no URL of a page"),
    (["ftp://shop.example/"], "is no URL of a page"),
    (["https://[shop/"], "is no URL of a page"),
    (["http://stranger.example/pk/1/"], "ALLOWED_HOSTS"),
    (["/pk/1"], "answered with 301 to /pk/1/"),
    (["/uncached/"], "nothing that is cached was made for it"),
    (["/broken/"], "ZeroDivisionError"),
    (["/pk/1/", "--user", "nobody"], "no user 'nobody'"),
])
def test_what_cannot_be_explained_is_one_line(words: list[str], error: str) -> None:
    with pytest.raises(CommandError) as raised:
        data(*words)
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)


def test_advice_is_given_once_for_each_statement() -> None:
    assert len(advice({"book": ["SELECT 1 FROM book", "SELECT 1 FROM book"], "author": []})) == 1
