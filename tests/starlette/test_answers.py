"""Whatever an endpoint of cache_view's answers: streams and files go out as they are, what is over is forgotten."""

from __future__ import annotations

import asyncio
import copy
import gc
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import cachefence_web.responding.loops
from cachefence_web import AsyncCacheFence
from cachefence_web.core.flight import Fitness
from cachefence_web.starlette import cache_view
from cachefence_web.starlette.exchange import Followed
from cachefence_web.starlette.layers import Conversing
from tests.starlette.asgi import ask


async def chunks() -> AsyncIterator[bytes]:
    yield b"st"
    yield b"ream"


ANSWERS: dict[str, Callable[[Path], Response]] = {
    "text": lambda _: PlainTextResponse("text"),
    "stream": lambda _: StreamingResponse(chunks()),
    "file": lambda folder: FileResponse(folder / "file.txt"),
    "no content": lambda _: Response(status_code=204),
}


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_unsafe_request_is_answered_as_the_endpoint_does(
    fence: AsyncCacheFence, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("file")
    order: list[str] = []

    async def endpoint(request: Request) -> Response:
        answer = ANSWERS[kind](tmp_path)
        answer.background = BackgroundTask(order.append, "background")
        return answer

    async def outside(request: Request) -> Response:
        answer: Response = await cache_view(cache=fence, ttl=60)(endpoint)(request)
        answer.headers["X-Outside"] = "yes"
        answer.set_cookie("seen", "yes")
        return answer

    bare = await ask(Starlette(routes=[Route("/books", endpoint, methods=["POST"])]), method="POST")
    app = Starlette(routes=[Route("/books", outside, methods=["POST"])])
    answer = await ask(app, method="POST")
    assert (answer.status, answer.body) == (bare.status, bare.body)
    assert [answer.all(name) for name in ("content-type", "content-length", "x-outside", "set-cookie")] == [
        bare.all("content-type"), bare.all("content-length"), ["yes"], ["seen=yes; Path=/; SameSite=lax"]]
    assert order == ["background"] * 2


async def test_a_followed_answer_is_followed_once_though_it_is_copied() -> None:
    ran: list[str] = []

    async def run() -> None:
        ran.append("run")

    def drop() -> None:
        ran.append("dropped")

    followed = Followed(PlainTextResponse("text"), run, drop)
    followed.status_code = 201
    made = copy.copy(followed)
    made.headers["X-Copy"] = "yes"
    assert "x-copy" in made.headers
    del followed
    gc.collect()
    await asyncio.sleep(0)
    assert ran == []
    answer = await ask(made)
    assert (answer.status, answer.body, answer.all("x-copy"), ran) == (201, b"text", ["yes"], ["run"])
    del made
    gc.collect()
    await asyncio.sleep(0)
    assert ran == ["run"]


async def test_p2_an_answer_that_is_over_is_not_shown_again(fence: AsyncCacheFence) -> None:
    fails: list[Any] = [None, 404, 500]
    count = 0

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1
        return PlainTextResponse(f"page {count}", status_code=fails[count - 1] or 200)

    app = Starlette(routes=[Route("/books", cache_view(
        cache=fence, ttl=60, stale_if_error=600, tags=["book"])(endpoint))])
    kept = "endpoint:response:GET:http://shop.example/books"
    assert (await ask(app)).status == 200
    await fence.expire_tags("book")
    assert await fence.peek(kept, fitness=lambda _: Fitness.SUFFICES) is not None
    assert (await ask(app)).status == 404
    assert await fence.peek(kept, fitness=lambda _: Fitness.SUFFICES) is None
    assert (await ask(app)).status == 500


def test_a_layer_has_all_that_conversations_ask_of_a_cache() -> None:
    source = Path(cachefence_web.responding.loops.__file__).read_text()
    asked = set(re.findall(r"\b_?fence\.(\w+)\(", source))
    assert asked == {name for name in vars(Conversing) if not name.startswith("_")}


async def test_p11_a_variant_is_refreshed_as_itself(fence: AsyncCacheFence) -> None:
    count = 0

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1
        who = request.cookies.get("who", "nobody")
        return PlainTextResponse(f"{who} {count}", headers={
            "Vary": "Cookie", "Cache-Control": "max-age=60, stale-while-revalidate=600"})

    app = Starlette(routes=[Route("/books", cache_view(cache=fence, freshness="headers", tags=["book"])(endpoint))])
    ann, bob = [[("Cookie", f"who={who}")] for who in ("ann", "bob")]
    assert [(await ask(app, headers=who)).body for who in (ann, bob)] == [b"ann 1", b"bob 2"]
    await fence.expire_tags("book")
    seen = [[(await ask(app, headers=who)).body for who in (ann, bob)] for _ in range(2)]
    assert seen == [[b"ann 1", b"bob 2"], [b"ann 3", b"bob 4"]]
