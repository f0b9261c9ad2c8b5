"""What the server tests serve: one title, a slow page of it, and a form that changes it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cachefence_web import AsyncCacheFence
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view, install

FOLDER = Path(os.environ["SERVED"])
SLOW = 0.2

fence = AsyncCacheFence(os.environ.get("CACHE", "memory://"), namespace=os.environ.get("NAMESPACE", "served"),
                        timeout=20.0)  # 500 clients on two cores are no outage


def title() -> str:
    file = FOLDER / "title.txt"
    return file.read_text() if file.exists() else "old"


def computed(what: str) -> None:
    log = os.open(FOLDER / "computes.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(log, f"{what}\n".encode())
    os.close(log)


async def page(request: Request) -> Response:
    computed(request.url.path)
    read = title()
    await asyncio.sleep(SLOW)
    return PlainTextResponse(read)


@cache_view(ttl=60, tags=["title"])
async def view(request: Request) -> Response:
    return await page(request)


async def save(request: Request) -> Response:
    (FOLDER / "title.txt").write_text(request.path_params["title"])
    await fence.invalidate_tags("title")
    return PlainTextResponse("saved")


async def health(request: Request) -> Response:
    return PlainTextResponse("well")


app = Starlette(
    routes=[
        Route("/page", page), Route("/view", view), Route("/save/{title}", save, methods=["POST"]),
        Route("/health", health),
    ],
    middleware=[Middleware(CacheMiddleware, rules=[Rule("/page", ttl=60, tags=["title"])])],
)
install(app, fence)
