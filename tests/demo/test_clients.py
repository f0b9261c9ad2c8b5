"""The crowd is a real crowd, and what goes wrong with an answer is told from a good one."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from cachefence_web.demo import clients
from cachefence_web.demo.clients import Expected, burst, hidden_fields, make_room
from cachefence_web.demo.scenario import CannotRun
from tests.servers import free_port

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """A server that says to each connection what it is told to."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0, backlog=1024)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/page?a=1"


def ignore(answers: int) -> None:
    """Hear nothing of the progress."""


async def failures(message: bytes) -> set[str]:
    """What a crowd of three makes of an answer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(message)

    async with talking(talk) as url:
        return {answer.failure for answer in await burst(Expected(url, "new", "old"), 3, ignore)}


def page(text: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode()


async def test_no_client_is_answered_before_all_have_asked() -> None:
    crowd, heard = asyncio.Barrier(300), []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        # Opens only once all are here at the same time.
        await crowd.wait()
        writer.write(page("new"))

    counts: list[int] = []
    async with talking(talk) as url:
        answers = await burst(Expected(url, "new", "old"), 300, counts.append)
    assert {answer.failure for answer in answers} == {""}
    assert counts == list(range(1, 301))
    assert heard[0].startswith(b"GET /page?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        (page("new"), ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nne\r\n1\r\nw\r\n0\r\n\r\n", ""),
        (page("nothing"), "a page without “new”"),
        (page("old and new"), "a page that still says “old”"),
        (page("new", "500 Oops"), "status 500"),
        (page("new")[:-1], "an answer that was cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-", "an answer that was cut short"),
        (b"not http at all\r\n\r\n", "an answer that was cut short"),
        (b"", "no answer"),
    ],
)
async def test_an_answer_is_judged_by_status_text_and_completeness(message: bytes, failure: str) -> None:
    assert await failures(message) == {failure}


async def test_a_server_that_never_answers_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 0.05)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(talk) as url:
        answers = await burst(Expected(url, "new", "old"), 2, ignore)
    assert [answer.failure for answer in answers] == ["no answer", "no answer"]


async def test_a_client_hangs_up_as_soon_as_it_is_answered() -> None:
    turn = asyncio.Lock()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Like gunicorn, which closes one connection after the other and lingers on each until it is closed.
        async with turn:
            writer.write(page("new"))
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()

    async with talking(talk) as url:
        answers = await burst(Expected(url, "new", "old"), 3, ignore)
    assert {answer.failure for answer in answers} == {""}


async def test_a_closed_door_is_no_broken_promise() -> None:
    with pytest.raises(CannotRun, match="only 0 of 2 connections"):
        await burst(Expected(f"http://127.0.0.1:{free_port()}/", "new", "old"), 2, ignore)


def test_hidden_fields_are_found_as_a_browser_finds_them() -> None:
    form = '<INPUT type=hidden name="token" value="a&amp;b"><input name="title"><input type="hidden" name="e">'
    assert hidden_fields(form) == {"token": "a&b", "e": ""}


def test_more_clients_than_files_can_be_open_is_refused_with_the_remedy() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine sets no limit")
    with pytest.raises(CannotRun, match=r"ulimit -Hn.*--clients"):
        make_room(hard)
