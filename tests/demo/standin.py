"""A project of the examples' shape without their frameworks, which can be told to break a promise.

It lies as `run.py` in a folder like theirs. `mood.txt` beside it says how it behaves: `good`, `stampedes` (each
reader asks the database), `stale` (a save changes nothing), `breaks` (with the cache one answer in four is an
error), `silent` (it never answers), `quits` (it ends at once), `shy` (it logs no query), `picky` (it takes no save).
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

HERE = Path(__file__).resolve().parent
TOKEN = "of-this-visitor"
FORM = f'<form><input type="hidden" name="token" value="{TOKEN}"><input name="title"></form>'


class Shop:
    """One title, kept on disk and in a cache of a single page."""

    def __init__(self, *, mood: str, cached: bool) -> None:
        self.mood = mood
        self.breaks = cached and mood == "breaks"
        self._cached = cached and mood != "stampedes"
        self._title = "Old Title"
        self._page: bytes | None = None
        self._lock = threading.Lock()

    def page(self) -> bytes:
        if not self._cached:
            return self._compute()
        with self._lock:
            if self._page is None:
                self._page = self._compute()
            return self._page

    def save(self, title: str) -> None:
        with self._lock:
            self._title = title
            if self.mood != "stale":
                self._page = None

    def _compute(self) -> bytes:
        if self.mood != "shy":
            log = os.open(os.environ["QUERY_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(log, b"slow query\n")
            os.close(log)
        return f"<h1>{self._title}</h1>".encode()


class Server(ThreadingHTTPServer):
    """Takes a crowd at the door at once."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, port: int, shop: Shop) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.shop = shop
        self.asked = itertools.count(1)


class Handler(BaseHTTPRequestHandler):
    """The page, the form and the health check."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, b"ok")
        elif self.path == "/edit":
            self._answer(200, FORM.encode(), cookie=TOKEN)
        elif self.server.shop.breaks and next(self.server.asked) % 4 == 0:
            self._answer(500, b"oops")
        else:
            self._answer(200, self.server.shop.page())

    def do_POST(self) -> None:
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if self.server.shop.mood == "picky":
            self._answer(200, FORM.encode())
        elif fields.get("token") != [TOKEN] or TOKEN not in self.headers.get("Cookie", ""):
            self._answer(403, b"no token")
        else:
            self.server.shop.save(fields["title"][0])
            self._answer(302, b"", location="/")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _answer(self, status: int, body: bytes, *, cookie: str = "", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if cookie:
            self.send_header("Set-Cookie", f"token={cookie}")
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--redis")
    parser.add_argument("--no-cache", action="store_true")
    options = parser.parse_args()
    mood = (HERE / "mood.txt").read_text()
    (HERE / "pid.txt").write_text(str(os.getpid()))
    if mood == "quits":
        sys.exit("the till is empty")
    if mood == "silent":
        threading.Event().wait()
    Server(options.port, Shop(mood=mood, cached=not options.no_cache)).serve_forever()


if __name__ == "__main__":
    main()
