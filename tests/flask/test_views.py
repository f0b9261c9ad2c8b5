"""`cache_view` on the views that Flask knows: what is stored, how it comes back, what makes it untrue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    after_this_request,
    jsonify,
    redirect,
    request,
    send_file,
    stream_with_context,
)
from flask.views import MethodView

from cachefence_web import ConfigurationError, Policy, depends_on
from cachefence_web.flask import CacheFence
from tests.flask.behind import LONG

Count = Callable[[], int]


def texts(app: Flask, *paths: str, **options: Any) -> list[str]:
    with app.test_client() as client:
        return [client.get(path, buffered=True, **options).text for path in paths]


@pytest.mark.parametrize("make", [
    lambda n: f"page {n}",
    lambda n: (f"page {n}", {"X-Page": "a"}),
    lambda n: (f"page {n}", 200, [("X-Page", "a"), ("X-Page", "b"), ("Link", "<b>")]),
    lambda n: {"page": n},
    lambda n: ["page", n],
    lambda n: jsonify(page=n),
    lambda n: Response(f"page {n}", mimetype="text/plain", headers={"X-Page": "ä"}),
    lambda n: f"page {n}".encode(),
], ids=["text", "dict of headers", "list of headers", "dict", "list", "json", "response", "bytes"])
def test_p1_a_hit_is_what_the_view_returned(app: Flask, fence: CacheFence, count: Count, make: Any) -> None:
    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: make(count())))
    client, began = app.test_client(), time.monotonic()
    miss, hit = client.get("/"), client.get("/")
    assert (miss.status, miss.data, miss.mimetype) == (hit.status, hit.data, hit.mimetype)
    assert miss.headers.getlist("X-Page") == hit.headers.getlist("X-Page")
    assert "stored" in miss.headers["Cache-Status"]
    assert "hit" in hit.headers["Cache-Status"]
    # What the store's clock says is known to within the time that its answer took.
    assert 0 <= int(hit.headers["Age"]) <= 2 * (time.monotonic() - began)
    assert count() == 2


def test_blueprints_class_based_and_async_views_are_cached(app: Flask, fence: CacheFence, count: Count) -> None:
    pages = Blueprint("pages", __name__, url_prefix="/pages")

    class Page(MethodView):
        decorators = [fence.cache_view(ttl=60, tags=["page:{number}"])]  # noqa: RUF012

        def get(self, number: int) -> str:
            return f"{number} {count()}"

        def post(self, number: int) -> str:
            return f"posted {count()}"

    class Inner(MethodView):
        @fence.cache_view(ttl=60, tags=["inner:{number}"])
        def get(self, number: int) -> str:
            return f"{number} {count()}"

    pages.add_url_rule("/<int:number>", view_func=Page.as_view("page"))
    pages.add_url_rule("/inner/<int:number>", view_func=Inner.as_view("inner"))

    @pages.get("/async")
    @fence.cache_view(ttl=60)
    async def later() -> str:
        await asyncio.sleep(0)
        depends_on("later")
        return str(count())

    app.register_blueprint(pages)
    assert texts(app, "/pages/7", "/pages/7", "/pages/8") == ["7 1", "7 1", "8 2"]
    assert app.test_client().post("/pages/7").text == "posted 3"
    assert texts(app, "/pages/inner/7", "/pages/inner/7") == ["7 4", "7 4"]
    assert texts(app, "/pages/async", "/pages/async") == ["5", "5"]
    with app.app_context():
        fence.invalidate_tags("page:7", "inner:7", "later")
    assert texts(app, "/pages/7", "/pages/8", "/pages/inner/7", "/pages/async") == ["7 6", "8 2", "7 7", "8"]


def test_p2_tags_come_from_arguments_from_a_function_and_from_within(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    @app.get("/<slug>/template")
    @fence.cache_view(ttl=60, tags=["post:{slug}", "post"])
    def template(slug: str) -> str:
        return str(count())

    @app.get("/<slug>/function")
    @fence.cache_view(ttl=60, tags=lambda slug: [f"by-function:{slug}"])
    def function(slug: str) -> str:
        depends_on("within")
        return str(count())

    paths = ("/a/template", "/b/template", "/a/function")
    assert texts(app, *paths) == texts(app, *paths) == ["1", "2", "3"]
    with app.app_context():
        fence.invalidate_tags("post:a")
        assert texts(app, *paths) == ["4", "2", "3"]
        fence.invalidate_tags("post")
        assert texts(app, *paths) == ["5", "6", "3"]
        fence.invalidate_tags("by-function:a")
        assert texts(app, *paths) == ["5", "6", "7"]
        fence.invalidate_tags("within")
        assert texts(app, *paths) == ["5", "6", "8"]


def test_hooks_after_the_request_run_for_hits_too(app: Flask, fence: CacheFence, count: Count) -> None:
    seen: list[int] = []

    @app.after_request
    def sign(response: Response) -> Response:
        seen.append(response.status_code)
        response.headers["X-Turn"] = str(len(seen))
        response.set_cookie("turn", str(len(seen)))
        return response

    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: f"page {count()}"))
    first, second = app.test_client().get("/"), app.test_client().get("/")
    assert first.data == second.data == b"page 1"
    assert (first.headers["X-Turn"], second.headers["X-Turn"]) == ("1", "2")
    assert "turn=2" in second.headers["Set-Cookie"]


def test_a_hook_that_the_view_asked_for_keeps_its_answer_from_being_shared(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> str:
        @after_this_request
        def own(response: Response) -> Response:
            response.set_cookie("visitor", "7")
            return response

        return str(count())

    for turn in ("1", "2"):
        answer = app.test_client().get("/")
        assert answer.text == turn
        assert "visitor=7" in answer.headers["Set-Cookie"]


def test_what_runs_when_the_answer_is_closed_runs_on_the_miss(app: Flask, fence: CacheFence) -> None:
    closed: list[str] = []

    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> Response:
        answer = Response("page")
        answer.call_on_close(lambda: closed.append("closed"))
        return answer

    with app.test_client() as client:
        client.get("/").close()
        client.get("/").close()
    assert closed == ["closed"]


def test_p11_streams_and_files_pass_through(app: Flask, fence: CacheFence, count: Count, tmp_path: Any) -> None:
    (tmp_path / "file.txt").write_text("file")

    @app.get("/stream")
    @fence.cache_view(ttl=60)
    def stream() -> Response:
        def parts() -> Iterator[str]:
            yield request.path
            yield str(count())

        return Response(stream_with_context(parts()))

    @app.get("/file")
    @fence.cache_view(ttl=60)
    def file() -> Response:
        count()
        return send_file(tmp_path / "file.txt")

    assert texts(app, "/stream", "/stream", "/file", "/file") == ["/stream1", "/stream2", "file", "file"]
    assert count() == 5


def test_errors_and_redirects_are_answers_of_their_own(app: Flask, fence: CacheFence, count: Count) -> None:
    class SoldOut(Exception):
        pass

    @app.errorhandler(SoldOut)
    def sold_out(error: SoldOut) -> tuple[str, int]:
        return f"sold out {error}", 410

    answers: dict[str, Callable[[], Any]] = {
        "missing": lambda: abort(404),
        "elsewhere": lambda: redirect("/"),
        "teapot": lambda: ("tea", 418),
        "sold": SoldOut,
    }

    @app.get("/<kind>")
    @fence.cache_view(ttl=60)
    def view(kind: str) -> Any:
        count()
        answer = answers[kind]()
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = app.test_client()
    for path, status in (("/missing", 404), ("/elsewhere", 302), ("/teapot", 418), ("/sold", 410)):
        before = count()
        assert [client.get(path).status_code, client.get(path).status_code] == [status, status]
        assert count() == before + 3, path


def test_p8_a_page_that_failed_is_shown_as_it_last_was(app: Flask, fence: CacheFence, count: Count) -> None:
    broken: list[bool] = []

    @app.get("/")
    @fence.cache_view(ttl=60, stale_if_error=300, tags=["page"])
    def page() -> str:
        if broken:
            raise RuntimeError("the database is gone")
        return f"page {count()}"

    assert texts(app, "/") == ["page 1"]
    broken.append(True)
    with app.app_context():
        fence.expire_tags("page")
    assert texts(app, "/", "/") == ["page 1", "page 1"]


def test_p8_a_view_that_raises_is_an_error_of_the_application(app: Flask, fence: CacheFence) -> None:
    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> str:
        raise RuntimeError("broken")

    assert app.test_client().get("/").status_code == 500


def test_a_conditional_request_and_head_are_answered_from_the_store(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    app.add_url_rule("/", "page", fence.cache_view(ttl=60)(lambda: f"page {count()}"))
    client = app.test_client()
    assert client.head("/").headers["Content-Length"] == "6"
    first = client.get("/")
    head, same = client.head("/"), client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", "6")
    assert (same.status_code, same.data) == (304, b"")
    assert client.get("/").text == "page 2"


def test_p1_one_who_holds_an_old_page_has_the_new_one_made_for_everybody(
    app: Flask, fence: CacheFence, count: Count,
) -> None:
    asked: list[object] = []

    @app.before_request
    def look() -> None:
        asked.append(request.if_none_match.to_header())

    @app.after_request
    def look_again(response: Response) -> Response:
        asked.append((request.headers.get("If-None-Match"), request.if_none_match.to_header()))
        return response

    @app.get("/")
    @fence.cache_view(ttl=60)
    def page() -> Response:
        count()
        answer = Response("page")
        answer.set_etag("of-the-view")
        answer.make_conditional(request)
        return answer

    client = app.test_client()
    holds = client.get("/", headers={"If-None-Match": '"of-the-view"'})
    assert (holds.status_code, holds.data) == (304, b"")
    assert asked == ['"of-the-view"', ('"of-the-view"', '"of-the-view"')]
    assert (client.get("/").status_code, client.get("/").text) == (200, "page")
    assert count() == 2


def test_p1_one_response_for_everybody_stays_as_the_application_made_it(app: Flask, fence: CacheFence) -> None:
    shared = Response("page", headers={"X-Page": "a"})
    before = (shared.status, shared.data, list(shared.headers))
    app.add_url_rule("/", "page", fence.cache_view(ttl=60, tags=["page"])(lambda: shared))
    client = app.test_client()
    held = {"If-None-Match": client.get("/").headers["ETag"]}
    with app.app_context():
        fence.invalidate_tags("page")
    assert client.get("/", headers=held).status_code == 304
    for _ in range(2):
        passed = client.get("/", headers={"Cache-Control": "no-store"})
        assert (passed.data, len(passed.headers.getlist("Cache-Status"))) == (b"page", 1)
    assert (shared.status, shared.data, list(shared.headers)) == before


def test_p1_options_of_the_call_stand_over_the_policy_of_its_name(namespace: str, count: Count) -> None:
    app = Flask("shop")
    app.config["CACHEFENCE_POLICIES"] = {"short": {"ttl": 100}, "long": Policy(ttl=500)}
    fence = CacheFence()

    app.add_url_rule("/short", "short", fence.cache_view(policy="short")(lambda: "x"))
    app.add_url_rule("/long", "long", fence.cache_view(policy="long", jitter=0.0)(lambda: "x"))
    app.add_url_rule("/own", "own", fence.cache_view(policy="long", ttl=200)(lambda: "x"))
    fence.init_app(app)
    client = app.test_client()
    for path, most in (("/short", 100), ("/long", 500), ("/own", 200)):
        client.get(path)
        status = client.get(path).headers["Cache-Status"]
        assert most - LONG <= int(status.partition("ttl=")[2]) <= most


@pytest.mark.parametrize(("options", "says"), [
    ({"tll": 60}, "did you mean 'ttl'"),
    ({"ttl": -1}, "positive"),
    ({"ttl": float("nan")}, "finite"),
    ({"tags": "post"}, r"\['post'\]"),
    ({"tags": 7}, "a list of tags"),
    ({"tags": ["post:{slugg}"]}, "slugg"),
    ({"tags": ["two words"]}, "reserved"),
    ({"vary_on": "Accept"}, r"\('Accept',\)"),
    ({"policy": 60}, "policy is"),
])
def test_what_cannot_work_is_refused_when_the_view_is_decorated(options: dict[str, Any], says: str) -> None:
    def view(slug: str) -> str:
        return slug

    with pytest.raises(ConfigurationError, match=says):
        CacheFence().cache_view(**options)(view)


def test_a_view_class_is_refused_with_the_place_for_the_decorator() -> None:
    with pytest.raises(ConfigurationError, match="decorators"):
        CacheFence().cache_view(ttl=60)(MethodView)
