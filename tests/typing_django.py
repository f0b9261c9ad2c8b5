"""Typed uses of the Django side, as a project with django-stubs writes them: checked by mypy, never run."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, assert_type, cast

from django.apps import AppConfig
from django.core.cache import cache, caches
from django.core.management.base import BaseCommand
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Library
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.generic import DetailView, ListView
from redis import Redis
from redis.lock import Lock

from cachefence_web import AsyncCacheFence, CacheFence, Policy, cached
from cachefence_web.django import RedisCache, Subscription, cache_view, depends_on, fence, invalidates
from tests.django.library.models import Book, Loan, Reader

CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "redis://localhost:6379/0"}}

store = cast("RedisCache", cache)


@cache_view(ttl=60, stale_for=timedelta(minutes=5), tags=["book:{pk}"], vary_on=["Accept-Language"])
def book(request: HttpRequest, pk: int) -> HttpResponse:
    depends_on("reader:7")
    return HttpResponse(Book.objects.get(pk=pk).title)


@cache_view(policy=Policy(ttl=60), tags=lambda request, pk: [f"book:{pk}"], cache="pages", browser_ttl=10)
async def async_book(request: HttpRequest, pk: int) -> JsonResponse:
    found = await Book.objects.aget(pk=pk)
    return JsonResponse({"title": found.title})


class Shelf(ListView[Book]):
    model = Book

    @method_decorator(cache_view(ttl=60, tags=["book"]))
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().get(request, *args, **kwargs)


@method_decorator(cache_view(ttl=60, tags=["book:{pk}"]), name="dispatch")
class Detail(DetailView[Book]):
    model = Book


class Plain(View):
    async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return await async_book(request, pk)


urlpatterns = [
    path("books/", Shelf.as_view()),
    path("books/<int:pk>/", book),
    path("books/<int:pk>/json", async_book),
    path("books/<int:pk>/detail", Detail.as_view()),
    path("books/<int:pk>/plain", cache_view(ttl=60)(Plain.as_view())),
]


async def a_cached_view_keeps_its_signature(request: HttpRequest) -> None:
    assert_type(book(request, 7), HttpResponse)
    assert_type(book(request, pk=7), HttpResponse)
    assert_type(await async_book(request, 7), JsonResponse)
    book(request, "7")  # type: ignore[arg-type]
    book()  # type: ignore[call-arg]


def a_view_gives_a_response_and_options_have_names() -> None:
    cache_view(ttl="60")  # type: ignore[arg-type]
    cache_view(timeout=60)  # type: ignore[call-arg]

    @cache_view(ttl=60)  # type: ignore[type-var]
    def page(request: HttpRequest) -> str:
        return "no response"


def the_fence_behind_an_alias_is_typed() -> None:
    assert_type(fence(), CacheFence)
    assert_type(fence("default").aio, AsyncCacheFence)
    assert_type(fence().get_or_set("totals", Book.objects.count, ttl=60, tags=["book"]), int)
    assert_type(store.fence, CacheFence)
    assert_type(cast("RedisCache", caches["pages"]).fence, CacheFence)
    with fence().fencing("book"):
        Book.objects.update(title="Emma")


async def the_fence_behind_an_alias_has_an_asynchronous_face() -> None:
    assert_type(await fence().aio.get_or_set("totals", Book.objects.acount, ttl=60), int)


def djangos_api_is_as_the_stubs_have_it() -> None:
    cache.set("book:7", {"title": "Emma"}, 60)
    cache.get_or_set("totals", Book.objects.count, 60)
    cache.get_or_set("totals", Book.objects.count, timeout=None, version=2)
    cache.get_many(["book:7"])
    cache.incr("visits")


def what_is_beyond_it_is_on_the_backend() -> None:
    assert_type(store.set("book:7", "Emma", 60, tags=["book:7"], stale_for=300), bool)
    assert_type(store.set("book:7", "Emma", nx=True), bool)
    assert_type(store.get_many(["book:7"]), dict[Any, Any])
    store.incr("visits")
    assert_type(store.delete("book:7"), bool)
    assert_type(store.ttl("book:7"), int | None)
    assert_type(store.expire_at("book:7", datetime(2026, 1, 1)), bool)  # noqa: DTZ001 (Django's users have both)
    assert_type(store.keys("book:*"), list[str])
    assert_type(store.delete_pattern("book:*"), int)
    assert_type(store.lock("report", timeout=60), Lock)
    assert_type(store.get_client(), Redis)
    store.get_or_set("totals", Book.objects.count, 60, tags=["book"], stale_if_error=3600)
    store.invalidate_tags("book:7", "book")
    with store.fencing("book"), store.lock("report"):
        pass


async def the_backend_has_an_asynchronous_half() -> None:
    assert_type(await store.aset("book:7", "Emma", 60, tags=["book:7"]), bool)
    assert_type(await store.aget_many(["book:7"]), dict[Any, Any])
    assert_type(await store.attl("book:7"), int | None)
    await store.aget_or_set("totals", Book.objects.acount, 60)
    await store.ainvalidate_tags("book")
    async with store.afencing("book"):
        await Book.objects.aupdate(title="Emma")


@cached(ttl=60, key="figures:{year}", tags=["book", "loan"], cache=fence)
def figures(year: int) -> dict[str, int]:
    return {"books": Book.objects.count(), "year": year}


def a_cached_function_keeps_its_signature() -> None:
    assert_type(figures(1815), dict[str, int])
    figures("1815")  # type: ignore[arg-type]
    figures.forget(1815)


def tags_of(loan: Loan) -> Sequence[str]:
    return [f"loan:{loan.pk}", "loan"]


class LibraryConfig(AppConfig):
    name = "library"

    def ready(self) -> None:
        assert_type(invalidates(Book, tags=["book:{pk}", "book"]), Subscription)
        invalidates(Reader, tags=lambda reader: [f"reader:{reader.name}"])
        invalidates(Loan, tags=tags_of, cache="pages").disconnect()
        invalidates(Book, tags=tags_of)  # type: ignore[arg-type]
        invalidates(Reader, tags=lambda reader: [reader.title])  # type: ignore[attr-defined]


register = Library()


@register.simple_tag
def borrowed(reader: Reader) -> int:
    def count() -> int:
        return Loan.objects.filter(reader=reader).count()

    return fence().get_or_set(f"borrowed:{reader.pk}", count, ttl=60, tags=[f"reader:{reader.pk}"])


class Command(BaseCommand):
    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("title")

    def handle(self, *, title: str, **options: Any) -> None:
        with fence().fencing("book"):
            changed = Book.objects.update(title=title)
        self.stdout.write(f"{changed}, {fence().stats()}")
