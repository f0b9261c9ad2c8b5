"""A fragment is as old as the request or the compute around it: nothing loaded before an invalidation is stored."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache, caches
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.test import AsyncClient, Client
from django.urls import path

from cachefence_web import CacheFence
from cachefence_web.django import fences
from cachefence_web.django.fences import entry_for
from cachefence_web.django.fragments import fragment_key
from tests.django_tools.pages import Count, page


@pytest.fixture(autouse=True)
def on_store(configure: Any, location: str) -> None:
    configure(location)
    cache.set("the-clock-has-begun", True)


@pytest.fixture
def request_under_way(db: None) -> Iterator[None]:
    request_started.send(None, environ={})
    yield
    request_finished.send(None)


@pytest.mark.usefixtures("request_under_way")
def test_p2_what_the_view_loaded_before_an_invalidation_is_not_stored_after_it() -> None:
    show = page("{% cachefence 60 one tags='book' %}{{ title }}{% endcachefence %}")
    loaded = "old"
    cache.invalidate_tags("book")
    assert show(title=loaded) == "old"
    assert show(title="new") == "new"


def changing(request: HttpRequest) -> HttpResponse:
    """A view that is overtaken by a write between its reading and its page."""
    template = Template("{% load cachefence %}{% cachefence 60 one tags='book' %}{{ title }}{% endcachefence %}")
    title = cache.get("title")
    if title == "old":
        cache.set("title", "new")
        cache.invalidate_tags("book")
    return HttpResponse(template.render(RequestContext(request, {"title": title})))


async def changing_async(request: HttpRequest) -> HttpResponse:
    return changing(request)


urlpatterns = [path("sync/", changing), path("async/", changing_async)]


@pytest.mark.parametrize("where", ["/sync/", "/async/"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_p2_a_page_overtaken_by_a_write_is_not_stored_on_either_kind_of_server(
    settings: Any, kind: type[Client | AsyncClient], where: str
) -> None:
    settings.ROOT_URLCONF, settings.MIDDLEWARE, settings.ALLOWED_HOSTS = __name__, [], ["*"]

    async def ask() -> str:
        return (await AsyncClient().get(where)).content.decode()

    def get() -> str:
        return async_to_sync(ask)() if kind is AsyncClient else Client().get(where).content.decode()

    cache.set("title", "old")
    assert [get(), get()] == ["old", "new"]
    # A request is dated by an estimate that errs on the safe side: one that comes within it of a write is not stored.
    assert {get() for _ in range(20)} == {"new"}
    cache.set("title", "newer")
    assert get() == "new"


def test_p2_what_a_fragment_loaded_before_an_invalidation_is_not_stored_by_one_inside_it() -> None:
    show = page("{% cachefence 60 outer %}{% with book=load %}{{ write }}{% cachefence 60 inner tags='book' %}"
                "{{ book }}{% endcachefence %}{% endwith %}{% endcachefence %}")
    show(load="old", write=lambda: cache.invalidate_tags("book") or "")
    inner = page("{% cachefence 60 inner tags='book' %}{{ book }}{% endcachefence %}")
    assert inner(book="new") == "new"


@pytest.mark.usefixtures("request_under_way")
@pytest.mark.parametrize("tags", ["", "tags='book'"], ids=["untagged", "tagged"])
def test_p2_what_the_view_loaded_before_a_clear_is_not_stored_after_it(tags: str) -> None:
    show = page(f"{{% cachefence 60 one {tags} %}}{{{{ title }}}}{{% endcachefence %}}")
    loaded = "old"
    cache.clear()
    assert show(title=loaded) == "old"
    assert show(title="new") == "new"


@pytest.mark.usefixtures("request_under_way")
def test_p2_a_clear_by_another_program_counts_as_well(location: str, namespace: str) -> None:
    show = page("{% cachefence 60 one %}{{ title }}{% endcachefence %}")
    with CacheFence("memory://django" if location == "memory://" else location, namespace=namespace) as other:
        other.invalidate_all()
    assert [show(title="old"), show(title="new")] == ["old", "new"]


def test_p2_what_a_compute_loaded_before_a_clear_is_not_stored_by_a_fragment_in_it_outside_of_any_request() -> None:
    show = page("{% cachefence 60 one %}{{ title }}{% endcachefence %}")

    def load() -> str:
        loaded = "old"
        cache.clear()
        return show(title=loaded)

    assert cache.get_or_set("page", load) == "old"
    assert show(title="new") == "new"


def test_p2_what_a_compute_loaded_before_an_invalidation_is_not_stored_by_a_fragment_in_it() -> None:
    show = page("{% cachefence 60 one tags='book' %}{{ title }}{% endcachefence %}")

    async def load() -> str:
        loaded = "old"
        await cache.ainvalidate_tags("book")
        return show(title=loaded)

    assert async_to_sync(cache.aget_or_set)("page", load) == "old"
    assert show(title="new") == "new"


def test_a_request_that_begins_after_a_clear_stores_again(db: None) -> None:
    show = page("{% cachefence 60 one %}{{ n }}{% endcachefence %}")
    n = Count()

    def ask() -> str:
        request_started.send(None, environ={})
        try:
            return show(n=n)
        finally:
            request_finished.send(None)

    assert [ask(), ask()] == ["n1", "n1"]
    cache.clear()
    assert ask() == "n2"
    assert ask() == ask()


@pytest.mark.usefixtures("request_under_way")
def test_the_first_request_that_a_process_answers_stores() -> None:
    show, n = page("{% cachefence 60 one %}{{ n }}{% endcachefence %}"), Count()
    assert [show(n=n), show(n=n)] == ["n1", "n1"]


@pytest.mark.parametrize("away", ["redis://127.0.0.1:1/0", "nowhere"], ids=["away", "wrong"])
def test_a_request_begins_whatever_is_wrong_with_the_cache(configure: Any, db: None, away: str) -> None:
    configure(away)
    request_started.send(None, environ={})
    request_finished.send(None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_p10_a_child_forked_while_a_request_asks_for_the_epoch_answers_its_own_requests(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, answer, parent, own = threading.Event(), threading.Event(), os.getpid(), CacheFence.instant

    def instant(fence: CacheFence) -> Any:
        if os.getpid() == parent:
            asking.set()
            assert answer.wait(60)
        return own(fence)

    monkeypatch.setattr(CacheFence, "instant", instant)
    with ThreadPoolExecutor(2) as pool:
        try:
            first = pool.submit(request_started.send, None, environ={})
            assert asking.wait(60)
            child = os.fork()
            if not child:
                signal.alarm(60)
                request_started.send(None, environ={})
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            second = pool.submit(request_started.send, None, environ={})
            assert not second.done()
        finally:
            answer.set()
        for each in (first, second):
            each.result(60)
    request_finished.send(None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_p10_a_child_forked_while_settings_are_read_reads_them_itself() -> None:
    with fences._lock:
        child = os.fork()
        if not child:
            signal.alarm(60)
            entry_for(type(caches["default"]), "memory://", {"OPTIONS": {"namespace": "of-a-child"}})
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fragment_inside_another_of_another_alias_is_stored(settings: Any, namespace: str) -> None:
    ours = settings.CACHES["default"]
    settings.CACHES = {**settings.CACHES, "other": {
        **ours, "OPTIONS": {**ours["OPTIONS"], "namespace": f"{namespace}.o"}}}
    caches["other"].set("the-clock-has-begun", True)
    page("{% cachefence 60 outer %}{% cachefence 60 inner using='other' %}x{% endcachefence %}{% endcachefence %}")()
    assert caches["other"].delete(fragment_key("inner")) is True
