"""CacheMiddleware: what it shares, what it lets pass, and that it is not in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from cachefence_web import AsyncCacheFence, ConfigurationError, depends_on
from cachefence_web.starlette import CacheMiddleware, Rule
from tests.starlette.asgi import LONG, ask

EVERYTHING = Rule("/{path:path}", ttl=60)


def over(app: Any, fence: AsyncCacheFence, *rules: Rule, **options: Any) -> CacheMiddleware:
    return CacheMiddleware(app, fence, rules=rules or [EVERYTHING], **options)


def counting(make: Callable[[int], Response] = lambda count: PlainTextResponse(f"book {count}")) -> Any:
    """An application that knows how often it was asked."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        app.count += 1  # type: ignore[attr-defined]
        await make(app.count)(scope, receive, send)  # type: ignore[attr-defined]

    app.count = 0  # type: ignore[attr-defined]
    return app


async def test_p1_a_crowd_costs_one_call_of_the_application(fence: AsyncCacheFence) -> None:
    app = counting()
    answers = await asyncio.gather(*[ask(over(app, fence)) for _ in range(100)])
    assert {answer.body for answer in answers} == {b"book 1"}
    assert app.count == 1


async def test_a_hit_is_the_answer_that_was_made_and_says_so(fence: AsyncCacheFence) -> None:
    app = over(counting(lambda _: PlainTextResponse("book", headers={"X-Shelf": "3"})), fence)
    began = time.monotonic()
    made, found = await ask(app), await ask(app)
    assert (made.status, made.body, made.cache_status) == (200, b"book", "cachefence; fwd=miss; stored")
    assert found.cache_status.startswith("cachefence; hit; ttl=")
    assert (found.body, found.all("x-shelf")) == (b"book", ["3"])
    (age,) = found.all("age")
    # What the store's clock says is known to within the time that its answer took.
    assert 0 <= int(age) <= 2 * (time.monotonic() - began)
    assert found.all("content-length") == ["4"]


async def test_p2_an_invalidation_is_seen_by_the_next_request(fence: AsyncCacheFence) -> None:
    app = counting()
    cached = over(app, fence, Rule("/books/{book_id:int}", ttl=60, tags=["book:{book_id}"]))
    assert [(await ask(cached, path)).body for path in ("/books/1", "/books/2", "/books/1")] == [
        b"book 1", b"book 2", b"book 1"]
    await fence.invalidate_tags("book:1")
    assert (await ask(cached, "/books/1")).body == b"book 3"
    assert (await ask(cached, "/books/2")).body == b"book 2"


async def test_p2_a_tag_found_by_the_endpoint_counts(fence: AsyncCacheFence) -> None:
    async def endpoint(request: Request) -> Response:
        depends_on("rate:eur")
        endpoint.count += 1  # type: ignore[attr-defined]
        return PlainTextResponse(str(endpoint.count))  # type: ignore[attr-defined]

    endpoint.count = 0  # type: ignore[attr-defined]
    app = over(Starlette(routes=[Route("/books", endpoint)]), fence)
    assert [(await ask(app)).body, (await ask(app)).body] == [b"1", b"1"]
    await fence.invalidate_tags("rate:eur")
    assert (await ask(app)).body == b"2"


async def test_the_entry_is_there_before_the_last_byte_goes_out(fence: AsyncCacheFence) -> None:
    app = counting()
    inner = []

    async def on_send(message: Any) -> None:
        if message["type"] == "http.response.body" and not inner:
            inner.append(await ask(over(app, fence)))

    await ask(over(app, fence), on_send=on_send)
    assert inner[0].body == b"book 1"
    assert app.count == 1


async def test_background_tasks_run_after_the_answer_and_do_not_delay_the_others(fence: AsyncCacheFence) -> None:
    done, begun = asyncio.Event(), asyncio.Event()

    async def later() -> None:
        begun.set()
        await done.wait()

    app = counting(lambda _: PlainTextResponse("book", background=BackgroundTask(later)))
    cached = over(app, fence)
    first = asyncio.create_task(ask(cached))
    await begun.wait()
    assert (await ask(cached)).cache_status.startswith("cachefence; hit")
    assert not first.done()
    done.set()
    assert (await first).body == b"book"


