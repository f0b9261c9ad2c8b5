"""What the pages on moving from other caches show runs as it stands, on a real Redis, and does what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache as djangos
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.template import engines
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from cachefence_web.django import fence
from cachefence_web.testing import assert_computes
from tests.django.library import models
from tests.django.library.models import Book, Loan, Reader
from tests.docs.pages import FOLDER, Page, run
from tests.servers import RedisServer

cache: Any = djangos
PRINTED = "redis://localhost:6379"
OURS = "cachefence_web.django.RedisCache"
PATIENCE = {"timeout": 30.0}
"""Ours gives up after a second, unless told otherwise, and a slow machine may need more."""

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def configured(settings: Any, redis_server: RedisServer, namespace: str) -> Callable[[dict[str, Any]], None]:
    """Makes an entry of CACHES this site's: `configured(entry)`, on the shared Redis in a namespace of its own."""

    def configure(entry: dict[str, Any]) -> None:
        assert entry["LOCATION"].startswith(PRINTED)
        here = entry["LOCATION"].replace(PRINTED, redis_server.tcp_url.rpartition("/")[0])
        ours = PATIENCE if entry["BACKEND"] == OURS else {}
        settings.CACHES = {"default": {
            **entry, "LOCATION": here, "OPTIONS": {"namespace": namespace, **ours, **entry.get("OPTIONS", {})}}}

    return configure


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application that the pages are about."""
    package: Any = ModuleType("library")
    package.models = models
    monkeypatch.setitem(sys.modules, "library", package)
    monkeypatch.setitem(sys.modules, "library.models", models)


def rendered(template: str, **context: Any) -> str:
    return str(engines["django"].from_string(template).render(context)).strip()


def queries() -> CaptureQueriesContext:
    return CaptureQueriesContext(connection)


def change_book(title: str) -> None:
    book = Book.objects.get()
    book.title = title
    book.save()


@pytest.mark.parametrize("name", [path.name for path in sorted(FOLDER.glob("*.md"))])
def test_every_page_is_run_here(name: str) -> None:
    assert name.removesuffix(".md").replace("-", "_") in [test.removeprefix("test_") for test in globals()]


@pytest.mark.parametrize("name", ["from-django-rediscache.md", "from-django-redis.md"])
def test_all_that_changes_is_the_backend_where_the_page_says_so(configured: Any, name: str) -> None:
    page = Page.read(name)
    (before,), (after,) = page.settings(before=True)["CACHES"].values(), page.settings()["CACHES"].values()
    assert {**before, "BACKEND": after["BACKEND"]} == after
    configured({**before, "BACKEND": after["BACKEND"]})
    cache.set("key", {"a": [1, "long " * 1000]})
    assert cache.get("key") == async_to_sync(cache.aget)("key") == {"a": [1, "long " * 1000]}
    assert 590 < cache.ttl("key") <= 600


def test_djangos_own_backend_takes_what_is_said_to_be_its_settings(configured: Any) -> None:
    (before,) = Page.read("from-django-rediscache.md").settings(before=True)["CACHES"].values()
    configured(before)
    made: Any = caches["default"]
    assert type(made).__module__ == "django.core.cache.backends.redis"
    assert made._options.pop("namespace")  # this test's own
    assert made._options == before["OPTIONS"]
    assert made._cache.get_client().get_connection_kwargs()["socket_timeout"] == 2


def test_from_django_rediscache(configured: Any) -> None:
    page = Page.read("from-django-rediscache.md")
    configured(page.settings()["CACHES"]["default"])
    Book.objects.create(title="Emma")
    _, first, second = page.ours
    with assert_computes(1):
        names = run(first, {})
    assert cache.get("totals") == {"books": 1}
    assert cache.get("shelf") is None, "its tag was invalidated"
    names = run(second, names)
    assert async_to_sync(names["shelf"])() == cache.get("shelf") == ["Emma"]


def test_from_django_redis(configured: Any) -> None:
    page = Page.read("from-django-redis.md")
    configured(page.settings(1)["CACHES"]["default"])
    assert cache.get_client().client_getname() == "shop"
    configured(page.settings()["CACHES"]["default"])
    assert cache.get_client().client_getname() == "shop"
    _, _, client, kept, tags = page.ours
    names = run(kept, run(client, {}))
    assert cache.smembers("readers") == {"Ada"}
    names = run(tags, names)
    with assert_computes(1):
        assert names["report"]() == names["report"]() == {"borrowed": 3}
    book = Book.objects.create(title="Emma")
    cache.set("book:page", "Emma", tags=[f"book:{book.pk}"])
    names["refresh"](book)
    assert cache.get("book:page") is None


def test_from_cacheops(configured: Any) -> None:
    page = Page.read("from-cacheops.md")
    configured(page.settings()["CACHES"]["default"])
    _, querysets, functions, views, fragments, by_hand = page.ours
    ada, book = Reader.objects.create(name="Ada"), Book.objects.create(title="Emma")

    names = run(querysets, {})
    assert (names["loans_of"](ada.pk), names["reader"](ada.pk)) == ([], ada)
    with queries() as asked:
        names["loans_of"](ada.pk), names["reader"](ada.pk)
    assert len(asked) == 0
    loan = Loan.objects.create(reader=ada)
    assert names["loans_of"](ada.pk) == [loan]

    names = run(functions, names)
    assert names["figures"](1815) == {"year": 1815, "books": 1, "loans": 1}
    Book.objects.create(title="Persuasion").delete()
    with assert_computes(1):
        names["figures"](1815)
    with assert_computes(1):
        names["weather"]("Bath")

    names = run(views, names)
    visit = RequestFactory().get(f"/books/{book.pk}")
    assert names["book"](visit, pk=book.pk).content == b"Emma"
    change_book("Emma, again")
    assert names["book"](visit, pk=book.pk).content == b"Emma, again"

    (template,) = page.templates
    shown = {"books": Book.objects.order_by("pk"), "reader": {"pk": 7}}
    assert rendered(template, **shown) == "Emma, again"
    cache.set("unrelated", 1)
    with assert_computes(1):
        run(fragments, names)
        rendered(template, **shown)

    names = run(by_hand, names)
    assert_renames(names)
    cache.set("by:hand", 1, tags=[f"library_book:{book.pk}"])
    (command,) = page.commands
    call_command(*[word.replace("book:7", f"book:{book.pk}") for word in command])
    assert cache.get("by:hand") is None
    assert cache.get("unrelated") == 1
    names["after_an_import"](book)
    assert cache.get("unrelated") is None


def test_from_cachalot(configured: Any) -> None:
    page = Page.read("from-cachalot.md")
    configured(page.settings()["CACHES"]["default"])
    _, cached, api = page.ours
    Book.objects.create(title="Emma")

    names = run(cached, {})
    visit = RequestFactory().get("/books/")
    (template,) = page.templates
    assert names["shelf"](visit).content == b"Emma"
    assert names["figures"]() == {"books": 1, "readers": 0}
    assert rendered(template, books=Book.objects.all()) == "Emma"
    with queries() as asked:
        names["shelf"](visit), names["figures"](), rendered(template, books=Book.objects.all())
    assert len(asked) == 0
    change_book("Persuasion")
    assert names["shelf"](visit).content == b"Persuasion"
    assert rendered(template, books=Book.objects.all()) == "Persuasion"
    Reader.objects.create(name="Ada")
    assert names["figures"]()["readers"] == 1

    names = run(api, names)
    assert names["fresh_count"]() == 1
    assert_renames(names)
    names["after_an_import"]()
    cache.set("by:hand", 1, tags=["library_book"])
    cache.set("unrelated", 1)
    invalidate, clear = page.commands
    call_command(*invalidate)
    assert (cache.get("by:hand"), cache.get("unrelated")) == (None, 1)
    call_command(*clear)
    assert cache.get("unrelated") is None


def assert_renames(names: dict[str, Any]) -> None:
    """What depends on the table hears of `update()`."""
    change_book("Ema")
    with assert_computes(2):
        assert [fence().get_or_set("titles", _titles) for _ in range(2)] == [["Ema"], ["Ema"]]
        names["rename"]()
        assert fence().get_or_set("titles", _titles) == ["Emma"]


def _titles() -> list[str]:
    return list(Book.objects.values_list("title", flat=True))
