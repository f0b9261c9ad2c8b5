"""Django under the servers that people run it with, and a crowd in front of it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers import Server, free_port

ROOT = Path(__file__).parents[2]


class Site(Server):
    """`tests.django.served` under gunicorn (threads, or one at a time) or uvicorn (an event loop), in processes."""

    def __init__(self, kind: str, *, workers: int, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._kind, self._workers = kind, workers
        self._environment = {**os.environ, **environment, "SERVED": str(self.folder)}
        self.port = free_port()

    @property
    def computes(self) -> list[str]:
        """What was computed so far, a line each."""
        file = self.folder / "computes.txt"
        return file.read_text().splitlines() if file.exists() else []

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        python = [sys.executable, "-W", "error::ResourceWarning"]
        subprocess.run([*python, "-c", "import tests.django.served as site; site.prepare()"],
                       cwd=ROOT, env=self._environment, check=True)
        threads = ["--worker-class=gthread", "--threads=32"] if self._kind == "gunicorn" else ["--worker-class=sync"]
        served = [
            "gunicorn", f"--bind=127.0.0.1:{self.port}", f"--workers={self._workers}", *threads, "--backlog=1024",
            "--log-level=warning", "--graceful-timeout=2",
            "--no-control-socket",
            "tests.django.served:wsgi",
        ] if self._kind.startswith("gunicorn") else [
            "uvicorn", "--host=127.0.0.1", f"--port={self.port}", f"--workers={self._workers}", "--backlog=1024",
            "--log-level=warning", "--timeout-graceful-shutdown=2", "--lifespan=off", "tests.django.served:asgi",
        ]
        return subprocess.Popen(
            [*python, "-m", *served], cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


async def crowd(port: int, path: str, clients: int) -> list[str]:
    """The bodies that as many clients get who all ask at once; a body of another status begins with it."""
    turnstile = asyncio.Semaphore(100)

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with turnstile:
            return await asyncio.open_connection("127.0.0.1", port)

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = (await asyncio.wait_for(reader.read(), 60)).decode()
        writer.close()
        await writer.wait_closed()
        status, body = received.partition(" ")[2][:3], received.partition("\r\n\r\n")[2]
        return body if status == "200" else f"{status} {body}"

    connections = await asyncio.gather(*[connect() for _ in range(clients)])
    return list(await asyncio.gather(*[ask(*connection) for connection in connections]))
