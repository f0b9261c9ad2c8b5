"""Stale while revalidate: the visitor has the old page before the new one is made, which is nobody's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, SimpleUser, UnauthenticatedUser
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from cachefence_web import AsyncCacheFence
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view
from tests.starlette.asgi import Answer, ask

Endpoint = Callable[[Request], Any]
WHOLE = ["middleware", "view"]
STALE: dict[str, Any] = {"ttl": 60, "stale_for": 600, "tags": ["book"]}


class Book:
    """An endpoint whose second run waits at a gate, and which remembers by what requests it was asked."""

    def __init__(self) -> None:
        self.count = 0
        self.asked: list[Request] = []
        self.reached, self.gate = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.count += 1
        self.asked.append(request)
        answer = PlainTextResponse(f"book {self.count}")
        if self.count > 1:
            self.reached.set()
            await self.gate.wait()
        return answer


def site(shape: str, fence: AsyncCacheFence, endpoint: Endpoint, *around: Middleware, **options: Any) -> Starlette:
    """The endpoint under /books, cached by the middleware, with others around it, or by itself."""
    declared = {**STALE, **options}

    async def books(request: Request) -> Response:
        return await endpoint(request)

    if shape == "view":
        return Starlette(routes=[Route("/books", cache_view(cache=fence, **declared)(books))], middleware=around)
    cached = Middleware(CacheMiddleware, cache=fence, rules=[Rule("/{path:path}", **declared)])
    return Starlette(routes=[Route("/books", books)], middleware=[*around, cached])


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


async def complete(app: Any, answer: Answer, **more: Any) -> tuple[Answer, asyncio.Task[Answer]]:
    """An answer as soon as its last byte is there, and the request that may have more to do behind it."""
    arrived = asyncio.Event()

    async def on_send(message: Any) -> None:
        answer.messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            arrived.set()

    asking = asyncio.create_task(ask(app, on_send=on_send, **more))
    async with asyncio.timeout(20):
        await arrived.wait()
    return answer, asking


@pytest.mark.parametrize("shape", WHOLE)
async def test_the_old_page_is_complete_before_the_new_one_is_made(fence: AsyncCacheFence, shape: str) -> None:
    book = Book()
    app = site(shape, fence, book)
    await ask(app)
    await fence.expire_tags("book")
    shown, asking = await complete(app, Answer())
    assert (shown.body, "; hit; ttl=-" in shown.cache_status) == (b"book 1", True)
    await until(book.reached.is_set)
    assert (await ask(app)).body == b"book 1"  # nobody waits for it
    book.gate.set()
    await asking
    again = await ask(app)
    assert (again.body, book.count, "ttl=-" in again.cache_status) == (b"book 2", 2, False)


@pytest.mark.parametrize("shape", WHOLE)
async def test_p1_a_crowd_at_a_stale_page_costs_one_refresh(fence: AsyncCacheFence, shape: str) -> None:
    book = Book()
    app = site(shape, fence, book)
    await ask(app)
    await fence.expire_tags("book")
    crowd = [asyncio.create_task(ask(app)) for _ in range(50)]
    await until(lambda: sum(asking.done() for asking in crowd) == 49)
    book.gate.set()
    assert {answer.body for answer in await asyncio.gather(*crowd)} == {b"book 1"}
    assert book.count == 2


@pytest.mark.parametrize("shape", WHOLE)
async def test_p2_an_invalidation_during_the_refresh_refuses_it(fence: AsyncCacheFence, shape: str) -> None:
    book = Book()
    app = site(shape, fence, book)
    await ask(app)
    await fence.expire_tags("book")
    _, asking = await complete(app, Answer())
    await until(book.reached.is_set)
    await fence.invalidate_tags("book")
    book.gate.set()
    await asking
    assert (await ask(app)).body == b"book 3"


@pytest.mark.parametrize("shape", WHOLE)
async def test_p11_the_refresh_is_nobody_s(fence: AsyncCacheFence, shape: str) -> None:
    book = Book()
    book.gate.set()
    app = site(shape, fence, book, cookies="ignore")
    visitor = [("Cookie", "id=1"), ("If-None-Match", '"x"'), ("If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT"),
               ("Cache-Control", "max-age=0"), ("Accept-Language", "de")]
    await ask(app)
    await fence.expire_tags("book")
    state = {"visitor": "ann"}
    extensions = {"http.response.pathsend": {}, "http.response.early_hint": {}}
    await ask(app, headers=visitor, state=state, extensions=extensions)
    request = book.asked[1]
    said = {name for name, _ in request.headers.items()}
    assert said == {"host", "accept-language"}
    request.state.later = "bob"
    assert state == {"visitor": "ann"}
    assert not request.scope["extensions"]


@pytest.mark.parametrize("shape", WHOLE)
async def test_the_refresh_hears_an_empty_body_then_silence_then_the_end(fence: AsyncCacheFence, shape: str) -> None:
    heard: list[Any] = []

    async def endpoint(request: Request) -> Response:
        heard.append((await request.body(), await request.is_disconnected()))

        async def later() -> None:
            heard.append((await request.receive())["type"])

        return PlainTextResponse(str(len(heard)), background=BackgroundTask(later) if len(heard) > 1 else None)

    app = site(shape, fence, endpoint)
    await ask(app)
    await fence.expire_tags("book")
    async with asyncio.timeout(20):
        await ask(app)
    assert heard == [(b"", False), (b"", False), "http.disconnect"]
    assert (await ask(app)).body == b"2"


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
async def test_a_stream_is_refreshed_whole_though_it_listens_for_the_end(fence: AsyncCacheFence, spec: str) -> None:
    count = 0

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1

        async def chunks() -> AsyncIterator[str]:
            for part in ("one ", "two ", str(count)):
                await asyncio.sleep(0)
                yield part

        return StreamingResponse(chunks())

    app = site("middleware", fence, endpoint)
    asgi = {"version": "3.0", "spec_version": spec}
    assert (await ask(app, asgi=asgi)).body == b"one two 1"
    await fence.expire_tags("book")
    async with asyncio.timeout(20):
        assert (await ask(app, asgi=asgi)).body == b"one two 1"
    assert ((await ask(app, asgi=asgi)).body, count) == (b"one two 2", 2)


@pytest.mark.usefixtures("gated")
@pytest.mark.parametrize("shape", WHOLE)
@pytest.mark.parametrize("failure", ["raises", "500", "background"])
async def test_p8_what_goes_wrong_in_a_refresh_is_logged_and_not_the_visitor_s(
    fence: AsyncCacheFence, shape: str, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    count = 0

    def fail() -> None:
        raise LookupError("broken")

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1
        if count == 1:
            return PlainTextResponse("good")
        if failure == "raises":
            fail()
        if failure == "500":
            return PlainTextResponse("bad", status_code=500)
        return PlainTextResponse("better", background=BackgroundTask(fail))

    app = site(shape, fence, endpoint)
    await ask(app)
    await fence.expire_tags("book")
    with caplog.at_level(logging.WARNING):
        assert [(await ask(app)).body, (await ask(app)).status] == [b"good", 200]
    assert count == 2
    if failure == "background":
        assert (await ask(app)).body == b"better"
    if failure != "500":
        assert "broken" in caplog.text


@pytest.mark.parametrize("shape", WHOLE)
async def test_a_client_that_is_gone_before_the_refresh_leaves_it_to_the_next(
    fence: AsyncCacheFence, shape: str
) -> None:
    book = Book()
    book.gate.set()
    app = site(shape, fence, book)
    await ask(app)
    await fence.expire_tags("book")

    async def gone(message: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await ask(app, on_send=gone)
    async with asyncio.timeout(20):
        assert (await ask(app)).body == b"book 1"
        assert (await ask(app)).body == b"book 2"


async def test_a_stale_answer_that_is_never_sent_leaves_the_refresh_to_the_next(fence: AsyncCacheFence) -> None:
    book = Book()
    book.gate.set()
    inner = cache_view(cache=fence, **STALE)(book.__call__)
    drops = False

    async def outer(request: Request) -> Response:
        answer = await inner(request)
        return PlainTextResponse("other") if drops else answer

    app = Starlette(routes=[Route("/books", outer)])
    await ask(app)
    await fence.expire_tags("book")
    drops, before = True, asyncio.all_tasks()
    assert (await ask(app)).body == b"other"
    drops = False
    await asyncio.sleep(0)
    await until(lambda: asyncio.all_tasks() <= before)
    async with asyncio.timeout(20):
        assert [(await ask(app)).body for _ in range(2)] == [b"book 1", b"book 2"]


@pytest.mark.parametrize("shape", WHOLE)
@pytest.mark.parametrize("prefix", ["", "/behind/proxy"])
async def test_mounted_pages_are_refreshed_where_they_are(fence: AsyncCacheFence, shape: str, prefix: str) -> None:
    book = Book()
    book.gate.set()
    app = Starlette(routes=[
        Mount("/app", site(shape, fence, book)),
        Mount("/deep", Starlette(routes=[Mount("/er", site(shape, fence, book))])),
        Mount("/list", routes=[Mount("/er", routes=list(site(shape, fence, book).routes))])])
    if shape == "middleware":
        app = Starlette(routes=app.routes, middleware=[
            Middleware(CacheMiddleware, cache=fence, rules=[Rule("/list/{path:path}", **STALE)])])
    for path in ("/app/books", "/deep/er/books", "/list/er/books"):
        book.count = 0
        seen = []
        for step in range(3):
            if step == 1:
                await fence.expire_tags("book")
            seen.append((await ask(app, prefix + path, root_path=prefix)).body)
        assert (path, seen) == (path, [b"book 1", b"book 1", b"book 2"])
    assert {request.url.path for request in book.asked} == {
        prefix + path for path in ("/app/books", "/deep/er/books", "/list/er/books")}


@pytest.mark.parametrize("shape", WHOLE)
@pytest.mark.parametrize("order", ["outside", "inside"])
async def test_middleware_of_all_kinds_around_a_refresh(fence: AsyncCacheFence, shape: str, order: str) -> None:
    book = Book()
    book.gate.set()

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers["X-Stamp"] = "yes"
            return response

    async def endpoint(request: Request) -> Response:
        assert not request.session
        assert not request.user.is_authenticated
        return await book(request)

    class Known:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                named = any(name == b"cookie" for name, _ in scope["headers"])
                scope["user"] = SimpleUser("ann") if named and order == "inside" else UnauthenticatedUser()
                scope["auth"] = AuthCredentials()
            await self.app(scope, receive, send)

    around = [Middleware(Stamp), Middleware(SessionMiddleware, secret_key="s"), Middleware(Known)]
    if order == "outside" or shape == "view":
        app = site(shape, fence, endpoint, *around)
    else:
        inner = Starlette(routes=[Route("/books", endpoint)], middleware=around)
        app = Starlette(routes=[Mount("/", inner)], middleware=[
            Middleware(CacheMiddleware, cache=fence, rules=[Rule("/books", **STALE)])])
    await ask(app)
    await fence.expire_tags("book")
    async with asyncio.timeout(20):
        answers = [await ask(app) for _ in range(2)]
    assert [answer.body for answer in answers] == [b"book 1", b"book 2"]
    assert [answer.all("x-stamp") for answer in answers] == [["yes"]] * 2


async def test_a_session_that_a_refresh_begins_makes_its_page_nobody_else_s(fence: AsyncCacheFence) -> None:
    book = Book()
    book.gate.set()

    async def endpoint(request: Request) -> Response:
        if book.count:
            request.session["token"] = "secret"
        return await book(request)

    app = site("middleware", fence, endpoint, Middleware(SessionMiddleware, secret_key="s"))
    await ask(app)
    await fence.expire_tags("book")
    assert [(await ask(app)).body for _ in range(2)] == [b"book 1", b"book 1"]
    assert book.count == 2


@pytest.mark.parametrize("status", [401, 302])
async def test_p11_a_page_that_nobody_in_particular_cannot_reach_is_refreshed_by_its_visitors(
    fence: AsyncCacheFence, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    book = Book()
    book.gate.set()
    knocked = 0

    class Guard(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            nonlocal knocked
            if "cookie" not in request.headers:
                knocked += 1
                return Response(status_code=status)
            response: Response = await call_next(request)
            return response

    app = site("view", fence, book, Middleware(Guard), cookies="ignore")
    friend = [("Cookie", "friend=1")]
    await ask(app, headers=friend)
    await fence.expire_tags("book")
    with caplog.at_level(logging.WARNING):
        seen = [(await ask(app, headers=friend)).body for _ in range(3)]
    assert seen == [b"book 1", b"book 2", b"book 2"]
    assert knocked == 1
    assert "asked anew" in caplog.text


async def test_behind_a_guard_one_visitor_refreshes_and_the_others_see_the_old_page(fence: AsyncCacheFence) -> None:
    book = Book()

    async def endpoint(request: Request) -> Response:
        return await book(request)

    async def guard(request: Request) -> Response:
        if "cookie" not in request.headers:
            raise HTTPException(401)
        answer: Response = await view(request)
        return answer

    view = cache_view(cache=fence, cookies="ignore", **STALE)(endpoint)
    app = Starlette(routes=[Route("/books", guard)])
    friend = [("Cookie", "friend=1")]
    await ask(app, headers=friend)
    await fence.expire_tags("book")
    assert (await ask(app, headers=friend)).body == b"book 1"
    leader = asyncio.create_task(ask(app, headers=friend))
    await until(book.reached.is_set)
    assert (await ask(app, headers=friend)).body == b"book 1"
    book.gate.set()
    assert ((await leader).body, book.count) == (b"book 2", 2)


async def test_p7_a_server_that_cancels_a_refresh_leaves_it_to_the_next(fence: AsyncCacheFence) -> None:
    for shape in WHOLE:
        book = Book()
        app = site(shape, fence, book)
        await ask(app, "/books?" + shape)
        await fence.expire_tags("book")
        _, asking = await complete(app, Answer(), target="/books?" + shape)
        await until(book.reached.is_set)
        asking.cancel()
        await asyncio.wait([asking])
        book.gate.set()
        assert [(await ask(app, "/books?" + shape)).body for _ in range(2)] == [b"book 1", b"book 3"]
