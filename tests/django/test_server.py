"""Under gunicorn and uvicorn: 500 clients cost one compute, and the next request after a save shows it."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from tests.django.serving import Site, crowd

pytestmark = pytest.mark.timeout(400)

CLIENTS = 500


@pytest.mark.parametrize(("kind", "path"), [("gunicorn", "/page/1"), ("uvicorn", "/apage/1"), ("uvicorn", "/page/1")])
async def test_p1_500_clients_of_one_process_cost_one_call_and_a_save_shows(kind: str, path: str) -> None:
    with Site(kind, workers=1, environment={}) as site:
        assert set(await crowd(site.port, path, CLIENTS)) == {"old"}
        assert site.computes == [path]
        assert await crowd(site.port, "/save/new", 1) == ["saved in served"]
        assert await crowd(site.port, path, 1) == ["new"]
        assert site.computes == [path, path]
        assert not site.log()


@pytest.mark.parametrize(("kind", "paths"), [("gunicorn", ["/page/1", "/value"]), ("uvicorn", ["/apage/1", "/value"])])
async def test_p1_500_clients_of_two_processes_cost_one_call_and_a_save_shows(
    kind: str, paths: list[str], redis_url: str, namespace: str
) -> None:
    with Site(kind, workers=2, environment={"CACHE": redis_url, "NAMESPACE": namespace}) as site:
        for path in paths:
            assert set(await crowd(site.port, path, CLIENTS)) == {"old"}
        assert len(site.computes) == len(paths)
        await crowd(site.port, "/save/new", 1)
        for path in paths:
            assert set(await crowd(site.port, path, 20)) == {"new"}
        assert len(site.computes) == 2 * len(paths)
        assert not site.log()


PATIENCE = 60.0
"""Seconds after which what should have come has not."""


@pytest.mark.parametrize(("kind", "path"), [
    ("gunicorn", "/hold"), ("gunicorn", "/ahold"), ("gunicorn-sync", "/hold"), ("gunicorn-sync", "/ahold"),
    ("uvicorn", "/hold"), ("uvicorn", "/ahold"),
])
async def test_a_stale_page_arrives_before_the_view_that_makes_it_anew_has_ended(kind: str, path: str) -> None:
    with Site(kind, workers=1, environment={}) as site:
        assert await ask(site.port, path) == "1"
        assert await ask(site.port, "/expire") == "expired"
        os.mkfifo(site.folder / "gate")
        assert await asyncio.wait_for(ask(site.port, path), PATIENCE) == "1"
        # Opened only while the view is waiting at it, so the answer above did not wait for the view.
        await asyncio.wait_for(asyncio.to_thread((site.folder / "gate").write_text, "go on"), PATIENCE)
        (site.folder / "gate").unlink()
        deadline = time.monotonic() + PATIENCE
        while (shown := await ask(site.port, path)) != "2":
            assert shown == "1"
            assert time.monotonic() < deadline
        assert site.computes == ["held", "held"]
        assert not site.log()


async def ask(port: int, path: str) -> str:
    """The body, as soon as it is there, on a connection that the server may keep: not when it closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
    writer.close()
    return body.decode()
