"""Streams under a real server: the first byte goes out before the last is made, and a client's end is its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cachefence_web import AsyncCacheFence
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view
from tests.starlette.asgi import ask


class Pieces:
    """An endpoint that streams, each time waiting at a gate in the midst of it."""

    def __init__(self, kind: str = "text/plain", size: int = 0) -> None:
        self.count = self.ended = 0
        self.gate = asyncio.Event()
        self._kind, self._size = kind, size

    async def __call__(self, request: Request) -> Response:
        self.count += 1
        number = self.count

        async def chunks() -> AsyncIterator[bytes]:
            try:
                yield b"first %d " % number + b"-" * self._size
                await self.gate.wait()
                yield b"last"
            finally:
                self.ended += 1

        return StreamingResponse(chunks(), media_type=self._kind)


class Client:
    """One connection, and what came over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.received = b""

    async def until(self, part: bytes) -> bytes:
        async with asyncio.timeout(20):
            while part not in self.received:
                read = await self._reader.read(65536)
                assert read, self.received
                self.received += read
        return self.received

    async def whole(self) -> bytes:
        async with asyncio.timeout(20):
            self.received += await self._reader.read()
        await self.close()
        return self.received

    async def close(self, *, abruptly: bool = False) -> None:
        if abruptly:
            self._writer.transport.abort()
        else:
            self._writer.close()
            await self._writer.wait_closed()


Connect = Callable[[str], Any]


@asynccontextmanager
async def served(endpoint: Any, fence: AsyncCacheFence, **options: Any) -> AsyncIterator[Connect]:
    """The endpoint under /books, cached by the middleware, on a socket; what connects to it asks at once."""

    async def books(request: Request) -> Response:
        answer: Response = await endpoint(request)
        return answer

    rule = Rule("/books", **{"ttl": 60, "tags": ["book"], **options})
    cached = Middleware(CacheMiddleware, cache=fence, rules=[rule])
    app = Starlette(routes=[Route("/books", books)], middleware=[cached])
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve([listening]))

    async def connect(target: str = "/books") -> Client:
        client = Client(*await asyncio.open_connection(*listening.getsockname()))
        client._writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return client

    try:
        yield connect
    finally:
        server.should_exit = True
        async with asyncio.timeout(20):
            await serving
        listening.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


async def test_the_first_piece_arrives_before_the_last_is_made_and_the_next_request_is_a_hit(
    fence: AsyncCacheFence
) -> None:
    pieces = Pieces()
    async with served(pieces, fence) as connect:
        client = await connect()
        await client.until(b"first 1")
        pieces.gate.set()
        await client.until(b"last")
        answer = await (await connect()).whole()
        assert b"; hit" in answer
        assert b"first 1 last" in answer
        await client.whole()
    assert pieces.count == 1


async def test_a_request_sent_upon_the_last_piece_is_a_hit(fence: AsyncCacheFence) -> None:
    pieces, found = Pieces(), []
    pieces.gate.set()
    app = CacheMiddleware(Starlette(routes=[Route("/books", pieces_of(pieces))]), fence,
                          rules=[Rule("/books", ttl=60)])

    async def on_send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            found.append(await ask(app))

    await ask(app, on_send=on_send)
    assert ([answer.body for answer in found], pieces.count) == ([b"first 1 last"], 1)


def pieces_of(pieces: Pieces) -> Any:
    async def books(request: Request) -> Response:
        return await pieces(request)

    return books


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
async def test_a_client_that_goes_in_the_midst_fails_nobody_and_nothing_is_stored_of_it(
    fence: AsyncCacheFence, abruptly: bool
) -> None:
    pieces = Pieces()
    async with served(pieces, fence) as connect:
        leader = await connect()
        await leader.until(b"first 1")
        followers = [await connect() for _ in range(5)]
        await leader.close(abruptly=abruptly)
        await until(lambda: pieces.ended == 1)
        pieces.gate.set()
        answers = [await follower.whole() for follower in followers]
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        assert {answer.count(b"last") for answer in answers} == {1}
        assert b"; hit" in await (await connect()).whole()
    assert pieces.count == 2


async def test_a_client_that_goes_while_its_page_is_made_does_not_take_it_from_the_others(
    fence: AsyncCacheFence
) -> None:
    reached, gate, count = asyncio.Event(), asyncio.Event(), 0

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1
        reached.set()
        await gate.wait()
        return PlainTextResponse(f"book {count}")

    async with served(endpoint, fence) as connect:
        leader = await connect()
        await reached.wait()
        followers = [await connect() for _ in range(5)]
        await leader.close()
        gate.set()
        answers = [await follower.whole() for follower in followers]
        assert {answer.rpartition(b"\r\n")[2] for answer in answers} == {b"book 1"}
    assert count == 1


async def test_event_streams_reach_everybody_at_once(fence: AsyncCacheFence) -> None:
    pieces = Pieces("text/event-stream")
    async with served(pieces, fence) as connect:
        clients = [await connect() for _ in range(5)]
        for client in clients:
            await client.until(b"first")
        assert pieces.count == 5
        pieces.gate.set()
        for client in clients:
            assert b"last" in await client.whole()


async def test_a_stream_beyond_the_size_reaches_everybody_at_once(fence: AsyncCacheFence) -> None:
    pieces = Pieces(size=2 * 1024 * 1024)
    async with served(pieces, fence) as connect:
        clients = [await connect() for _ in range(3)]
        for client in clients:
            await client.until(b"-" * 1024)
        await until(lambda: pieces.count == 3)
        pieces.gate.set()
        for client in clients:
            assert b"last" in await client.whole()
        assert b"; hit" not in await (await connect()).whole()


@pytest.mark.parametrize("by", ["middleware", "view"])
async def test_a_stale_page_arrives_whole_while_the_new_one_is_made(fence: AsyncCacheFence, by: str) -> None:
    reached, gate, count = asyncio.Event(), asyncio.Event(), 0

    async def endpoint(request: Request) -> Response:
        nonlocal count
        count += 1
        if count > 1:
            reached.set()
            await gate.wait()
        return PlainTextResponse(f"book {count}")

    page = cache_view(cache=fence, ttl=60, stale_for=60, tags=["book"])(endpoint) if by == "view" else endpoint
    async with served(page, fence, stale_for=60) as connect:
        await (await connect()).whole()
        await fence.expire_tags("book")
        assert b"book 1" in await (await connect()).whole()  # to the end of the connection, in front of the gate
        await reached.wait()
        gate.set()
        await until(lambda: count == 2)
        async with asyncio.timeout(20):
            while b"book 2" not in await (await connect()).whole():
                pass
    assert count == 2
