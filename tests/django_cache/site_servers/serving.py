"""The site under gunicorn and uvicorn, clients that stay connected, and a line to Redis that can be held."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.django import serving

ROOT = Path(__file__).parents[3]
MODULE = "tests.django_cache.site_servers.served"
PATIENCE = 60.0
"""Seconds after which what should have come has not."""

THREADS = 4
"""How many requests a process of gunicorn serves at once."""

WSGI = ("gunicorn", f"{MODULE}:wsgi", "--worker-class=gthread", f"--threads={THREADS}", "--keep-alive=60",
        "--no-control-socket", "--graceful-timeout=2")
ASGI = ("uvicorn", f"{MODULE}:asgi", "--timeout-keep-alive=60", "--timeout-graceful-shutdown=2", "--lifespan=off")


class Site(serving.Site):
    """`served` behind one of the two servers, in so many processes."""

    def __init__(self, server: Sequence[str], *, workers: int, environment: Mapping[str, str]) -> None:
        super().__init__(server[0], workers=workers, environment=environment)
        self._server = server

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        program, *rest = self._server
        address = [f"--bind=127.0.0.1:{self.port}"] if program == "gunicorn" else [f"--port={self.port}"]
        python = [sys.executable, "-W", "error::ResourceWarning"]
        subprocess.run([*python, "-c", f"import {MODULE} as site; site.prepare()"],
                       cwd=ROOT, env=self._environment, check=True)
        served = [program, *rest, *address, f"--workers={self._workers}", "--backlog=1024", "--log-level=warning"]
        return subprocess.Popen(
            [*python, "-m", *served], cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True)


class Client:
    """A connection that the server keeps, and the process at its other end.

    A server may close it between two requests, and gunicorn does so once in a while under load: like any client, this
    one then asks again on another (RFC 9112, section 9.3.1).
    """

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    def __init__(self, port: int) -> None:
        self._port = port
        self.process = ""

    @classmethod
    @asynccontextmanager
    async def at(cls, port: int) -> AsyncIterator[Client]:
        """Connect, and ask who is there; hang up in the end."""
        client = cls(port)
        await client._connect()
        try:
            client.process = await client.ask("/who")
            yield client
        finally:
            await client._hang_up()

    async def ask(self, path: str) -> str:
        """The body; one of another status than 200 begins with it."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._ask(path)
            except (asyncio.IncompleteReadError, ConnectionError) as cut:
                if getattr(cut, "partial", b""):
                    raise
            await self._hang_up()
            await self._connect()
            return await self._ask(path)

    async def _ask(self, path: str) -> str:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = head.partition("content-length: ")[2].partition("\r\n")[0]
        body = (await self._reader.readexactly(int(size))).decode()
        status = head.split(" ", 2)[1]
        return body if status == "200" else f"{status} {body}"

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def _hang_up(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Crowd:
    """Clients that are all connected before the first of them asks for anything."""

    def __init__(self) -> None:
        self.clients: list[Client] = []

    def reaches(self, workers: int, share: int) -> bool:
        """Whether each worker has its share of the clients."""
        shares = Counter(client.process for client in self.clients)
        return len(shares) == workers and min(shares.values()) >= share

    async def ask(self, path: str) -> list[str]:
        """What each of them is told; one barrier holds all of them until all are there."""
        barrier = asyncio.Barrier(len(self.clients))

        async def one(client: Client) -> str:
            await barrier.wait()
            return await client.ask(path)

        return list(await asyncio.gather(*[one(client) for client in self.clients]))


@asynccontextmanager
async def crowd(port: int, *, least: int, workers: int, share: int) -> AsyncIterator[Crowd]:
    """So many clients, and more until each worker has its share of them: one may start late."""
    gathered = Crowd()
    async with AsyncExitStack() as connected:
        async with asyncio.timeout(PATIENCE):
            while len(gathered.clients) < least or not gathered.reaches(workers, share):
                gathered.clients.append(await connected.enter_async_context(Client.at(port)))
        yield gathered


class Line:
    """A way to Redis whose replies can be held back: what is asked goes through, no answer comes."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = 0
        """Where it listens, once it does."""
        self._held = False
        self._gate = asyncio.Event()
        self.holding = asyncio.Event()
        """Set while there is a reply that is held back."""
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Listen until the end of the block."""
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    def hold(self) -> None:
        """From now on, hold replies back."""
        self._held = True

    def step(self) -> None:
        """Let those go on that are held back, and hold the next ones."""
        self.holding.clear()
        self._gate.set()
        self._gate = asyncio.Event()

    def release(self) -> None:
        """Hold nothing any more."""
        self._held = False
        self.step()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            for way in (self._pump(reader, back, held=False), self._pump(there, writer, held=True)):
                task = asyncio.create_task(way)
                self._tasks.add(task)
        except ConnectionError:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, held: bool) -> None:
        try:
            while data := await reader.read(65_536):
                if held and self._held:
                    self.holding.set()
                    await self._gate.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
