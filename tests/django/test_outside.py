"""What stands outside a cached view goes on as it did: conditions, compression, languages; the loop is never held."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, AsyncRequestFactory, Client
from django.utils import timezone, translation

from cachefence_web.django import cache_view, fence
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")

HOST = {"host": "shop.example"}


def page(text: Any = "page " * 100, **options: Any) -> Any:
    made = 0

    @cache_view(**{"ttl": 60, "stale_for": 60, "tags": ["page"], **options})
    def view(request: HttpRequest) -> HttpResponse:
        nonlocal made
        made += 1
        return HttpResponse(f"{made} {text() if callable(text) else text}")

    return view


def get(**headers: str) -> Any:
    return Client().get("/page/", headers={**HOST, **{name.replace("_", "-"): said for name, said in headers.items()}})


def test_a_condition_is_answered_by_the_cache_or_outside_of_it_alike(settings: Any) -> None:
    for middleware in ([], ["django.middleware.http.ConditionalGetMiddleware"]):
        settings.MIDDLEWARE = [*middleware, "django.middleware.common.CommonMiddleware"]
        with mounted(page=page()):
            tag = get()["ETag"]
            answers = [get(if_none_match=tag), get(if_none_match='"other"'), get(if_none_match=tag)]
            assert [answer.status_code for answer in answers] == [304, 200, 304]
            assert [answer.get("ETag") for answer in answers] == [tag] * 3
        fence().invalidate_all()


def test_compression_outside_is_done_for_those_who_accept_it_and_never_stored(settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", "django.middleware.common.CommonMiddleware"]
    with mounted(page=page()):
        squeezed, plain, again = get(accept_encoding="gzip"), get(), get(accept_encoding="gzip")
    assert [answer.get("Content-Encoding") for answer in (squeezed, plain, again)] == ["gzip", None, "gzip"]
    assert gzip.decompress(squeezed.content) == plain.content == gzip.decompress(again.content)
    assert all("Accept-Encoding" in answer["Vary"] for answer in (squeezed, plain, again))


@pytest.mark.parametrize(("outside", "encodings", "status"), [
    (["django.middleware.gzip.GZipMiddleware"], "gzip, br", 200),
    (["django.middleware.gzip.GZipMiddleware"], "br", 206),
    ([], "gzip, br", 206),
])
def test_a_part_is_not_compressed_as_if_it_were_the_whole(
    settings: Any, outside: list[str], encodings: str, status: int
) -> None:
    settings.MIDDLEWARE = outside
    asked: list[bool] = []

    def text() -> str:
        asked.append(True)
        return "0123456789" * 100

    with mounted(page=page(text)):
        for _ in range(2):
            get(range="bytes=0-499", accept_encoding="gzip")
        whole = get().content
        answer = get(range="bytes=0-499", accept_encoding=encodings)
    assert answer.status_code == status
    assert ("Content-Range" in answer) == (status == 206)
    assert (gzip.decompress(answer.content) if status == 200 else answer.content) == (
        whole if status == 200 else whole[:500])


def test_each_language_has_its_page(settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("de", "German")]
    with mounted(page=page(lambda: translation.gettext("Yes"))):
        asked = ["de", "en", "de-AT, de;q=0.9", "en-GB", "fr"]
        answers = [get(accept_language=language) for language in asked]
    assert [answer.content.decode() for answer in answers] == ["1 Ja", "2 Yes", "1 Ja", "2 Yes", "2 Yes"]
    assert [answer["Content-Language"] for answer in answers] == ["de", "en", "de", "en", "en"]


@pytest.mark.parametrize("use_tz", [True, False])
def test_each_zone_has_its_page_where_zones_are_used(settings: Any, use_tz: bool) -> None:
    settings.USE_TZ = use_tz
    view = page(timezone.get_current_timezone_name)

    def asked(zone: str) -> str:
        with timezone.override(zone):
            return str(view(AsyncRequestFactory().get("/page/")).content.decode())

    zones = [asked("Europe/Berlin"), asked("UTC"), asked("Europe/Berlin")]
    assert zones == (["1 Europe/Berlin", "2 UTC", "1 Europe/Berlin"] if use_tz else ["1 Europe/Berlin"] * 3)


@pytest.fixture
def never_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket waits on a thread that runs an event loop."""

    def guarded(name: str) -> Any:
        own = getattr(socket.socket, name)

        def method(self: socket.socket, *args: Any) -> Any:
            if self.gettimeout() != 0.0 and self.family != socket.AF_UNSPEC and _looping():
                raise AssertionError(f"{name}() waits on the event loop")
            return own(self, *args)

        return method

    for name in ("connect", "recv", "recv_into", "send", "sendall"):
        monkeypatch.setattr(socket.socket, name, guarded(name), raising=False)


def _looping() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.mark.usefixtures("never_blocked")
async def test_an_asynchronous_view_never_waits_for_the_store_on_the_loop() -> None:
    made = 0

    @cache_view(ttl=60, stale_for=60, tags=["page"])
    async def view(request: HttpRequest) -> HttpResponse:
        nonlocal made
        made += 1
        return HttpResponse(f"{made}")

    async def bodies(*methods: str) -> list[bytes]:
        return [(await getattr(AsyncClient(headers=HOST), method)("/page/")).content for method in methods]

    with mounted(page=view):
        assert await bodies("get", "get", "head", "post", "get") == [b"1", b"1", b"", b"2", b"3"]
        await fence().aio.expire_tags("page")
        assert await bodies("get", "get") == [b"3", b"4"]
