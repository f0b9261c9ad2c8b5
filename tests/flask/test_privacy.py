"""P11: nothing that was made for one visitor is shown to another, whatever looked at it and when."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest
from flask import Flask, Request, flash, g, get_flashed_messages, request, session
from flask.ctx import RequestContext
from flask.testing import FlaskClient
from werkzeug.datastructures import EnvironHeaders, Headers

from cachefence_web.flask import CacheFence

Count = Callable[[], int]


def client_of(app: Flask, cookie: str | None = None) -> FlaskClient:
    client = app.test_client()
    if cookie is not None:
        client.set_cookie("visitor", cookie)
    return client


@pytest.fixture
def page(app: Flask, fence: CacheFence, count: Count) -> Callable[[Callable[[], Any]], None]:
    """Makes the cached page at `/`."""

    def add(view: Callable[[], Any], **options: Any) -> None:
        app.add_url_rule("/", "page", fence.cache_view(ttl=60, **options)(view))

    return add


def brief(cookie: str | None) -> str | None:
    return cookie.replace(" ", "")[:40] if cookie else None


def sign_in(app: Flask) -> None:
    """Every visitor may be somebody: `/in/<name>` says who."""

    @app.get("/in/<name>")
    def enter(name: str) -> str:
        session["name"] = name
        return name


@pytest.mark.parametrize("look", [
    lambda: session.get("name"),
    lambda: next((session[key] for key in session if key == "name"), None),
    lambda: dict(session).get("name"),
    lambda: request.cookies.get("session", "")[:40] or None,
    lambda: brief(request.headers.get("Cookie")),
    lambda: brief(request.headers["COOKIE"] if "cookie" in request.headers else None),
    lambda: brief(";".join(request.headers.getlist("cookie"))),
    lambda: brief(dict(request.headers).get("Cookie")),
    lambda: brief(request.environ.get("HTTP_COOKIE")),
    lambda: brief(request.environ["HTTP_COOKIE"] if {"HTTP_COOKIE"} <= request.environ.keys() else None),
    lambda: brief(dict(request.environ).get("HTTP_COOKIE")),
    lambda: brief({**request.environ}.get("HTTP_COOKIE")),
    lambda: brief(copy(request.environ).get("HTTP_COOKIE")),
    lambda: brief((request.environ | {}).get("HTTP_COOKIE")),
    lambda: brief(next((value for name, value in request.environ.items() if name == "HTTP_COOKIE"), None)),
    lambda: brief(next((text for text in request.environ.values() if str(text).startswith("session=")), None)),
    lambda: brief(Request(request.environ).cookies.get("session")),
], ids=["get", "loop", "copy", "cookie", "header", "header by its name", "header's lines", "all headers", "environ",
        "environ by name", "environ as a dict", "environ unpacked", "environ copied", "environ merged",
        "environ's items", "environ's values", "another request object"])
def test_p11_a_page_that_looked_at_the_visitor_is_not_shown_to_another(
    app: Flask, page: Any, count: Count, look: Callable[[], Any],
) -> None:
    sign_in(app)
    page(lambda: f"{look()} {count()}")
    ada, bo, nobody = client_of(app), client_of(app), client_of(app)
    ada.get("/in/Ada")
    bo.get("/in/Bo")
    pages = [each.get("/").text for each in (ada, bo, ada, nobody)]
    assert [text.split()[-1] for text in pages] == ["1", "2", "3", "4"]
    assert pages[3] == "None 4"


def test_p11_the_anonymous_page_is_shared_by_those_without_any_cookie(app: Flask, page: Any, count: Count) -> None:
    sign_in(app)
    page(lambda: f"{session.get('name')} {count()}")
    ada = client_of(app)
    ada.get("/in/Ada")
    first, second = client_of(app).get("/"), client_of(app).get("/")
    assert first.text == second.text == "None 1"
    assert second.headers["Vary"] == "Cookie"
    assert ada.get("/").text == "Ada 2"
    assert client_of(app, "7").get("/").text == "None 3"
    assert client_of(app).get("/").text == "None 1"


def test_a_page_that_looked_at_nobody_is_shared_by_all_who_have_cookies(app: Flask, page: Any, count: Count) -> None:
    page(lambda: f"page {count()}")
    assert [client_of(app, each).get("/").text for each in ("Ada", "Bo", "Ada")] == ["page 1"] * 3


class OwnHeaders(EnvironHeaders):
    """Of an application that wants more of them."""


class OwnRequest(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers = OwnHeaders(self.environ)


class CopyingRequest(Request):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headers = Headers(list(self.headers))


@pytest.mark.parametrize("kind", [OwnRequest, CopyingRequest])
def test_p11_a_request_class_of_the_application_s_own_is_watched_or_taken_to_have_looked(
    app: Flask, page: Any, count: Count, kind: type[Request],
) -> None:
    app.request_class = kind
    page(lambda: f"{request.headers.get('Cookie')} {count()}")
    asked = [client_of(app, each).get("/").text for each in ("Ada", "Bo")]
    assert asked == ["visitor=Ada 1", "visitor=Bo 2"]


@pytest.mark.parametrize("look", [
    lambda: request.headers.get("Accept-Language"), lambda: request.headers.getlist("Accept"),
    lambda: "Range" in request.headers, lambda: (len(request.headers), list(request.headers.keys())),
    lambda: ("HTTP_COOKIE" in request.environ, sorted(request.environ), len(request.environ)),
    lambda: (request.host, request.url, request.accept_languages, request.user_agent, request.remote_addr),
    lambda: (request.get_json(silent=True), request.form, request.args, request.authorization),
    lambda: request.environ.update({"shop.seen": 1}) or request.environ.pop("shop.seen"),
], ids=["header", "lines of a header", "a header's presence", "names of headers", "names in environ", "properties",
        "body", "notes in environ"])
def test_p11_who_looks_at_the_request_and_not_at_its_cookies_does_not_make_the_page_personal(
    app: Flask, page: Any, count: Count, look: Callable[[], Any],
) -> None:
    @app.before_request
    def log() -> None:
        look()

    page(lambda: f"page {count()} {look()}")
    asked = [client_of(app, each).get("/", headers={"Accept": "*/*"}).text for each in ("Ada", "Bo", "Ada")]
    assert {text.split()[1] for text in asked} == {"1"}


def test_what_a_view_writes_to_the_environ_is_there_for_the_middleware_outside(app: Flask, page: Any) -> None:
    told: list[Any] = []

    def outside(environ: Any, start_response: Any) -> Any:
        environ["shop.gone"] = environ["shop.moved"] = 1
        chunks = inner(environ, start_response)
        told.append({name: value for name, value in environ.items() if name.startswith("shop.")})
        return chunks

    def view() -> str:
        request.environ["shop.set"] = request.environ.setdefault("shop.default", 2)
        request.environ.update({"shop.updated": 3})
        request.environ |= {"shop.merged": request.environ.pop("shop.moved")}
        del request.environ["shop.gone"]
        return "page"

    inner, app.wsgi_app = app.wsgi_app, outside  # type: ignore[method-assign]
    page(view)
    client_of(app).get("/")
    assert told == [{"shop.set": 2, "shop.default": 2, "shop.updated": 3, "shop.merged": 1}]


KNOWN_TO_THE_SERVER = [
    {"REMOTE_USER": "{}"}, {"SSL_CLIENT_S_DN": "CN={}"}, {"SSL_CLIENT_CERT": "-- {} --"},
    {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_M_SERIAL": "{}"},
]


@pytest.mark.parametrize("known", KNOWN_TO_THE_SERVER, ids="-".join)
def test_p11_whom_only_the_server_knows_is_not_answered_from_the_store(
    app: Flask, page: Any, count: Count, known: dict[str, str],
) -> None:
    page(lambda: f"{[request.environ.get(name) for name in known]} {count()}")
    pages = [ask_as(app, known, name) for name in ("Ada", "Bo", "Ada", None, None)]
    assert [text.split()[-1] for text in pages] == ["1", "2", "3", "4", "4"]


@pytest.mark.parametrize("known", KNOWN_TO_THE_SERVER, ids="-".join)
def test_p11_each_whom_only_the_server_knows_has_a_page_where_the_view_says_so(
    app: Flask, fence: CacheFence, page: Any, count: Count, known: dict[str, str],
) -> None:
    page(lambda: f"{[request.environ.get(name) for name in known]} {count()}",
         vary_on=["Remote-User"], tags=["page"], stale_for=600)
    pages = [ask_as(app, known, name) for name in ("Ada", "Bo", "Ada", None, "Bo")]
    assert [text.split()[-1] for text in pages] == ["1", "2", "1", "3", "2"]
    # No field of a client's is taken for the server's word.
    assert app.test_client().get("/", headers={"Remote-User": "Ada"}).text.split()[-1] == "4"
    with app.app_context():
        fence.expire_tags("page")
    behind = [ask_as(app, known, "Ada"), ask_as(app, known, "Ada"), ask_as(app, known, "Bo")]
    assert behind == [pages[0], pages[0].replace(" 1", " 5"), pages[1]]


def test_p11_where_no_certificate_was_asked_for_pages_are_shared(app: Flask, page: Any, count: Count) -> None:
    page(lambda: f"page {count()}")
    known = {"REMOTE_USER": "", "SSL_CLIENT_VERIFY": "NONE", "SSL_CLIENT_S_DN": ""}
    assert [ask_as(app, known, name) for name in ("Ada", "Bo")] == ["page 1", "page 1"]


def ask_as(app: Flask, known: dict[str, str], name: str | None) -> str:
    told = {} if name is None else {variable: value.format(name) for variable, value in known.items()}
    return app.test_client().get("/", environ_overrides=told, buffered=True).text


def test_a_session_that_nobody_looked_at_is_no_reason_to_compute(app: Flask, page: Any, count: Count) -> None:
    sign_in(app)
    page(lambda: f"page {count()}")
    ada = client_of(app)
    ada.get("/in/Ada")
    ada.get("/")
    # Before 3.1.3 Flask could not tell, so there a session is enough to make a page personal.
    tells = isinstance(getattr(RequestContext, "session", None), property)
    assert ada.get("/").text == ("page 1" if tells else "page 2")


@pytest.mark.parametrize("look", [
    lambda: session.get("name"), lambda: request.cookies.get("visitor"),
    lambda: request.headers["Cookie"].partition("visitor=")[2].partition(";")[0],
], ids=["session", "cookie", "header"])
def test_p11_a_hook_that_looked_before_the_view_makes_the_page_personal(
    app: Flask, page: Any, count: Count, look: Callable[[], Any],
) -> None:
    sign_in(app)

    @app.before_request
    def load() -> None:
        g.user = look()

    page(lambda: f"{g.user} {count()}")
    ada, bo = client_of(app, "Ada"), client_of(app, "Bo")
    ada.get("/in/Ada")
    bo.get("/in/Bo")
    assert [ada.get("/").text, bo.get("/").text] == ["Ada 1", "Bo 2"]


def test_p11_a_failure_over_one_visitor_is_not_shown_to_another(app: Flask, page: Any) -> None:
    sign_in(app)

    def view() -> str:
        if session.get("name") == "Ada":
            raise RuntimeError("the data of Ada is broken")
        return f"hello {session.get('name')}"

    page(view)
    ada, bo = client_of(app), client_of(app)
    ada.get("/in/Ada")
    bo.get("/in/Bo")
    assert ada.get("/").status_code == 500
    assert bo.get("/").text == "hello Bo"


def test_p8_a_page_that_looked_for_a_visitor_and_found_none_is_shown_as_it_last_was(
    app: Flask, fence: CacheFence, page: Any,
) -> None:
    broken: list[bool] = []

    def view() -> str:
        if session.get("name") is None and broken:
            raise RuntimeError("the database is gone")
        return f"hello {session.get('name')}"

    page(view, tags=["page"], stale_if_error=300)
    assert client_of(app).get("/").text == "hello None"
    broken.append(True)
    with app.app_context():
        fence.expire_tags("page")
    assert client_of(app).get("/").text == "hello None"


def test_p11_a_session_that_the_view_has_changed_is_never_shared(app: Flask, page: Any, count: Count) -> None:
    def view() -> str:
        session["token"] = f"token {count()}"
        return str(session["token"])

    page(view)
    for turn in (1, 2):
        answer = client_of(app).get("/")
        assert answer.text == f"token {turn}"
        assert "session=" in answer.headers["Set-Cookie"]


def test_p11_flashed_messages_are_for_one_visitor(app: Flask, page: Any) -> None:
    @app.get("/say")
    def say() -> str:
        flash("only once")
        return ""

    page(lambda: str(get_flashed_messages()))
    ada = client_of(app)
    ada.get("/say")
    assert ada.get("/").text == "['only once']"
    assert client_of(app).get("/").text == "[]"
    assert ada.get("/").text == "[]"


def test_p11_what_was_asked_with_authorization_is_neither_stored_nor_answered_from_the_store(
    app: Flask, page: Any, count: Count,
) -> None:
    page(lambda: f"{request.authorization and request.authorization.username} {count()}")
    named = {"auth": ("ada", "secret")}
    assert client_of(app).get("/", **named).text == "ada 1"
    assert client_of(app).get("/").text == "None 2"
    assert client_of(app).get("/", **named).text == "ada 3"
    assert client_of(app).get("/").text == "None 2"


@pytest.mark.parametrize("headers", [
    {"Set-Cookie": "a=1"}, {"Cache-Control": "private"}, {"Cache-Control": "No-Store"}, {"Vary": "*"},
    {"Cache-Control": "no-cache"}, {"Cache-Control": "private", "CDN-Cache-Control": "rubbish("},
], ids=lambda headers: "-".join(f"{name} {value}" for name, value in headers.items()))
def test_p11_what_its_headers_forbid_is_not_stored(
    app: Flask, page: Any, count: Count, headers: dict[str, str],
) -> None:
    page(lambda: (f"page {count()}", headers))
    assert [client_of(app).get("/").text, client_of(app).get("/").text] == ["page 1", "page 2"]


def test_p11_only_get_and_head_are_answered_from_the_store(app: Flask, fence: CacheFence, count: Count) -> None:
    @app.route("/", methods=["GET", "POST", "PUT"])
    @fence.cache_view(ttl=60)
    def page() -> str:
        return f"{request.method} {count()}"

    client = client_of(app)
    methods = ("GET", "OPTIONS", "GET", "POST", "PUT", "GET", "GET")
    answers = [client.open("/", method=method).text for method in methods]
    assert answers == ["GET 1", "", "GET 1", "POST 2", "PUT 3", "GET 4", "GET 4"]


def test_each_header_in_vary_on_has_its_own_answer(app: Flask, page: Any, count: Count) -> None:
    page(lambda: (f"{request.headers.get('Accept-Language')} {count()}", {"Vary": "Accept-Language"}),
         vary_on=("Accept-Language",))
    asked = [client_of(app).get("/", headers={"Accept-Language": each}).text for each in ("de", "en", "de", "")]
    assert asked == ["de 1", "en 2", "de 1", " 3"]
    assert client_of(app).get("/").text == "None 4"


def test_p11_host_scheme_raw_path_and_query_tell_pages_apart(app: Flask, fence: CacheFence) -> None:
    @app.get("/<path:rest>")
    @fence.cache_view(ttl=60)
    def page(rest: str) -> str:
        return f"{request.scheme} {request.host} {rest} {request.query_string.decode()}"

    urls = ["http://a.example/x?a=1", "http://a.example/x%3Fa=1", "http://b.example/x?a=1", "https://a.example/x?a=1",
            "http://a.example/x?a=1&a=2", "http://a.example/x?a=2&a=1", "http://a.example/x", "http://a.example/x%2Fy",
            "http://a.example/%E4", "http://a.example/%C3%A4"]
    client = client_of(app)
    fresh = [client.get(url).text for url in urls]
    assert len(set(fresh)) == len(urls)
    assert [client.get(url).text for url in urls] == fresh


def test_p11_a_path_that_middleware_has_moved_is_keyed_by_what_the_application_sees(
    app: Flask, fence: CacheFence,
) -> None:
    inner = app.wsgi_app

    def by_tenant(environ: Any, start_response: Any) -> Any:
        environ["PATH_INFO"] = f"/{environ['HTTP_X_TENANT']}"
        return inner(environ, start_response)

    app.wsgi_app = by_tenant  # type: ignore[method-assign]
    app.add_url_rule("/<tenant>", "page", fence.cache_view(ttl=60)(lambda tenant: tenant))
    asked = [client_of(app).get("/same", headers={"X-Tenant": name}).text for name in ("ada", "bo", "ada")]
    assert asked == ["ada", "bo", "ada"]
