"""What is shown while a writer stands between its fence and its COMMIT, by how close to commits it is to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.test import Client
from django.urls import clear_url_caches, path

from cachefence_web import Policy, cached
from cachefence_web.django import cache_view, fence
from tests.django_following import site
from tests.django_following.shop.models import Book
from tests.django_following.writes import one
from tests.following.stopping import stopped_before_its_commit

Show = Callable[[], tuple[str, bool]]

WHILE = {"committed": ("One", True), "strict": ("One", False), "eventual": ("One", True)}
"""By the promise: the page before the COMMIT, and whether it is one that was stored."""


def save() -> None:
    """In a connection of its own."""
    try:
        with transaction.atomic():
            Book.objects.filter(pk=1).update(title="1")
    finally:
        connections.close_all()


def is_right(show: Show, consistency: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert show() == ("One", False)
    assert show() == ("One", True)
    with stopped_before_its_commit(monkeypatch, save):
        assert show() == WHILE[consistency]
        assert show() == WHILE[consistency]
    assert show() == ("1", False)
    assert show() == ("1", True)


@pytest.fixture
def visit(client: Client, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Mounts a page of the title of book 1 and gives what shows it."""

    def mount(**options: Any) -> Show:
        @cache_view(**options)
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse(one().title)

        monkeypatch.setattr(site, "urlpatterns", [path("mounted/", view)])
        clear_url_caches()

        def show() -> tuple[str, bool]:
            answer = client.get("/mounted/")
            return answer.content.decode(), "hit" in answer["Cache-Status"]

        return show

    yield mount
    monkeypatch.undo()
    clear_url_caches()


@pytest.mark.parametrize("consistency", WHILE)
def test_p3_a_view_is_as_close_to_commits_as_it_says(
    consistency: str, database: Any, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_right(visit(ttl=3600, consistency=consistency), consistency, monkeypatch)


@pytest.mark.parametrize("consistency", WHILE)
def test_p3_a_view_is_as_close_to_commits_as_its_policy_says(
    consistency: str, on_redis: str, visit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_right(visit(policy=Policy(ttl=3600, consistency=consistency)), consistency, monkeypatch)


@pytest.mark.parametrize("consistency", WHILE)
def test_p3_a_view_that_says_nothing_is_as_close_to_commits_as_its_cache(
    consistency: str, database: Any, visit: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = settings.CACHES["default"]
    settings.CACHES = {"default": {**ours, "OPTIONS": {**ours["OPTIONS"], "consistency": consistency}}}
    is_right(visit(ttl=3600), consistency, monkeypatch)


def test_p3_a_view_may_be_closer_than_its_cache(
    database: Any, visit: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = settings.CACHES["default"]
    settings.CACHES = {"default": {**ours, "OPTIONS": {**ours["OPTIONS"], "consistency": "eventual"}}}
    is_right(visit(ttl=3600, consistency="strict"), "strict", monkeypatch)


@pytest.mark.parametrize("consistency", WHILE)
@pytest.mark.parametrize("what", ["function", "fragment"])
def test_p3_a_function_and_a_fragment_are_as_close_to_commits_as_they_say(
    what: str, consistency: str, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def title() -> str:
        made.append("")
        return one().title

    template = Template("{% load cachefence %}{% cachefence 3600 'a' consistency='%%' %}{{ title }}{% endcachefence %}"
                        .replace("%%", consistency))
    function = cached(ttl=3600, key="a", cache=fence, consistency=consistency)(title)

    def show() -> tuple[str, bool]:
        made.clear()
        shown = function() if what == "function" else template.render(Context({"title": title}))
        return shown, not made

    is_right(show, consistency, monkeypatch)


def test_p3_what_was_made_of_a_strict_value_under_a_fence_ends_with_it(
    database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inner() -> str:
        return fence().get_or_set("inner", lambda: one().title, ttl=3600, consistency="strict")

    def outer() -> str:
        return fence().get_or_set("outer", inner, ttl=3600)

    with stopped_before_its_commit(monkeypatch, save):
        assert outer() == "One"
    assert (outer(), inner()) == ("1", "1")
