"""Nobody waits for what has no end, nothing is asked of it behind a visitor's back, and a body unannounced is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cachefence_web import AsyncCacheFence
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view, refreshing, turn
from tests.starlette.asgi import Answer, ask, scope_of

SHAPES = ["middleware", "view"]
SPECS = ["2.3", "2.4"]


def site(shape: str, fence: AsyncCacheFence, endpoint: Any, **options: Any) -> Starlette:
    """The endpoint under /books, cached by the middleware or by itself."""

    async def books(request: Request) -> Response:
        answer: Response = await endpoint(request)
        return answer

    declared = {"ttl": 60, "tags": ["book"], **options}
    methods = ["GET", "POST"]
    if shape == "view":
        return Starlette(routes=[Route("/books", cache_view(cache=fence, **declared)(books), methods=methods)])
    return Starlette(routes=[Route("/books", books, methods=methods)], middleware=[
        Middleware(CacheMiddleware, cache=fence, rules=[Rule("/books", **declared)])])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "SLOW", 0.0)
    monkeypatch.setattr(refreshing, "PATIENCE", 0.0)


class Stream:
    """An endpoint whose first answer waits at a gate in the midst; the others are whole at once."""

    def __init__(self) -> None:
        self.count, self.gate = 0, asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.count += 1
        number = self.count

        async def chunks() -> AsyncIterator[bytes]:
            yield b"first "
            if number == 1:
                await self.gate.wait()
            yield b"last %d" % number

        return StreamingResponse(chunks())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("slow", ["reader", "stream"])
async def test_p1_nobody_waits_for_a_slow_reader_or_a_stream_without_end(fence: AsyncCacheFence, slow: str) -> None:
    stream, begun = Stream(), asyncio.Event()
    if slow == "reader":
        stream.gate.set()
    reads = asyncio.Event()
    app = site("middleware", fence, stream)

    async def on_send(message: Any) -> None:
        if message["type"] == "http.response.body":
            begun.set()
            if slow == "reader":
                await reads.wait()

    leader = asyncio.create_task(ask(app, on_send=on_send))
    await begun.wait()
    async with asyncio.timeout(20):
        others = await asyncio.gather(*[ask(app) for _ in range(5)])
    assert {answer.body[:6] for answer in others} == {b"first "}
    assert not leader.done()
    reads.set()
    stream.gate.set()
    answer = await leader
    assert answer.body == b"first last 1"
    assert stream.count > 1
    assert (await ask(app)).body != b"first last 1"


@pytest.mark.usefixtures("impatient")
async def test_a_store_that_is_away_when_patience_ends_does_not_touch_the_stream(
    fence: AsyncCacheFence, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream, tried = Stream(), asyncio.Event()
    app = site("middleware", fence, stream)

    async def away(*_: Any) -> None:
        tried.set()
        raise OSError("away")

    monkeypatch.setattr("cachefence_web.runtime.leading.AsyncLeading.pass_by", away)
    leader = asyncio.create_task(ask(app))
    async with asyncio.timeout(20):
        await tried.wait()
        stream.gate.set()
        assert (await leader).body == b"first last 1"
    assert "away" in caplog.text


async def test_who_is_patient_gets_the_one_stream_and_no_timer_stays(fence: AsyncCacheFence) -> None:
    stream, begun = Stream(), asyncio.Event()
    app = site("middleware", fence, stream)
    await fence.instant()  # a connection has tasks of its own
    before = asyncio.all_tasks()

    async def on_send(message: Any) -> None:
        begun.set()

    crowd = [asyncio.create_task(ask(app, on_send=on_send)) for _ in range(5)]
    await begun.wait()
    stream.gate.set()
    assert {answer.body for answer in await asyncio.gather(*crowd)} == {b"first last 1"}
    assert asyncio.all_tasks() <= before


class Endless:
    """An endpoint that has become an event stream; `deaf` goes on when its client is gone."""

    def __init__(self, *, deaf: bool) -> None:
        self.count, self.deaf, self.ended = 0, deaf, False

    async def __call__(self, request: Request) -> Response:
        self.count += 1
        if self.count == 1:
            return PlainTextResponse("page")
        return Deaf(self) if self.deaf else StreamingResponse(self._ticks(), media_type="text/event-stream")

    @staticmethod
    async def _ticks() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(0)


class Deaf(Response):
    media_type = "text/event-stream"

    def __init__(self, endless: Endless) -> None:
        super().__init__()
        del self.body
        del self.headers["content-length"]
        self._endless = endless

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await asyncio.Event().wait()
        finally:
            self._endless.ended = True


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("deaf", [False, True], ids=["listening", "deaf"])
async def test_p7_a_refresh_that_becomes_an_event_stream_ends(
    fence: AsyncCacheFence, shape: str, spec: str, deaf: bool
) -> None:
    endless = Endless(deaf=deaf)
    app = site(shape, fence, endless, stale_for=60)
    asgi = {"version": "3.0", "spec_version": spec}
    await ask(app, asgi=asgi)
    await fence.expire_tags("book")
    async with asyncio.timeout(20):
        assert (await ask(app, asgi=asgi)).body == b"page"
    assert (endless.count, endless.ended) == (2, deaf)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_whole_answer_that_is_not_kept_still_runs_its_background_tasks(
    fence: AsyncCacheFence, shape: str
) -> None:
    count, ran = 0, []

    async def later() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ran.append(count)

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1
        headers = {"Cache-Control": "no-store"} if count > 1 else {}
        return PlainTextResponse(f"page {count}", headers=headers, background=BackgroundTask(later))

    app = site(shape, fence, endpoint, stale_for=60)
    await ask(app)
    await fence.expire_tags("book")
    await ask(app)
    assert ran == [1, 2]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fate", ["ends", "fails", "cancelled", "client gone"])
async def test_p2_what_an_unsafe_request_changes_behind_its_answer_is_invalidated_whatever_its_fate(
    fence: AsyncCacheFence, shape: str, fate: str
) -> None:
    state, answered, gate, written = "old", asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write() -> None:
        nonlocal state
        await gate.wait()
        state = "new"
        written.set()
        if fate == "fails":
            raise LookupError("broken")
        if fate == "cancelled":
            await asyncio.Event().wait()

    async def endpoint(request: Request) -> Response:
        if request.method == "GET":
            return PlainTextResponse(state)
        return PlainTextResponse("done", background=BackgroundTask(write))

    async def on_send(message: Any) -> None:
        nonlocal state
        answered.set()
        if fate == "client gone":
            await gate.wait()
            state = "new"
            raise OSError("gone")

    app = site(shape, fence, endpoint)
    await ask(app)
    posting = asyncio.create_task(ask(app, method="POST", on_send=on_send))
    await answered.wait()
    assert (await ask(app)).body == b"old"  # stored anew, from before the write
    gate.set()
    if fate == "cancelled":
        await written.wait()
        posting.cancel()
    await asyncio.wait([posting])
    if not posting.cancelled():
        posting.exception()
    assert (await ask(app)).body == b"new"


async def ask_with(app: Any, body: bytes) -> Answer:
    """A GET with a body that no field announces."""
    answer = Answer()
    pieces = [body[:2], body[2:]]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        answer.messages.append(message)

    await app(scope_of(http_version="2"), receive, send)
    return answer


@pytest.mark.parametrize("shape", SHAPES)
async def test_p11_a_body_that_no_field_announces_makes_an_answer_nobody_else_s(
    fence: AsyncCacheFence, shape: str
) -> None:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(b"hello " + await request.body())

    app = site(shape, fence, endpoint)
    assert (await ask_with(app, b"EVIL")).body == b"hello EVIL"
    assert [(await ask(app)).body for _ in range(2)] == [b"hello ", b"hello "]
