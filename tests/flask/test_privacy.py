"""P11: nothing that was made for one visitor is shown to another, whatever looked at it and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, flash, g, get_flashed_messages, request, session
from flask.ctx import RequestContext
from flask.testing import FlaskClient

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
], ids=["get", "loop", "copy", "cookie"])
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


def test_a_session_that_nobody_looked_at_is_no_reason_to_compute(app: Flask, page: Any, count: Count) -> None:
    sign_in(app)
    page(lambda: f"page {count()}")
    ada = client_of(app)
    ada.get("/in/Ada")
    ada.get("/")
    # Before 3.1.3 Flask could not tell, so there a session is enough to make a page personal.
    tells = isinstance(getattr(RequestContext, "session", None), property)
    assert ada.get("/").text == ("page 1" if tells else "page 2")


@pytest.mark.parametrize("look", [lambda: session.get("name"), lambda: request.cookies.get("visitor")],
                         ids=["session", "cookie"])
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
    {"Vary": "Accept-Language"}, {"Cache-Control": 'no-cache="Set-Cookie"'},
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
    answers = [client.open("/", method=method).text for method in ("GET", "POST", "PUT", "GET")]
    assert answers == ["GET 1", "POST 2", "PUT 3", "GET 1"]


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
