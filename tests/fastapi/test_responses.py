"""A whole response: declared by a dependency, looked up in the endpoint's place, made by FastAPI as ever."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
)
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBasic, HTTPBasicCredentials
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.websockets import WebSocket

from cachefence_web import AsyncCacheFence, CacheFence, ConfigurationError, depends_on
from cachefence_web.fastapi import CacheMiddleware, Rule, cache_view, cached, install
from cachefence_web.runtime.recording import current
from tests.starlette.asgi import Answer, ask


class Book(BaseModel):
    id: int
    title: str


class Shop:
    """Counts how often each part of an application ran."""

    def __init__(self) -> None:
        self.ran: dict[str, int] = {}

    def __call__(self, what: str) -> int:
        self.ran[what] = self.ran.get(what, 0) + 1
        return self.ran[what]


@pytest.fixture
def ran() -> Shop:
    return Shop()


@pytest.fixture
def app(fence: AsyncCacheFence) -> FastAPI:
    app = FastAPI()
    install(app, fence)
    return app


def caching(**options: Any) -> Any:
    return Depends(cached(**{"ttl": 60, **options}))


async def twice(app: Any, target: str = "/books", **more: Any) -> list[Answer]:
    return [await ask(app, target, **more), await ask(app, target, **more)]


def hits(answers: list[Answer]) -> list[bool]:
    return ["; hit" in answer.cache_status for answer in answers]


@pytest.mark.parametrize("shape", ["dependency async", "dependency sync", "parameter", "view async", "view sync"])
async def test_p1_a_crowd_costs_one_call_in_each_shape(app: FastAPI, ran: Shop, shape: str) -> None:
    async def endpoint(book_id: int) -> Book:
        return Book(id=book_id, title=str(ran("endpoint")))

    def threaded(book_id: int) -> Book:
        return Book(id=book_id, title=str(ran("endpoint")))

    async def declaring(book_id: int, _: Annotated[None, caching()]) -> Book:
        return Book(id=book_id, title=str(ran("endpoint")))

    match shape:
        case "dependency async":
            app.get("/books/{book_id}", dependencies=[caching()])(endpoint)
        case "dependency sync":
            app.get("/books/{book_id}", dependencies=[caching()])(threaded)
        case "parameter":
            app.get("/books/{book_id}")(declaring)
        case "view async":
            app.get("/books/{book_id}")(cache_view(ttl=60)(endpoint))
        case "view sync":
            app.get("/books/{book_id}")(cache_view(ttl=60)(threaded))
    # More than FastAPI has threads, so that those who wait would take them all.
    answers = await asyncio.gather(*[ask(app, "/books/7") for _ in range(100)])
    assert {answer.body for answer in answers} == {b'{"id":7,"title":"1"}'}
    assert ran.ran == {"endpoint": 1}
    assert [(await ask(app, "/books/8")).body, (await ask(app, "/books/x")).status] == [b'{"id":8,"title":"2"}', 422]


async def test_p2_an_invalidation_is_seen_by_the_next_request(app: FastAPI, fence: AsyncCacheFence, ran: Shop) -> None:
    @app.get("/books/{book_id}", dependencies=[caching(tags=["book:{book_id}"])])
    async def book(book_id: int) -> int:
        depends_on("rate:eur")
        return ran("endpoint")

    assert [answer.body for answer in await twice(app, "/books/1")] == [b"1", b"1"]
    await fence.invalidate_tags("book:1")
    assert [answer.body for answer in await twice(app, "/books/1")] == [b"2", b"2"]
    await fence.invalidate_tags("rate:eur")
    assert (await ask(app, "/books/1")).body == b"3"


@pytest.mark.parametrize("shape", ["first", "last", "parameter", "view"])
async def test_p2_what_a_dependency_read_before_the_lease_is_not_stored(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop, shape: str
) -> None:
    title, reached, go = ["old"], asyncio.Event(), asyncio.Event()
    go.set()

    async def read() -> str:
        found = title[0]
        ran("read")
        reached.set()
        await go.wait()
        return found

    async def books(title: Annotated[str, Depends(read)]) -> str:
        return title

    async def declaring(title: Annotated[str, Depends(read)], _: Annotated[None, caching(tags=["book"])]) -> str:
        return title

    match shape:
        case "first":
            app.get("/books", dependencies=[caching(tags=["book"])])(books)
        case "last":
            app.get("/books", dependencies=[Depends(read), caching(tags=["book"])])(books)
        case "parameter":
            app.get("/books")(declaring)
        case "view":
            app.get("/books")(cache_view(ttl=60, tags=["book"])(books))

    for value in ("new", "newer"):  # a process's first request, too, and one that is dated
        await fence.invalidate_tags("book")
        reached.clear()
        go.clear()
        early = asyncio.create_task(ask(app))
        await reached.wait()
        title[0] = value
        await fence.invalidate_tags("book")
        go.set()
        await early
        assert (await ask(app)).body == f'"{value}"'.encode()
    assert hits(await twice(app))[1]


async def test_p2_tags_that_dependencies_find_reach_the_page(app: FastAPI, fence: AsyncCacheFence, ran: Shop) -> None:
    async def load() -> int:
        depends_on("rate")
        return ran("load")

    async def telling() -> None:
        depends_on("told")

    value = Depends(cached(load, key="stats", ttl=60, tags=["stats"]))

    @app.get("/books", dependencies=[caching(), Depends(telling)])
    async def books(stats: Annotated[int, value]) -> str:
        return f"{stats} {ran('endpoint')}"

    assert [answer.body for answer in await twice(app)] == [b'"1 1"'] * 2
    for tag, body in (("stats", b'"2 2"'), ("rate", b'"3 3"'), ("told", b'"3 4"'), ("stats", b'"4 5"')):
        await fence.invalidate_tags(tag)
        assert [answer.body for answer in await twice(app)] == [body] * 2


async def test_p2_while_the_cache_is_away_no_date_is_needed(app: FastAPI, ran: Shop) -> None:
    install(app, AsyncCacheFence("redis://127.0.0.1:1/0", on_outage="log"))

    @app.get("/books", dependencies=[caching(), Depends(lambda: None)])
    async def books() -> int:
        return ran("endpoint")

    assert [answer.body for answer in await twice(app)] == [b"1", b"2"]


async def test_what_a_request_recorded_ends_with_it(app: FastAPI) -> None:
    def refuse() -> None:
        raise HTTPException(401)

    app.get("/books", dependencies=[caching(), Depends(refuse)])(lambda: 1)
    assert [answer.status for answer in await twice(app)] == [401, 401]
    assert current() is None


async def test_p1_a_condition_of_the_leader_s_is_answered_by_the_cache(app: FastAPI, ran: Shop) -> None:
    @app.get("/books", dependencies=[caching()])
    async def books(request: Request) -> Response:
        ran("endpoint")
        if request.headers.get("if-none-match"):
            return Response(status_code=304)
        return Response("book", headers={"ETag": '"1"'})

    answers = await asyncio.gather(*[ask(app, headers=[("If-None-Match", '"1"')]) for _ in range(20)])
    assert ({answer.status for answer in answers}, ran.ran) == ({304}, {"endpoint": 1})


async def test_p11_who_is_known_does_not_get_what_strangers_get(app: FastAPI) -> None:
    async def books(request: Request) -> str:
        return str(request.scope["user"])

    app.get("/books", dependencies=[caching()])(books)
    stranger, known = SimpleNamespace(is_authenticated=False), SimpleNamespace(is_authenticated=True)
    assert hits([await ask(app, user=stranger), await ask(app, user=stranger)]) == [False, True]
    answer = await ask(app, user=known)
    assert (b"True" in answer.body, answer.cache_status) == (True, "cachefence; fwd=bypass; detail=personal")


async def test_p11_a_cookie_that_is_a_key_is_not_ignored(app: FastAPI, ran: Shop) -> None:
    @app.get("/books", dependencies=[caching(cookies="ignore")])
    async def books(key: Annotated[str, Depends(APIKeyCookie(name="sid"))]) -> str:
        return f"secret of {key}"

    answers = [await ask(app, headers=[("Cookie", f"sid={name}")]) for name in ("alice", "bob")]
    assert [answer.body for answer in answers] == [b'"secret of alice"', b'"secret of bob"']


async def test_all_dependencies_run_on_a_hit_and_end(app: FastAPI, ran: Shop) -> None:
    async def opened() -> AsyncIterator[str]:
        ran("begin")
        try:
            yield "session"
        finally:
            ran("end")

    def threaded() -> Iterator[None]:
        ran("thread begin")
        yield
        ran("thread end")

    @app.get("/books", dependencies=[caching(), Depends(threaded)])
    async def books(session: Annotated[str, Depends(opened)]) -> str:
        ran(f"endpoint with {session}")
        return session

    assert hits(await twice(app)) == [False, True]
    assert ran.ran == {"begin": 2, "end": 2, "thread begin": 2, "thread end": 2, "endpoint with session": 1}


@pytest.mark.parametrize("first", [True, False], ids=["caching first", "caching last"])
async def test_p11_authentication_is_asked_on_a_hit_too(app: FastAPI, ran: Shop, first: bool) -> None:
    def only_friends(password: str) -> None:
        if password != "friend":
            raise HTTPException(401)

    guards = [caching(), Depends(only_friends)]

    @app.get("/books", dependencies=guards if first else guards[::-1])
    async def books() -> int:
        return ran("endpoint")

    # Nobody knew when the guard of the very first request began, if it came before the caching.
    answers = [await ask(app, "/books?password=friend") for _ in range(3)]
    assert hits(answers) == [False, first, True]
    assert (await ask(app, "/books?password=foe")).status == 401
    assert (await ask(app, "/books")).status == 422


async def test_p11_credentials_and_what_they_open_are_not_shared(app: FastAPI, ran: Shop) -> None:
    @app.get("/basic", dependencies=[caching()])
    async def basic(who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        return f"{who.username} {ran('basic')}"

    @app.get("/key", dependencies=[caching()])
    async def key(key: Annotated[str, Depends(APIKeyHeader(name="X-Key"))]) -> str:
        return f"{key} {ran('key')}"

    assert hits(await twice(app, "/basic", headers=[("Authorization", "Basic YTpi")])) == [False, False]
    assert (await ask(app, "/basic")).status == 401
    mine, yours = [await twice(app, "/key", headers=[("X-Key", key)]) for key in ("mine", "yours")]
    assert [mine[1].body, yours[1].body] == [b'"mine 1"', b'"yours 2"']
    assert hits(mine) == hits(yours) == [False, True]


async def test_p11_header_fields_that_are_parameters_are_part_of_the_key(app: FastAPI, ran: Shop) -> None:
    def language(accept_language: Annotated[str, Header()] = "") -> str:
        return accept_language

    @app.get("/books", dependencies=[caching(unkeyed=["X-Request-Id"])])
    async def books(
        language: Annotated[str, Depends(language)], x_request_id: Annotated[str, Header()] = "",
    ) -> str:
        return f"{language} {ran('endpoint')}"

    german, english = [[("Accept-Language", name), ("X-Request-Id", name)] for name in ("de", "en")]
    assert [(await ask(app, headers=headers)).body for headers in (german, english, german, english)] == [
        b'"de 1"', b'"en 2"', b'"de 1"', b'"en 2"']
    assert hits([await ask(app, headers=[*german[:1], ("X-Request-Id", "other")])]) == [True]


async def test_p11_a_cookie_that_is_a_parameter_is_not_ignored(app: FastAPI, ran: Shop) -> None:
    @app.get("/books", dependencies=[caching(cookies="ignore")])
    async def books(flavour: Annotated[str, Cookie()] = "plain") -> str:
        return f"{flavour} {ran('endpoint')}"

    assert hits(await twice(app)) == [False, True]
    assert (await ask(app, headers=[("Cookie", "flavour=oat")])).body == b'"oat 2"'


async def test_what_dependencies_say_is_each_request_s_own(app: FastAPI, ran: Shop) -> None:
    def number(response: Response) -> None:
        response.headers["X-Number"] = str(ran("number"))

    @app.get("/books", dependencies=[caching(), Depends(number)])
    async def books(response: Response) -> str:
        response.headers["X-Shelf"] = "3"
        return "books"

    made, found = await twice(app)
    assert hits([made, found]) == [False, True]
    assert [answer.all("x-number") for answer in (made, found)] == [["1"], ["2"]]
    assert [answer.all("x-shelf") for answer in (made, found)] == [["3"], ["3"]]


async def test_as_in_fastapi_an_endpoint_s_own_response_is_left_alone(app: FastAPI, ran: Shop) -> None:
    def number(response: Response) -> None:
        response.headers["X-Number"] = "1"

    @app.get("/books", dependencies=[caching(), Depends(number)])
    async def books() -> HTMLResponse:
        return HTMLResponse("<h1>")

    made, found = await twice(app)
    assert hits([made, found]) == [False, True]
    assert [answer.all("x-number") for answer in (made, found)] == [[], []]
    assert not [name for name, _ in found.start["headers"] if name.startswith(b":")]


@pytest.mark.parametrize("says", [("Set-Cookie", "a=b"), ("Cache-Control", "private"), ("Vary", "Accept")])
async def test_p11_what_dependencies_say_may_forbid_sharing(app: FastAPI, ran: Shop, says: tuple[str, str]) -> None:
    def say(response: Response) -> None:
        response.headers[says[0]] = says[1]

    @app.get("/books", dependencies=[caching(), Depends(say)])
    async def books() -> int:
        return ran("endpoint")

    made, again = await twice(app)
    assert [made.body, again.body, made.all(says[0].lower())] == [b"1", b"2", [says[1]]]


async def test_statuses_are_kept_and_only_a_200_is_stored(app: FastAPI, ran: Shop) -> None:
    def teapot(response: Response) -> None:
        response.status_code = 418

    app.get("/declared", status_code=201, dependencies=[caching()])(lambda: ran("declared"))
    app.get("/said", dependencies=[caching(), Depends(teapot)])(lambda: ran("said"))

    @app.get("/set", dependencies=[caching()])
    async def said(response: Response) -> int:
        response.status_code = 202
        return ran("set")

    @app.get("/raised", dependencies=[caching()])
    async def raised() -> None:
        ran("raised")
        raise HTTPException(404)

    for path, status in {"/declared": 201, "/said": 418, "/set": 202, "/raised": 404}.items():
        assert [answer.status for answer in await twice(app, path)] == [status, status]
        assert ran.ran[path[1:]] == 2


async def test_p11_a_request_without_a_required_header_is_a_422_on_a_hit_too(app: FastAPI, ran: Shop) -> None:
    @app.get("/books", dependencies=[caching(unkeyed=["X-Client"])])
    async def books(x_client: Annotated[str, Header()]) -> int:
        return ran("endpoint")

    client = [("X-Client", "a")]
    statuses = [(await ask(app, headers=headers)).status for headers in ([], client, [], client)]
    assert (statuses, ran.ran) == ([422, 200, 422, 200], {"endpoint": 1})


@pytest.mark.usefixtures("gated")
async def test_p8_one_failure_is_everybody_s(app: FastAPI, ran: Shop) -> None:
    @app.get("/books", dependencies=[caching()])
    async def books() -> None:
        ran("endpoint")
        raise LookupError("broken")

    failures = await asyncio.gather(*[ask(app) for _ in range(20)], return_exceptions=True)
    assert {repr(failure) for failure in failures} == {"LookupError('broken')"}
    assert ran.ran == {"endpoint": 1}


async def test_the_response_model_says_what_is_stored(app: FastAPI) -> None:
    @app.get("/books", response_model=Book, response_model_exclude={"id"}, dependencies=[caching()])
    async def books() -> dict[str, object]:
        return {"id": 1, "title": "T", "price": 3}

    assert [answer.body for answer in await twice(app)] == [b'{"title":"T"}'] * 2


async def test_background_tasks_run_whoever_added_them(app: FastAPI, ran: Shop) -> None:
    def log(tasks: BackgroundTasks) -> None:
        tasks.add_task(ran, "by dependency")

    @app.get("/books", dependencies=[caching(), Depends(log)])
    async def books(tasks: BackgroundTasks) -> str:
        tasks.add_task(ran, "by endpoint")
        return "books"

    assert hits(await twice(app)) == [False, True]
    assert ran.ran == {"by dependency": 2, "by endpoint": 1}


async def test_streams_and_files_pass(app: FastAPI, ran: Shop, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("file")

    @app.get("/stream", dependencies=[caching()])
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([b"a", str(ran("stream")).encode()]))

    @app.get("/file", dependencies=[caching()])
    def file() -> FileResponse:
        ran("file")
        return FileResponse(tmp_path / "a")

    assert [answer.body for answer in await twice(app, "/stream")] == [b"a1", b"a2"]
    assert [answer.body for answer in await twice(app, "/file")] == [b"file", b"file"]
    assert ran.ran == {"stream": 2, "file": 2}


async def test_routers_prefixes_and_mounts_are_told_apart(app: FastAPI, fence: AsyncCacheFence, ran: Shop) -> None:
    router = APIRouter(prefix="/r", dependencies=[caching()])

    @router.get("/books/{book_id}")
    def book(book_id: int) -> str:
        return f"{book_id} {ran('endpoint')}"

    @router.websocket("/ws")
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    outer = APIRouter()
    outer.include_router(router, prefix="/nested")
    app.include_router(router)
    app.include_router(router, prefix="/again")
    app.include_router(outer)
    sub = FastAPI()
    install(sub, fence)
    sub.include_router(router)
    app.mount("/sub", sub)
    paths = [f"{prefix}/r/books/7" for prefix in ("", "/again", "/nested", "/sub")]
    assert len({(await ask(app, path)).body for path in paths}) == 4
    assert hits([await ask(app, path) for path in paths]) == [True] * 4
    with TestClient(app) as client, client.websocket_connect("/r/ws") as websocket:
        assert websocket.receive_text() == "hello"


async def test_a_route_class_of_the_user_s_runs_once_a_request(app: FastAPI, ran: Shop) -> None:
    class Timed(APIRoute):
        def get_route_handler(self) -> Any:
            handler = super().get_route_handler()

            async def timed(request: Request) -> Any:
                response = await handler(request)
                response.headers["X-Times"] = str(ran("handler"))
                return response

            return timed

    router = APIRouter(route_class=Timed)
    router.get("/books", dependencies=[caching()])(lambda: ran("endpoint"))
    app.include_router(router)
    answers = await twice(app)
    assert [answer.all("x-times") for answer in answers] == [["1"], ["2"]]
    assert ran.ran == {"handler": 2, "endpoint": 1}


async def test_overridden_dependencies_are_run_instead_the_caching_one_too(app: FastAPI, ran: Shop) -> None:
    declared = cached(ttl=60)

    def name() -> str:
        return "real"

    @app.get("/books", dependencies=[Depends(declared)])
    async def books(name: Annotated[str, Depends(name)]) -> str:
        return f"{name} {ran('endpoint')}"

    app.dependency_overrides[name] = lambda: "fake"
    assert [answer.body for answer in await twice(app)] == [b'"fake 1"'] * 2
    app.dependency_overrides[declared] = lambda: None
    assert [answer.body for answer in await twice(app)] == [b'"fake 2"', b'"fake 3"']


async def test_the_schema_is_what_it_was(app: FastAPI) -> None:
    async def endpoint(book_id: int, request: Request, page: Annotated[int, Query(ge=1)] = 1) -> Book:
        """One book."""
        return Book(id=book_id, title="T")

    plain = FastAPI()
    plain.get("/books/{book_id}")(endpoint)
    by_dependency, by_view = FastAPI(), FastAPI()
    by_dependency.get("/books/{book_id}", dependencies=[caching()])(endpoint)
    by_view.get("/books/{book_id}")(cache_view(ttl=60)(endpoint))
    for each in (by_dependency, by_view):
        install(each, CacheFence("memory://"))
        assert (await ask(each, "/books/1")).status == 200
        assert each.openapi() == plain.openapi()


async def test_head_304_and_a_reading_of_the_request_work(app: FastAPI, ran: Shop) -> None:
    @app.api_route("/books", methods=["GET", "HEAD"], dependencies=[caching()])
    async def books(request: Request) -> str:
        return f"{request.method} {ran('endpoint')}"

    assert (await ask(app, method="HEAD")).status == 200
    made = await ask(app)
    head = await ask(app, method="HEAD")
    assert (head.body, head.all("content-length"), head.all("etag")) == (b"", ["7"], made.all("etag"))
    again = await ask(app, headers=[("If-None-Match", made.all("etag")[0])])
    assert (again.status, again.body, ran.ran["endpoint"]) == (304, b"", 2)


async def test_post_on_the_same_path_runs_each_time_and_invalidates(app: FastAPI, ran: Shop) -> None:
    @app.api_route("/books", methods=["GET", "POST"], dependencies=[caching()])
    async def books() -> int:
        return ran("endpoint")

    assert [(await ask(app, method=method)).body for method in ("GET", "POST", "GET")] == [b"1", b"2", b"3"]


async def test_keys_tell_queries_and_raw_paths_apart(app: FastAPI, ran: Shop) -> None:
    @app.get("/x/{rest:path}", dependencies=[caching()])
    async def anything(rest: str) -> int:
        return ran("endpoint")

    targets = ["/x/y?a=1", "/x/y%3Fa=1", "/x/y?a=1&a=2", "/x/y?a=2&a=1"]
    assert len({(await ask(app, target)).body for target in targets}) == 4
    assert ran.ran["endpoint"] == 4


async def test_inside_the_middleware_its_tags_count(app: FastAPI, fence: AsyncCacheFence, ran: Shop) -> None:
    app.add_middleware(CacheMiddleware, cache=fence, rules=[Rule("/books", ttl=60)])
    app.get("/books", dependencies=[caching(tags=["book"])])(lambda: ran("endpoint"))
    assert [answer.body for answer in await twice(app)] == [b"1", b"1"]
    await fence.invalidate_tags("book")
    assert (await ask(app)).body == b"2"


async def test_p7_a_cancelled_leader_is_replaced(app: FastAPI, ran: Shop) -> None:
    stuck = asyncio.Event()

    @app.get("/books", dependencies=[caching()])
    async def books() -> int:
        if ran("endpoint") == 1:
            stuck.set()
            await asyncio.Event().wait()
        return 2

    leader = asyncio.create_task(ask(app))
    await stuck.wait()
    followers = [asyncio.create_task(ask(app)) for _ in range(10)]
    await asyncio.sleep(0)
    leader.cancel()
    assert {answer.body for answer in await asyncio.gather(*followers)} == {b"2"}
    with pytest.raises(asyncio.CancelledError):
        await leader


def test_the_framework_s_own_client_sees_a_miss_and_a_hit() -> None:
    app = FastAPI()
    app.get("/books", dependencies=[caching(cache=CacheFence("memory://"))])(lambda: {"books": 3})
    with TestClient(app) as client:
        answers = [client.get("/books") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"books": 3}] * 2
    assert ["hit" in answer.headers["cache-status"] for answer in answers] == [False, True]


async def test_tags_that_name_nothing_are_refused_before_the_endpoint_runs(app: FastAPI, ran: Shop) -> None:
    app.get("/books/{book_id}", dependencies=[caching(tags=["book:{pk}"])])(lambda: ran("endpoint"))
    with pytest.raises(ConfigurationError, match="pk"):
        await ask(app, "/books/1")
    assert not ran.ran


async def test_without_a_cache_the_error_says_what_to_do() -> None:
    app = FastAPI()
    app.get("/books", dependencies=[caching()])(lambda: 1)
    with pytest.raises(ConfigurationError, match="install"):
        await ask(app)


def numbers() -> Iterator[int]:
    yield 1


def one(book_id: int) -> int:
    return book_id


WRONG: dict[str, Callable[[], object]] = {
    "no life": lambda: cached(ttl=0),
    "no such option": lambda: cached(tll=1),  # type: ignore[call-overload]
    "a text of tags": lambda: cached(tags="book"),
    "a text of headers": lambda: cached(vary_on="Accept"),
    "a text of unkeyed": lambda: cached(unkeyed="X-Id"),
    "no cache": lambda: cached(cache="memory://"),  # type: ignore[call-overload]
    "a key": lambda: cached(key="x"),  # type: ignore[call-overload]
    "a view's tags": lambda: cache_view(tags=["book:{pk}"])(one),
    "a generator": lambda: cache_view(ttl=1)(numbers),
    "no function": lambda: cache_view(ttl=1)(7),  # type: ignore[type-var]
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused_at_once(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        wrong()
