"""Behind a visitor's back: a stale page is shown at once, and made anew by a request that is nobody's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject

from cachefence_web.django import cache_view, depends_on, fence
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")

Make = Callable[[Any], Any]
MIDDLEWARE: list[Callable[[Any], Any]] = []
HOST = {"host": "shop.example"}


def around(get_response: Any) -> Any:
    """A middleware in which a test puts what it wants to see done with a request before and with its answer after."""

    def middle(request: Any) -> Any:
        for look in MIDDLEWARE:
            answer = look(request)
            if answer is not None:
                return answer
        return get_response(request)

    return middle


@pytest.fixture(autouse=True)
def _in_the_middle(settings: Any) -> Any:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.django.test_refreshing.around"]
    MIDDLEWARE.clear()
    yield
    MIDDLEWARE.clear()


def page(kind: str, make: Make, **options: Any) -> Any:
    """A cached view that may be shown stale; each answer has its number, and what the test makes of the request."""
    made = 0
    decorate = cache_view(**{"ttl": 60, "stale_for": 60, "tags": ["page"], **options})

    def answer(request: HttpRequest) -> Any:
        nonlocal made
        made += 1
        text = make(request)
        return text if isinstance(text, HttpResponse | StreamingHttpResponse) else HttpResponse(f"{made} {text}")

    async def coroutine(request: HttpRequest) -> Any:
        return answer(request)

    return decorate(answer if kind == "def" else coroutine)


def sent(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture(params=["def", "async def"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["wsgi", "asgi"])
def visit(request: pytest.FixtureRequest) -> Any:
    """Asks for the page over either kind of handler: its body and its Cache-Status."""

    async def over_wsgi(**headers: str) -> tuple[str, str]:
        from asgiref.sync import sync_to_async

        answer: Any = await sync_to_async(Client().get)("/page/", headers=sent(headers))
        return answer.content.decode(), answer["Cache-Status"]

    async def over_asgi(**headers: str) -> tuple[str, str]:
        visitor = AsyncClient()
        visitor.cookies.load(headers.pop("cookie", ""))
        answer: Any = await visitor.get("/page/", headers=sent(headers))
        return answer.content.decode(), answer["Cache-Status"]

    return over_wsgi if request.param == "wsgi" else over_asgi


async def expire() -> None:
    await fence().aio.expire_tags("page")


async def test_the_stale_page_is_shown_and_the_next_visitor_gets_the_new_one(kind: str, visit: Any) -> None:
    with mounted(page=page(kind, lambda request: "page")):
        assert (await visit())[0] == "1 page"
        await expire()
        stale = await visit()
        assert stale[0] == "1 page"
        assert "; hit; ttl=-" in stale[1]
        fresh = await visit()
        assert fresh[0] == "2 page"
        assert "; hit; ttl=5" in fresh[1] or "; hit; ttl=60" in fresh[1]


async def test_p11_nothing_of_the_visitor_is_in_the_request_that_makes_the_page_anew(kind: str, visit: Any) -> None:
    seen: list[dict[str, Any]] = []

    def make(request: Any) -> str:
        fields = {name: value for name, value in vars(request)["META"].plain().items() if name.startswith("HTTP_")}
        fields.pop("HTTP_HOST", None)
        seen.append({**fields, "method": request.method, "body": request.body, "query": request.GET.urlencode()})
        return "page"

    with mounted(page=page(kind, make)):
        await visit()
        await expire()
        visitor = {"cookie": "a=1", "if-none-match": '"x"', "if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT",
                   "cache-control": "max-age=0", "pragma": "no-cache", "accept": "text/html"}
        await visit(**visitor)
        await visit()
    assert seen[1:] == [{"HTTP_ACCEPT": "text/html", "method": "GET", "body": b"", "query": ""}]


async def test_p11_a_page_for_those_with_a_session_is_not_made_anew_from_what_a_stranger_sees(
    kind: str, visit: Any
) -> None:
    touches = False
    with mounted(page=page(kind, lambda request: str(request.user) if touches else "same")):
        assert (await visit(cookie="sessionid=1"))[0] == "1 same"
        await expire()
        assert (await visit(cookie="sessionid=2"))[0] == "1 same"
        assert (await visit(cookie="sessionid=3"))[0] == "2 same"
        touches = True
        await expire()
        assert [(await visit(cookie="sessionid=2"))[0] for _ in range(3)] == ["2 same"] * 3


async def test_a_page_keyed_by_its_cookies_is_made_anew_with_them(kind: str, visit: Any) -> None:
    with mounted(page=page(kind, lambda request: request.COOKIES["name"], vary_on=["Cookie"])):
        await visit(cookie="name=ada")
        await visit(cookie="name=eve")
        await expire()
        assert (await visit(cookie="name=ada"))[0] == "1 ada"
        assert (await visit(cookie="name=ada"))[0] == "3 ada"


async def test_a_page_told_apart_by_a_field_is_made_anew_with_it(kind: str, visit: Any) -> None:
    with mounted(page=page(kind, lambda request: request.headers.get("X-Shelf"))):
        await visit(x_shelf="a")
        await visit(x_shelf="b")
        await expire()
        assert (await visit(x_shelf="b"))[0] == "2 b"
        assert (await visit(x_shelf="b"))[0] == "3 b"
        assert (await visit(x_shelf="a"))[0] == "1 a"


async def test_language_and_zone_are_those_of_the_page(kind: str, visit: Any) -> None:
    def settle(request: Any) -> None:
        if language := request.COOKIES.get("spoken"):
            translation.activate(language)
        timezone.activate(request.COOKIES.get("zone", "UTC"))

    MIDDLEWARE.append(settle)
    with mounted(page=page(kind, lambda _: f"{translation.get_language()} {timezone.get_current_timezone_name()}")):
        german = "spoken=de; zone=Europe/Berlin"
        assert (await visit(cookie=german))[0] == "1 de Europe/Berlin"
        await expire()
        assert (await visit(cookie=german))[0] == "1 de Europe/Berlin"
        assert (await visit(cookie=german))[0] == "2 de Europe/Berlin"
    timezone.deactivate()
    translation.deactivate()


async def test_middleware_that_answers_leaves_the_page_as_it_is(
    kind: str, visit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with mounted(page=page(kind, lambda request: "page")):
        await visit()
        MIDDLEWARE.append(lambda request: None if request.META.get("HTTP_COOKIE") else HttpResponse("who are you?"))
        await expire()
        assert (await visit(cookie="a=1"))[0] == "1 page"
        assert (await visit(cookie="a=1"))[0] == "1 page"
    assert "did not come to the view" in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, Http404])
async def test_p8_a_view_that_raises_behind_leaves_the_page_and_hurts_nobody(
    kind: str, visit: Any, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    failing = False

    def make(request: HttpRequest) -> str:
        if failing:
            raise error("no database")
        return "page"

    with mounted(page=page(kind, make)):
        await visit()
        await expire()
        failing = True
        with caplog.at_level(logging.WARNING):
            assert (await visit())[0] == "1 page"
        assert "no database" in caplog.text


async def test_a_stream_that_comes_where_a_page_was_ends_the_refresh(kind: str, visit: Any) -> None:
    streams = False
    closed: list[int] = []

    def endless() -> Any:
        try:
            while True:
                yield b"more"
        finally:
            closed.append(1)

    async def aendless() -> Any:
        for piece in endless():
            yield piece

    def make(request: Any) -> Any:
        if not streams:
            return "page"
        return StreamingHttpResponse(aendless() if hasattr(request, "scope") else endless())

    with mounted(page=page(kind, make)):
        await visit()
        await expire()
        streams = True
        assert (await visit())[0] == "1 page"


async def test_a_cached_view_around_the_one_that_is_made_anew_lets_it_be_reached(kind: str, visit: Any) -> None:
    if kind != "def":
        return
    inner = page("def", lambda request: "page")
    outer = cache_view(ttl=60)(inner)
    with mounted(page=outer):
        await visit()
        await expire()
        first, second = (await visit())[0], (await visit())[0]
    assert (first, second) == ("1 page", "2 page")


@pytest.mark.django_db(transaction=True)
def test_each_refresh_is_a_request_with_a_transaction_of_its_own(settings: Any) -> None:
    from django.db import connections

    settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
    connections.settings["default"]["ATOMIC_REQUESTS"] = True
    atomic: list[bool] = []
    try:
        with mounted(page=page("def", lambda request: atomic.append(connection.in_atomic_block))):
            client = Client(headers=HOST)
            client.get("/page/")
            fence().expire_tags("page")
            client.get("/page/")
        assert atomic == [True, True]
        assert not connection.in_atomic_block
    finally:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
        connections.settings["default"]["ATOMIC_REQUESTS"] = False


def test_what_is_done_behind_an_answer_is_done_when_middleware_sends_another(settings: Any) -> None:
    settings.MIDDLEWARE = ["django.middleware.http.ConditionalGetMiddleware", *settings.MIDDLEWARE]
    client = Client(headers=HOST)
    with mounted(page=page("def", lambda request: "page")):
        tag = client.get("/page/")["ETag"]
        fence().expire_tags("page")
        assert client.get("/page/", headers={"if-none-match": tag}).status_code == 304
        assert client.get("/page/").content == b"2 page"


def test_nothing_is_done_behind_an_answer_that_nobody_sends() -> None:
    view = page("def", lambda request: "page")
    for _ in range(2):
        assert view(RequestFactory().get("/page/", headers=HOST)).content == b"1 page"
        fence().expire_tags("page")


def test_a_page_kept_for_whom_the_server_knows_is_made_anew_for_him() -> None:
    def make(request: HttpRequest) -> str:
        return " ".join(request.META.get(name, "-") for name in ("REMOTE_USER", "SSL_CLIENT_S_DN"))

    def visit(name: str) -> bytes:
        answer = Client(headers=HOST).get("/page/", REMOTE_USER=name, SSL_CLIENT_S_DN=f"CN={name}")
        return bytes(answer.content)

    with mounted(page=page("def", make, vary_on=["Remote-User"])):
        assert [visit("ada"), visit("eve")] == [b"1 ada CN=ada", b"2 eve CN=eve"]
        fence().expire_tags("page")
        assert [visit("ada"), visit("ada"), visit("eve")] == [b"1 ada CN=ada", b"3 ada CN=ada", b"2 eve CN=eve"]


def test_a_page_whose_fields_speak_for_it_is_confirmed_behind_its_visitor(kind: str, settings: Any) -> None:
    settings.MIDDLEWARE = ["cachefence_web.django.CacheMiddleware"]
    asked: list[str | None] = []

    def answer(request: HttpRequest) -> HttpResponse:
        depends_on("page")
        asked.append(request.headers.get("If-None-Match"))
        said = {"ETag": '"1"', "Cache-Control": "max-age=60, stale-while-revalidate=60"}
        return HttpResponse(status=304, headers=said) if asked[-1] == '"1"' else HttpResponse("page", headers=said)

    async def coroutine(request: HttpRequest) -> HttpResponse:
        return answer(request)

    client = Client(headers=HOST)
    with mounted(page=answer if kind == "def" else coroutine):
        client.get("/page/")
        fence().expire_tags("page")
        answers = [client.get("/page/", headers={"if-none-match": said}) for said in ('"2"', '"3"')]
    assert asked == [None, '"1"']
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"page")] * 2
    assert ["ttl=-" in answer["Cache-Status"] for answer in answers] == [True, False]


def test_p11_a_user_known_by_a_cookie_has_no_part_in_what_is_made_anew() -> None:
    def know(request: Any) -> None:
        if name := request.COOKIES.get("jwt"):
            request.user = SimpleLazyObject(lambda: User(username=name))

    MIDDLEWARE.append(know)
    client = Client(headers=HOST)
    with mounted(page=page("def", lambda request: str(request.user))):
        assert client.get("/page/").content == b"1 AnonymousUser"
        fence().expire_tags("page")
        client.cookies["jwt"] = "ada"
        assert client.get("/page/").content == b"2 ada"
        del client.cookies["jwt"]
        assert client.get("/page/").content == b"1 AnonymousUser"
        assert client.get("/page/").content == b"3 AnonymousUser"
