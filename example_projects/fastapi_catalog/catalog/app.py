"""The application: two pages for people, the same sky for programs, and one way to change it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from . import api, pages
from .resources import engine, fence


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await fence.aclose()
    await engine.dispose()


class Uncached:
    """What --no-cache switches on: every visitor asks that nothing be kept, so the cache steps aside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], (b"cache-control", b"no-store")]}
        await self.app(scope, receive, send)


app = FastAPI(title="Night Catalogue", summary="Bright stars, watched for four years.", lifespan=lifespan)
app.include_router(api.router)
app.include_router(pages.router)
if os.environ.get("CATALOG_UNCACHED"):
    app.add_middleware(Uncached)
app.mount("/static", StaticFiles(directory=Path(__file__).with_name("static")), name="static")


@app.get("/health", response_class=PlainTextResponse, include_in_schema=False)
async def health() -> str:
    return "clear skies"
