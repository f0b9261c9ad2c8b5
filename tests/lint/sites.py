"""One page, cached for a minute, as each framework serves it; each function makes the application for a server."""

from __future__ import annotations

from typing import Any

PAGE = "".join(f"<p>Chapter {number} of the book.</p>\n" for number in range(100))
HTML = "text/html; charset=utf-8"


def starlette_by_rules() -> Any:
    """The middleware with a rule."""
    from starlette.middleware import Middleware

    from cachefence_web.starlette import CacheMiddleware, Rule

    return _starlette(Middleware(CacheMiddleware, cache="memory://", rules=[Rule("/page", ttl=60)]), {})


def starlette_by_headers() -> Any:
    """The middleware in its RFC mode: the page itself says how long it lasts."""
    from starlette.middleware import Middleware

    from cachefence_web.starlette import CacheMiddleware

    return _starlette(
        Middleware(CacheMiddleware, cache="memory://", rules=None),
        {"cache-control": "max-age=60", "etag": '"1"', "vary": "accept-encoding"})


def _starlette(middleware: Any, headers: dict[str, str]) -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, Response
    from starlette.routing import Route

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE, headers=headers)

    return Starlette(routes=[Route("/page", page)], middleware=[middleware])


def flask() -> Any:
    """A view with `cache_view`."""
    from flask import Flask

    from cachefence_web.flask import CacheFence

    app = Flask("lint")
    fence = CacheFence(url="memory://", namespace="lint")
    fence.init_app(app)

    @app.get("/page")
    @fence.cache_view(ttl=60)
    def page() -> str:
        return PAGE

    return app


def django() -> Any:
    """A view with `cache_view`."""
    import django as framework
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF="tests.lint.urls", SECRET_KEY="not a secret: nothing is signed with it",
        CACHES={"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://",
                            "OPTIONS": {"namespace": "lint"}}},
        INSTALLED_APPS=["cachefence_web.django"], USE_TZ=True)
    framework.setup()
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()
