"""P11 in Django: what a view made of the one who asked is for nobody else, and what it did not is for all."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.utils.functional import SimpleLazyObject
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.vary import vary_on_cookie

from cachefence_web.django import cache_view
from tests.django.site import mounted

pytestmark = pytest.mark.usefixtures("on_store")

Make = Callable[[HttpRequest], str]


def page(make: Make, **options: Any) -> Any:
    """A cached view whose page says how often it was made, and what of the one who asked."""
    made = 0

    @cache_view(**{"ttl": 60, **options})
    def view(request: HttpRequest) -> HttpResponse:
        nonlocal made
        made += 1
        return HttpResponse(f"{made} {make(request)}")

    return view


def visitor(**session: Any) -> Client:
    """Somebody with a session, if anything is in it."""
    client = Client(headers={"host": "shop.example"})
    if session:
        kept = client.session
        kept.update(session)
        kept.save()
        client.cookies["sessionid"] = kept.session_key
    return client


def ask(*clients: Client) -> list[str]:
    return [client.get("/page/").content.decode() for client in clients]


@pytest.mark.parametrize("make", [
    lambda request: request.session.get("name"),
    lambda request: request.session.session_key,
    lambda request: "name" in request.session,
    lambda request: str(request.user),
    lambda request: request.user.is_authenticated,
    lambda request: len(messages.get_messages(request)),
    lambda request: request.COOKIES["sessionid"],
], ids=["session", "session-key", "in-session", "user", "authenticated", "messages", "cookie"])
def test_p11_a_page_that_touched_the_visitor_is_not_shared_among_those_with_a_session(make: Make) -> None:
    ada, eve = visitor(name="Ada"), visitor(name="Eve")
    with mounted(page=page(make)):
        pages = ask(ada, eve, ada, eve)
    assert [text.split()[0] for text in pages] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("make", [
    lambda request: request.session.get("name"),
    lambda request: str(request.user),
    lambda request: len(messages.get_messages(request)),
    lambda request: request.COOKIES.get("sessionid"),
], ids=["session", "user", "messages", "cookie"])
def test_the_anonymous_page_is_shared_by_those_without_a_session_and_by_nobody_else(make: Make) -> None:
    with mounted(page=page(make)):
        first = visitor().get("/page/")
        assert first.content.startswith(b"1 ")
        again = visitor().get("/page/")
        assert again.content == first.content
        assert again["Vary"].split(", ")[0] == "Cookie"
        assert ask(visitor(name="Ada"))[0].startswith("2 ")
        assert ask(visitor()) == [first.content.decode()]


def test_a_page_that_touched_nothing_is_shared_within_each_class_of_visitors() -> None:
    with mounted(page=page(lambda request: "same")):
        assert ask(visitor(), visitor(), visitor(name="Ada"), visitor(name="Eve")) == [
            "1 same", "1 same", "2 same", "2 same"]
        assert visitor().get("/page/")["Vary"] == "Accept-Language"


def test_a_personal_page_of_one_does_not_switch_the_cache_off_for_the_anonymous() -> None:
    ada = visitor(name="Ada")
    with mounted(page=page(lambda request: request.session.get("name"))):
        assert ask(ada, visitor(), ada, visitor()) == ["1 Ada", "2 None", "3 Ada", "2 None"]


@pytest.mark.parametrize("make", [
    get_token,
    lambda request: request.COOKIES.get("currency", "EUR"),
    lambda request: dict(request.COOKIES),
    lambda request: list(request.COOKIES.items()),
    lambda request: request.session.update({"seen": 1}),
    lambda request: messages.success(request, "hello"),
], ids=["token", "cookie", "cookies", "items", "session", "message"])
def test_p11_what_one_visitor_is_told_whoever_he_is_is_not_stored(make: Make) -> None:
    with mounted(page=page(make)):
        pages = ask(visitor(), visitor(), visitor())
    assert [text.split()[0] for text in pages] == ["1", "2", "3"]


def test_p11_a_user_known_without_a_session_is_not_anonymous() -> None:
    view = page(lambda request: request.user.username)

    def asked_by(user: Any) -> str:
        request = RequestFactory().get("/page/")
        request.user = user
        return str(view(request).content.decode())

    ada, eve = User(username="ada"), SimpleLazyObject(lambda: User(username="eve"))
    assert [asked_by(ada), asked_by(eve), asked_by(ada)] == ["1 ada", "2 eve", "3 ada"]


@pytest.mark.parametrize("inside", [ensure_csrf_cookie, vary_on_cookie])
def test_p11_decorators_inside_that_speak_of_cookies_are_heeded(inside: Any) -> None:
    made = []

    @cache_view(ttl=60)
    @inside
    def view(request: HttpRequest) -> HttpResponse:
        made.append(1)
        return HttpResponse(f"{len(made)}")

    with mounted(page=view):
        assert ask(visitor(), visitor()) == ["1", "2"]


def with_middleware(view: Any, before: Callable[[HttpRequest], Any]) -> Any:
    """The view, behind something that looks at the request first."""

    def outside(request: HttpRequest) -> HttpResponse:
        before(request)
        response: HttpResponse = view(request)
        return response

    return outside


def with_cookie(**cookies: str) -> Client:
    """Somebody without a session, who has other cookies."""
    client = visitor()
    for name, value in cookies.items():
        client.cookies[name] = value
    return client


def test_what_middleware_looked_for_and_did_not_find_leaves_the_anonymous_page_shared() -> None:
    def look(request: HttpRequest) -> None:
        assert not request.user.is_authenticated
        request.session.get("name")
        get_token(request)

    with mounted(page=with_middleware(page(lambda request: "same"), look)):
        assert ask(visitor(), visitor(), with_cookie(seen="1")) == ["1 same", "1 same", "1 same"]


@pytest.mark.parametrize("learn", [
    lambda request: request.session.get("name"), lambda request: request.user.is_authenticated and "",
], ids=["session", "user"])
def test_p11_what_middleware_learnt_and_keeps_outside_the_request_is_not_shared(learn: Make) -> None:
    now: list[str] = []

    def remember(request: HttpRequest) -> None:
        learn(request)
        now[:] = [str(request.session.get("name"))]

    with mounted(page=with_middleware(page(lambda request: now[0]), remember)):
        pages = ask(visitor(), visitor(name="Ada"), visitor(name="Eve"), visitor())
    assert pages == ["1 None", "2 Ada", "3 Eve", "1 None"]


def test_p11_what_middleware_made_of_any_cookie_is_not_shared() -> None:
    def attach(request: Any) -> None:
        request.cart = request.COOKIES.get("cart", "empty")

    with mounted(page=with_middleware(page(lambda request: request.cart), attach)):
        pages = ask(visitor(), with_cookie(cart="Ada"), with_cookie(cart="Eve"), visitor())
    assert pages == ["1 empty", "2 Ada", "3 Eve", "1 empty"]


def test_p11_a_token_that_middleware_put_on_the_request_is_not_shared() -> None:
    def attach(request: Any) -> None:
        request.token = get_token(request)

    with mounted(page=with_middleware(page(lambda request: request.token), attach)):
        assert len(set(ask(visitor(), visitor()))) == 2


def test_p11_a_session_held_since_before_the_view_is_seen_to_be_used_in_it() -> None:
    held: list[Any] = []

    def hold(request: Any) -> None:
        held[:] = [request.session]

    with mounted(page=with_middleware(page(lambda request: held[0].get("name")), hold)):
        pages = ask(visitor(name="Ada"), visitor(name="Eve"), visitor(), visitor())
    assert pages == ["1 Ada", "2 Eve", "3 None", "3 None"]


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_p11_a_user_known_by_another_cookie_does_not_get_the_anonymous_page(lazy: bool) -> None:
    def know(request: Any) -> None:
        if name := request.COOKIES.get("jwt"):
            request.user = SimpleLazyObject(lambda: User(username=name)) if lazy else User(username=name)

    with mounted(page=with_middleware(page(lambda request: request.user.username), know)):
        pages = ask(visitor(), with_cookie(jwt="ada"), with_cookie(jwt="eve"), visitor())
    assert pages == ["1 ", "2 ada", "3 eve", "1 "]


@pytest.mark.parametrize("make", [
    lambda request: request.META.get("HTTP_COOKIE"),
    lambda request: dict(request.META)["HTTP_COOKIE"],
    lambda request: request.META.copy()["HTTP_COOKIE"],
    lambda request: request.environ["HTTP_COOKIE"],
    lambda request: request.headers["Cookie"],
    lambda request: dict(request.headers)["Cookie"],
], ids=["get", "dict", "copy", "environ", "headers", "all-headers"])
def test_p11_the_cookie_header_is_watched_like_the_cookies(make: Make) -> None:
    with mounted(page=page(make)):
        assert ask(with_cookie(a="1"), with_cookie(a="2")) == ["1 a=1", "2 a=2"]


def test_other_headers_may_be_read_and_the_environment_may_be_written() -> None:
    requests: list[Any] = []

    def make(request: Any) -> str:
        requests.append(request)
        request.META["noted"] = request.META.get("REQUEST_METHOD")
        return f"{request.headers.get('Host')} {'HTTP_HOST' in request.META}"

    with mounted(page=page(make)):
        assert ask(with_cookie(a="1"), with_cookie(a="2")) == ["1 shop.example True"] * 2
    assert type(requests[0].META) is dict
    assert requests[0].META["noted"] == "GET"
    assert requests[0].environ is requests[0].META


def asked_with(view: Any, **meta: str) -> tuple[str, str]:
    """The page, and what kept it from being stored."""
    answer = view(RequestFactory(headers={"host": "shop.example"}).get("/page/", **meta))
    return answer.content.decode(), answer["Cache-Status"].partition("detail=")[2]


LOGINS: list[dict[str, str]] = [
    {"REMOTE_USER": "{}", "AUTH_TYPE": "Basic"}, {"SSL_CLIENT_S_DN": "CN={}"}, {"SSL_CLIENT_CERT": "{}"},
    {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_M_SERIAL": "{}"},
]


def known_as(login: dict[str, str], name: str) -> dict[str, str]:
    return {field: value.format(name) for field, value in login.items()}


@pytest.mark.parametrize("login", LOGINS, ids=["user", "subject", "certificate", "verified"])
def test_p11_whom_the_server_knows_is_not_shown_anothers_page(login: dict[str, str]) -> None:
    view = page(lambda request: " ".join(request.META.get(name, "nobody") for name in login))
    ada, eve, nobody = known_as(login, "ada"), known_as(login, "eve"), {"SSL_CLIENT_VERIFY": "NONE", "REMOTE_USER": ""}
    pages = [asked_with(view, **meta)[0] for meta in (ada, eve, nobody, ada, nobody)]
    assert [text.split()[0] for text in pages] == ["1", "2", "3", "4", "3"]
    assert [name in text for text, name in zip(pages, ("ada", "eve", "", "ada", ""), strict=True)] == [True] * 5


@pytest.mark.parametrize("login", LOGINS, ids=["user", "subject", "certificate", "verified"])
def test_p11_pages_kept_for_each_whom_the_server_knows_are_not_had_by_saying_so(login: dict[str, str]) -> None:
    view = page(lambda request: "", vary_on=["Remote-User"])
    ada, eve = known_as(login, "ada"), known_as(login, "eve")
    pages = [asked_with(view, **meta)[0] for meta in (ada, eve, ada, {}, {"HTTP_REMOTE_USER": "ada"}, ada)]
    assert pages == ["1 ", "2 ", "1 ", "3 ", "4 ", "1 "]


@pytest.mark.parametrize("name", ["REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT", "GEOIP_COUNTRY_CODE", "SSL_SESSION_ID"])
def test_p11_a_page_that_read_what_is_one_clients_is_not_shared(name: str) -> None:
    view = page(lambda request: request.META.get(name))
    assert [asked_with(view, **{name: f"192.0.2.{last}"}) for last in (1, 2, 1)] == [
        ("1 192.0.2.1", "personal"), ("2 192.0.2.2", "personal"), ("3 192.0.2.1", "personal")]


@pytest.mark.parametrize("make", [
    lambda request: request.META["eppn"], lambda request: request.META.get("eppn"),
    lambda request: request.environ["eppn"],
], ids=["item", "get", "environ"])
def test_p11_whom_the_server_knows_by_a_name_of_the_operators_choice_is_alone_with_his_page(make: Make) -> None:
    view = page(make)
    assert [asked_with(view, eppn=name) for name in ("ada@x", "eve@x")] == [
        ("1 ada@x", "personal"), ("2 eve@x", "personal")]


def test_what_a_server_says_of_a_request_is_the_same_for_all() -> None:
    names = ("REQUEST_METHOD", "PATH_INFO", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme", "QUERY_STRING")
    view = page(lambda request: "".join(str(request.META[name]) for name in names) and "")
    assert [asked_with(view)[0] for _ in range(2)] == ["1 ", "1 "]


def test_p11_the_scope_of_an_asynchronous_server_is_watched_like_the_fields() -> None:
    view = page(lambda request: dict(request.scope["headers"])[b"x-name"].decode())

    def asked(name: str) -> str:
        request = AsyncRequestFactory().get("/page/", headers={"host": "shop.example", "x-name": name})
        answer: HttpResponse = view(request)
        assert type(vars(request)["scope"]) is dict
        return answer.content.decode()

    assert [asked("ada"), asked("eve")] == ["1 ada", "2 eve"]


def test_p11_a_tag_and_a_template_within_the_page_are_watched_by_whatever_name() -> None:
    sources = ("{{ me.username }}", "{{ view.request.user }}", "{{ request.META.eppn }}", "{{ token }}")
    for at, source in enumerate(sources):
        template, made = engines["django"].from_string(source), []

        @cache_view(ttl=60)
        def view(request: Any, template: Any = template, made: list[int] = made) -> TemplateResponse:
            made.append(1)
            own = {"me": request.user, "view": SimpleNamespace(request=request), "token": lambda: get_token(request)}
            return TemplateResponse(request, template, own)

        for name in ("ada", "eve"):
            request: Any = RequestFactory(headers={"host": "shop.example"}).get(f"/page/{at}/", eppn=name)
            request.user = User(username=name)
            view(request).render()
        assert len(made) == 2, source


def test_p11_what_a_view_raises_of_a_visitor_is_not_raised_to_another() -> None:
    ada_is_in, go_on = threading.Event(), threading.Event()

    def make(request: HttpRequest) -> str:
        name = request.session["name"]
        if name == "Ada":
            ada_is_in.set()
            go_on.wait(20)
            raise RuntimeError("Ada's account is broken")
        return str(name)

    view = page(make)

    # Each of Django's test clients would raise what any of them has met.
    def asked_by(name: str) -> str:
        request: Any = RequestFactory().get("/page/", headers={"cookie": f"sessionid={name}"})
        request.session = {"name": name}
        return str(view(request).content.decode())

    with ThreadPoolExecutor(2) as pool:
        ada = pool.submit(asked_by, "Ada")
        assert ada_is_in.wait(20)
        eve = pool.submit(asked_by, "Eve")
        go_on.set()
        with pytest.raises(RuntimeError, match="Ada"):
            ada.result(20)
        assert eve.result(20) == "2 Eve"


def test_p11_what_middleware_touched_before_is_still_seen_to_be_touched_by_the_view() -> None:
    def look(request: HttpRequest) -> None:
        assert not request.user.is_authenticated
        request.session.get("name")

    with mounted(page=with_middleware(page(lambda request: request.session["name"]), look)):
        assert ask(visitor(name="Ada"), visitor(name="Eve")) == ["1 Ada", "2 Eve"]


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_p11_what_middleware_made_of_the_session_is_not_shared(lazy: bool) -> None:
    def attach(request: Any) -> None:
        request.basket = SimpleLazyObject(lambda: request.session["name"]) if lazy else request.session["name"]

    with mounted(page=with_middleware(page(lambda request: str(request.basket)), attach)):
        assert ask(visitor(name="Ada"), visitor(name="Eve")) == ["1 Ada", "2 Eve"]


def test_the_request_has_its_own_again_after_the_view() -> None:
    asked: list[Any] = []

    def view(request: Any) -> HttpResponse:
        asked.append(request.session)
        own = {name: vars(request)[name] for name in ("user", "session", "_messages", "auser")}
        cookies = request.COOKIES
        get_token(request)
        response: HttpResponse = page(lambda request: f"{request.session.get('name')} {request.COOKIES}")(request)
        assert {name: vars(request)[name] for name in own} == own
        assert all(vars(request)[name] is own[name] for name in own)
        assert request.COOKIES is cookies
        assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]
        return response

    with mounted(page=view):
        answer = visitor(name="Ada").get("/page/")
    assert "csrftoken" in answer.cookies
    assert "Cookie" in answer["Vary"]


def test_p11_a_view_that_logs_somebody_in_is_not_stored() -> None:
    view = page(lambda request: setattr(request, "user", User(username="ada")) or "")
    made = []
    for brought in (True, True, False, False):
        request = RequestFactory().get("/page/")
        if brought:
            request.user = AnonymousUser()
        made.append(view(request).content)
        assert request.user.username == "ada"
    assert made == [b"1 ", b"2 ", b"3 ", b"4 "]


def test_a_view_that_finds_nobody_logged_in_makes_the_anonymous_page() -> None:
    view = page(lambda request: setattr(request, "user", AnonymousUser()) or "")

    def asked(**headers: str) -> bytes:
        request = RequestFactory().get("/page/", headers=headers)
        request.user = AnonymousUser()
        return bytes(view(request).content)

    assert [asked(), asked(), asked(cookie="sessionid=1"), asked(cookie="sessionid=1")] == [b"1 ", b"1 ", b"2 ", b"3 "]


def test_a_template_may_name_the_user_and_the_messages_without_touching_them() -> None:
    source = "{% if show %}{{ user }}{% endif %}{% if token %}{% csrf_token %}{% endif %}page"
    template = engines["django"].from_string(source)
    made = []

    @cache_view(ttl=60)
    def view(request: HttpRequest) -> TemplateResponse:
        made.append(1)
        return TemplateResponse(request, template, {name: name in request.GET for name in ("show", "token")})

    ada, eve = visitor(name="Ada"), visitor(name="Eve")
    with mounted(page=view):
        for query, makes in (("", 1), ("?show", 2), ("?token", 2)):
            made.clear()
            ada.get(f"/page/{query}")
            eve.get(f"/page/{query}")
            assert len(made) == makes


async def test_p11_an_asynchronous_view_is_watched_in_the_same_way() -> None:
    made = []

    @cache_view(ttl=60)
    async def view(request: Any) -> HttpResponse:
        made.append(1)
        user = await request.auser()
        return HttpResponse(f"{len(made)} {user} {await request.session.aget('name')}")

    with mounted(page=view):
        anonymous = [AsyncClient(headers={"host": "shop.example"}) for _ in range(2)]
        assert [(await each.get("/page/")).content for each in anonymous] == [b"1 AnonymousUser None"] * 2
        known = AsyncClient(headers={"host": "shop.example"})
        known.cookies = visitor(name="Ada").cookies
        assert [(await known.get("/page/")).content for _ in range(2)] == [
            b"2 AnonymousUser Ada", b"3 AnonymousUser Ada"]


async def test_p11_a_user_whom_an_asynchronous_view_asked_for_is_not_anonymous() -> None:
    @cache_view(ttl=60)
    async def view(request: Any) -> HttpResponse:
        return HttpResponse((await request.auser()).username)

    async def asked_by(name: str) -> bytes:
        async def auser() -> User:
            return User(username=name)

        request = AsyncRequestFactory().get("/page/")
        request.auser = auser
        response: HttpResponse = await view(request)
        return response.content

    assert [await asked_by("ada"), await asked_by("eve")] == [b"ada", b"eve"]


def test_p11_users_known_by_other_means_are_told_apart_where_their_cookies_are_the_same() -> None:
    view = page(lambda request: request.user.username, vary_on=["Cookie"])

    def asked_by(pk: int, name: str) -> str:
        request = RequestFactory().get("/page/", headers={"cookie": "consent=yes"})
        request.user = User(pk=pk, username=name)
        return str(view(request).content.decode())

    assert [asked_by(1, "ada"), asked_by(2, "eve"), asked_by(1, "ada")] == ["1 ada", "2 eve", "1 ada"]


@pytest.mark.parametrize("make", [
    lambda request: request.META.get("HTTP_X_FORWARDED_HOST", "none"),
    lambda request: request.headers.get("X-Forwarded-Host", "none"),
    lambda request: request.headers["x_forwarded_host"] if "X-Forwarded-Host" in request.headers else "none",
], ids=["meta", "headers", "underscore"])
def test_p11_what_one_client_sends_in_a_field_that_the_view_reads_is_not_shown_to_another(make: Make) -> None:
    def asked(**headers: str) -> Any:
        return Client(headers={"host": "shop.example", **headers}).get("/page/")

    with mounted(page=page(make)):
        answers = [asked(), asked(x_forwarded_host="evil.example"), asked(), asked(x_forwarded_host="evil.example")]
        assert [answer.content for answer in answers] == [b"1 none", b"2 evil.example"] * 2
        assert "x-forwarded-host" in answers[0]["Vary"].lower()


@pytest.mark.parametrize("make", [
    lambda request: dict(request.META), lambda request: {**request.headers}, lambda request: list(request.META.items()),
], ids=["meta", "headers", "items"])
def test_p11_a_view_that_looks_at_all_fields_answers_for_one_client(make: Make) -> None:
    with mounted(page=page(lambda request: make(request) and "")):
        assert ask(visitor(), visitor()) == ["1 ", "2 "]


def test_p11_what_the_request_remembers_of_a_field_counts_as_read() -> None:
    def look(request: HttpRequest) -> None:
        request.accepts("text/html")

    def asked(accept: str) -> bytes:
        return bytes(Client(headers={"host": "shop.example", "accept": accept}).get("/page/").content)

    with mounted(page=with_middleware(page(lambda request: str(request.accepts("text/html"))), look)):
        assert [asked("text/html"), asked("text/plain"), asked("text/html")] == [b"1 True", b"2 False", b"1 True"]


def test_p11_a_client_does_not_choose_for_others_how_a_query_is_decoded() -> None:
    view = page(lambda request: request.GET["q"])

    def asked(**more: str) -> str:
        return str(view(RequestFactory().get("/page/?q=%C3%A9", **more)).content.decode())

    assert [asked(CONTENT_TYPE="text/plain; charset=latin-1"), asked()] == ["1 Ã©", "2 é"]


def test_a_page_keyed_by_its_cookies_is_stored_for_each_visitor() -> None:
    ada, eve = visitor(name="Ada"), visitor(name="Eve")
    with mounted(page=page(lambda request: request.session["name"], vary_on=["Cookie"])):
        assert ask(ada, eve, ada, eve) == ["1 Ada", "2 Eve", "1 Ada", "2 Eve"]


@pytest.mark.parametrize("name", ["_csp_nonce", "csp_nonce"], ids=["django", "django-csp"])
@pytest.mark.parametrize("used_before", [False, True], ids=["fresh", "used-before"])
def test_p11_a_nonce_is_for_one_page_only_whoever_has_used_it_before(name: str, used_before: bool) -> None:
    def attach(request: Any) -> None:
        setattr(request, name, SimpleLazyObject(secrets.token_hex))
        if used_before:
            str(getattr(request, name))

    def asked(view: Any) -> list[str]:
        with mounted(page=with_middleware(view, attach)):
            return ask(visitor(), visitor(), with_cookie(a="1"))

    assert len(set(asked(page(lambda request: str(getattr(request, name)))))) == 3
    assert asked(page(lambda request: "no nonce")) == ["1 no nonce"] * 3


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 6.0 brought nonces")
def test_p11_a_page_with_a_nonce_is_not_stored(settings: Any) -> None:
    from django.middleware.csp import get_nonce  # type: ignore[import-not-found]

    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csp.ContentSecurityPolicyMiddleware"]
    settings.SECURE_CSP = {"script-src": ["'self'", "<CSP_NONCE_SENTINEL>"]}
    with mounted(page=page(lambda request: str(get_nonce(request)), vary_on=["Cookie"])):
        assert [text.split()[0] for text in ask(visitor(), visitor())] == ["1", "2"]
