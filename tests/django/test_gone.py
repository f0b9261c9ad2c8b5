"""A client that goes before its answer is sent holds nobody up, and what it has changed is not shown as it was."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils.decorators import async_only_middleware
from django.views.decorators.csrf import csrf_exempt

from cachefence_web.django import afterwards, cache_view, fence
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")

OUTSIDE: list[Callable[[Any], Any]] = []
"""What is done with an answer before it is sent."""


@async_only_middleware
def outside(get_response: Any) -> Any:
    async def middle(request: HttpRequest) -> Any:
        answer = await get_response(request)
        while OUTSIDE:
            await OUTSIDE.pop()(request)
        return answer

    return middle


def failing(get_response: Any) -> Any:
    def middle(request: HttpRequest) -> Any:
        answer = get_response(request)
        while OUTSIDE:
            OUTSIDE.pop()(request)
        return answer

    return middle


@pytest.fixture
def site(settings: Any) -> Any:
    settings.MIDDLEWARE = ["tests.django.test_gone.outside"]
    OUTSIDE.clear()
    return ASGIHandler()


class Visitor:
    """A client of an ASGI application, who may go."""

    def __init__(self, site: Any, method: str = "GET") -> None:
        self._site, self._method = site, method
        self.gone = asyncio.Event()
        self.body = b""
        self._asked = False

    async def ask(self) -> str:
        headers = [(b"host", b"shop.example")]
        await self._site({
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": self._method,
            "scheme": "http", "path": "/page/", "raw_path": b"/page/", "query_string": b"", "root_path": "",
            "headers": headers, "server": ("shop.example", 80), "client": ("192.0.2.1", 1),
        }, self._receive, self._send)
        await asyncio.gather(*afterwards._tasks)
        return self.body.decode()

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.body += message.get("body", b"")


def page(kind: str) -> Any:
    """A cached view whose answers are numbered."""
    made = 0

    def answer(request: HttpRequest) -> HttpResponse:
        nonlocal made
        made += 1
        return HttpResponse(f"{made}")

    async def coroutine(request: HttpRequest) -> HttpResponse:
        return answer(request)

    decorate = cache_view(ttl=60, stale_for=60, tags=["page"])
    return csrf_exempt(decorate(answer if kind == "def" else coroutine))


@pytest.fixture(params=["def", "async def"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def leave(visitor: Visitor) -> None:
    visitor.gone.set()
    await asyncio.Event().wait()


async def test_p8_who_goes_before_a_stale_page_is_sent_leaves_its_refresh_to_the_next(kind: str, site: Any) -> None:
    with mounted(page=page(kind)):
        assert await Visitor(site).ask() == "1"
        await fence().aio.expire_tags("page")
        goer = Visitor(site)
        OUTSIDE.append(lambda request: leave(goer))
        assert await goer.ask() == ""
        assert [await Visitor(site).ask() for _ in range(2)] == ["1", "2"]


async def test_p8_a_request_that_is_stopped_from_outside_leaves_its_refresh_to_others(kind: str, site: Any) -> None:
    with mounted(page=page(kind)):
        assert await Visitor(site).ask() == "1"
        await fence().aio.expire_tags("page")
        await _broken(site)
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.gather(*afterwards._tasks)
        assert [await Visitor(site).ask() for _ in range(2)] == ["1", "2"]


async def _broken(site: Any) -> None:
    """A server whose connection breaks: Django neither closes the request nor says that it is over."""
    visitor = Visitor(site)

    async def broken(message: dict[str, Any]) -> None:
        raise ConnectionError("gone")

    async def tidy(request: Any) -> None:
        request._stream.close()  # Django would leave the body's file open

    visitor._send = broken  # type: ignore[method-assign]
    OUTSIDE.append(tidy)
    with pytest.raises(ConnectionError):
        await visitor.ask()
    visitor.gone.set()


async def test_p2_what_a_client_who_has_gone_has_changed_is_forgotten_after_his_request(kind: str, site: Any) -> None:
    with mounted(page=page(kind)):
        assert await Visitor(site).ask() == "1"
        poster = Visitor(site, "POST")

        async def look_and_leave(request: HttpRequest) -> None:
            assert await Visitor(site).ask() == "3"
            await leave(poster)

        OUTSIDE.append(look_and_leave)
        assert await poster.ask() == ""
        assert await Visitor(site).ask() == "4"


def test_p2_what_a_request_that_fails_after_its_view_has_changed_is_forgotten(kind: str, settings: Any) -> None:
    settings.MIDDLEWARE = ["tests.django.test_gone.failing"]
    OUTSIDE.clear()
    client = Client(headers={"host": "shop.example"}, raise_request_exception=False)

    def look_and_fail(request: HttpRequest) -> None:
        assert client.get("/page/").content == b"3"
        raise RuntimeError("after the view")

    with mounted(page=page(kind)):
        assert client.get("/page/").content == b"1"
        OUTSIDE.append(look_and_fail)
        assert client.post("/page/").status_code == 500
        assert client.get("/page/").content == b"4"