@pytest.mark.parametrize("headers", [
    {"Set-Cookie": "a=b"}, {"Cache-Control": "private"}, {"Cache-Control": "NO-STORE"}, {"Vary": "*"},
    {"Content-Type": "text/event-stream"}, {"Content-Length": "3"},
    {"Content-Range": "bytes 0-3/9"},
])
async def test_p11_what_is_not_for_everybody_is_asked_for_each_time(
    fence: AsyncCacheFence, headers: dict[str, str]
) -> None:
    app = counting(lambda count: Response(f"{count:04}", headers=headers))
    cached = over(app, fence)
    assert [(await ask(cached)).body for _ in range(3)] == [b"0001", b"0002", b"0003"]


@pytest.mark.parametrize("status", [201, 204, 206, 301, 304, 404, 500])
async def test_p11_only_a_200_is_stored_and_statuses_stay(fence: AsyncCacheFence, status: int) -> None:
    app = counting(lambda _: Response(status_code=status))
    assert [(await ask(over(app, fence))).status for _ in range(2)] == [status, status]
    assert app.count == 2


@pytest.mark.parametrize("header", [("Authorization", "Basic eA=="), ("Cookie", "id=1")])
async def test_p11_a_request_with_credentials_passes_by(
    fence: AsyncCacheFence, header: tuple[str, str]
) -> None:
    app = counting()
    cached = over(app, fence)
    assert (await ask(cached)).body == b"book 1"
    assert (await ask(cached, headers=[header])).body == b"book 2"
    assert (await ask(cached)).body == b"book 1"


async def test_p11_an_answer_that_begins_a_session_is_not_stored_inside_of_it(fence: AsyncCacheFence) -> None:
    async def endpoint(request: Request) -> Response:
        request.session["seen"] = True
        return PlainTextResponse("token")

    app = Starlette(routes=[Route("/books", endpoint)], middleware=[
        Middleware(SessionMiddleware, secret_key="s"), Middleware(CacheMiddleware, cache=fence, rules=[EVERYTHING])])
    answers = [await ask(app), await ask(app)]
    assert "detail=personal" in answers[0].cache_status
    assert all(answer.all("set-cookie") and "hit" not in answer.cache_status for answer in answers)


async def test_keys_tell_methods_hosts_queries_and_raw_paths_apart(fence: AsyncCacheFence) -> None:
    app = counting()
    cached = over(app, fence)
    targets = ["/x?a=1", "/x%3Fa=1", "/x?a=1&a=2", "/x?a=2&a=1", "/x", "/x?"]
    bodies = [(await ask(cached, target)).body for target in targets]
    assert len(set(bodies)) == 5  # an empty query is no query
    assert (await ask(cached, "/x?a=1", host="other.example")).body not in bodies
    assert (await ask(cached, "/x?a=1", method="OPTIONS")).body not in bodies
    assert (await ask(cached, "/x?a=1")).body == bodies[0]


