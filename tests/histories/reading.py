"""Readers: each thread or task asks for one page after the other and writes down what it saw, and when."""

from __future__ import annotations

import asyncio
import http.client
import io
import random
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import psycopg
from asgiref.sync import sync_to_async
from django.core.handlers.wsgi import WSGIHandler
from django.db import DatabaseError, InterfaceError, connection, connections, transaction
from django.test import AsyncRequestFactory
from msgspec import Struct
from sqlalchemy.exc import DBAPIError

from cachefence_web.django import fence
from cachefence_web.errors import ComputeFailed
from tests.histories.alchemy import AsyncLibrary, Library
from tests.histories.company import Life, Tally
from tests.histories.history import Pen, Read, Seen
from tests.histories.pages import PAGES, STRICT, VIEWS
from tests.histories.place import HOST, ROWS, Place

BUFFERED = 100

BURSTS = (1, 3, 10, 30)
"""Times that the same is asked for."""

TASKS = 8
"""That read in one event loop: what they ask for in one turn of it travels together."""


class Page(Struct, frozen=True):
    """The body of a page."""

    seen: list[Seen]
    total: int | None = None
    partial: bool = False


class Witness:
    """One thread or task that reads: it has seen the versions that it has."""

    def __init__(self, place: Place, life: Life, tally: Tally, number: int) -> None:
        self.name = f"{life.number}.{number}"
        self.chance = random.Random(f"{place.seed} {self.name}")
        self._life, self._tally = life, tally
        self._pen = Pen(place.path / f"reads-{self.name}", BUFFERED)
        self._unsaid = 0
        self._notes: dict[str, int] = {}
        self._burst = 0, ("", 0)

    def goes_on(self) -> bool:
        """Whether to read another page."""
        going = self._life.goes_on()
        if not going:
            self._pen.flush()
        return going

    def wait(self, seconds: float) -> None:
        """Let others do something."""
        self._life.over.wait(seconds)

    def pick(self, *kinds: str) -> tuple[str, int]:
        """What to ask for, and of which row: mostly what was asked for just now, as by a crowd."""
        left, picked = self._burst
        if not left:
            left, picked = self.chance.choice(BURSTS), (self.chance.choice(kinds), self.chance.choice(ROWS))
        self._burst = left - 1, picked
        return picked

    def path(self, *kinds: str) -> str:
        """The path of some page of these."""
        kind, row = self.pick(*kinds)
        if kind == "awaited":
            return f"/awaited/{row}/{self._notes.get(f'n{row}', 0) + 1}/"
        return f"/{kind}/{row}/"

    def saw(self, page: str, start: int, body: bytes | Page, *, hit: bool = False, end: int | None = None) -> None:
        """Write an answer down."""
        found = body if isinstance(body, Page) else _decoder.decode(body)
        self._pen.write(Read(self.name, page, start, end or time.monotonic_ns(), found.seen, hit, found.total,
                             found.partial, STRICT in page))
        for thing, version, _ in found.seen:
            if thing[0] == "n":
                self._notes[thing] = version
        self._unsaid += 1
        if self._unsaid >= BUFFERED:
            self._tally.add(self._life.place, self._unsaid)
            self._unsaid = 0


KINDS = (*["detail"] * 4, "awaited", STRICT, *PAGES)
"""Most visitors look at one thing."""
_decoder = msgspec.json.Decoder(Page)


def in_threads(read: Callable[[Witness], None], threads: int, place: Place, tally: Tally, life: Life) -> None:
    """Read in so many threads of this process, until it is told to end."""
    witnesses = [Witness(place, life, tally, number) for number in range(threads)]
    failures: list[BaseException] = []

    def kept(witness: Witness) -> None:
        try:
            read(witness)
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    running = [threading.Thread(target=kept, args=(witness,)) for witness in witnesses]
    for thread in running:
        thread.start()
    for thread in running:
        while thread.is_alive() and not failures:
            thread.join(0.1)  # so that the main thread hears its signal
    if failures:
        raise failures[0]


def through_the_handler(witness: Witness) -> None:
    """Django's own, as a server calls it."""
    handler = WSGIHandler()
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        told[:] = status, {name.lower(): value for name, value in headers}

    while witness.goes_on():
        page = witness.path(*KINDS)
        start = time.monotonic_ns()
        response = handler(_environ(page), start_response)
        body = b"".join(response)
        end = time.monotonic_ns()
        response.close()
        if told[0].startswith("200"):
            witness.saw(page, start, body, hit="hit" in told[1].get("cache-status", ""), end=end)


