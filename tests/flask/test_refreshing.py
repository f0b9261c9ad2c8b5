"""A page that has become stale is shown, and made anew by a request of its own that is nobody's."""

from __future__ import annotations

import gc
import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, Response, abort, g, request, session
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder

from cachefence_web.flask import CacheFence, Rule
from cachefence_web.flask.arriving import Arrival
from tests.flask.behind import LONG

Count = Callable[[], int]
Shown = Callable[..., str]


@pytest.fixture
def show(app: Flask) -> Shown:
    """The text of a page; whatever is done after its answer has been done when it returns."""

    def ask(path: str = "/", **options: Any) -> str:
        return app.test_client().get(path, buffered=True, **options).text

    return ask


@pytest.fixture
def expire(app: Flask, fence: CacheFence) -> Callable[[], None]:
    def now() -> None:
        with app.app_context():
            fence.expire_tags("page")

    return now


def page_of(app: Flask, fence: CacheFence, view: Callable[..., Any], path: str = "/", **options: Any) -> None:
    options = {"ttl": 60, "stale_for": 600, "tags": ["page"]} | options
    app.add_url_rule(path, "page", fence.cache_view(**options)(view))


def test_p1_a_stale_page_is_shown_and_made_anew_behind_the_answer(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    page_of(app, fence, lambda: f"page {count()}")
    assert show() == "page 1"
    expire()
    assert [show(), show(), show()] == ["page 1", "page 2", "page 2"]


def test_under_a_rule_too(store: str, namespace: str, count: Count) -> None:
    app = Flask("shop")
    fence = CacheFence(app, url=store, namespace=namespace, timeout=LONG, rules=[
        Rule("/<name>", ttl=60, stale_for=600, tags=["page"])])
    app.add_url_rule("/<name>", "page", lambda name: f"{name} {count()}")

    def show() -> str:
        return app.test_client().get("/page", buffered=True).text

    assert show() == "page 1"
    with app.app_context():
        fence.expire_tags("page")
    assert [show(), show(), show()] == ["page 1", "page 2", "page 2"]
    fence.of(app).close()


def test_answers_that_a_test_keeps_open_hold_nobody_up(
    app: Flask, fence: CacheFence, count: Count, expire: Any,
) -> None:
    page_of(app, fence, lambda: f"page {count()}")
    client = app.test_client()
    kept = [client.get("/")]
    expire()
    kept += [client.get("/"), client.get("/")]
    with app.app_context():
        fence.invalidate_tags("page")
    kept += [client.get("/"), client.get("/")]
    assert [answer.text for answer in kept] == ["page 1", "page 1", "page 2", "page 3", "page 3"]


class Forgotten(Exception):
    """Ends a request, its stale answer in hand."""


@pytest.mark.parametrize("tested", [True, False], ids=["a test's client", "a server"])
@pytest.mark.parametrize("threaded", [True, False], ids=["threads", "no threads"])
def test_p1_a_stale_answer_lost_to_an_error_after_it_is_made_anew_all_the_same(
    app: Flask, fence: CacheFence, expire: Any, show: Shown, tested: bool, threaded: bool,
) -> None:
    made = threading.Semaphore(0)
    broken: list[bool] = []

    @app.after_request
    def fail(response: Response) -> Response:
        if broken.pop() if broken else False:
            raise Forgotten
        return response

    def view() -> str:
        made.release()
        return "page"

    page_of(app, fence, view)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    assert show() == "page"
    assert made.acquire(timeout=60)
    expire()
    broken.append(True)
    if not tested:
        environ = EnvironBuilder("/", multithread=threaded).get_environ() | {"SERVER_SOFTWARE": "a server"}
        show = partial(app, environ, lambda status, headers: len)  # type: ignore[arg-type]
    with pytest.raises(Forgotten):
        show()
    assert made.acquire(timeout=60)


def test_p1_a_stale_answer_that_came_by_no_server_and_is_dropped_is_made_anew(
    app: Flask, fence: CacheFence, expire: Any, show: Shown,
) -> None:
    made = threading.Semaphore(0)

    def view() -> str:
        made.release()
        return "page"

    page_of(app, fence, view)
    assert show() == "page"
    assert made.acquire(timeout=60)
    expire()
    with app.test_request_context("/"):
        answer: Any = app.full_dispatch_request()
    assert answer.get_data() == b"page"
    assert not made.acquire(blocking=False)
    del answer
    gc.collect()
    assert made.acquire(timeout=60)


@pytest.mark.parametrize("threaded", [True, False], ids=["threads", "no threads"])
def test_p1_a_client_of_the_development_server_that_is_gone_leaves_its_page_to_be_made_anew(
    app: Flask, fence: CacheFence, expire: Any, show: Shown, threaded: bool,
) -> None:
    made, arrived, gone = threading.Semaphore(0), threading.Event(), threading.Event()

    def view() -> str:
        made.release()
        return "page" * 100_000

    @app.before_request
    def wait() -> None:
        if request.args:
            arrived.set()
            assert gone.wait(60)

    # Known by another address, and the same to the cache.
    page_of(app, fence, view, ignored_query=["gone"])
    with make_server("127.0.0.1", 0, app, threaded=threaded) as server, ThreadPoolExecutor(1) as pool:
        where = f"http://127.0.0.1:{server.port}"
        assert show(base_url=where) == "page" * 100_000
        assert made.acquire(timeout=60)
        expire()
        client = socket.create_connection(("127.0.0.1", server.port))
        client.sendall(f"GET /?gone=1 HTTP/1.1\r\nHost: {where.removeprefix('http://')}\r\n\r\n".encode())
        serving = pool.submit(server.handle_request)
        assert arrived.wait(60)  # what was not read yet could be dropped with the connection
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        gone.set()
        serving.result(60)
        assert made.acquire(timeout=60)


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "forgets to close"])
def test_without_threads_it_waits_until_the_answer_has_gone_out(
    app: Flask, fence: CacheFence, expire: Any, show: Shown, closes: bool,
) -> None:
    made = threading.Semaphore(0)

    def view() -> str:
        made.release()
        return "page"

    page_of(app, fence, view)
    assert show() == "page"
    assert made.acquire(timeout=60)
    expire()
    environ = EnvironBuilder("/").get_environ() | {"SERVER_SOFTWARE": "a server"}
    chunks: Any = app(environ, lambda status, headers: None)
    assert b"".join(chunks) == b"page"
    assert not made.acquire(blocking=False)
    if closes:
        chunks.close()
        assert made.acquire(blocking=False)
    del chunks, environ
    assert closes or made.acquire(timeout=60)