async def test_a_part_is_served_of_what_is_whole_in_the_store_and_asked_for_where_nothing_is(
    fence: AsyncCacheFence
) -> None:
    cached = over(counting(), fence)
    part = ("Range", "bytes=0-3")
    assert (await ask(cached, headers=[part])).body == b"book 1"
    assert (await ask(cached)).body == b"book 2"
    found = await ask(cached, headers=[part])
    assert (found.status, found.body, found.all("content-range")) == (206, b"book", ["bytes 0-3/6"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
async def test_an_unsafe_method_that_succeeds_invalidates_the_address(fence: AsyncCacheFence, method: str) -> None:
    cached = over(counting(), fence)
    assert [(await ask(cached)).body for _ in range(2)] == [b"book 1"] * 2
    assert (await ask(cached, method=method)).body == b"book 2"
    assert (await ask(cached)).body == b"book 3"


async def test_keys_hold_the_root_path_whoever_puts_it_where(fence: AsyncCacheFence) -> None:
    app = counting()
    cached = over(app, fence)
    one = await ask(cached, "/a/x", root_path="/a")
    assert (await ask(cached, "/x", root_path="/a")).body == one.body
    assert (await ask(cached, "/x", root_path="/b")).body != one.body
    rewritten = await ask(cached, "/a/x", path="/de/x")
    assert rewritten.body != one.body


async def test_mounted_applications_are_told_apart(fence: AsyncCacheFence) -> None:
    app = counting()
    inside = over(app, fence)
    outer = Starlette(routes=[Mount("/one", inside), Mount("/two", inside)])
    assert [(await ask(outer, path)).body for path in ("/one/x", "/two/x", "/one/x")] == [
        b"book 1", b"book 2", b"book 1"]


async def test_variants_live_side_by_side_and_absent_is_not_empty(fence: AsyncCacheFence) -> None:
    app = counting(lambda count: PlainTextResponse(str(count), headers={"Vary": "Accept-Language"}))
    cached = over(app, fence, Rule("/books", ttl=60, vary_on=["Accept-Language"]))
    wanted = [[("Accept-Language", "de")], [("Accept-Language", "en")], [("Accept-Language", "")], []]
    first = [(await ask(cached, headers=headers)).body for headers in wanted]
    assert first == [b"1", b"2", b"3", b"4"]
    assert [(await ask(cached, headers=headers)).body for headers in wanted] == first


async def test_head_gets_the_stored_headers_and_is_never_stored(fence: AsyncCacheFence) -> None:
    app = counting()
    cached = over(app, fence)
    await ask(cached, method="HEAD")
    assert (await ask(cached)).body == b"book 2"
    head = await ask(cached, method="HEAD")
    assert (head.body, head.all("content-length"), app.count) == (b"", ["6"], 2)


async def test_who_has_it_already_gets_a_304(fence: AsyncCacheFence) -> None:
    cached = over(counting(), fence)
    (tag,) = (await ask(cached)).all("etag")
    again = await ask(cached, headers=[("If-None-Match", tag)])
    assert (again.status, again.body, again.all("content-length")) == (304, b"", [])


async def test_repeated_headers_stay_as_they_were(fence: AsyncCacheFence) -> None:
    def make(_: int) -> Response:
        response = PlainTextResponse("book")
        response.raw_headers += [(b"link", b"<a>"), (b"x-a", b"1"), (b"link", b"<b>")]
        return response

    cached = over(counting(make), fence)
    assert [(await ask(cached)).all("link") for _ in range(2)] == [["<a>", "<b>"]] * 2


async def test_a_stream_within_the_size_is_stored_whole(fence: AsyncCacheFence) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    app = counting(lambda _: StreamingResponse(chunks()))
    cached = over(app, fence)
    assert [(await ask(cached)).body for _ in range(2)] == [b"one two"] * 2
    assert app.count == 1


async def test_a_stream_beyond_the_size_passes_at_once_and_frees_those_who_wait(fence: AsyncCacheFence) -> None:
    # All three are in the midst of it at once: nobody waits for the first to end.
    passing = asyncio.Barrier(3)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"12345"
        yield b"67890"
        await passing.wait()
        yield b"end"

    app = counting(lambda _: StreamingResponse(chunks()))
    cached = over(app, fence, largest=8)
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*[ask(cached) for _ in range(3)])
    assert {answer.body for answer in answers} == {b"1234567890end"}


async def test_a_stream_cut_short_is_not_stored_and_somebody_else_takes_over(fence: AsyncCacheFence) -> None:
    class Short(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ha", "more_body": True})

    app = counting(lambda count: Short() if count == 1 else PlainTextResponse("whole"))
    cached = over(app, fence)
    first, second = await asyncio.gather(ask(cached), ask(cached))
    assert (first.body, second.body) == (b"ha", b"whole")
    assert (await ask(cached)).body == b"whole"
    assert app.count == 2


async def test_p7_a_cancelled_leader_is_replaced(fence: AsyncCacheFence) -> None:
    stuck = asyncio.Event()

    class Stuck(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            stuck.set()
            await asyncio.Event().wait()

    app = counting(lambda count: Stuck() if count == 1 else PlainTextResponse("book"))
    cached = over(app, fence)
    leader = asyncio.create_task(ask(cached))
    await stuck.wait()
    followers = [asyncio.create_task(ask(cached)) for _ in range(10)]
    await asyncio.sleep(0)
    leader.cancel()
    assert {answer.body for answer in await asyncio.gather(*followers)} == {b"book"}
    assert app.count == 2
    with pytest.raises(asyncio.CancelledError):
        await leader


@pytest.mark.usefixtures("gated")
async def test_p8_one_failure_is_everybody_s(fence: AsyncCacheFence) -> None:
    def make(_: int) -> Response:
        raise LookupError("broken")

    app = counting(make)
    cached = over(app, fence)
    failures = await asyncio.gather(*[ask(cached) for _ in range(20)], return_exceptions=True)
    assert {repr(failure) for failure in failures} == {"LookupError('broken')"}
    assert app.count == 1


async def test_p8_the_last_good_page_stands_in_for_one_that_fails(fence: AsyncCacheFence) -> None:
    def make(count: int) -> Response:
        if count > 1:
            raise LookupError("broken")
        return PlainTextResponse("book")

    app = counting(make)
    cached = over(app, fence, Rule("/{path:path}", ttl=60, stale_if_error=60, tags=["book"]))
    await ask(cached)
    await fence.expire_tags("book")
    shown = await ask(cached)
    assert (shown.status, shown.body, app.count) == (200, b"book", 2)


async def test_p8_the_last_good_page_stands_in_for_one_that_breaks_off(fence: AsyncCacheFence) -> None:
    calls: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        calls.append(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if len(calls) > 1:
            await send({"type": "http.response.body", "body": b"ha", "more_body": True})
            raise LookupError("broken")
        await send({"type": "http.response.body", "body": b"book"})

    cached = over(app, fence, Rule("/{path:path}", ttl=60, stale_if_error=60, tags=["book"]))
    await ask(cached)
    await fence.expire_tags("book")
    shown = await ask(cached)
    assert (shown.status, shown.body, len(calls)) == (200, b"book", 2)


async def test_p1_a_condition_of_the_leader_s_is_answered_by_the_cache(fence: AsyncCacheFence) -> None:
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(Request(scope).headers.get("if-none-match", "whole"))
        made = Response(status_code=304) if asked[-1] != "whole" else PlainTextResponse("x", headers={"ETag": '"1"'})
        await made(scope, receive, send)

    cached = over(app, fence)
    answers = await asyncio.gather(*[ask(cached, headers=[("If-None-Match", '"1"')]) for _ in range(20)])
    assert ({answer.status for answer in answers}, asked) == ({304}, ["whole"])


async def test_p11_who_is_known_does_not_get_what_strangers_get(fence: AsyncCacheFence) -> None:
    cached = over(counting(), fence)
    stranger, known = [SimpleNamespace(is_authenticated=each) for each in (False, True)]
    assert [(await ask(cached, user=user)).body for user in (stranger, known, stranger)] == [
        b"book 1", b"book 2", b"book 1"]


async def test_a_failure_in_the_background_is_its_own_client_s(fence: AsyncCacheFence) -> None:
    def fail() -> None:
        raise LookupError("later")

    cached = over(counting(lambda _: PlainTextResponse("book", background=BackgroundTask(fail))), fence)
    with pytest.raises(LookupError):
        await ask(cached)
    assert (await ask(cached)).body == b"book"


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.zerocopysend", "http.response.trailers"])
async def test_what_is_sent_by_other_means_passes(fence: AsyncCacheFence, kind: str) -> None:
    class Other(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": "trailers" in kind})
            await send({"type": kind})

    app = counting(lambda _: Other())
    cached = over(app, fence)
    for _ in range(2):
        assert [message["type"] for message in (await ask(cached)).messages] == ["http.response.start", kind]
    assert app.count == 2


async def test_early_hints_go_out_before_the_answer_is_known(fence: AsyncCacheFence) -> None:
    class Hinting(PlainTextResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
            await super().__call__(scope, receive, send)

    cached = over(counting(lambda _: Hinting("book")), fence)
    assert [message["type"] for message in (await ask(cached)).messages] == [
        "http.response.early_hint", "http.response.start", "http.response.body"]
    assert len((await ask(cached)).messages) == 2


async def test_the_body_of_the_request_is_the_application_s_to_read(fence: AsyncCacheFence) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    cached = over(Starlette(routes=[Route("/books", endpoint)]), fence)
    async with asyncio.timeout(20):
        assert [(await ask(cached)).body for _ in range(2)] == [b"0", b"0"]


async def test_the_first_rule_that_matches_counts_and_other_paths_are_untouched(fence: AsyncCacheFence) -> None:
    app = counting()
    cached = over(app, fence, Rule("/books/new", ttl=60), Rule("/books/{slug}", ttl=60, tags=["books"]))
    assert not (await ask(cached, "/authors")).cache_status
    first = [(await ask(cached, path)).body for path in ("/books/new", "/books/a")]
    await fence.invalidate_tags("books")
    second = [(await ask(cached, path)).body for path in ("/books/new", "/books/a")]
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_websockets_and_lifespan_are_untouched(namespace: str) -> None:
    happened: list[str] = []

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
        await websocket.close()

    class Lifespan:
        def __init__(self, app: object) -> None: ...

        async def __aenter__(self) -> None:
            happened.append("up")

        async def __aexit__(self, *_: object) -> None:
            happened.append("down")

    app = Starlette(
        routes=[WebSocketRoute("/ws", echo), Route("/books", lambda request: JSONResponse({"a": 1}))],
        lifespan=Lifespan,
        middleware=[Middleware(CacheMiddleware, cache="memory://", rules=[EVERYTHING])])
    with TestClient(app) as client:
        with client.websocket_connect("/ws") as websocket:
            websocket.send_text("hello")
            assert websocket.receive_text() == "hello"
        assert [client.get("/books").json() for _ in range(2)] == [{"a": 1}] * 2
    assert happened == ["up", "down"]


async def test_a_cache_of_its_own_is_closed_at_shutdown_and_another_s_is_not(
    fence: AsyncCacheFence, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[AsyncCacheFence] = []

    async def aclose(self: AsyncCacheFence) -> None:
        closed.append(self)

    monkeypatch.setattr(AsyncCacheFence, "aclose", aclose)

    async def live(app: Any) -> list[str]:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent: list[str] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(f"{message['type']} {len(closed)}")

        await app({"type": "lifespan", "app": app, "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        return sent

    own = CacheMiddleware(Starlette(), "memory://", rules=[EVERYTHING])
    assert await live(own) == ["lifespan.startup.complete 0", "lifespan.shutdown.complete 1"]
    await live(over(Starlette(), fence))
    assert len(closed) == 1
    monkeypatch.undo()


async def test_p10_nothing_is_left_behind(store: str, namespace: str) -> None:
    before = asyncio.all_tasks()
    async with AsyncCacheFence(store, namespace=namespace, timeout=LONG) as fence:
        cached = over(counting(), fence)
        await asyncio.gather(*[ask(cached, f"/{number % 5}") for number in range(50)])
    assert asyncio.all_tasks() == before


WRONG: dict[str, Callable[[], object]] = {
    "no slash": lambda: Rule("books", ttl=60),
    "no life": lambda: Rule("/books", ttl=0),
    "no such option": lambda: Rule("/books", tll=60),  # type: ignore[call-arg]
    "a text of tags": lambda: Rule("/books", tags="book"),
    "no such parameter": lambda: Rule("/books/{id}", tags=["book:{pk}"]),
    "a text of headers": lambda: Rule("/books", vary_on="Accept"),
    "no such word": lambda: Rule("/books", cookies="maybe"),  # type: ignore[arg-type]
    "no such convertor": lambda: Rule("/books/{id:nope}", ttl=60),
    "no rules": lambda: CacheMiddleware(Starlette(), "memory://", rules=[]),
    "a text of rules": lambda: CacheMiddleware(Starlette(), "memory://", rules="/books"),  # type: ignore[arg-type]
    "no cache": lambda: CacheMiddleware(Starlette(), 7, rules=[EVERYTHING]),  # type: ignore[arg-type]
    "no store": lambda: CacheMiddleware(Starlette(), "http://x", rules=[EVERYTHING]),
    "no such policy": lambda: CacheMiddleware(Starlette(), "memory://", rules=[Rule("/", policy="catalog")]),
    "no size": lambda: CacheMiddleware(Starlette(), "memory://", rules=[EVERYTHING], largest=-1),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused_at_once(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        wrong()


async def test_without_a_cache_the_error_says_what_to_do() -> None:
    app = Starlette(middleware=[Middleware(CacheMiddleware, rules=[EVERYTHING])])
    with pytest.raises(ConfigurationError, match="install"):
        await ask(app)