def _environ(page: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET", "PATH_INFO": page, "SCRIPT_NAME": "", "QUERY_STRING": "", "HTTP_HOST": HOST,
        "SERVER_NAME": HOST, "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False}


class _Unix(http.client.HTTPConnection):
    """To a server behind a unix socket."""

    def __init__(self, address: str) -> None:
        super().__init__(HOST, timeout=30)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._address)


def over_http(address: str, witness: Witness) -> None:
    """From gunicorn, whose workers may be dead."""
    while witness.goes_on():
        page = witness.path(*KINDS)
        server = _Unix(address)
        start = time.monotonic_ns()
        try:
            server.request("GET", page)
            answer = server.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            witness.wait(0.01)  # it may be about to listen, and shall have the time
            continue
        finally:
            server.close()
        if answer.status == 200:
            witness.saw(page, start, body, hit="hit" in (answer.getheader("Cache-Status") or ""))


def within_snapshots(witness: Witness) -> None:
    """Cached values asked for within a transaction that sees the database as it was: nobody else may be shown those."""
    while witness.goes_on():
        kind, row = witness.pick("detail", "whole", "joined")
        start = time.monotonic_ns()
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT 1 FROM histories_register")
                witness.wait(witness.chance.random() * 0.02)  # while others write
                found = fence().get_or_set(f"snap:{kind}:{row}", partial(PAGES[kind], row), ttl=3600)
        except (DatabaseError, InterfaceError, ComputeFailed):
            connection.close()
            continue
        witness.saw(f"snapshot:{kind}:{row}", start, msgspec.convert(found, Page))
        start = time.monotonic_ns()
        try:
            found = fence().get_or_set(f"snap:{kind}:{row}", partial(PAGES[kind], row), ttl=3600)
        except (DatabaseError, InterfaceError, ComputeFailed):
            connection.close()
            continue
        witness.saw(f"snap:{kind}:{row}", start, msgspec.convert(found, Page))


def in_a_loop(place: Place, tally: Tally, life: Life) -> None:
    """Coroutines: an asynchronous view, and values of SQLAlchemy's, whose tags are those of Django's tables."""
    asyncio.run(_tasks(place, tally, life))


async def _tasks(place: Place, tally: Tally, life: Life) -> None:
    async def of_django(witness: Witness) -> None:
        requests = AsyncRequestFactory(headers={"host": HOST})
        while witness.goes_on():
            kind, row = witness.pick("adetail")
            start = time.monotonic_ns()
            try:
                response = await VIEWS["adetail"](requests.get(f"/{kind}/{row}/"), row=row)
            except Exception as error:
                if not is_lost(error):
                    raise
                await sync_to_async(connections.close_all)()
                continue
            witness.saw(f"/{kind}/{row}/", start, response.content, hit="hit" in response.get("Cache-Status", ""))

    async def of_alchemy(witness: Witness) -> None:
        while witness.goes_on():
            kind, row = witness.pick(*library.KINDS)
            start = time.monotonic_ns()
            try:
                found, hit = await library.read(kind, row)
            except Exception as error:
                if not is_lost(error):
                    raise
                continue
            witness.saw(f"alchemy:{kind}:{row}", start, Page(*found), hit=hit)

    async with AsyncLibrary(place) as library:
        witnesses = [Witness(place, life, tally, number) for number in range(TASKS)]
        await asyncio.gather(of_django(witnesses[0]), *map(of_alchemy, witnesses[1:]))


def of_sqlalchemy(place: Place, tally: Tally, life: Life) -> None:
    """Values of SQLAlchemy's, in threads."""
    with Library(place) as library:

        def read(witness: Witness) -> None:
            while witness.goes_on():
                kind, row = witness.pick(*library.KINDS)
                start = time.monotonic_ns()
                try:
                    found, hit = library.read(kind, row)
                except Exception as error:
                    if not is_lost(error):
                        raise
                    continue
                witness.saw(f"alchemy:{kind}:{row}", start, Page(*found), hit=hit)

        in_threads(read, 2, place, tally, life)


def is_lost(error: Exception) -> bool:
    """Whether it is the nemesis's work: a connection that was ended, here or beneath another's compute."""
    return any(isinstance(each, DatabaseError | InterfaceError | DBAPIError | psycopg.Error | ComputeFailed)
               for each in (error, error.__cause__, error.__context__))
