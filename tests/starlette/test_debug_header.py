"""X-CacheFence-Depends in Starlette: an option of the cache, for endpoints and for the middleware's rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cachefence_web import AsyncCacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view, install
from tests.starlette.asgi import LONG, Answer, ask

FIELD = "x-cachefence-depends"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/shop.db")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT)"))
        await connection.execute(text("INSERT INTO book VALUES (1, 'One')"))
    yield engine
    await engine.dispose()


def application(engine: AsyncEngine, fence: AsyncCacheFence) -> Starlette:
    async def page(request: Request) -> Response:
        async with engine.connect() as connection:
            return PlainTextResponse(str((await connection.execute(text("SELECT title FROM book"))).scalar()))

    async def stream(request: Request) -> Response:
        return StreamingResponse(iter(["o", "k"]))

    app = Starlette(
        routes=[Route("/page", cache_view(ttl=60, tags=["news"])(page)), Route("/ruled", page), Route("/both", stream)],
        middleware=[Middleware(CacheMiddleware, rules=[Rule("/ruled", ttl=60, tags=["news"]), Rule("/both", ttl=60)])])
    install(app, fence)
    return app


def told(answer: Answer) -> str:
    (value,) = answer.all(FIELD)
    return value


@pytest.mark.parametrize("path", ["/page", "/ruled"])
async def test_it_is_there_where_the_cache_says_so_and_never_stored(
    engine: AsyncEngine, store: str, namespace: str, path: str
) -> None:
    async with AsyncCacheFence(store, namespace=namespace, timeout=LONG, debug_header=True) as telling, \
            AsyncCacheFence(store, namespace=namespace, timeout=LONG) as silent:
        following = invalidate_on_commit(engine, telling)
        try:
            app = application(engine, telling)
            made, found = await ask(app, path), await ask(app, path)
            quiet = await ask(application(engine, silent), path)
        finally:
            following.remove()
    assert 'book;from="SELECT title FROM book"' in told(made)
    assert "; hit" in found.cache_status
    assert {"news", "book", "db:*"} <= set(told(found).split(", "))
    assert quiet.all(FIELD) == []
    if store != "memory://":
        assert "; hit" in quiet.cache_status


async def test_what_is_passed_on_as_it_comes_goes_without(engine: AsyncEngine, store: str, namespace: str) -> None:
    async with AsyncCacheFence(store, namespace=namespace, timeout=LONG, debug_header=True) as fence:
        app = application(engine, fence)
        made, found = await ask(app, "/both"), await ask(app, "/both")
    assert made.all(FIELD) == []
    assert told(found).startswith("url:")
