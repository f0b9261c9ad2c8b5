"""X-CacheFence-Depends in FastAPI: on the routes whose responses are declared to be cached."""

from __future__ import annotations

import pytest
from fastapi import Depends, FastAPI

from cachefence_web import AsyncCacheFence, depends_on
from cachefence_web.fastapi import cached, install
from tests.starlette.asgi import LONG, ask

FIELD = "x-cachefence-depends"


@pytest.mark.parametrize("debug_header", [True, False])
async def test_it_is_there_where_the_cache_says_so(store: str, namespace: str, *, debug_header: bool) -> None:
    async with AsyncCacheFence(store, namespace=namespace, timeout=LONG, debug_header=debug_header) as fence:
        app = FastAPI()
        install(app, fence)

        @app.get("/", dependencies=[Depends(cached(ttl=60, tags=["news"]))])
        async def page() -> dict[str, int]:
            depends_on("book:1")
            return {"book": 1}

        made, found = await ask(app, "/"), await ask(app, "/")
    for answer in (made, found):
        assert [value.endswith("news, book:1") for value in answer.all(FIELD)] == [True] * debug_header
    assert "; hit" in found.cache_status
