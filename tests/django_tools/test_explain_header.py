"""X-CacheFence-Depends in Django: off unless CACHEFENCE["debug_header"] says so, and never stored."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from cachefence_web import ConfigurationError
from cachefence_web.django import cache_view
from tests.django_following.shop.models import Author
from tests.django_tools.explained import database

__all__ = ["database"]

FIELD = "X-CacheFence-Depends"


@pytest.fixture
def client(settings: Any, database: Any) -> Client:
    settings.CACHEFENCE = {"debug_header": True}
    return Client(headers={"host": "shop.example"})


def test_a_miss_tells_tags_and_statements_and_a_hit_the_tags(client: Client) -> None:
    made, found = client.get("/pk/1/"), client.get("/pk/1/")
    assert 'followed_book:1;from="SELECT' in made.headers[FIELD]
    assert "; hit" in found.headers["Cache-Status"]
    assert "followed_book:1" in found.headers[FIELD].split(", ")
    assert "SELECT" not in found.headers[FIELD], "what is stored knows no statements"


def test_a_page_that_is_not_stored_tells_it_too(client: Client, settings: Any) -> None:
    settings.ROOT_URLCONF = (path("own/", cache_view(ttl=60)(_own)),)
    for _ in ("led", "passed by"):
        told = client.get("/own/", headers={"cookie": "sessionid=x"}).headers
        assert "detail=personal" in told["Cache-Status"]
        assert 'followed_author;from="SELECT COUNT(*)' in told[FIELD]


def _own(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.user} of {Author.objects.count()}")


@pytest.mark.parametrize("said", [{}, {"debug_header": False}])
def test_it_is_off_by_default_for_what_another_process_has_stored_too(
    client: Client, settings: Any, configure: Any, redis_url: str, said: dict[str, bool]
) -> None:
    configure(redis_url)
    assert FIELD in client.get("/pk/1/").headers
    settings.CACHEFENCE = said
    quiet = client.get("/pk/1/")
    assert "; hit" in quiet.headers["Cache-Status"]
    assert FIELD not in quiet.headers
    settings.CACHEFENCE = {"debug_header": True}
    assert FIELD in client.get("/pk/1/").headers


def test_a_debug_site_does_not_show_its_sql_unasked(settings: Any, database: Any) -> None:
    settings.DEBUG = True
    assert FIELD not in Client(headers={"host": "shop.example"}).get("/pk/1/").headers


def test_what_is_no_switch_is_refused(client: Client, settings: Any) -> None:
    settings.CACHEFENCE = {"debug_header": "yes"}
    with pytest.raises(ConfigurationError, match=r'CACHEFENCE\["debug_header"\] is True or False'):
        client.get("/pk/1/")


@pytest.mark.parametrize(("said", "deployed"), [
    ({"debug_header": True}, ["cachefence.W008"]), ({"debug_header": False}, []), ({}, []), ({"nothing": 1}, [])])
def test_the_checks_warn_of_it_before_a_deployment(settings: Any, said: dict[str, Any], deployed: list[str]) -> None:
    settings.CACHEFENCE = said
    for including, expected in ((True, deployed), (False, [])):
        found = run_checks(tags=["cachefence"], include_deployment_checks=including)
        assert [each.id for each in found if each.id == "cachefence.W008"] == expected
