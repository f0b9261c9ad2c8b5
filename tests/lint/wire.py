"""Exact bytes to a server and back, and httplint's judgement of them; nothing in between that could mend either."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from httplint import HttpRequestLinter, HttpResponseLinter
from httplint.note import levels

from tests.servers import Server, free_port

ROOT = Path(__file__).parents[2]
AGENT = "cachefence-tests/1"

Kind = Literal["uvicorn", "gunicorn"]
Lines = list[tuple[bytes, bytes]]


class Site(Server):
    """An application made by a function of `tests.lint.sites`, under uvicorn or gunicorn."""

    def __init__(self, made_by: str, server: Kind) -> None:
        super().__init__()
        self._made_by, self._server = made_by, server
        self.port = free_port()

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        made_by = f"tests.lint.sites:{self._made_by}"
        words = [
            "uvicorn", "--host=127.0.0.1", f"--port={self.port}", "--log-level=warning", "--factory", made_by,
        ] if self._server == "uvicorn" else [
            "gunicorn", f"--bind=127.0.0.1:{self.port}", "--workers=1", "--threads=4", "--worker-class=gthread",
            "--log-level=warning", "--graceful-timeout=2", "--no-control-socket", f"{made_by}()",
        ]
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                                stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            return exchange(self.port, path="/health").status in (200, 404)
        except (OSError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response.

    body: without its transfer coding; cut: whether it missed its declared length; at: when it was answered.
    """

    method: str
    target: str
    asked: Lines
    version: bytes
    status: int
    phrase: bytes
    headers: Lines
    body: bytes
    cut: bool
    at: float

    def all(self, name: str) -> list[str]:
        """The lines of a field."""
        return [value.decode("latin-1") for header, value in self.headers if header.decode().lower() == name]

    @property
    def cache_status(self) -> str:
        return ", ".join(self.all("cache-status"))


@dataclass(frozen=True, slots=True)
class Remark:
    """What httplint noted of a message: the class of the note, how grave, and where and what in its words."""

    name: str
    level: levels
    subject: str
    summary: str


def exchange(
    port: int, *, method: str = "GET", path: str = "/page", headers: Mapping[str, str] | None = None
) -> Exchange:
    """Ask once on a connection of its own.

    Raises:
        ValueError: what came back is no HTTP/1 response.
    """
    asked = [(b"Host", b"127.0.0.1:%d" % port), (b"User-Agent", AGENT.encode()), (b"Accept-Encoding", b"identity"),
             *[(name.encode(), value.encode()) for name, value in (headers or {}).items()]]
    lines = b"".join(b"%s: %s\r\n" % line for line in asked)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (method.encode(), path.encode(), lines))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    at = time.time()
    head, divided, rest = received.partition(b"\r\n\r\n")
    if not divided:
        raise ValueError(f"no HTTP response: {received[:100]!r}")
    first, *fields = head.split(b"\r\n")
    version, status, phrase = (*first.split(b" ", 2), b"")[:3]
    answered = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in fields)]
    body, cut = _body(answered, rest, bodiless=method == "HEAD" or status in (b"204", b"304"))
    return Exchange(method, path, asked, version.removeprefix(b"HTTP/"), int(status), phrase, answered, body, cut, at)


def _body(headers: Lines, rest: bytes, *, bodiless: bool) -> tuple[bytes, bool]:
    """The content; a body where there must be none is left for httplint to see."""
    known = {name.lower(): value for name, value in headers}
    if known.get(b"transfer-encoding", b"").lower() != b"chunked":
        length = known.get(b"content-length")
        return rest, length is not None and not bodiless and len(rest) != int(length)
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunk = int(size.partition(b";")[0], 16)
        if chunk == 0:
            return body, False
        body, rest = body + rest[:chunk], rest[chunk + 2:]
    return body, not bodiless


def remarks(found: Exchange) -> list[Remark]:
    """What httplint notes of the response, the request known to it."""
    request = HttpRequestLinter()
    request.process_request_topline(found.method.encode(), found.target.encode(), b"1.1")
    request.process_headers(found.asked)
    request.finish_content(True)
    response = HttpResponseLinter(start_time=found.at, _related=request)
    response.is_head_response = found.method == "HEAD"
    response.process_response_topline(found.version, str(found.status).encode(), found.phrase)
    response.process_headers(found.headers)
    response.feed_content(found.body)
    response.finish_content(not found.cut)
    return [Remark(type(note).__name__, note.level, note.subject, note.summary) for note in response.notes]
