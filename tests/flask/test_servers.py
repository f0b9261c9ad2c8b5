"""Under gunicorn: 500 visitors at once cost one compute, and a saved row is seen by the next."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from sqlalchemy import text

from tests.servers import Server

PROJECT = Path(__file__).parents[2]
VISITORS = 500


class Gunicorn(Server):
    """The library under gunicorn."""

    def __init__(self, cache: str, namespace: str, workers: int, kind: str = "gthread") -> None:
        super().__init__()
        self.kind = kind
        # Bound for as long as this lives, so that no other process is given the port before the server has it.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self.port = self._held.getsockname()[1]
        self.workers = workers
        self.environment = os.environ | {
            "LIBRARY_CACHE": cache, "LIBRARY_NAMESPACE": namespace, "LIBRARY_FOLDER": str(self.folder)}

    def close(self) -> None:
        super().close()
        self._held.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def made(self) -> int:
        """How often the page has been begun, over all workers."""
        log = self.folder / "made.log"
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        subprocess.run([sys.executable, "-c", PREPARE], check=True, env=self.environment, cwd=PROJECT)
        options = [f"--bind=127.0.0.1:{self.port}", f"--workers={self.workers}", "--backlog=1024",
                   f"--worker-class={self.kind}", "--no-control-socket", "--log-level=warning"]
        if self.kind == "gthread":
            options.append("--threads=64")
        return subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-m", "gunicorn", *options,
             "tests.flask.library:create_app()"],
            env=self.environment, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            with urlopen(self.url("/health")) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


PREPARE = """
from tests.flask.library import Book, create_app, db
with create_app().app_context():
    db.create_all()
    db.session.add(Book(id=1, title="Old"))
    db.session.commit()
"""


@pytest.fixture(params=[("memory", 1), ("redis", 2)], ids=["memory-1-worker", "redis-2-workers"])
def library(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> Iterator[Gunicorn]:
    kind, workers = request.param
    with Gunicorn("memory://" if kind == "memory" else redis_url, namespace, workers) as server:
        yield server


async def crowd(library: Gunicorn) -> list[bytes]:
    """All visitors have asked before the page can be made."""
    with (library.folder / "gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        asked = await asyncio.gather(*[ask(library) for _ in range(VISITORS)])
    return await asyncio.gather(*[answer(*connection) for connection in asked])


async def ask(library: Gunicorn) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", library.port)
    writer.write(b"GET /books/1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % library.port)
    await writer.drain()
    return reader, writer


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    received = await reader.read()
    writer.close()  # at once: the server waits for it before it closes the next connection
    await writer.wait_closed()
    return received


def get(library: Gunicorn, path: str = "/books/1") -> str:
    with urlopen(library.url(path)) as answer:  # noqa: S310
        return str(answer.read().decode())


def post(library: Gunicorn, path: str, title: str) -> None:
    with urlopen(library.url(path), urlencode({"title": title}).encode()) as answer:  # noqa: S310
        assert answer.status == 200


def test_p1_p3_a_crowd_costs_one_compute_and_a_save_is_seen_by_the_next_visitor(library: Gunicorn) -> None:
    answers = asyncio.run(crowd(library))
    assert {answer.splitlines()[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert {answer.splitlines()[-1] for answer in answers} == {b"Old"}
    assert library.made() == 1

    post(library, "/books/1", "New")
    assert [get(library) for _ in range(8)] == ["New"] * 8
    assert library.made() == 2

    post(library, "/books/1/undone", "Never")
    assert [get(library) for _ in range(8)] == ["New"] * 8
    assert library.made() == 2

    answers = asyncio.run(crowd(library))
    assert {answer.splitlines()[-1] for answer in answers} == {b"New"}
    assert library.made() == 2
    assert "Warning" not in library.log()
    assert "Error" not in library.log()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
@pytest.mark.parametrize("where", ["memory", "redis"])
def test_p1_a_stale_page_has_gone_out_before_its_view_has_made_a_new_one(
    redis_url: str, namespace: str, kind: str, where: str,
) -> None:
    with Gunicorn("memory://" if where == "memory" else redis_url, namespace, 1, kind) as library:
        assert get(library, "/news") == "edition 1"
        get(library, "/old-news")
        with (library.folder / "gate").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            # The view cannot end before this has been answered.
            assert get(library, "/news") == "edition 1"
            if kind == "gthread":
                assert [get(library, "/news") for _ in range(4)] == ["edition 1"] * 4
        # A worker without threads answers nobody before it is done; one with threads is asked until it is.
        deadline = time.monotonic() + 30
        while get(library, "/news") != "edition 2":
            assert kind == "gthread"
            assert time.monotonic() < deadline
        assert library.made() == 2
        assert "Error" not in library.log()


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_p1_a_client_that_is_gone_leaves_its_stale_page_to_be_made_anew(namespace: str, kind: str) -> None:
    with Gunicorn("memory://", namespace, 1, kind) as library:
        assert get(library, "/news") == "edition 1"
        get(library, "/old-news")
        client = socket.create_connection(("127.0.0.1", library.port))
        client.sendall(f"GET /news HTTP/1.1\r\nHost: 127.0.0.1:{library.port}\r\n\r\n".encode())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        # The server may drop what comes from a closed connection unread; then the next visitor has it made anew.
        deadline = time.monotonic() + 30
        while get(library, "/news") != "edition 2":
            assert time.monotonic() < deadline
        assert library.made() == 2


def test_p3_flask_sqlalchemy_commits_in_process_are_seen_through_the_test_client(
    tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBRARY_FOLDER", str(tmp_path))
    monkeypatch.setenv("LIBRARY_CACHE", "memory://")
    monkeypatch.setenv("LIBRARY_NAMESPACE", namespace)
    from tests.flask.library import Book, create_app, db, fence

    app = create_app()
    with app.app_context():
        db.create_all()
        db.session.add(Book(id=1, title="Old"))
        db.session.commit()
    client = app.test_client()
    assert client.get("/books/1").text == "Old"
    with app.app_context():
        db.session.execute(text("SELECT 1"))
        db.get_or_404(Book, 1).title = "New"
        db.session.flush()
        assert client.get("/books/1").text == "Old"
        db.session.commit()
        assert client.get("/books/1").text == "New"
        db.session.execute(db.update(Book).values(title="Newer"))
        db.session.rollback()
        assert client.get("/books/1").headers["Cache-Status"].startswith("cachefence; hit")
    fence.of(app).close()
    with app.app_context():
        db.engine.dispose()
