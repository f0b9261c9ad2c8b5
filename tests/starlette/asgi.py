"""ASGI by hand, for what no client lets one do, and a real server with a crowd in front of it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import Server

ROOT = Path(__file__).parents[2]
LONG = 60.0
"""Seconds for which no machine stands still."""


@dataclass
class Answer:
    """What an application sent."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def start(self) -> dict[str, Any]:
        return next(message for message in self.messages if message["type"] == "http.response.start")

    @property
    def status(self) -> int:
        return int(self.start["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def cache_status(self) -> str:
        return ", ".join(self.all("cache-status"))

    def all(self, name: str) -> list[str]:
        return [value.decode() for field, value in self.start["headers"] if field.decode().lower() == name]


def scope_of(
    target: str = "/books", *, method: str = "GET", headers: Iterable[tuple[str, str]] = (), host: str = "shop.example",
    **more: Any,
) -> dict[str, Any]:
    """The scope of a request for what stands in its first line."""
    from urllib.parse import unquote

    raw, _, query = target.partition("?")
    fields = [(b"host", host.encode())] + [(name.lower().encode(), value.encode()) for name, value in headers]
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(),
        "root_path": "", "headers": fields, "client": ("127.0.0.1", 1), "server": ("shop.example", 80), **more,
    }


async def ask(app: Any, target: str = "/books", *, on_send: Callable[[Any], Any] | None = None, **more: Any) -> Answer:
    """One request; `on_send` is awaited with each message, as a server would be that takes its time."""
    answer = Answer()

    async def receive() -> dict[str, Any]:
        if not hasattr(answer, "asked"):
            answer.asked = True  # type: ignore[attr-defined]
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if on_send is not None:
            await on_send(message)
        answer.messages.append(message)

    await app(scope_of(target, **more), receive, send)
    return answer


class Uvicorn(Server):
    """An application of the tests under uvicorn, its computes and its truth in files of the server's folder."""

    def __init__(self, application: str, *, workers: int, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._application, self._workers, self._environment = application, workers, environment
        # Bound for as long as this lives, so that no other process is given the port before the server has it.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port: int = self._held.getsockname()[1]

    def close(self) -> None:
        super().close()
        self._held.close()

    @property
    def computes(self) -> list[str]:
        """What was computed so far, a line each."""
        file = self.folder / "computes.txt"
        return file.read_text().splitlines() if file.exists() else []

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        options = ["--host=127.0.0.1", f"--port={self.port}", f"--workers={self._workers}", "--log-level=warning",
                   "--timeout-graceful-shutdown=2", "--backlog=1024", f"--timeout-worker-healthcheck={LONG:.0f}"]
        return subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "uvicorn", *options, self._application],
            cwd=ROOT, env={**os.environ, **self._environment, "SERVED": str(self.folder)},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


async def crowd(port: int, path: str, clients: int, *, method: str = "GET") -> list[str]:
    """The bodies that as many clients get who all ask at once; a body of another status begins with it."""
    turnstile = asyncio.Semaphore(100)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with turnstile:
            return await asyncio.open_connection("127.0.0.1", port)

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = (await asyncio.wait_for(reader.read(), LONG)).decode()
        writer.close()
        await writer.wait_closed()
        status = received.partition(" ")[2][:3]
        body = received.partition("\r\n\r\n")[2]
        return body if status == "200" else f"{status} {body}"

    connections = await asyncio.gather(*[connect() for _ in range(clients)])
    return list(await asyncio.gather(*[exchange(*connection) for connection in connections]))
