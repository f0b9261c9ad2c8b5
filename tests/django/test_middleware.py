"""`CacheMiddleware`: rules for a whole site, wherever the middleware is put, and views that stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client
from django.urls import resolve, reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from cachefence_web import ConfigurationError
from cachefence_web.django import CacheMiddleware, Rule, cache_view, depends_on, fence
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")

OURS = "cachefence_web.django.CacheMiddleware"
SEEN: list[str] = []


class Looking:
    """A middleware inside that tells what it is asked."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> Any:
        SEEN.append(f"view {view.__name__} {kwargs}")
        return HttpResponse("refused", status=403) if "refuse" in request.GET else None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        SEEN.append(f"exception {exception}")
        return HttpResponse("sorry", status=503)


@pytest.fixture(params=["first", "last"])
def placed(request: pytest.FixtureRequest, settings: Any) -> None:
    """The middleware outside all others, or inside them."""
    others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [OURS, *others] if request.param == "first" else [*others, OURS]
    SEEN.clear()


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "shop.example"})


def numbered(make: Callable[[Any], Any] = lambda request: "") -> Any:
    made = 0

    def book(request: HttpRequest, pk: int = 0) -> Any:
        nonlocal made
        made += 1
        answer = make(request)
        return HttpResponse(f"{made}{answer}") if isinstance(answer, str) else answer

    return book


def introduce(client: Client, name: str) -> None:
    session = client.session
    session["name"] = name
    session.save()
    client.cookies["sessionid"] = session.session_key


def bodies(client: Client, *paths: str) -> list[str]:
    return [client.get(path).content.decode() for path in paths]


@pytest.mark.usefixtures("placed")
def test_the_first_rule_for_a_page_counts_and_other_pages_pass_untouched(client: Client, settings: Any) -> None:
    settings.CACHEFENCE_RULES = [Rule("/book/<int:pk>/", ttl=30, tags=["book:{pk}"]), Rule("book/<path:rest>", ttl=20)]
    with mounted(book=numbered(), other=numbered()):
        assert bodies(client, "/book/1/", "/book/1/", "/book/2/", "/book/", "/book/") == ["1", "1", "2", "3", "4"]
        assert bodies(client, "/other/", "/other/") == ["1", "2"]
        assert "Cache-Status" not in client.get("/other/")
        assert int(client.get("/book/1/")["Cache-Status"].partition("ttl=")[2]) > 20
        fence().invalidate_tags("book:1")
        assert bodies(client, "/book/1/", "/book/2/") == ["5", "2"]


async def test_pages_are_cached_under_asgi_in_both_colours(settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, *settings.MIDDLEWARE]
    settings.CACHEFENCE_RULES = [Rule("<slug:any>/", ttl=30)]
    plain = numbered()

    async def coroutine(request: HttpRequest) -> Any:
        return made(request)

    made = numbered()
    visitor = AsyncClient(headers={"host": "shop.example"})
    with mounted(plain=plain, coroutine=coroutine):
        for path in ("/plain/", "/coroutine/"):
            assert [(await visitor.get(path)).content for _ in range(3)] == [b"1"] * 3


def test_a_rule_may_name_a_url_pattern(client: Client, settings: Any) -> None:
    from django.urls import clear_url_caches, include, path

    from tests.django import site

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, OURS]
    settings.CACHEFENCE_RULES = [Rule(name="shop:book", ttl=30, tags=["book:{pk}"])]
    inside = [path("book/<int:pk>/", numbered(), name="book"), path("other/", numbered(), name="other")]
    site.urlpatterns.append(path("shop/", include((inside, "shop"))))
    clear_url_caches()
    try:
        assert reverse("shop:book", args=[1]) == "/shop/book/1/"
        assert bodies(client, "/shop/book/1/", "/shop/book/1/", "/shop/other/", "/shop/other/") == ["1", "1", "1", "2"]
        fence().invalidate_tags("book:1")
        assert bodies(client, "/shop/book/1/") == ["2"]
    finally:
        site.urlpatterns.clear()
        clear_url_caches()


@pytest.mark.usefixtures("placed")
def test_other_middleware_is_asked_on_hits_too_about_the_view_it_knows(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.django.test_middleware.Looking"]
    settings.CACHEFENCE_RULES = [Rule("book/<int:pk>/", ttl=30)]
    with mounted(book=numbered()):
        assert bodies(client, "/book/1/", "/book/1/", "/book/1/?refuse") == ["1", "1", "refused"]
    assert SEEN == ["view book {'pk': 1}"] * 3


@pytest.mark.usefixtures("placed")
def test_exceptions_reach_the_exception_middleware(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.django.test_middleware.Looking"]
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30)]

    def broken(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("no database")

    with mounted(book=broken):
        assert bodies(client, "/book/") == ["sorry"]
    assert SEEN == ["view broken {}", "exception no database"]


@pytest.mark.skipif(django.VERSION < (5, 1), reason="Django 5.1 brought this middleware")
@pytest.mark.usefixtures("placed")
def test_p11_a_page_that_needs_a_login_is_not_shown_without_one(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30)]
    with mounted(book=numbered()):
        assert client.get("/book/").status_code == 302
        assert "Cache-Status" not in client.get("/book/")


