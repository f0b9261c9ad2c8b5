"""`cache_view` on endpoints of Django REST framework and of django-ninja: what is theirs happens as without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("rest_framework")
pytest.importorskip("ninja")

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import AsyncClient, Client
from django.urls import clear_url_caches, path
from django.utils.decorators import method_decorator
from ninja import Header, NinjaAPI
from ninja.decorators import decorate_view
from ninja.security import APIKeyHeader, HttpBearer
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.decorators import api_view, renderer_classes
from rest_framework.exceptions import NotFound
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from cachefence_web.django import Rule, cache_view, fence
from tests.django import site
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")

HOST = {"host": "shop.example"}
CACHED = cache_view(ttl=60, stale_for=60, tags=["books"])


class Lines(BaseRenderer):
    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return f"title: {data['title']}".encode()


class Counted:
    """What an endpoint answers."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> dict[str, str]:
        self.count += 1
        return {"title": f"book {self.count}"}


class Base(APIView):
    renderer_classes = (JSONRenderer, Lines)
    authentication_classes = (SessionAuthentication,)


def endpoint(kind: str, counted: Counted) -> Callable[..., Any]:
    """The same endpoint, cached in each way in which one writes it."""

    def answer(request: Any) -> Response:
        return Response(counted(), headers={"X-Shelf": "3"})

    class Whole(Base):
        def get(self, request: Any, pk: int = 0) -> Response:
            return answer(request)

        post = get

    class Method(Base):
        @method_decorator(CACHED)
        def get(self, request: Any, pk: int = 0) -> Response:
            return answer(request)

        def post(self, request: Any, pk: int = 0) -> Response:
            return answer(request)

    class Set(ViewSet):
        renderer_classes = (JSONRenderer, Lines)
        authentication_classes = (SessionAuthentication,)

        @method_decorator(CACHED)
        def list(self, request: Any, pk: int = 0) -> Response:
            return answer(request)

    @api_view(["GET", "POST"])
    @renderer_classes([JSONRenderer, Lines])
    def function(request: Any, pk: int = 0) -> Response:
        return answer(request)

    match kind:
        case "as_view":
            return CACHED(Whole.as_view())
        case "dispatch":
            return method_decorator(CACHED, name="dispatch")(Whole).as_view()
        case "method":
            return Method.as_view()
        case "action":
            return Set.as_view({"get": "list"})
        case _:
            return CACHED(function)


KINDS = ("as_view", "dispatch", "method", "action", "function")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def get(url: str = "/book/", **headers: str) -> Any:
    return Client().get(url, headers={**HOST, **headers})


def test_an_endpoint_is_asked_once_and_again_after_an_invalidation(kind: str) -> None:
    with mounted(book=endpoint(kind, Counted())):
        answers = [get() for _ in range(3)]
        assert [answer.json() for answer in answers] == [{"title": "book 1"}] * 3
        assert {answer["Content-Type"] for answer in answers} == {"application/json"}
        assert answers[2]["Cache-Status"].startswith("cachefence; hit")
        assert {answer["X-Shelf"] for answer in answers} == {"3"}
        assert {answer["Allow"] for answer in answers} != {""}
        fence().invalidate_tags("books")
        assert get().json() == {"title": "book 2"}


def test_p11_each_client_gets_the_form_that_it_accepts(kind: str) -> None:
    with mounted(book=endpoint(kind, Counted())):
        asked = ["application/json", "text/plain", "application/json", "text/plain", "*/*"]
        answers = [get(accept=accept) for accept in asked]
    assert [answer.content for answer in answers[:4]] == [b'{"title":"book 1"}', b"title: book 2"] * 2
    assert [answer["Content-Type"] for answer in answers[:2]] == ["application/json", "text/plain; charset=utf-8"]
    assert answers[4]["Content-Type"] == "application/json"
    assert all("accept" in answer["Vary"].lower() for answer in answers)


