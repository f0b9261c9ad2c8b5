"""The origin under uvicorn, with either of its HTTP/1.1 parsers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.conformance.origin import NOT_CONDITIONAL, create
from tests.servers import Server, free_port

ROOT = Path(__file__).parents[2]
Parser = Literal["httptools", "h11"]


class Served(Server):
    """The origin in a process of its own; cache: the address of the middleware's, None for no middleware."""

    def __init__(self, parser: Parser, *, cache: str | None, dated: bool = False) -> None:
        super().__init__()
        self._parser = parser
        self._environment: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CONFORMANCE_")},
            "CONFORMANCE_DATED": "1" if dated else "0", **({"CONFORMANCE_CACHE": cache} if cache else {}),
        }
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where the origin answers, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.served", str(self.port), self._parser], cwd=ROOT,
            env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


class SuiteServer(Server):
    """The suite's own server, without any cache."""

    def __init__(self, suite: Path) -> None:
        super().__init__()
        self._suite = suite
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it answers, without a slash at its end."""
        return f"http://localhost:{self.port}"

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ, "npm_config_protocol": "http", "npm_config_port": str(self.port),
            "npm_config_pidfile": str(self.folder / "server.pid"),
        }
        return subprocess.Popen(
            ["node", "server/server.mjs"], cwd=self._suite, env=environment, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        return "Listening" in self.log()


def hinting(app: ASGIApp) -> ASGIApp:
    """Add to uvicorn what it lacks on HTTP/1.1: early hints, written where it would write."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        async def hint(message: Message) -> None:
            if message["type"] == "http.response.early_hint":
                links = b"".join(b"link: %s\r\n" % link for link in message["links"])
                transport: asyncio.Transport = getattr(send, "__self__").transport  # noqa: B009 (no type knows it)
                transport.write(b"HTTP/1.1 103 Early Hints\r\n%s\r\n" % links)
            else:
                await send(message)

        if scope["type"] == "http":
            scope.setdefault("extensions", {})["http.response.early_hint"] = {}
        await app(scope, receive, hint)

    return respond


def serve(port: int, parser: Parser) -> None:
    """Serve the origin until a signal comes."""
    # The suite's own status for a request that should have been conditional: tables of statuses end at 599.
    if parser == "httptools":
        from uvicorn.protocols.http import httptools_impl

        httptools_impl.STATUS_LINE[NOT_CONDITIONAL] = b"HTTP/1.1 999 \r\n"
    else:
        from uvicorn.protocols.http import h11_impl

        h11_impl.STATUS_PHRASES[NOT_CONDITIONAL] = b""
    uvicorn.run(
        hinting(create()), proxy_headers=False, host="127.0.0.1", port=port, http=parser, backlog=1024,
        log_level="warning", date_header=False, server_header=False, timeout_graceful_shutdown=2)


if __name__ == "__main__":
    serve(int(sys.argv[1]), "h11" if sys.argv[2] == "h11" else "httptools")