@pytest.mark.usefixtures("placed")
def test_p11_a_page_that_touched_the_visitor_is_not_shared(settings: Any) -> None:
    settings.CACHEFENCE_RULES = [Rule("<path:every>", ttl=30)]

    def visitor(name: str | None) -> Client:
        client = Client(headers={"host": "shop.example"})
        if name:
            introduce(client, name)
        return client

    with mounted(book=numbered(lambda request: f" {request.session.get('name')}"), form=numbered(get_token)):
        pages = [bodies(visitor(name), "/book/")[0] for name in (None, "Ada", "Eve", None)]
        assert pages == ["1 None", "2 Ada", "3 Eve", "1 None"]
        assert len({bodies(visitor(None), "/form/")[0] for _ in range(3)}) == 3


def test_what_outer_middleware_adds_is_not_stored(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [OURS, *settings.MIDDLEWARE]
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30)]
    with mounted(book=numbered()):
        client.get("/book/")
        settings.X_FRAME_OPTIONS = "SAMEORIGIN"
        hit = client.get("/book/")
    assert hit["Cache-Status"].startswith("cachefence; hit")
    assert hit["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("how", ["function", "dispatch", "method"])
@pytest.mark.usefixtures("placed")
def test_a_views_own_cache_comes_before_a_rule(client: Client, settings: Any, how: str) -> None:
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30, tags=["rule"])]
    own = cache_view(ttl=1000, tags=["own"])
    plain = numbered()

    class Book(View):
        def get(self, request: HttpRequest) -> Any:
            return plain(request)

    class Method(View):
        @method_decorator(own)
        def get(self, request: HttpRequest) -> Any:
            return plain(request)

    views = {"function": csrf_exempt(own(plain)), "method": Method.as_view()}
    if how == "dispatch":
        views["dispatch"] = method_decorator(own, name="dispatch")(Book).as_view()
    with mounted(book=views[how]):
        assert bodies(client, "/book/", "/book/", "/book/") == ["1", "1", "1"]
        assert client.get("/book/")["Cache-Status"].count("cachefence") == 1
        assert int(client.get("/book/")["Cache-Status"].partition("ttl=")[2]) > 900
        fence().invalidate_tags("rule")
        assert bodies(client, "/book/") == ["1"]
        fence().invalidate_tags("own")
        assert bodies(client, "/book/") == ["2"]


@pytest.mark.usefixtures("placed")
def test_the_urlconf_is_what_it_was(client: Client, settings: Any) -> None:
    settings.CACHEFENCE_RULES = [Rule("book/<int:pk>/", ttl=30)]
    view = numbered()
    inside: list[Any] = []
    with mounted(book=view, look=lambda request: inside.append(resolve("/book/1/")[0]) or HttpResponse()):
        client.get("/book/1/")
        client.get("/look/")
        found, args, kwargs = resolve("/book/1/")
        assert found is view
        assert inside == [view]
        assert (args, kwargs) == ((), {"pk": 1})
        assert client.get("/book/1/").resolver_match.func is view


@pytest.mark.usefixtures("placed")
def test_a_rule_s_page_is_made_anew_behind_a_visitors_back(client: Client, settings: Any) -> None:
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30, stale_for=60, tags=["book"])]
    with mounted(book=numbered()):
        client.get("/book/")
        fence().expire_tags("book")
        assert bodies(client, "/book/", "/book/") == ["1", "2"]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "frobnicate"])
@pytest.mark.usefixtures("placed")
def test_a_successful_change_forgets_the_page_at_its_url(settings: Any, method: str) -> None:
    client = Client(headers={"host": "shop.example"})
    settings.CACHEFENCE_RULES = [Rule("<path:every>", ttl=30)]
    failing = numbered(lambda request: "" if request.method == "GET" else HttpResponse(status=409))
    with mounted(book=csrf_exempt(numbered()), fail=csrf_exempt(failing)):
        assert bodies(client, "/book/", "/book/1/", "/fail/") == ["1", "2", "1"]
        client.generic(method.upper(), "/book/")
        assert bodies(client, "/book/", "/book/1/") == ["4", "2"]
        client.generic(method.upper(), "/fail/")
        assert bodies(client, "/fail/") == ["1"]


@pytest.mark.usefixtures("placed")
@pytest.mark.parametrize("make", [
    lambda: StreamingHttpResponse([b"a", b"b"]),
    lambda: FileResponse(open(__file__, "rb")),  # noqa: SIM115 (the response closes it)
], ids=["stream", "file"])
def test_streams_pass(client: Client, settings: Any, make: Callable[[], Any]) -> None:
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30)]
    with mounted(book=numbered(lambda request: make())):
        first, second = client.get("/book/"), client.get("/book/")
        assert first.getvalue() == second.getvalue() != b""
        assert first.streaming
        assert second.streaming


