"""Where several declarations apply, the nearest to the endpoint counts; other middleware around, inside and between."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from cachefence_web import AsyncCacheFence
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view
from tests.starlette.asgi import LONG, Answer, ask


class Counting:
    """An endpoint that knows how often it ran."""

    def __init__(self, make: Callable[[int, Request], Response] | None = None) -> None:
        self.count = 0
        self._make = make or (lambda count, _: PlainTextResponse(f"book {count}"))

    async def __call__(self, request: Request) -> Response:
        self.count += 1
        return self._make(self.count, request)


def route(path: str, endpoint: Any, **options: Any) -> Route:
    async def view(request: Request) -> Response:
        answer: Response = await endpoint(request)
        return answer

    return Route(path, cache_view(**options)(view) if options else view)


def caching(fence: AsyncCacheFence, *rules: Rule, **options: Any) -> Middleware:
    return Middleware(CacheMiddleware, cache=fence, rules=rules or [Rule("/{path:path}", ttl=60)], **options)


async def bodies(app: Any, target: str = "/books", times: int = 2, **more: Any) -> list[bytes]:
    return [(await ask(app, target, **more)).body for _ in range(times)]


def hit(answer: Answer) -> bool:
    return "; hit" in answer.cache_status


@pytest.mark.parametrize("around", ["rule", "headers"])
async def test_an_endpoint_s_own_declaration_wins_over_a_rule(fence: AsyncCacheFence, around: str) -> None:
    books, texts = Counting(), Counting()
    own = {"cache": fence, "tags": ["own"], "ttl": 300, "vary_on": ["X-Shelf"]}
    rules = [Rule("/{path:path}", ttl=60, tags=["site"])] if around == "rule" else None
    app = Starlette(routes=[route("/books", books, **own), route("/texts", texts)],
                    middleware=[Middleware(CacheMiddleware, cache=fence, rules=rules)])
    for shelf in ("a", "b"):
        made, found = [await ask(app, headers=[("X-Shelf", shelf)]) for _ in range(2)]
        assert (hit(made), hit(found), made.body) == (False, True, found.body)
        ttl = int(found.cache_status.rpartition("ttl=")[2])
        assert 300 - LONG <= ttl <= 300
        assert found.cache_status.count("cachefence") == 1
    assert books.count == 2
    await fence.invalidate_tags("own")
    assert (await ask(app, headers=[("X-Shelf", "a")])).body == b"book 3"
    if around == "rule":
        await fence.invalidate_tags("site")
        assert (await ask(app, headers=[("X-Shelf", "a")])).body == b"book 4"
        assert await bodies(app, "/texts") == [b"book 1"] * 2


async def test_p1_a_crowd_that_meets_at_the_inner_declaration_costs_one_call(fence: AsyncCacheFence) -> None:
    books = Counting()
    app = Starlette(routes=[route("/books", books, cache=fence, ttl=60)], middleware=[caching(fence)])
    answers = await asyncio.gather(*[ask(app) for _ in range(50)])
    assert ({answer.body for answer in answers}, books.count) == ({b"book 1"}, 1)


async def test_p11_a_rule_does_not_show_what_an_endpoint_keeps_from_those_with_cookies(
    fence: AsyncCacheFence
) -> None:
    books = Counting()
    app = Starlette(routes=[route("/books", books, cache=fence, ttl=60)],
                    middleware=[caching(fence, Rule("/books", ttl=60, cookies="ignore"))])
    assert await bodies(app) == [b"book 1"] * 2
    known = await ask(app, headers=[("Cookie", "id=1")])
    assert (known.body, "detail=cookie" in known.cache_status) == (b"book 2", True)
    fresh = Starlette(routes=app.routes, middleware=app.user_middleware)  # as another process would see it
    assert (await ask(fresh, headers=[("Cookie", "id=1")])).body == b"book 3"
    assert (await ask(fresh)).body == b"book 1"


async def test_the_rule_of_a_mount_or_a_route_wins_over_the_site_s(fence: AsyncCacheFence) -> None:
    books, texts = Counting(), Counting()
    near = caching(fence, Rule("/{path:path}", ttl=300, tags=["near"]))
    app = Starlette(middleware=[caching(fence, Rule("/{path:path}", ttl=60, tags=["site"]))], routes=[
        Mount("/shop", routes=[route("/books", books)], middleware=[near]),
        Route("/texts", lambda request: PlainTextResponse("text"), middleware=[near]),
        route("/far", texts)])
    for target in ("/shop/books", "/texts", "/far"):
        _, found = [await ask(app, target) for _ in range(2)]
        assert hit(found)
        assert (int(found.cache_status.rpartition("ttl=")[2]) > 60) == (target != "/far")
    for tag in ("near", "site"):
        await fence.invalidate_tags(tag)
        made, found = [await ask(app, "/shop/books") for _ in range(2)]
        assert (hit(made), hit(found)) == (False, True)


async def test_a_post_past_both_layers_invalidates_both(fence: AsyncCacheFence) -> None:
    books, texts = Counting(), Counting()

    async def both(request: Request) -> Response:
        return await books(request)

    app = Starlette(middleware=[caching(fence)], routes=[
        Route("/books", cache_view(cache=fence, ttl=60)(both), methods=["GET", "POST"]),
        Route("/texts", texts.__call__, methods=["GET", "POST"])])
    for target in ("/books", "/texts"):
        before = await bodies(app, target)
        await ask(app, target, method="POST")
        after = await bodies(app, target)
        assert before[0] == before[1] != after[0] == after[1]


@pytest.mark.parametrize("order", ["cache outside", "cache inside"])
@pytest.mark.parametrize("allowed", [["*"], ["https://a.example", "https://b.example"]], ids=["all", "some"])
async def test_cors_in_either_order(fence: AsyncCacheFence, order: str, allowed: list[str]) -> None:
    cors = Middleware(CORSMiddleware, allow_origins=allowed)
    both = [caching(fence), cors]
    app = Starlette(routes=[route("/books", Counting())], middleware=both if order == "cache outside" else both[::-1])
    assert await bodies(app) == [b"book 1"] * 2
    for origin in ("https://a.example", "https://b.example"):
        for _ in range(2):
            answer = await ask(app, headers=[("Origin", origin)])
            assert answer.all("access-control-allow-origin") == (["*"] if allowed == ["*"] else [origin])
    assert (await ask(app)).all("access-control-allow-origin") == []
    preflight = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")]
    assert (await ask(app, method="OPTIONS", headers=preflight)).body == b"OK"


@pytest.mark.parametrize("order", ["cache outside", "cache inside"])
@pytest.mark.parametrize("first", ["gzip", "identity"])
async def test_gzip_in_either_order(fence: AsyncCacheFence, order: str, first: str) -> None:
    books = Counting(lambda count, _: PlainTextResponse(f"{count}" * 2000))
    both = [caching(fence), Middleware(GZipMiddleware)]
    app = Starlette(routes=[route("/books", books)], middleware=both if order == "cache outside" else both[::-1])
    for coding in (first, "gzip", "identity", "gzip"):
        answer = await ask(app, headers=[("Accept-Encoding", coding)])
        coded = answer.all("content-encoding") == ["gzip"]
        assert coded <= (coding == "gzip")
        body = gzip.decompress(answer.body) if coded else answer.body
        assert len(body) == 2000
        if answer.all("content-length"):
            assert answer.all("content-length") == [str(len(answer.body))]
    assert books.count <= (1 if order == "cache inside" else 2)


@pytest.mark.parametrize("order", ["cache outside", "cache inside"])
async def test_sessions_in_either_order(fence: AsyncCacheFence, order: str) -> None:
    def make(count: int, request: Request) -> Response:
        if request.url.path == "/login":
            request.session["name"] = "ann"
        return PlainTextResponse(f"{count} for {request.session.get('name', 'nobody')}")

    page = Counting(make)
    both = [caching(fence), Middleware(SessionMiddleware, secret_key="s")]
    app = Starlette(routes=[route("/{path:path}", page)], middleware=both if order == "cache outside" else both[::-1])
    assert await bodies(app) == [b"1 for nobody"] * 2
    login = await ask(app, "/login")
    (cookie,) = login.all("set-cookie")
    ann = [("Cookie", cookie.partition(";")[0])]
    assert await bodies(app, headers=ann) == [b"3 for ann", b"4 for ann"]
    assert not hit(await ask(app, "/login"))
    assert (await ask(app)).body == b"1 for nobody"
    assert not (await ask(app)).all("set-cookie")


class Stamp(BaseHTTPMiddleware):
    """Says something of each response."""

    count = 0

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        type(self).count += 1
        response: Response = await call_next(request)
        response.headers["X-Stamp"] = str(self.count)
        return response


@pytest.mark.parametrize("order", ["cache outside", "cache inside"])
async def test_base_http_middleware_in_either_order_and_its_background_tasks(
    fence: AsyncCacheFence, order: str
) -> None:
    ran: list[int] = []
    books = Counting(lambda count, _: PlainTextResponse(f"book {count}", background=BackgroundTask(ran.append, count)))
    both = [caching(fence), Middleware(Stamp)]
    app = Starlette(routes=[route("/books", books)], middleware=both if order == "cache outside" else both[::-1])
    Stamp.count = 0
    async with asyncio.timeout(20):
        answers = [await ask(app) for _ in range(3)]
    assert [answer.body for answer in answers] == [b"book 1"] * 3
    assert [answer.all("x-stamp") for answer in answers] == [
        ["1"], *([["1"], ["1"]] if order == "cache outside" else [["2"], ["3"]])]
    assert (ran, [hit(answer) for answer in answers]) == ([1], [False, True, True])


def test_an_exception_is_a_500_and_the_last_good_page_stands_in_for_it() -> None:
    fails = False

    def make(count: int, request: Request) -> Response:
        if fails:
            raise LookupError("broken")
        return PlainTextResponse("good")

    fence = AsyncCacheFence("memory://")
    page = Counting(make)
    app = Starlette(routes=[route("/{path:path}", page)],
                    middleware=[caching(fence, Rule("/books", ttl=60, stale_if_error=60, tags=["book"]))])
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/books").text == "good"
        fails = True
        assert client.get("/other").status_code == 500
        client.portal.call(fence.expire_tags, "book")
        shown = client.get("/books")
        assert (shown.status_code, shown.text) == (200, "good")
        client.portal.call(fence.invalidate_tags, "book")
        assert client.get("/books").status_code == 500


@pytest.mark.parametrize("within", ["ServerErrorMiddleware", "a handler"])
async def test_a_500_made_inside_is_an_error_too(fence: AsyncCacheFence, within: str) -> None:
    fails = False

    async def endpoint(request: Request) -> Response:
        if fails:
            raise LookupError("broken")
        return PlainTextResponse("good")

    handlers = {Exception if within == "a handler" else KeyError: lambda *_: PlainTextResponse("bad", 500)}
    inner = Starlette(routes=[Route("/books", endpoint)], exception_handlers=handlers)
    app = CacheMiddleware(inner, fence, rules=[Rule("/books", ttl=60, stale_if_error=60, tags=["book"])])
    assert (await ask(app)).body == b"good"
    await fence.expire_tags("book")
    fails, messages = True, []

    async def on_send(message: Any) -> None:
        messages.append(message)

    with pytest.raises(LookupError):  # the application raises it all the same, for the server's log
        await ask(app, on_send=on_send)
    assert [messages[0]["status"], messages[1]["body"]] == [200, b"good"]


async def test_an_exception_after_the_beginning_is_the_client_s_and_nothing_is_stored(fence: AsyncCacheFence) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ha", "more_body": True})
        raise LookupError("broken")

    messages: list[Any] = []

    async def on_send(message: Any) -> None:
        messages.append(message)

    cached = CacheMiddleware(app, fence, rules=[Rule("/{path:path}", ttl=60)])
    with pytest.raises(LookupError):
        await ask(cached, on_send=on_send)
    assert [message.get("body") for message in messages] == [None, b"ha"]
    assert await fence.get("response:GET:http://shop.example/books") is None


async def test_files_are_stored_as_they_are_and_parts_of_them_served(fence: AsyncCacheFence, tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_bytes(b"0123456789" * 20_000)
    app = Starlette(routes=[
        Mount("/static", StaticFiles(directory=tmp_path)),
        Route("/file", lambda request: FileResponse(tmp_path / "a.txt"))], middleware=[caching(fence)])
    for target in ("/static/a.txt", "/file"):
        made, found = [await ask(app, target) for _ in range(2)]
        assert (made.body, hit(made), hit(found)) == (found.body, False, True)
        assert made.all("last-modified") == found.all("last-modified") != []
        part = await ask(app, target, headers=[("Range", "bytes=2-4")])
        assert (part.status, part.body, hit(part)) == (206, b"234", True)
        again = await ask(app, target, headers=[("If-None-Match", found.all("etag")[0])])
        assert (again.status, again.body) == (304, b"")
        head = await ask(app, target, method="HEAD")
        assert (head.body, head.all("content-length")) == (b"", ["200000"])


async def test_what_is_no_page_of_the_application_s_is_as_without_it(fence: AsyncCacheFence) -> None:
    plain = Router(routes=[Route("/books/", lambda request: PlainTextResponse("book"))])
    app = Starlette(routes=plain.routes, middleware=[caching(fence)])
    assert (await ask(app, "/books")).status == 307
    assert (await ask(app, "/none")).status == 404
    assert (await ask(app, "/books/", method="POST")).status == 405
