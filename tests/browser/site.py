"""A page that can be edited, cached for a minute by the middleware; served by uvicorn, made by `create`."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from cachefence_web import AsyncCacheFence
from cachefence_web.starlette import CacheMiddleware, Rule

HTML = """<!doctype html><title>{title}</title><link rel="icon" href="data:,"><h1>{title}</h1>
<form method="post" action="/edit"><input name="title"><button>Save</button></form>"""


class Site:
    """The truth, and how often the page was made of it."""

    def __init__(self) -> None:
        self.fence = AsyncCacheFence("memory://", namespace="browser")
        self._title = "First edition"
        self._made = 0

    async def page(self, request: Request) -> Response:
        self._made += 1
        return HTMLResponse(HTML.format(title=self._title))

    async def edit(self, request: Request) -> Response:
        """What the form sends: the body is `title=...`, without characters that need an encoding."""
        self._title = (await request.body()).decode().partition("=")[2].replace("+", " ")
        await self.fence.invalidate_tags("page")
        return RedirectResponse("/page", 303)

    async def made(self, request: Request) -> Response:
        return JSONResponse(self._made)

    async def elsewhere(self, request: Request) -> Response:
        return PlainTextResponse("Elsewhere")

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("well")


def create() -> Starlette:
    """The application."""
    site = Site()
    return Starlette(
        routes=[
            Route("/page", site.page), Route("/edit", site.edit, methods=["POST"]), Route("/made", site.made),
            Route("/elsewhere", site.elsewhere), Route("/health", site.health),
        ],
        middleware=[Middleware(CacheMiddleware, cache=site.fence, rules=[Rule("/page", ttl=60, tags=["page"])])],
    )
