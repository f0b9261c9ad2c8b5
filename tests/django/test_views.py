"""`cache_view`: one call of the view for all who ask, whatever the view's colour and kind."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync
from django.core.exceptions import PermissionDenied
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.utils import timezone, translation
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.http import condition

from cachefence_web import ConfigurationError, Policy
from cachefence_web.django import cache_view, depends_on, fence
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")


class Counted:
    """What a view answers, and how often it was asked."""

    def __init__(self, make: Callable[[int], Any] | None = None) -> None:
        self.count = 0
        self._make = make or (lambda count: HttpResponse(f"page {count}"))

    def __call__(self) -> Any:
        self.count += 1
        return self._make(self.count)


def view_of(kind: str, counted: Counted, **options: Any) -> Callable[..., Any]:
    """The same view, written in each way in which Django takes one."""
    decorate = cache_view(**{"ttl": 60, **options})

    def plain(request: HttpRequest, pk: int = 0) -> HttpResponse:
        return counted()

    async def coroutine(request: HttpRequest, pk: int = 0) -> HttpResponse:
        return counted()

    class Sync(View):
        def get(self, request: HttpRequest, pk: int = 0) -> HttpResponse:
            return counted()

        post = put = delete = patch = options = get

    class Async(View):
        async def get(self, request: HttpRequest, pk: int = 0) -> HttpResponse:
            return counted()

        post = put = delete = patch = options = get

    class Method(View):
        @method_decorator(decorate)
        def get(self, request: HttpRequest, pk: int = 0) -> HttpResponse:
            return counted()

        def post(self, request: HttpRequest, pk: int = 0) -> HttpResponse:
            return counted()

    match kind:
        case "def":
            return decorate(plain)
        case "async def":
            return decorate(coroutine)
        case "class":
            return decorate(Sync.as_view())
        case "async class":
            return decorate(Async.as_view())
        case "dispatch":
            return method_decorator(decorate, name="dispatch")(Sync).as_view()
        case "async dispatch":
            return method_decorator(decorate, name="dispatch")(Async).as_view()
        case _:
            return Method.as_view()


KINDS = ("def", "async def", "class", "async class", "dispatch", "async dispatch", "method")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def client() -> Client:
    return Client(headers={"host": "shop.example"})


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def book(counted: Counted) -> Iterator[Counted]:
    """A plain cached page at /book/."""
    with mounted(book=view_of("def", counted, tags=["book"])):
        yield counted


def test_every_kind_of_view_is_asked_once_and_again_after_an_invalidation(
    kind: str, client: Client, counted: Counted
) -> None:
    with mounted(book=view_of(kind, counted, tags=["book:{pk}"])):
        assert [client.get("/book/1/").content for _ in range(3)] == [b"page 1"] * 3
        assert client.get("/book/2/").content == b"page 2"
        fence().invalidate_tags("book:1")
        assert client.get("/book/1/").content == b"page 3"
        assert client.get("/book/2/").content == b"page 2"


async def test_every_kind_of_view_is_cached_under_asgi(kind: str, counted: Counted) -> None:
    visitor = AsyncClient(headers={"host": "shop.example"})
    with mounted(book=view_of(kind, counted, tags=["book:{pk}"])):
        assert [(await visitor.get("/book/1/")).content for _ in range(3)] == [b"page 1"] * 3
        await fence().aio.invalidate_tags("book:1")
        assert (await visitor.get("/book/1/")).content == b"page 2"


async def test_an_asynchronous_view_hops_through_no_thread(monkeypatch: pytest.MonkeyPatch, counted: Counted) -> None:
    def hop(*_: Any, **__: Any) -> Any:
        raise AssertionError("through a thread")

    view = view_of("async def", counted, tags=["book:{pk}"])
    monkeypatch.setattr(SyncToAsync, "__call__", hop)
    for _ in range(2):
        assert (await view(AsyncRequestFactory().get("/book/1/"), pk=1)).content == b"page 1"


def test_p1_a_crowd_costs_one_call(counted: Counted) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(count: int) -> HttpResponse:
        inside.set()
        go_on.wait(20)
        return HttpResponse(f"page {count}")

    counted = Counted(slow)
    view = view_of("def", counted)
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(view, RequestFactory().get("/book/")) for _ in range(40)]
        assert inside.wait(20)
        go_on.set()
        assert {answer.result(20).content for answer in asked} == {b"page 1"}
    assert counted.count == 1


def test_p8_a_view_that_raises_is_asked_again_later_and_nothing_is_stored(counted: Counted) -> None:
    def broken(count: int) -> HttpResponse:
        raise RuntimeError("no database")

    view = view_of("def", Counted(broken))
    with pytest.raises(RuntimeError, match="no database"):
        view(RequestFactory().get("/book/"))


@pytest.mark.parametrize("error", [Http404, PermissionDenied])
def test_an_exception_that_answers_is_the_askers_own(client: Client, error: type[Exception]) -> None:
    def missing(count: int) -> HttpResponse:
        if count < 3:
            raise error(f"{count}")
        return HttpResponse("here")

    counted = Counted(missing)
    with mounted(book=view_of("def", counted)):
        statuses = [client.get("/book/").status_code for _ in range(3)]
    assert statuses[0] in (403, 404)
    assert statuses[1] == statuses[0]
    assert statuses[2] == 200


def test_a_hit_keeps_headers_and_says_what_it_is(client: Client) -> None:
    def made(count: int) -> HttpResponse:
        return HttpResponse(
            '{"a": 1}', content_type="application/json", headers={"X-Shelf": "3", "Cache-Control": "max-age=5"})

    began = monotonic()
    with mounted(book=view_of("def", Counted(made))):
        miss, hit = client.get("/book/"), client.get("/book/")
    passed = monotonic() - began
    for answer in (miss, hit):
        assert answer.json() == {"a": 1}
        assert answer.reason_phrase == "OK"
        assert answer["Content-Type"] == "application/json"
        assert answer["X-Shelf"] == "3"
        assert answer["Cache-Control"] == "max-age=5"
        assert answer["Content-Length"] == "8"
    assert miss["ETag"] == hit["ETag"]
    assert miss["Cache-Status"] == "cachefence; fwd=miss; stored"
    assert hit["Cache-Status"].startswith("cachefence; hit; ttl=")
    assert "Age" not in miss
    assert 0 <= int(hit["Age"]) <= passed


def test_a_client_that_has_the_page_gets_a_304(client: Client, book: Counted) -> None:
    tag = client.get("/book/")["ETag"]
    answer = client.get("/book/", headers={"if-none-match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert "Content-Type" not in answer
    assert book.count == 1


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_p1_a_view_that_would_answer_304_answers_for_all_while_it_leads(client: Client, kind: str) -> None:
    seen: list[Any] = []

    def make(request: HttpRequest) -> HttpResponse:
        seen.append([request.META.get("HTTP_IF_NONE_MATCH"), request.headers.get("If-Modified-Since")])
        return HttpResponse("page", headers={"ETag": '"mine"'})

    @cache_view(ttl=60)
    def plain(request: HttpRequest) -> HttpResponse:
        return make(request)

    @cache_view(ttl=60)
    async def coroutine(request: HttpRequest) -> HttpResponse:
        return make(request)

    after: list[Any] = []

    def outside(request: HttpRequest) -> Any:
        assert request.headers["If-None-Match"] == '"mine"'
        answer = plain(request) if kind == "def" else async_to_sync(coroutine)(request)
        after.append([request.META["HTTP_IF_NONE_MATCH"], request.headers["If-None-Match"]])
        return answer

    asked = {"if-none-match": '"mine"', "if-modified-since": "Sat, 01 Jan 2000 00:00:00 GMT"}
    with mounted(book=outside):
        assert [client.get("/book/", headers=asked).status_code for _ in range(2)] == [304, 304]
    assert seen == [[None, None]]
    assert after == [['"mine"', '"mine"']] * 2


def test_a_response_that_the_view_gives_to_everybody_is_left_as_it_is(client: Client) -> None:
    shared = HttpResponse("sold out", status=410)

    def outside(request: HttpRequest) -> HttpResponse:
        answer: HttpResponse = view(request)
        answer.set_cookie("visitor", "1")
        return answer

    view = view_of("def", Counted(lambda count: shared))
    with mounted(book=outside):
        said = [client.get("/book/")["Cache-Status"] for _ in range(3)]
    assert all(line.count("cachefence") == 1 for line in said)
    assert "Cache-Status" not in shared
    assert not shared.cookies


def test_a_304_of_the_view_itself_is_not_stored(client: Client) -> None:
    @cache_view(ttl=60)
    @condition(etag_func=lambda request, pk=0: '"mine"')
    def book(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")

    with mounted(book=book):
        assert client.get("/book/", headers={"if-none-match": '"mine"'}).status_code == 304
        assert client.get("/book/").content == b"page"
        assert client.get("/book/")["Cache-Status"].startswith("cachefence; hit")


def test_head_is_answered_from_get_and_stores_nothing(client: Client, book: Counted) -> None:
    assert client.head("/book/")["Cache-Status"] == "cachefence; fwd=miss"
    assert client.get("/book/").content == b"page 2"
    head = client.head("/book/")
    assert (head.content, head["Content-Length"]) == (b"", "6")
    assert book.count == 2


@pytest.mark.parametrize("ask", [
    lambda client: client.options("/book/"),
    lambda client: client.get("/book/", headers={"authorization": "Bearer x"}),
    lambda client: client.get("/book/", headers={"if-match": "*"}),
    lambda client: client.get("/book/", headers={"cache-control": "no-store"}),
], ids=["options", "authorization", "if-match", "no-store"])
def test_p11_such_a_request_passes_the_cache_by(client: Client, ask: Any) -> None:
    counted = Counted()
    with mounted(book=view_of("class", counted)):
        client.get("/book/")
        assert [ask(client).content for _ in range(2)] == [b"page 2", b"page 3"]
        assert client.get("/book/").content == b"page 1"


def with_cookie(response: HttpResponse) -> HttpResponse:
    response.set_cookie("a", "1")
    return response


@pytest.mark.parametrize("make", [
    lambda: HttpResponse(status=201),
    lambda: HttpResponse(status=500),
    lambda: HttpResponse(headers={"Vary": "*"}),
    lambda: with_cookie(HttpResponse()),
    lambda: cache_control(private=True)(lambda request: HttpResponse())(RequestFactory().get("/")),
    lambda: never_cache(lambda request: HttpResponse())(RequestFactory().get("/")),
    lambda: StreamingHttpResponse([b"a", b"b"]),
    lambda: FileResponse(open(__file__, "rb")),  # noqa: SIM115 (the response closes it)
], ids=["created", "error", "vary-all", "cookie", "private", "no-store", "stream", "file"])
def test_p11_such_an_answer_is_not_stored_and_arrives_as_it_is(client: Client, make: Callable[[], Any]) -> None:
    counted = Counted(lambda count: make())
    with mounted(book=view_of("def", counted)):
        answers = [client.get("/book/") for _ in range(2)]
        bodies = [answer.getvalue() for answer in answers]
    assert counted.count == 2
    assert bodies[0] == bodies[1]
    for answer in answers:
        assert bool(bodies[0]) is answer.streaming
        assert answer["Cache-Status"].startswith("cachefence; fwd=miss")
        assert "stored" not in answer["Cache-Status"]


def test_keys_tell_query_host_scheme_path_and_arguments_apart(client: Client, book: Counted) -> None:
    asked: list[Callable[[], Any]] = [
        lambda: client.get("/book/"),
        lambda: client.get("/book/?a=1&a=2"),
        lambda: client.get("/book/?a=2&a=1"),
        lambda: client.get("/book/?a=%C3%A9"),
        lambda: client.get("/book/?a=é"),
        lambda: client.get("/book/", headers={"host": "other.example"}),
        lambda: client.get("/book/", secure=True),
        lambda: client.get("/book/1/"),
    ]
    first = [ask().content for ask in asked]
    assert [ask().content for ask in asked] == first
    assert len(set(first)) == len(asked)


def test_a_question_mark_in_the_path_is_not_the_start_of_a_query() -> None:
    view = view_of("def", Counted())
    inside, after = RequestFactory().get("/x%3Fa=1"), RequestFactory().get("/x?a=1")
    assert inside.path == "/x?a=1"
    assert view(inside).content != view(after).content


def test_two_views_at_one_path_and_two_calls_of_one_view_are_told_apart() -> None:
    desktop, mobile = Counted(lambda count: HttpResponse("desktop")), Counted(lambda count: HttpResponse("mobile"))

    @cache_view(ttl=60)
    def wide(request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponse(f"{desktop().content.decode()} {pk}")

    @cache_view(ttl=60)
    def narrow(request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponse(f"{mobile().content.decode()} {pk}")

    def ask(view: Any, pk: int) -> bytes:
        return bytes(view(RequestFactory().get("/"), pk=pk).content)

    answers = [ask(wide, 1), ask(wide, 2), ask(narrow, 1), ask(narrow, 2), ask(wide, 1)]
    assert answers == [b"desktop 1", b"desktop 2", b"mobile 1", b"mobile 2", b"desktop 1"]
    assert (desktop.count, mobile.count) == (2, 2)


def test_languages_and_time_zones_are_told_apart() -> None:
    view = view_of("def", Counted(lambda count: HttpResponse(
        f"{translation.get_language()} {timezone.get_current_timezone_name()}")))

    def ask(language: str, zone: str) -> str:
        with translation.override(language), timezone.override(zone):
            return str(view(RequestFactory().get("/")).content.decode())

    asked = [("en", "UTC"), ("de", "UTC"), ("de", "Europe/Berlin"), ("en", "UTC")]
    assert [ask(*each) for each in asked] == [" ".join(each) for each in asked]


def test_vary_on_keys_by_a_header(client: Client) -> None:
    counted = Counted()
    with mounted(book=view_of("def", counted, vary_on=("HX-Request",))):
        asked = [{}, {"hx-request": "true"}, {"hx-request": ""}]
        first = [client.get("/book/", headers=headers).content for headers in asked]
        assert [client.get("/book/", headers=headers).content for headers in asked] == first
        assert counted.count == 3


def test_no_header_of_a_client_speaks_for_the_key(client: Client, book: Counted) -> None:
    client.get("/book/")
    assert client.get("/book/", HTTP_DJANGO_VIEW="x", headers={"django-view": "y"}).content == b"page 1"


def test_a_host_that_django_does_not_accept_is_no_part_of_a_key() -> None:
    counted = Counted()
    view = view_of("def", counted)
    answers = [view(RequestFactory().get("/", headers={"host": "evil.example"})) for _ in range(2)]
    assert [answer.content for answer in answers] == [b"page 1", b"page 2"]
    assert "Cache-Status" not in answers[0]


def test_tags_are_templates_functions_and_found_while_the_view_runs(client: Client) -> None:
    counted = Counted()

    @cache_view(ttl=60, tags=lambda request, pk: [f"{request.get_host()}:{pk}"])
    def book(request: HttpRequest, pk: int) -> HttpResponse:
        depends_on(f"author:{pk}")
        return counted()

    with mounted(book=book):
        for tag in ("shop.example:7", "author:7"):
            before = client.get("/book/7/").content
            fence().invalidate_tags("author:8")
            assert client.get("/book/7/").content == before
            fence().invalidate_tags(tag)
            assert client.get("/book/7/").content != before


def test_p2_a_page_that_was_made_alone_and_is_stored_all_the_same_has_its_tags(kind: str, client: Client) -> None:
    def make(count: int) -> HttpResponse:
        return HttpResponse(f"page {count}", headers={"Cache-Control": "no-store"} if count == 1 else {})

    counted = Counted(make)
    with mounted(book=view_of(kind, counted, tags=["book"])):
        answers = [client.get("/book/") for _ in range(3)]
        assert [answer.content for answer in answers] == [b"page 1", b"page 2", b"page 2"]
        assert answers[1]["Cache-Status"].endswith("stored")
        fence().invalidate_tags("book")
        assert client.get("/book/").content == b"page 3"


def test_a_cached_value_inside_a_view_hands_its_tags_to_the_page(client: Client) -> None:
    counted = Counted(lambda count: HttpResponse(str(fence().get_or_set("price", lambda: 5, tags=["price"]))))
    with mounted(book=view_of("def", counted)):
        client.get("/book/")
        fence().invalidate_tags("price")
        client.get("/book/")
    assert counted.count == 2


def test_a_template_response_is_rendered_before_it_is_stored(kind: str, client: Client) -> None:
    rendered: list[int] = []

    def number() -> int:
        rendered.append(1)
        depends_on("number")
        return len(rendered)

    template = engines["django"].from_string("number {{ number }}")
    counted = Counted(lambda count: TemplateResponse(RequestFactory().get("/"), template, {"number": number}))
    with mounted(book=view_of(kind, counted)):
        assert [client.get("/book/").content for _ in range(2)] == [b"number 1"] * 2
        fence().invalidate_tags("number")
        assert client.get("/book/").content == b"number 2"


def test_what_decorators_inside_tell_djangos_middleware_is_remembered(client: Client) -> None:
    @cache_view(ttl=60)
    @xframe_options_exempt
    def book(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")

    with mounted(book=book):
        miss, hit = client.get("/book/"), client.get("/book/")
    assert hit["Cache-Status"].startswith("cachefence; hit")
    assert "X-Frame-Options" not in miss
    assert "X-Frame-Options" not in hit
    assert not [name for name in hit.headers if "_" in name]


def test_the_policy_is_the_caches_with_the_views_own_words_over_it(settings: Any, entry: Any, client: Client) -> None:
    settings.CACHES = {"default": {**entry, "TIMEOUT": 2000}}
    with mounted(
        one=cache_view()(lambda request: HttpResponse()),
        two=cache_view(policy=Policy(ttl=1000))(lambda request: HttpResponse()),
        three=cache_view(policy=Policy(ttl=1000), ttl=500)(lambda request: HttpResponse()),
    ):
        for path, ttl in (("/one/", 2000), ("/two/", 1000), ("/three/", 500)):
            client.get(path)
            assert ttl - 60 < int(client.get(path)["Cache-Status"].partition("ttl=")[2]) <= ttl


@pytest.mark.parametrize(("wrong", "message"), [
    ({"tll": 5}, "did you mean 'ttl'"),
    ({"ttl": 0}, "positive number of seconds"),
    ({"ttl": "60"}, "number of seconds"),
    ({"tags": "book"}, r"write \['book'\]"),
    ({"tags": ["a b"]}, "reserved"),
    ({"tags": ["book:{0}"]}, "fields are argument names"),
    ({"tags": ["book:{isbn}"]}, r"names \{isbn\}, but .* takes request, pk"),
    ({"vary_on": "Accept"}, "write \\('Accept',\\)"),
    ({"vary_on": ["Accept_Language"]}, "'accept-language', not"),
    ({"cache": None}, "alias of CACHES"),
    ({"policy": "catalog"}, "policy is a Policy"),
])
def test_bad_options_are_refused_when_the_view_is_decorated(wrong: dict[str, Any], message: str) -> None:
    def book(request: HttpRequest, pk: int) -> HttpResponse:
        raise AssertionError

    with pytest.raises(ConfigurationError, match=message):
        cache_view(**{"ttl": 60, **wrong})(book)


def test_what_is_no_view_is_refused_with_the_remedy() -> None:
    class Books(View):
        @cache_view(ttl=60)
        def get(self, request: HttpRequest) -> HttpResponse:
            raise AssertionError

    with pytest.raises(ConfigurationError, match="method_decorator"):
        cache_view(ttl=60)(Books)
    with pytest.raises(ConfigurationError, match="@cache_view\\(ttl=60\\)"):
        cache_view(ttl=60)("books")  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match="method_decorator"):
        Books.as_view()(RequestFactory().get("/"))


def test_a_view_is_decorated_where_there_are_no_settings() -> None:
    code = (
        "from cachefence_web.django import cache_view, RedisCache, invalidates, fence, depends_on\n"
        "from django.conf import settings\n"
        "cache_view(ttl=60, tags=['book'], vary_on=('Accept',))(lambda request: None)\n"
        "assert not settings.configured\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={"PATH": ""}, timeout=60)


def test_without_django_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['django'] = None; import cachefence_web.django"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert 'ImportError: cachefence_web.django needs Django: pip install "cachefence-web[django]"' in ended.stderr


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_p6_while_redis_is_away_views_answer(settings: Any, client: Client, counted: Counted, kind: str) -> None:
    settings.CACHES = {"default": {
        "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "redis://127.0.0.1:1", "OPTIONS": {"timeout": 0.2}}}
    with mounted(book=view_of(kind, counted)):
        answers = [client.get("/book/") for _ in range(2)]
    assert [answer.content for answer in answers] == [b"page 1", b"page 2"]
    assert "stored" not in answers[0]["Cache-Status"]


def test_a_view_that_answers_nothing_is_django_s_to_complain_about(client: Client) -> None:
    with mounted(book=view_of("def", Counted(lambda count: None))):
        with pytest.raises(ValueError, match="didn't return an HttpResponse"):
            client.get("/book/")