@pytest.mark.parametrize("kind", ["as_view", "dispatch", "function"])
def test_an_endpoint_is_made_anew_behind_a_visitors_back(kind: str) -> None:
    with mounted(book=endpoint(kind, Counted())):
        get(accept="text/plain")
        fence().expire_tags("books")
        assert [get(accept="text/plain").content for _ in range(2)] == [b"title: book 1", b"title: book 2"]


@pytest.mark.parametrize("kind", ["method", "action"])
def test_a_method_is_made_anew_behind_a_visitors_back(kind: str) -> None:
    with mounted(book=endpoint(kind, Counted())):
        get()
        fence().expire_tags("books")
        assert [get().json()["title"] for _ in range(2)] == ["book 1", "book 2"]


@pytest.mark.parametrize("kind", ["as_view", "dispatch", "function"])
def test_a_successful_change_forgets_the_answer_at_its_url(kind: str) -> None:
    with mounted(book=endpoint(kind, Counted())):
        get()
        assert Client().post("/book/", headers=HOST).json() == {"title": "book 2"}
        assert get().json() == {"title": "book 3"}


class ByName(BaseAuthentication):
    """A user is known by a header field of the project's own."""

    def authenticate(self, request: Any) -> Any:
        name = request.headers.get("X-Name")
        return (User(username=name, pk=len(name)), None) if name else None


@pytest.mark.parametrize("wrapped", [False, True], ids=["method", "dispatch"])
@pytest.mark.parametrize("authenticator", [ByName, SessionAuthentication])
def test_p11_an_endpoint_for_its_users_is_for_each_of_them(wrapped: bool, authenticator: Any) -> None:
    class Account(APIView):
        renderer_classes = (JSONRenderer,)
        authentication_classes = (authenticator,)

        def get(self, request: Any) -> Response:
            return Response({"name": request.user.get_username()})

    if wrapped:
        view = method_decorator(CACHED, name="dispatch")(Account).as_view()
    else:
        Account.get = method_decorator(CACHED)(Account.get)  # type: ignore[method-assign]
        view = Account.as_view()
    with mounted(book=view):
        names = [get(**({"x-name": name} if name else {})).json()["name"] for name in ("ada", "eva", "", "ada")]
    assert names == (["ada", "eva", "", "ada"] if authenticator is ByName else ["", "", "", ""])


def test_p11_who_may_not_see_an_answer_does_not_get_another_s() -> None:
    class Account(Base):
        authentication_classes = (ByName, TokenAuthentication)
        permission_classes = (IsAuthenticated,)

        @method_decorator(CACHED)
        def get(self, request: Any) -> Response:
            return Response({"name": request.user.get_username()})

    whole = type("Whole", (Account,), {"get": Account.get.__wrapped__})  # type: ignore[attr-defined]
    with mounted(book=Account.as_view(), all=CACHED(whole.as_view())):
        for url in ("/book/", "/all/"):
            assert get(url, **{"x-name": "ada"}).status_code == 200
            assert get(url).status_code in (401, 403)
            assert get(url, **{"x-name": "ada"}).json() == {"name": "ada"}


def test_an_error_of_the_framework_is_the_askers_own() -> None:
    count = 0

    class Missing(Base):
        @method_decorator(CACHED)
        def get(self, request: Any) -> Response:
            nonlocal count
            count += 1
            raise NotFound

    with mounted(book=Missing.as_view()):
        assert [get().status_code for _ in range(2)] == [404, 404]
    assert count == 2


def test_a_site_s_rule_is_for_endpoints_too(settings: Any) -> None:
    settings.MIDDLEWARE = ["cachefence_web.django.CacheMiddleware", *settings.MIDDLEWARE]
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=60, tags=["books"])]
    counted = Counted()

    class Book(Base):
        def get(self, request: Any) -> Response:
            return Response(counted())

    with mounted(book=Book.as_view()):
        assert [get(accept=accept).content for accept in ("text/plain", "application/json", "text/plain")] == [
            b"title: book 1", b'{"title":"book 2"}', b"title: book 1"]


