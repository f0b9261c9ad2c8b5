"""Whole applications behind rules: which requests they match, what stands before and after them, what wins."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, abort, redirect, request, session, url_for
from werkzeug.routing import BaseConverter

from cachefence_web import ConfigurationError, Policy
from cachefence_web.flask import CacheFence, Rule
from tests.flask.behind import LONG

Count = Callable[[], int]


@pytest.fixture
def site(store: str, namespace: str) -> Any:
    """Makes an application with these rules."""
    made: list[tuple[CacheFence, Flask]] = []

    def make(*rules: Rule | None) -> tuple[Flask, CacheFence]:
        app = Flask("shop")
        app.secret_key = "a secret of this application"
        fence = CacheFence(
            app, url=store, namespace=namespace, timeout=LONG, rules=None if rules == (None,) else list(rules))
        made.append((fence, app))
        return app, fence

    yield make
    for fence, app in made:
        fence.of(app).close()


def pages(app: Flask, *paths: str, **options: Any) -> list[str]:
    return [app.test_client().get(path, **options).text for path in paths]


def books(app: Flask, count: Count) -> None:
    @app.route("/books/<int:book_id>", methods=["GET", "POST"])
    def book(book_id: int) -> str:
        return f"{request.method} {book_id} {count()}"

    @app.get("/about")
    def about() -> str:
        return f"about {count()}"


@pytest.mark.parametrize(("rule", "cached"), [
    (Rule("/books/<int:book_id>", ttl=60), {"/books/7"}),
    (Rule("/books/<anything>", ttl=60), {"/books/7"}),
    (Rule("/<path:rest>", ttl=60), {"/books/7", "/about"}),
    (Rule("/about/", ttl=60), {"/about"}),
    (Rule("/books/<uuid:other>", ttl=60), set()),
    (Rule("/book", ttl=60), set()),
    (Rule(endpoint="book", ttl=60), {"/books/7"}),
    (Rule(endpoint="*", ttl=60), {"/books/7", "/about"}),
    (Rule(endpoint="book.*", ttl=60), set()),
], ids=["typed", "untyped", "all paths", "slash", "other type", "beginning", "endpoint", "all endpoints", "blueprint"])
def test_a_rule_matches_by_path_or_by_endpoint(site: Any, count: Count, rule: Rule, cached: set[str]) -> None:
    app, _ = site(rule)
    books(app, count)
    for path in ("/books/7", "/about"):
        first, second = pages(app, path, path)
        assert (first == second) == (path in cached), path


def test_p2_a_rule_tags_what_it_stores_with_the_arguments_of_its_path(site: Any, count: Count) -> None:
    app, fence = site(Rule("/books/<int:number>", ttl=60, tags=["book:{number}"]),
                      Rule(endpoint="about", ttl=60, tags=lambda: ["about"]))
    books(app, count)
    assert pages(app, "/books/7", "/books/8", "/about") == ["GET 7 1", "GET 8 2", "about 3"]
    with app.app_context():
        fence.invalidate_tags("book:7", "about")
    assert pages(app, "/books/7", "/books/8", "/about") == ["GET 7 4", "GET 8 2", "about 5"]


def test_the_first_rule_that_matches_counts(site: Any, count: Count) -> None:
    app, _ = site(Rule("/books/7", ttl=100, jitter=0), Rule("/books/<int:number>", ttl=500, jitter=0))
    books(app, count)
    for path, most in (("/books/7", 100), ("/books/8", 500)):
        pages(app, path)
        status = app.test_client().get(path).headers["Cache-Status"]
        assert most - LONG <= int(status.partition("ttl=")[2]) <= most


def test_converters_of_the_application_may_come_after_its_rules(site: Any, count: Count) -> None:
    class Slug(BaseConverter):
        regex = "[a-z-]+"

        def to_python(self, value: str) -> str:
            return value.upper()

    app, fence = site(Rule("/<slug:name>", ttl=60, tags=["post:{name}"]))
    app.url_map.converters["slug"] = Slug
    app.add_url_rule("/<slug:name>", "post", lambda name: f"{name} {count()}")
    assert pages(app, "/a-b", "/a-b") == ["A-B 1", "A-B 1"]
    with app.app_context():
        fence.invalidate_tags("post:A-B")
    assert pages(app, "/a-b") == ["A-B 2"]
    other, _ = site(Rule("/<unheard_of:name>", ttl=60))
    other.testing = True
    books(other, count)
    with pytest.raises(ConfigurationError, match="unheard_of"):
        pages(other, "/about")


def test_blueprints_are_cached_under_whatever_name_with_those_inside_them(site: Any, count: Count) -> None:
    app, fence = site()
    outer, inner, other = Blueprint("outer", __name__), Blueprint("inner", __name__), Blueprint("other", __name__)
    fence.cache_blueprint(outer, ttl=60, tags=lambda **_: ["blog"])
    for blueprint in (outer, inner, other):
        blueprint.add_url_rule("/", "page", lambda: f"page {count()}")
    outer.register_blueprint(inner, url_prefix="/inner")
    app.register_blueprint(outer, url_prefix="/one")
    app.register_blueprint(outer, url_prefix="/two", name="second")
    app.register_blueprint(other, url_prefix="/other")
    paths = ("/one/", "/one/inner/", "/two/", "/two/inner/")
    assert pages(app, *paths) == pages(app, *paths) == ["page 1", "page 2", "page 3", "page 4"]
    assert pages(app, "/other/", "/other/") == ["page 5", "page 6"]
    with app.app_context():
        fence.invalidate_tags("blog")
    assert pages(app, *paths) == ["page 7", "page 8", "page 9", "page 10"]


def test_a_rule_for_a_blueprint_by_name_has_all_of_it(site: Any, count: Count) -> None:
    app, _ = site(Rule(endpoint="blog.*", ttl=60))
    blog = Blueprint("blog", __name__, url_prefix="/blog")
    blog.add_url_rule("/", "page", lambda: f"page {count()}")
    app.register_blueprint(blog)
    app.add_url_rule("/blogger", "blogger", lambda: f"page {count()}")
    assert pages(app, "/blog/", "/blog/", "/blogger", "/blogger") == ["page 1", "page 1", "page 2", "page 3"]


def test_p11_who_is_kept_out_by_a_hook_is_kept_out_of_hits_too(site: Any, count: Count) -> None:
    app, _ = site(Rule("/<path:rest>", ttl=60))
    books(app, count)
    seen: list[str] = []

    @app.before_request
    def guard() -> None:
        if request.remote_addr == "192.0.2.1":
            abort(403)

    @app.after_request
    def sign(response: Response) -> Response:
        seen.append(request.path)
        response.headers["X-Turn"] = str(len(seen))
        return response

    client = app.test_client()
    answers = [client.get("/about", environ_overrides={"REMOTE_ADDR": address})
               for address in ("192.0.2.7", "192.0.2.1", "192.0.2.8")]
    assert [answer.status_code for answer in answers] == [200, 403, 200]
    assert [answer.headers["X-Turn"] for answer in answers] == ["1", "2", "3"]
    assert answers[0].text == answers[2].text == "about 1"


def test_p11_a_session_that_any_hook_or_the_view_looked_at_makes_the_page_personal(site: Any, count: Count) -> None:
    app, _ = site(Rule("/<path:rest>", ttl=60))

    @app.get("/in/<name>")
    def enter(name: str) -> str:
        session["name"] = name
        return name

    @app.before_request
    def load() -> None:
        if request.path == "/hook":
            assert session.get("name") != "nobody"

    @app.get("/hook")
    def hook() -> str:
        return f"hook {count()}"

    @app.get("/view")
    def view() -> str:
        return f"{session.get('name')} {count()}"

    ada, bo = app.test_client(), app.test_client()
    ada.get("/in/Ada")
    bo.get("/in/Bo")
    assert [each.get(path).text for each in (ada, bo, ada) for path in ("/hook", "/view")] == [
        "hook 1", "Ada 2", "hook 3", "Bo 4", "hook 5", "Ada 6"]
    assert [app.test_client().get("/view").text for _ in range(2)] == ["None 7", "None 7"]


def test_errors_redirects_and_what_has_no_route_are_answered_as_without_a_rule(site: Any, count: Count) -> None:
    app, _ = site(Rule("/<path:rest>", ttl=60))
    app.add_url_rule("/missing", "missing", lambda: abort(404))
    app.add_url_rule("/elsewhere", "elsewhere", lambda: redirect(url_for("missing")))
    app.add_url_rule("/folder/", "folder", lambda: f"folder {count()}")
    app.register_error_handler(404, lambda error: (f"not here {count()}", 404))
    client = app.test_client()
    expected = {"/missing": 404, "/elsewhere": 302, "/no-such-route": 404, "/folder": 308, "/folder/": 200}
    assert {path: client.get(path).status_code for path in expected} == expected
    assert client.get("/missing").text == "not here 4"
    assert client.options("/folder/").headers["Allow"]
    assert client.put("/folder/").status_code == 405


def test_a_view_with_a_cache_of_its_own_wins_over_a_rule(site: Any, count: Count) -> None:
    app, fence = site(Rule("/<path:rest>", ttl=500, tags=["rule"], jitter=0))

    @app.get("/plain")
    @fence.cache_view(ttl=100, tags=["view"], jitter=0)
    def plain() -> str:
        return f"plain {count()}"

    @fence.cache_view(ttl=100, tags=["view"], jitter=0)
    def within() -> str:
        return f"within {count()}"

    @app.get("/within")
    def around() -> Any:
        return within()

    for path in ("/plain", "/within"):
        answers = [app.test_client().get(path) for _ in range(3)]
        assert len({answer.text for answer in answers}) == 1
        statuses = [answer.headers.getlist("Cache-Status") for answer in answers]
        assert [len(each) for each in statuses] == [1, 1, 1]
        assert int(statuses[2][0].partition("ttl=")[2]) <= 100
    with app.app_context():
        fence.invalidate_tags("rule")
        assert pages(app, "/plain", "/within") == ["plain 1", "within 2"]
        fence.invalidate_tags("view")
        assert pages(app, "/plain", "/within") == ["plain 3", "within 4"]


def test_p2_an_unsafe_request_under_a_rule_or_beside_a_cached_view_makes_its_address_untrue(
    site: Any, count: Count,
) -> None:
    app, fence = site(Rule("/books/<int:number>", ttl=60))
    books(app, count)

    @app.get("/page")
    @fence.cache_view(ttl=60)
    def page() -> str:
        return f"page {count()}"

    @app.post("/page")
    def save() -> str:
        return f"saved {count()}"

    @app.post("/elsewhere")
    def save_elsewhere() -> Any:
        return redirect("/page", 303)

    @app.delete("/page")
    def refuse() -> Any:
        abort(403)

    client = app.test_client()
    assert pages(app, "/books/7", "/books/8", "/page") == ["GET 7 1", "GET 8 2", "page 3"]
    assert client.post("/books/7", buffered=True).text == "POST 7 4"
    assert pages(app, "/books/7", "/books/8", "/page") == ["GET 7 5", "GET 8 2", "page 3"]
    assert client.post("/page", buffered=True).text == "saved 6"
    assert pages(app, "/page", "/page") == ["page 7", "page 7"]
    assert client.delete("/page", buffered=True).status_code == 403
    assert pages(app, "/page") == ["page 7"]
    assert client.post("/elsewhere", buffered=True).status_code == 303
    assert pages(app, "/page") == ["page 8"]


def test_rules_may_come_from_the_config_and_policies_from_their_names(namespace: str, count: Count) -> None:
    app = Flask("shop")
    app.config.update(
        CACHEFENCE_NAMESPACE=namespace, CACHEFENCE_POLICIES={"short": Policy(ttl=100)},
        CACHEFENCE_RULES=[Rule("/about", policy="short", jitter=0)])
    CacheFence(app)
    books(app, count)
    pages(app, "/about")
    assert int(app.test_client().get("/about").headers["Cache-Status"].partition("ttl=")[2]) <= 100


@pytest.mark.parametrize(("make", "says"), [
    (Rule, "a path or an endpoint"),
    (lambda: Rule("/a", endpoint="a"), "a path or an endpoint"),
    (lambda: Rule("books"), "begins with a slash"),
    (lambda: Rule("/<int:"), "no path of a route"),
    (lambda: Rule("/<int:number>", tags=["book:{id}"]), r"\{id\}.*number"),
    (lambda: Rule("/", tags="book"), "list of tags"),
    (lambda: Rule("/", tll=60), "did you mean 'ttl'"),
    (lambda: Rule("/", policy=60), "policy is"),
    (lambda: Rule("/", cookies="some"), "cookies is"),
    (lambda: Rule(endpoint="*.page"), "name of an endpoint"),
    (lambda: Rule(endpoint="blog*"), "name of an endpoint"),
    (lambda: Rule(endpoint=""), "name of an endpoint"),
    (lambda: CacheFence(Flask("x"), rules=["/"]), "list of Rule"),
    (lambda: CacheFence(Flask("x"), rules=7), "list of Rule"),
    (lambda: CacheFence(Flask("x"), rules=[Rule("/", policy="none")]), "no policy is named"),
    (lambda: CacheFence().cache_blueprint("blog", ttl=60), "takes the Blueprint"),
], ids=["neither", "both", "slash", "syntax", "unknown field", "tags", "typo", "policy", "cookies", "star first",
        "star in a name", "empty", "a text", "a number", "unnamed policy", "blueprint"])
def test_what_cannot_work_is_refused_where_it_is_said(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()


def test_an_application_with_rules_that_is_gone_is_forgotten(count: Count) -> None:
    rules = [Rule("/about", ttl=60)]
    fence = CacheFence(rules=rules)

    def use() -> weakref.ref[Flask]:
        app = Flask("shop")
        fence.init_app(app)
        books(app, count)
        pages(app, "/about", "/about")
        fence.of(app).close()
        return weakref.ref(app)

    gone = use()
    gc.collect()
    assert gone() is None


class TestByHeaders:
    """`rules=None`: a cache in front of the whole application."""

    def test_what_the_headers_grant_is_stored_and_nothing_else(self, site: Any, count: Count) -> None:
        app, _ = site(None)
        granted = {"/granted": "max-age=60", "/silent": None, "/private": "private, max-age=60", "/none": "no-store"}
        for path, said in granted.items():
            app.add_url_rule(path, path, lambda said=said: (
                f"page {count()}", {"Cache-Control": said} if said else {}))
        for path in granted:
            first, second = pages(app, path, path)
            assert (first == second) == (path == "/granted"), path

    def test_what_hooks_and_the_session_add_counts(self, site: Any, count: Count) -> None:
        app, _ = site(None)

        @app.after_request
        def say(response: Response) -> Response:
            response.headers.setdefault("Cache-Control", "max-age=60" if request.path != "/secret" else "no-store")
            return response

        @app.get("/in/<name>")
        def enter(name: str) -> Any:
            session["name"] = name
            return name

        for path in ("/public", "/secret"):
            app.add_url_rule(path, path, lambda: f"page {count()}")
        app.add_url_rule("/own", "own", lambda: f"{session.get('name')} {count()}")
        ada, bo = app.test_client(), app.test_client()
        assert [each.get(f"/in/{name}").text for each, name in ((ada, "Ada"), (bo, "Bo"))] == ["Ada", "Bo"]
        assert pages(app, "/public", "/public", "/secret", "/secret") == ["page 1", "page 1", "page 2", "page 3"]
        assert [each.get("/own").text for each in (ada, bo, ada)] == ["Ada 4", "Bo 5", "Ada 6"]
        assert pages(app, "/own", "/own") == ["None 7", "None 7"]
        assert app.test_client().get("/in/Eve").headers["Set-Cookie"]
        assert app.test_client().get("/in/Eve").headers["Set-Cookie"]

    def test_a_page_is_confirmed_by_the_view_that_made_it(self, site: Any, count: Count) -> None:
        app, _ = site(None)
        asked: list[str | None] = []

        @app.get("/")
        def page() -> Response:
            asked.append(request.headers.get("If-None-Match"))
            answer = Response(f"page {count()}", headers={"Cache-Control": "max-age=60"})
            answer.set_etag("same")
            answer.make_conditional(request)
            return answer

        client, anew = app.test_client(), {"Cache-Control": "no-cache"}
        mine = {"If-None-Match": '"mine"'}
        answers = [client.get("/", headers=each) for each in ({}, mine, anew, anew | mine)]
        assert [(answer.status_code, answer.text) for answer in answers] == [(200, "page 1")] * 4
        assert asked == [None, '"same"', '"same"']

    def test_views_and_blueprints_with_caches_of_their_own_win(self, site: Any, count: Count) -> None:
        app, fence = site(None)
        blog = Blueprint("blog", __name__, url_prefix="/blog")
        fence.cache_blueprint(blog, ttl=60)
        blog.add_url_rule("/", "page", lambda: f"blog {count()}")
        app.register_blueprint(blog)
        app.add_url_rule("/own", "own", fence.cache_view(ttl=60)(lambda: f"own {count()}"))
        assert pages(app, "/blog/", "/blog/", "/own", "/own") == ["blog 1", "blog 1", "own 2", "own 2"]

    def test_streams_and_errors_pass_as_they_are(self, site: Any, count: Count) -> None:
        app, _ = site(None)
        app.testing = True
        said = {"Cache-Control": "max-age=60"}
        app.add_url_rule("/stream", "stream", lambda: Response((f"{count()}" for _ in range(2)), headers=said))
        app.add_url_rule("/gone", "gone", lambda: (f"gone {count()}", 410, said))
        app.add_url_rule("/broken", "broken", lambda: 1 // 0)
        assert pages(app, "/stream", "/stream", "/gone", "/gone") == ["12", "34", "gone 5", "gone 5"]
        with pytest.raises(ZeroDivisionError):
            pages(app, "/broken")
