"""What Flask's users do around their views goes on as without a cache: hooks, `g`, streams, forms, logins, proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    flash,
    g,
    make_response,
    redirect,
    request,
    session,
    stream_with_context,
    url_for,
)
from flask.ctx import RequestContext
from werkzeug.local import LocalProxy
from werkzeug.middleware.proxy_fix import ProxyFix

from cachefence_web.flask import CacheFence

Count = Callable[[], int]


def test_hooks_of_a_blueprint_and_of_the_application_keep_their_order(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    told: list[str] = []
    pages = Blueprint("pages", __name__)

    def note(word: str) -> Callable[..., Any]:
        def hook(value: Any = None) -> Any:
            told.append(word)
            return value
        return hook

    pages.before_request(note("blueprint before"))
    pages.after_request(note("blueprint after"))
    pages.teardown_request(note("blueprint teardown"))
    app.before_request(note("before"))
    app.after_request(note("after"))

    @pages.get("/")
    @fence.cache_view(ttl=60)
    def page() -> str:
        told.append("view")
        return f"page {count()}"

    app.register_blueprint(pages)
    client = app.test_client()
    assert [client.get("/").text, client.get("/").text] == ["page 1", "page 1"]
    around = (["before", "blueprint before"], ["blueprint after", "after", "blueprint teardown"])
    assert told == [*around[0], "view", *around[1], *around[0], *around[1]]


def test_what_hooks_hand_to_the_view_in_g_is_there(app: Flask, fence: CacheFence, count: Count) -> None:
    @app.before_request
    def load() -> None:
        g.shop = "corner"

    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> str:
        g.page = count()
        return f"{g.shop} {g.page}"

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Seen"] = f"{g.shop} {g.get('page')}"
        return response

    answers = [app.test_client().get("/") for _ in range(2)]
    assert [(answer.text, answer.headers["X-Seen"]) for answer in answers] == [
        ("corner 1", "corner 1"), ("corner 1", "corner None")]


def test_a_function_for_after_this_request_asked_for_by_a_hook_is_no_obstacle(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    @app.before_request
    def load() -> None:
        @after_this_request
        def sign(response: Response) -> Response:
            response.headers["X-Turn"] = str(count())
            return response

    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: f"page {count()}"))
    answers = [app.test_client().get("/") for _ in range(2)]
    assert [(answer.text, answer.headers["X-Turn"]) for answer in answers] == [("page 1", "2"), ("page 1", "3")]


def test_a_stream_that_is_cut_short_is_not_stored_and_its_context_is_kept(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    ended: list[str] = []

    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> Response:
        turn = count()

        def parts() -> Iterator[str]:
            try:
                yield f"{request.path} {turn} "
                if turn == 1:
                    raise ConnectionError("the source is gone")
                yield "end"
            finally:
                ended.append("closed")

        return Response(stream_with_context(parts()))

    client = app.test_client()
    with pytest.raises(ConnectionError):
        client.get("/", buffered=True)
    left = client.get("/")
    assert next(left.iter_encoded()) == b"/ 2 "
    left.close()
    assert ended == ["closed", "closed"]
    assert client.get("/", buffered=True).text == "/ 3 end"
    assert "stored" not in client.get("/", buffered=True).headers["Cache-Status"]


def test_p11_a_form_with_a_token_of_the_session_is_each_visitors_own(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    @app.get("/")
    @fence.cache_view(ttl=60)
    def form() -> str:
        if "csrf_token" not in session:
            session["csrf_token"] = f"token {count()}"
        return str(session["csrf_token"])

    ada, bo = app.test_client(), app.test_client()
    assert [each.get("/").text for each in (ada, bo, ada, bo)] == ["token 1", "token 2", "token 1", "token 2"]


def test_p11_a_page_with_the_current_user_is_each_visitors_own(app: Flask, fence: CacheFence, count: Count) -> None:
    def load() -> Any:
        if "user" not in g:
            g.user = session.get("_user_id")
        return g.user

    current_user: Any = LocalProxy(load)

    @app.get("/in/<name>")
    def enter(name: str) -> Any:
        session["_user_id"] = name
        flash(f"welcome {name}")
        return redirect("/")

    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> str:
        return f"hello {current_user} {count()}" if current_user else f"who are you? {count()}"

    ada, bo = app.test_client(), app.test_client()
    for client, name in ((ada, "Ada"), (bo, "Bo")):
        client.get(f"/in/{name}")
    assert [each.get("/").text for each in (ada, bo, ada)] == ["hello Ada 1", "hello Bo 2", "hello Ada 3"]
    assert [app.test_client().get("/").text for _ in range(2)] == ["who are you? 4"] * 2


def test_an_after_request_hook_that_looks_at_the_visitor_does_not_make_the_page_personal(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    @app.after_request
    def remember(response: Response) -> Response:
        response.headers["X-Visitor"] = str(session.get("name"))
        return response

    @app.get("/in/<name>")
    def enter(name: str) -> str:
        session["name"] = name
        return name

    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: f"page {count()}"))
    ada, bo = app.test_client(), app.test_client()
    ada.get("/in/Ada")
    bo.get("/in/Bo")
    answers = [each.get("/") for each in (ada, bo)]
    assert [answer.headers["X-Visitor"] for answer in answers] == ["Ada", "Bo"]
    # Before 3.1.3 Flask could not tell, so there a session is enough to make a page personal.
    tells = isinstance(getattr(RequestContext, "session", None), property)
    assert [answer.text for answer in answers] == ["page 1", "page 1" if tells else "page 2"]


def test_p11_a_method_that_middleware_overrides_is_what_the_view_saw(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    inner = app.wsgi_app

    def override(environ: Any, start_response: Any) -> Any:
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", environ["REQUEST_METHOD"])
        return inner(environ, start_response)

    app.wsgi_app = override  # type: ignore[method-assign]

    @app.route("/", methods=["GET", "DELETE"])
    @fence.cache_view(ttl=60)
    def page() -> str:
        return f"{request.method} {count()}"

    client = app.test_client()
    delete = {"X-HTTP-Method-Override": "DELETE"}
    assert [client.get("/").text, client.get("/").text] == ["GET 1", "GET 1"]
    assert client.post("/", headers=delete, buffered=True).text == "DELETE 2"
    assert client.get("/", headers=delete, buffered=True).text == "DELETE 3"
    assert client.get("/").text == "GET 4"


def test_p11_addresses_that_a_proxy_tells_are_keyed_as_the_view_saw_them(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1, x_proto=1, x_prefix=1, x_port=1)  # type: ignore[method-assign]

    @app.get("/page")
    @fence.cache_view(ttl=60)
    def page() -> str:
        return f"{url_for('page', _external=True)} {count()}"

    @app.post("/page")
    def save() -> Any:
        return redirect(url_for("page"), 303)

    client = app.test_client()
    told = [("a.example", "https", "/x"), ("a.example", "https", "/y"), ("a.example", "http", "/x"),
            ("b.example", "https", "/x")]
    asked = [{"X-Forwarded-Host": host, "X-Forwarded-Proto": scheme, "X-Forwarded-Prefix": prefix}
             for host, scheme, prefix in told]
    texts = [client.get("/page", headers=each).text for each in asked * 2]
    expected = [f"{scheme}://{host}{prefix}/page {turn}" for turn, (host, scheme, prefix) in enumerate(told, 1)]
    assert texts == expected * 2
    client.post("/page", headers=asked[1], buffered=True)
    assert [client.get("/page", headers=each).text.split()[1] for each in asked] == ["1", "5", "3", "4"]


def test_p2_what_a_hook_commits_at_the_end_of_an_unsafe_request_is_seen_by_the_next(
    app: Flask, fence: CacheFence,
) -> None:
    books = {"committed": "old"}
    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: books["committed"]))

    @app.post("/")
    def save() -> str:
        # Another visitor comes before the commit.
        books["written"] = "new"
        return "saved"

    @app.teardown_request
    def commit(error: BaseException | None) -> None:
        if "written" in books:
            written = books.pop("written")
            assert app.test_client().get("/", buffered=True).text == "old"
            books["committed"] = written

    client = app.test_client()
    assert client.get("/").text == "old"
    answer = client.post("/")
    assert client.get("/").text == "new"
    answer.close()
    assert client.get("/").headers["Cache-Status"].startswith("cachefence; hit")


@pytest.mark.parametrize(("make", "status"), [
    (lambda n: make_response((f"page {n}", 200, {"X-Page": "a"})), 200),
    (lambda n: (f"page {n}", "200 Fine"), 200),
    (lambda n: ({"page": n}, 200, {"X-Page": "a"}), 200),
    (lambda n: ([n, n], {"X-Page": "a"}), 200),
    (lambda n: (f"page {n}", 201), 201),
    (lambda n: ("", 204), 204),
    (lambda n: (f"gone {n}", 410, {"Cache-Control": "max-age=60"}), 410),
    (lambda n: abort(make_response(f"no {n}", 409)), 409),
], ids=["make_response", "text status", "dict", "list", "created", "nothing", "explicitly fresh", "aborted"])
def test_whatever_a_view_returns_arrives_twice_the_same_way(
    app: Flask, fence: CacheFence, count: Count, make: Any, status: int,
) -> None:
    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: make(count())))
    first, second = app.test_client().get("/"), app.test_client().get("/")
    assert (first.status_code, second.status_code) == (status, status)
    assert first.headers.get("X-Page") == second.headers.get("X-Page")
    assert first.mimetype == second.mimetype
    assert (first.data == second.data) == (status in (200, 204, 410))