class TestByHeaders:
    """Without rules the responses' own header fields decide."""

    @pytest.fixture(autouse=True)
    def _by_headers(self, placed: None, settings: Any) -> None:
        settings.CACHEFENCE_RULES = None

    def test_a_page_lives_as_long_as_it_says_and_not_at_all_if_it_does_not(self, client: Client) -> None:
        views = {
            "fresh": {"Cache-Control": "max-age=60"}, "silent": {},
            "forbidden": {"Cache-Control": "max-age=60, no-store"}, "own": {"Cache-Control": "private, max-age=60"}}

        def saying(headers: dict[str, str]) -> Any:
            return numbered(lambda request: HttpResponse(str(next(numbers)), headers=headers))

        numbers = iter(range(99))

        with mounted(**{name: saying(headers) for name, headers in views.items()}):
            kept = {name for name in views if len(set(bodies(client, f"/{name}/", f"/{name}/"))) == 1}
        assert kept == {"fresh"}

    def test_p11_a_page_that_touched_the_session_is_not_shared_though_it_does_not_say_so(self) -> None:
        def make(request: Any) -> Any:
            return HttpResponse(request.session.get("name", "nobody"), headers={"Cache-Control": "max-age=60"})

        def asked(name: str) -> bytes:
            client = Client(headers={"host": "shop.example"})
            introduce(client, name)
            return bytes(client.get("/book/").content)

        with mounted(book=numbered(make)):
            assert [asked("Ada"), asked("Eve")] == [b"Ada", b"Eve"]

    def test_pages_are_told_apart_by_what_they_vary_on(self, client: Client) -> None:
        def make(request: Any) -> Any:
            return HttpResponse(request.headers.get("X-Shelf", "-") + str(len(made)), headers={
                "Cache-Control": "max-age=60", "Vary": "X-Shelf"})

        made: list[int] = []
        with mounted(book=numbered(lambda request: made.append(1) or make(request))):
            asked = [client.get("/book/", headers={"x-shelf": shelf}).content for shelf in "abab"]
        assert asked == [b"a1", b"b2", b"a1", b"b2"]

    def test_a_page_is_made_anew_behind_a_visitors_back(self, client: Client) -> None:
        said = {"Cache-Control": "max-age=60, stale-while-revalidate=60", "Cache-Groups": '"books"'}
        numbers = iter(range(9))

        def make(request: Any) -> Any:
            depends_on("books")
            return HttpResponse(str(next(numbers)), headers=said)

        with mounted(book=numbered(make)):
            assert bodies(client, "/book/", "/book/") == ["0", "0"]
            fence().expire_tags("books")
            assert bodies(client, "/book/", "/book/") == ["0", "1"]

    def test_a_stale_page_that_the_view_confirms_is_kept(self, client: Client) -> None:
        seen: list[Any] = []

        def make(request: Any) -> Any:
            seen.append(request.headers.get("If-None-Match"))
            headers = {"Cache-Control": "no-cache", "ETag": '"a"'}
            return HttpResponse(status=304, headers=headers) if seen[-1] else HttpResponse("page", headers=headers)

        with mounted(book=numbered(make)):
            assert bodies(client, "/book/", "/book/") == ["page", "page"]
        assert seen == [None, '"a"']


def test_a_template_response_is_stored_as_it_is_rendered(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, OURS]
    settings.CACHEFENCE_RULES = [Rule("book/", ttl=30)]
    template = engines["django"].from_string("page {{ number }}")
    numbers = iter(range(9))
    view = numbered(lambda request: TemplateResponse(request, template, {"number": next(numbers)}))
    with mounted(book=view):
        assert bodies(client, "/book/", "/book/") == ["page 0", "page 0"]


@pytest.mark.parametrize(("wrong", "message"), [
    ({}, "for a path or a name"),
    ({"path": "/a/", "name": "a"}, "for a path or a name"),
    ({"path": 1}, "is a text"),
    ({"path": "/<nothing:pk>/"}, "no path of a URL pattern"),
    ({"path": "/a/", "tags": ["a:{pk}"]}, "takes no arguments"),
    ({"path": "/<int:pk>/", "tags": ["a:{isbn}"]}, "takes pk"),
    ({"path": "/a/", "ttl": 0}, "positive"),
    ({"path": "/a/", "tags": "a"}, "a list of tags"),
    ({"path": "/a/", "vary_on": "Accept"}, "write \\('Accept',\\)"),
    ({"path": "/a/", "policy": "catalog"}, "policy is a Policy"),
    ({"path": "/a/", "cache": 1}, "alias of CACHES"),
], ids=range(11))
def test_bad_rules_are_refused_where_they_are_written(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Rule(**wrong)


@pytest.mark.parametrize("rules", ["/book/", [("/book/", 60)], {"/book/": 60}], ids=["text", "pairs", "mapping"])
def test_settings_that_are_no_rules_are_refused_when_the_site_starts(settings: Any, rules: Any) -> None:
    settings.CACHEFENCE_RULES = rules
    with pytest.raises(ImproperlyConfigured, match="CACHEFENCE_RULES is a list"):
        CacheMiddleware(lambda request: HttpResponse())
