"""What the server tests serve: one book, slow pages of it in both colours, and a form that changes it."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse
from django.urls import path

FOLDER = Path(os.environ["SERVED"])
SLOW = 0.2

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": {
        "BACKEND": "cachefence_web.django.RedisCache",
        "LOCATION": os.environ.get("CACHE", "memory://"),
        # 500 clients on two cores are no outage.
        "OPTIONS": {"namespace": os.environ.get("NAMESPACE", "served"), "timeout": 60.0, "wait": 60.0},
    }},
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "books.sqlite3", "OPTIONS": {"timeout": 20}}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["cachefence_web.django", "tests.django.library"],
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF="tests.django.served",
    SECRET_KEY="not a secret: the tests sign with it",
    USE_TZ=True,
)
django.setup()

from cachefence_web.django import cache_view, fence, invalidates  # noqa: E402 (models need settings)
from tests.django.library.models import Book  # noqa: E402

invalidates(Book, tags=["book:{pk}"])
patience = threading.Event()


def prepare() -> None:
    """Make the database."""
    call_command("migrate", run_syncdb=True, verbosity=0)
    Book.objects.create(pk=1, title="old")


def computed(what: str) -> None:
    log = os.open(FOLDER / "computes.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(log, f"{what}\n".encode())
    os.close(log)


@cache_view(ttl=60, tags=["book:{pk}"])
def page(request: HttpRequest, pk: int) -> HttpResponse:
    computed(request.path)
    title = Book.objects.get(pk=pk).title
    patience.wait(SLOW)
    return HttpResponse(title)


@cache_view(ttl=60, tags=["book:{pk}"])
async def apage(request: HttpRequest, pk: int) -> HttpResponse:
    computed(request.path)
    title = (await Book.objects.aget(pk=pk)).title
    await asyncio.sleep(SLOW)
    return HttpResponse(title)


def held() -> int:
    """Which time it is; if there is a gate, once somebody has opened it from the other side."""
    computed("held")
    if (gate := FOLDER / "gate").exists():
        gate.read_bytes()
    return (FOLDER / "computes.txt").read_text().split().count("held")


@cache_view(ttl=60, stale_for=60, tags=["held"])
def hold(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(held()))


@cache_view(ttl=60, stale_for=60, tags=["held"])
async def ahold(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await asyncio.to_thread(held)))


def expire(request: HttpRequest) -> HttpResponse:
    fence().expire_tags("held")
    return HttpResponse("expired")


def load() -> str:
    computed("value")
    patience.wait(SLOW)
    return Book.objects.get(pk=1).title


def value(request: HttpRequest) -> HttpResponse:
    from django.core.cache import cache

    return HttpResponse(cache.get_or_set("title", load, 60, tags=["book:1"]))


def save(request: HttpRequest, title: str) -> HttpResponse:
    book = Book.objects.get(pk=1)
    book.title = title
    book.save()
    return HttpResponse(f"saved in {fence().namespace}")


def health(request: HttpRequest) -> HttpResponse:
    return HttpResponse("well")


urlpatterns = [
    path("page/<int:pk>", page), path("apage/<int:pk>", apage), path("value", value),
    path("save/<str:title>", save), path("health", health), path("hold", hold), path("ahold", ahold),
    path("expire", expire),
]
wsgi = WSGIHandler()
asgi = ASGIHandler()
