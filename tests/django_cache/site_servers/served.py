"""What the servers serve: one value that takes long to make, and every asynchronous way to the cache."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import django
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache as default_cache
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path

FOLDER = Path(os.environ["SERVED"])
CROWD = int(os.environ.get("CROWD", "1"))
"""How many must have asked before a compute ends."""

PATIENCE = 60.0
"""Seconds after which what should have come has not."""

TEMPLATES: dict[str, str] = {
    "cache": "{% load cache %}{% cache 60 part %}a part{% endcache %}",
    "cachefence": "{% load cachefence %}{% cachefence 60 part %}a part{% endcachefence %}",
}

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": {
        "BACKEND": "cachefence_web.django.RedisCache",
        "LOCATION": os.environ["CACHE"],
        # A crowd on two cores is no outage, and a line that the test holds is none either.
        "OPTIONS": {"namespace": os.environ["NAMESPACE"], "timeout": PATIENCE, "wait": PATIENCE},
    }},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "site.sqlite3"}},
    INSTALLED_APPS=["cachefence_web.django", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",  # says how long a body is, so that a connection can be kept
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not a secret: the tests sign with it",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", TEMPLATES)]},
    }],
    USE_TZ=True,
)
django.setup()

from django.template.loader import render_to_string  # noqa: E402 (templates need settings)

from cachefence_web.django import RedisCache, cache_view  # noqa: E402

cache = cast("RedisCache", default_cache)


def prepare() -> None:
    """Make the database, in which one kind of session is kept."""
    call_command("migrate", verbosity=0)


def note(file: str, text: str) -> None:
    """Append, so that no other process's note is lost."""
    log = os.open(FOLDER / file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(log, text.encode())
    os.close(log)


def rest_of(turn: str) -> Iterator[None]:
    """As long as not enough have asked in this turn."""
    deadline = time.monotonic() + PATIENCE
    while (FOLDER / f"asked-{turn}").stat().st_size < CROWD:
        if time.monotonic() > deadline:
            raise TimeoutError(f"fewer than {CROWD} have asked in {PATIENCE} s")
        yield


def making(turn: str) -> Callable[[], str]:
    def load() -> str:
        note("computes.txt", f"{turn}\n")
        for _ in rest_of(turn):
            threading.Event().wait(0.005)
        return f"{turn} {uuid4().hex}"

    return load


def amaking(turn: str) -> Callable[[], Awaitable[str]]:
    async def load() -> str:
        note("computes.txt", f"{turn}\n")
        for _ in rest_of(turn):
            await asyncio.sleep(0.005)
        return f"{turn} {uuid4().hex}"

    return load


def value(request: HttpRequest, key: str, turn: str) -> HttpResponse:
    note(f"asked-{turn}", ".")
    return HttpResponse(cache.get_or_set(key, making(turn), 3600, tags=["report"]))


async def avalue(request: HttpRequest, key: str, turn: str) -> HttpResponse:
    note(f"asked-{turn}", ".")
    load = making(turn) if key == "def" else amaking(turn)
    return HttpResponse(await cache.aget_or_set(key, load, 3600, tags=["report"]))


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


def expire(request: HttpRequest, key: str) -> HttpResponse:
    cache.touch(key, 0.001)
    for _ in range(int(PATIENCE / 0.005)):
        if cache.get(key) is None:
            return HttpResponse("expired")
        threading.Event().wait(0.005)
    raise TimeoutError("it lives on")


def invalidate(request: HttpRequest, key: str) -> HttpResponse:
    cache.invalidate_tags("report")
    return HttpResponse("invalidated" if cache.get(key) is None else "there")


async def free(request: HttpRequest) -> HttpResponse:
    return HttpResponse("free")


async def aget(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await cache.aget("plain")))


async def aset(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await cache.aset("plain", 1, 60)))


async def aincr(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await cache.aincr("hits", ignore_key_check=True)))


async def aget_many(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await cache.aget_many([f"many{n}" for n in range(9)])))


async def aget_or_set(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await cache.aget_or_set("made", lambda: "made", 60)))


@cache_view(ttl=60, tags=["page"])
async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page")


async def session(request: HttpRequest) -> HttpResponse:
    """The session that SessionMiddleware puts there, which saves it behind the view."""
    visits = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", visits)
    return HttpResponse(str(visits))


async def store(request: HttpRequest, engine: str) -> HttpResponse:
    """The same by hand, so that saving is the view's too."""
    kind: Any = import_module(f"django.contrib.sessions.backends.{engine}").SessionStore
    mine = kind()
    # Up to 6.1 at least, cached_db asks synchronously whether a new session's key is free.
    await (mine.acreate() if engine == "cache" else sync_to_async(mine.create)())
    await mine.aset("visits", 1)
    await mine.asave()
    return HttpResponse(str(await kind(mine.session_key).aget("visits")))


async def fragment(request: HttpRequest, tag: str) -> HttpResponse:
    """Django renders templates synchronously only, so an asynchronous view has a thread do it."""
    return HttpResponse(await sync_to_async(render_to_string)(tag))


async def blocking(request: HttpRequest) -> HttpResponse:
    """What no asynchronous view may do."""
    return HttpResponse(str(cache.get("plain")))


urlpatterns = [
    path("health", who), path("who", who), path("expire/<str:key>", expire), path("invalidate/<str:key>", invalidate),
    path("value/<str:key>/<str:turn>", value), path("avalue/<str:key>/<str:turn>", avalue),
    *[path(view.__name__, view) for view in (
        free, aget, aset, aincr, aget_many, aget_or_set, page, session, blocking)],
    path("store/<str:engine>", store), path("fragment/<str:tag>", fragment),
]
wsgi = WSGIHandler()
asgi = ASGIHandler()
