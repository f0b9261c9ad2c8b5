"""The site: cached for an hour, without a tag. Each page says what it saw: things, versions, tokens."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from cachefence_web.django import cache_view, fence
from tests.histories.meddling import RARELY, may_die
from tests.histories.models import Log, Note, Register, Shelf
from tests.histories.place import ROWS, SHELVES

Answer = dict[str, Any]
_chance = random.Random()


def answer(seen: list[Any], total: int | None = None, *, partial: bool = False) -> Answer:
    """What a page says."""
    return {"seen": seen, "total": total, "partial": partial}


def _register(row: int) -> list[Any]:
    found = Register.objects.get(pk=row)
    return [f"r{row}", found.version, found.token]


def detail(row: int) -> Answer:
    return answer([_register(row)])


def whole(_: int) -> Answer:
    rows = Register.objects.order_by("pk").values_list("pk", "version", "token", "balance")
    return answer([[f"r{pk}", version, token] for pk, version, token, _ in rows],
                  sum(balance for *_, balance in rows))


def some(row: int) -> Answer:
    rows = Register.objects.in_bulk([row, row % len(ROWS) + 1])
    return answer([[f"r{pk}", each.version, each.token] for pk, each in rows.items()])


def aggregate(row: int) -> Answer:
    return answer([], Register.objects.aggregate(total=Sum("balance"))["total"])


def joined(row: int) -> Answer:
    found = Register.objects.select_related("shelf").get(pk=row)
    return answer([[f"r{row}", found.version, found.token],
                   [f"s{found.shelf.pk}", found.shelf.version, found.shelf.token]])


def reverse(row: int) -> Answer:
    shelf = row % len(SHELVES) + 1
    rows = Register.objects.filter(shelf__pk=shelf, shelf__version__gte=0).values_list("pk", "version", "token")
    return answer([[f"r{pk}", version, token] for pk, version, token in rows])


def count(row: int) -> Answer:
    return answer([[f"n{row}", Note.objects.filter(register=row).count(), None]])


def annotated(_: int) -> Answer:
    rows = Register.objects.annotate(notes=Count("note")).values_list("pk", "version", "token", "notes")
    return answer([seen for pk, version, token, notes in rows
                   for seen in ([f"r{pk}", version, token], [f"n{pk}", notes, None])])


def logged(row: int) -> Answer:
    return answer([[f"r{row}", Log.objects.filter(thing=f"r{row}").count(), None]])


def nested(row: int) -> Answer:
    inner = fence().get_or_set(f"inner:{row}", lambda: detail(row)["seen"], ttl=3600)
    shelf = Shelf.objects.get(pk=1)
    return answer([*inner, ["s1", shelf.version, shelf.token]])


PAGES: dict[str, Callable[[int], Answer]] = {
    "detail": detail, "whole": whole, "some": some, "aggregate": aggregate, "joined": joined, "reverse": reverse,
    "count": count, "annotated": annotated, "logged": logged, "nested": nested}

STRICT = "strict"


def _dawdle() -> float:
    """Most pages are made at once, a few take their time: invalidations come in between."""
    return _chance.random() * 0.02 if _chance.random() < 0.1 else 0.0


def _view(name: str, make: Callable[[int], Answer]) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, row: int) -> HttpResponse:
        made = make(row)
        may_die(RARELY)
        if pause := _dawdle():
            time.sleep(pause)
        return JsonResponse(made)

    view.__qualname__ = name
    return view


@cache_view(ttl=3600)
def awaited(request: HttpRequest, row: int, version: int) -> HttpResponse:
    """A note, or that there is none: then there are fewer."""
    found = Note.objects.filter(register=row, version=version).first()
    if found is None:
        return JsonResponse(answer([[f"n{row}", version - 1, None]]))
    return JsonResponse(answer([[f"n{row}", version, found.token]], partial=True))


@cache_view(ttl=3600)
async def adetail(request: HttpRequest, row: int) -> HttpResponse:
    """A coroutine's."""
    found = await Register.objects.aget(pk=row)
    may_die(RARELY)
    if pause := _dawdle():
        await asyncio.sleep(pause)
    return JsonResponse(answer([[f"r{row}", found.version, found.token]]))


VIEWS: dict[str, Any] = {
    **{name: cache_view(ttl=3600)(_view(name, make)) for name, make in PAGES.items()},
    STRICT: cache_view(ttl=3600, consistency="strict")(_view(STRICT, detail)),
    "adetail": adetail,
}

urlpatterns: list[Any] = [
    path("awaited/<int:row>/<int:version>/", awaited),
    *[path(f"{name}/<int:row>/", view) for name, view in VIEWS.items()],
]