class Bearer(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> str:
        return token


class Key(APIKeyHeader):
    param_name = "X-Shop"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        return key


@contextmanager
def api() -> Iterator[Counted]:
    """An API of django-ninja."""
    counted, ninja = Counted(), NinjaAPI(urls_namespace="books")

    @ninja.get("/books/{pk}")
    @decorate_view(cache_view(ttl=60, stale_for=60, tags=["book:{pk}"]))
    def book(request: HttpRequest, pk: int, page: int = 1) -> dict[str, Any]:
        return {**counted(), "pk": pk, "page": page}

    @ninja.post("/books/{pk}")
    @decorate_view(cache_view(ttl=60))
    def change(request: HttpRequest, pk: int) -> dict[str, Any]:
        return counted()

    @ninja.get("/abooks/{pk}")
    @decorate_view(cache_view(ttl=60, stale_for=60, tags=["book:{pk}"]))
    async def abook(request: HttpRequest, pk: int) -> dict[str, Any]:
        return {**counted(), "pk": pk}

    @ninja.get("/token", auth=Bearer())
    @decorate_view(cache_view(ttl=60))
    def token(request: Any) -> Any:
        return {"auth": request.auth}

    @ninja.get("/key", auth=Key())
    @decorate_view(cache_view(ttl=60))
    def key(request: Any) -> Any:
        return {"auth": request.auth}

    @ninja.get("/shelf")
    @decorate_view(cache_view(ttl=60))
    def shelf(request: HttpRequest, x_shelf: Header[str] = "none") -> Any:
        return {**counted(), "shelf": x_shelf}

    site.urlpatterns.append(path("api/", ninja.urls))
    clear_url_caches()
    try:
        yield counted
    finally:
        site.urlpatterns.clear()
        clear_url_caches()


def test_an_operation_is_asked_once_for_each_of_its_arguments() -> None:
    with api():
        urls = ["/api/books/1", "/api/books/2", "/api/books/1?page=2", "/api/books/1"]
        assert [get(url).json()["title"] for url in urls] == ["book 1", "book 2", "book 3", "book 1"]
        assert get("/api/books/x").status_code == 422
        fence().invalidate_tags("book:2")
        assert [get(url).json()["title"] for url in urls[:2]] == ["book 1", "book 4"]


def test_an_operation_is_made_anew_behind_a_visitors_back_and_forgotten_after_a_change() -> None:
    with api():
        get("/api/books/1")
        fence().expire_tags("book:1")
        assert [get("/api/books/1").json()["title"] for _ in range(2)] == ["book 1", "book 2"]
        assert Client().post("/api/books/1", headers=HOST).json() == {"title": "book 3"}
        assert get("/api/books/1").json()["title"] == "book 4"


async def test_an_asynchronous_operation_is_cached() -> None:
    with api():
        for _ in range(2):
            answer = await AsyncClient(headers=HOST).get("/api/abooks/1")
            assert answer.json() == {"title": "book 1", "pk": 1}


def test_p11_an_operation_for_those_who_may_is_not_for_others() -> None:
    with api():
        assert [get("/api/token", authorization=f"Bearer {name}").json()["auth"] for name in "ab"] == ["a", "b"]
        assert get("/api/token").status_code == 401
        assert [get("/api/key", **{"x-shop": name}).json()["auth"] for name in "aba"] == ["a", "b", "a"]
        assert get("/api/key").status_code == 401
        assert get("/api/key", **{"x-shop": "a"}).json() == {"auth": "a"}


def test_a_header_that_an_operation_takes_is_told_apart() -> None:
    with api():
        asked: list[dict[str, str]] = [{}, {"x-shelf": "a"}, {"x-shelf": "b"}, {"x-shelf": "a"}, {}]
        assert [get("/api/shelf", **headers).json()["title"] for headers in asked] == [
            "book 1", "book 2", "book 3", "book 2", "book 1"]