def test_a_request_that_came_by_no_server_is_made_anew_when_its_answer_is_closed(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    page_of(app, fence, lambda: f"page {count()}")
    assert show() == "page 1"
    expire()
    with app.test_request_context("/"):
        answer = app.full_dispatch_request()
    assert answer.get_data() == b"page 1"
    assert show() == "page 1"
    answer.close()
    assert show() == "page 2"


def test_what_fails_behind_an_answer_is_told_to_the_log_alone(
    app: Flask, caplog: pytest.LogCaptureFixture,
) -> None:
    @app.get("/")
    def page() -> str:
        Arrival.of(app, request.environ).leave(Response(), lambda: 1 // 0, before=False)
        return "page"

    assert app.test_client().get("/").text == "page"
    assert "ZeroDivisionError" in caplog.text


def test_the_request_behind_it_is_nobodys(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    seen: list[dict[str, Any]] = []

    def view() -> str:
        seen.append(dict(request.environ))
        session.get("name")
        return f"page {count()} {request.query_string.decode()} {request.data.decode()}"

    def asked(environ: Any, start_response: Any) -> Any:
        environ["shop.tenants"].append("inner")
        return inner(environ, start_response)

    # What is added to the application before its cache is passed through again; here the other way round.
    inner, app.wsgi_app = app.wsgi_app.inner, app.wsgi_app  # type: ignore[attr-defined,method-assign]
    app.wsgi_app.inner = asked  # type: ignore[attr-defined]
    page_of(app, fence, view)

    def ask() -> str:
        return show("/?a=1", headers={
            "If-None-Match": '"x"', "Accept-Language": "de", "X-Api-Version": "7", "If-Modified-Since": "x",
        }, environ_overrides={"shop.tenants": ["outer"], "SSL_CLIENT_VERIFY": "NONE", "SERVER_NAME": "a.example"})

    ask()
    expire()
    assert ask() == "page 1 a=1 "
    assert ask() == "page 2 a=1 "
    first, behind = seen
    assert behind["shop.tenants"] == ["outer", "inner"]
    assert behind["shop.tenants"] is not first["shop.tenants"]
    assert (behind["HTTP_ACCEPT_LANGUAGE"], behind["HTTP_X_API_VERSION"], behind["QUERY_STRING"]) == ("de", "7", "a=1")
    assert behind["CONTENT_LENGTH"] == "0"
    assert behind["SSL_CLIENT_VERIFY"] == "NONE"
    assert not {"HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "CONTENT_TYPE"} & behind.keys()
    assert behind["werkzeug.request"] is not first["werkzeug.request"]
    assert behind["wsgi.input"] is not first["wsgi.input"]


@pytest.mark.parametrize("known", [
    {"REMOTE_USER": "ada", "AUTH_TYPE": "basic"}, {"SSL_CLIENT_S_DN": "CN=ada", "SSL_CLIENT_VERIFY": "SUCCESS"},
], ids=["user", "certificate"])
@pytest.mark.parametrize("kept", [frozenset(), frozenset({b"remote-user"})], ids=["shared", "keyed"])
def test_p11_whom_only_the_server_knows_is_told_behind_an_answer_only_if_pages_are_told_apart_by_it(
    known: dict[str, str], kept: frozenset[bytes],
) -> None:
    seen: list[dict[str, Any]] = []

    def asked(environ: Any, start_response: Any) -> Iterator[bytes]:
        seen.append(environ)
        return iter(())

    environ = EnvironBuilder("/", environ_base=known).get_environ()
    Arrival(asked, environ).send_again(SimpleNamespace(reached=False), kept)
    assert {name: value for name, value in seen[0].items() if name in known} == (known if kept else {})


@pytest.mark.parametrize(("keyed", "seen"), [((), None), (("Cookie",), "visitor=7")], ids=["shared", "keyed"])
def test_p11_cookies_go_with_it_only_if_pages_are_told_apart_by_them(
    app: Flask, fence: CacheFence, count: Count, expire: Any, keyed: tuple[str, ...], seen: str | None,
) -> None:
    cookies: list[str | None] = []

    def seen_outside(environ: Any, start_response: Any) -> Any:
        cookies.append(environ.get("HTTP_COOKIE"))
        return inner(environ, start_response)

    inner, app.wsgi_app.inner = app.wsgi_app.inner, seen_outside  # type: ignore[attr-defined]
    page_of(app, fence, lambda: f"page {count()}", vary_on=keyed)
    client = app.test_client()
    client.set_cookie("visitor", "7")
    texts = []
    for turn in range(3):
        if turn:
            expire()
        texts.append(client.get("/", buffered=True).text)
    assert texts == ["page 1", "page 1", "page 2"]
    sent = "visitor=7"
    assert cookies == [sent, sent, seen, sent, seen]


def test_what_is_stored_is_confirmed_behind_an_answer_and_no_visitor_s_condition_is(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    asked: list[str | None] = []

    @app.get("/")
    @fence.cache_view(freshness="headers", tags=["page"])
    def page() -> Response:
        asked.append(request.headers.get("If-None-Match"))
        answer = Response(f"page {count()}", headers={"Cache-Control": "max-age=60, stale-while-revalidate=60"})
        answer.set_etag("same")
        return answer.make_conditional(request)

    assert show() == "page 1"
    for _ in range(2):
        expire()
        assert [show(headers={"If-None-Match": '"mine"'}), show()] == ["page 1"] * 2
    assert asked == [None, '"same"', '"same"']


def test_hooks_run_as_for_any_request_and_each_answer_is_closed(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    told: list[str] = []
    app.before_request(lambda: told.append("before"))
    app.teardown_request(lambda _: told.append("teardown"))

    @app.after_request
    def sign(response: Response) -> Response:
        told.append("after")
        response.set_data(response.get_data() + b" signed")
        response.call_on_close(lambda: told.append("closed"))
        session.get("name")
        return response

    page_of(app, fence, lambda: f"page {count()}")
    one = ["before", "after", "teardown"]
    assert show() == "page 1 signed"
    expire()
    assert show() == "page 1 signed"
    assert told == [*one, "closed", *one, *one, "closed", "closed"]
    assert show() == "page 2 signed"


def test_a_hook_that_answers_first_leaves_the_page_as_it_was(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any, caplog: pytest.LogCaptureFixture,
) -> None:
    asked = itertools.count(1)

    @app.before_request
    def maintenance() -> str | None:
        return "closed" if next(asked) == 3 else None  # the one behind the second

    page_of(app, fence, lambda: f"page {count()}")
    assert show() == "page 1"
    expire()
    assert show() == "page 1"
    assert "did not come to the view" in caplog.text
    assert show() == "page 1"


@pytest.mark.parametrize("fail", [lambda: 1 // 0, lambda: abort(503), lambda: abort(404)],
                         ids=["raises", "503", "404"])
@pytest.mark.parametrize("testing", [True, False])
def test_p8_a_view_that_fails_behind_an_answer_troubles_nobody(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any, fail: Any, testing: bool,
) -> None:
    app.testing = testing
    broken: list[bool] = []

    def view() -> str:
        if broken:
            fail()
        return f"page {count()}"

    page_of(app, fence, view, stale_if_error=600)
    assert show() == "page 1"
    expire()
    broken.append(True)
    assert show() == "page 1"


def test_p11_what_turns_out_personal_behind_an_answer_is_not_stored(
    app: Flask, fence: CacheFence, show: Shown, expire: Any, count: Count,
) -> None:
    looks: list[bool] = []

    def view() -> str:
        g.looked = bool(looks) and session.get("name") is None
        return f"page {count()}"

    page_of(app, fence, view)
    client = app.test_client()
    client.set_cookie("visitor", "7")
    assert client.get("/", buffered=True).text == "page 1"
    expire()
    looks.append(True)
    assert client.get("/", buffered=True).text == "page 1"
    assert client.get("/", buffered=True).text != "page 2"


def test_behind_proxies_and_moving_middleware_the_same_page_is_made_anew(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    inner = app.wsgi_app

    def strip(environ: Any, start_response: Any) -> Any:
        assert environ["PATH_INFO"].startswith("/v1")
        environ["SCRIPT_NAME"] += "/v1"
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/v1")
        return inner(environ, start_response)

    app.wsgi_app = ProxyFix(strip, x_host=1, x_proto=1, x_prefix=1)  # type: ignore[method-assign]
    page_of(app, fence, lambda: f"{request.url} {count()}")

    def ask(host: str) -> str:
        return show("/v1/", headers={
            "X-Forwarded-Host": host, "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/shop"})

    assert [ask("a.example"), ask("b.example")] == ["https://a.example/shop/v1/ 1", "https://b.example/shop/v1/ 2"]
    expire()
    assert [ask("a.example"), ask("a.example")] == ["https://a.example/shop/v1/ 1", "https://a.example/shop/v1/ 3"]
    assert ask("b.example") == "https://b.example/shop/v1/ 2"


def test_middleware_within_the_cache_may_be_a_generator(store: str, namespace: str, count: Count) -> None:
    app = Flask("shop")
    inner = app.wsgi_app

    def lazy(environ: Any, start_response: Any) -> Iterator[bytes]:
        environ["SCRIPT_NAME"] += "/v1"
        yield from inner(environ, start_response)

    app.wsgi_app = lazy  # type: ignore[method-assign]
    fence = CacheFence(app, url=store, namespace=namespace, timeout=LONG)
    page_of(app, fence, lambda: f"{request.script_root} {count()}")
    texts = []
    for turn in range(3):
        texts.append(app.test_client().get("/", buffered=True).text)
        if not turn:
            with app.app_context():
                fence.expire_tags("page")
    assert texts == ["/v1 1", "/v1 1", "/v1 2"]
    fence.of(app).close()


def test_a_hook_that_puts_another_answer_in_its_place_changes_nothing(
    app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any,
) -> None:
    @app.after_request
    def wrap(response: Response) -> Response:
        return Response(f"<{response.get_data(as_text=True)}>")

    page_of(app, fence, lambda: f"page {count()}")
    assert show() == "<page 1>"
    expire()
    assert [show(), show()] == ["<page 1>", "<page 2>"]


def test_async_views_are_made_anew(app: Flask, fence: CacheFence, count: Count, show: Shown, expire: Any) -> None:
    async def view() -> str:
        return f"page {count()}"

    page_of(app, fence, view)
    show()
    expire()
    assert [show(), show()] == ["page 1", "page 2"]


def test_the_contexts_that_a_test_keeps_are_those_of_its_own_request(
    app: Flask, fence: CacheFence, count: Count, expire: Any,
) -> None:
    def view() -> str:
        g.turn = count()
        return f"page {g.turn}"

    page_of(app, fence, view)
    app.test_client().get("/", buffered=True)
    expire()
    with app.test_client() as client:
        client.get("/?mine", buffered=True)
        expire()
        assert client.get("/", buffered=True).text == "page 1"
        assert "turn" not in g
        assert request.path == "/"
    assert app.test_client().get("/").text == "page 3"
