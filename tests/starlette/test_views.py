"""cache_view: the endpoint's answer is shared, whatever its colour, and only if it may be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from cachefence_web import AsyncCacheFence, CacheFence, ConfigurationError
from cachefence_web.starlette import CacheMiddleware, Rule, cache_view, install
from tests.starlette.asgi import ask


class Counted:
    """An endpoint's body that knows how often it ran."""

    def __init__(self, make: Callable[[int], Response] = lambda count: PlainTextResponse(f"book {count}")) -> None:
        self.count = 0
        self._make = make

    def __call__(self) -> Response:
        self.count += 1
        return self._make(self.count)


def site(endpoint: Any, path: str = "/books", **options: Any) -> Starlette:
    return Starlette(routes=[Route(path, endpoint)], **options)


def endpoint_of(colour: str, counted: Counted, **options: Any) -> Any:
    if colour == "async":
        @cache_view(ttl=60, **options)
        async def books(request: Request) -> Response:
            return counted()

        return books
    if colour == "class":
        class Books(HTTPEndpoint):
            @cache_view(ttl=60, **options)
            async def get(self, request: Request) -> Response:
                return counted()

        return Books

    @cache_view(ttl=60, **options)
    def plain(request: Request) -> Response:
        return counted()

    return plain


@pytest.mark.parametrize("colour", ["async", "sync", "class"])
async def test_p1_a_crowd_costs_one_call_of_the_endpoint(fence: AsyncCacheFence, colour: str) -> None:
    counted = Counted()
    app = site(endpoint_of(colour, counted, cache=fence))
    answers = await asyncio.gather(*[ask(app) for _ in range(100)])
    assert {answer.body for answer in answers} == {b"book 1"}
    assert counted.count == 1


async def test_p2_tags_are_templates_of_the_path_or_a_function_of_it(fence: AsyncCacheFence) -> None:
    counted = Counted()
    app = site(endpoint_of("async", counted, cache=fence, tags=["book:{slug}"]), "/books/{slug}")
    text = endpoint_of("async", Counted(), cache=fence, tags=lambda slug: [f"text:{slug}"])
    by_function = site(text, "/texts/{slug}")
    assert [(await ask(app, "/books/a")).body for _ in range(2)] == [b"book 1"] * 2
    assert [(await ask(by_function, "/texts/a")).body for _ in range(2)] == [b"book 1"] * 2
    await fence.invalidate_tags("book:a", "text:a")
    assert (await ask(app, "/books/a")).body == b"book 2"
    assert (await ask(by_function, "/texts/a")).body == b"book 2"


async def test_a_stream_and_a_refusal_are_the_asker_s_own(fence: AsyncCacheFence) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"stream"

    addressed = {"set-cookie": "a=b"}
    for make in (lambda _: StreamingResponse(chunks()), lambda _: PlainTextResponse("x", headers=addressed)):
        counted = Counted(make)
        app = site(endpoint_of("async", counted, cache=fence), f"/{id(make)}")
        assert [(await ask(app, f"/{id(make)}")).status for _ in range(2)] == [200, 200]
        assert counted.count == 2


@pytest.mark.usefixtures("gated")
async def test_p8_an_exception_that_is_an_answer_is_not_shared_and_a_failure_is(fence: AsyncCacheFence) -> None:
    class Gone(Exception): ...

    def missing(_: int) -> Response:
        raise HTTPException(404)

    def gone(_: int) -> Response:
        raise Gone

    def broken(_: int) -> Response:
        raise LookupError("broken")

    handlers = {Gone: lambda request, error: PlainTextResponse("gone", status_code=410)}
    for path, make, status in (("/missing", missing, 404), ("/gone", gone, 410)):
        counted = Counted(make)
        app = site(endpoint_of("async", counted, cache=fence), path, exception_handlers=handlers)
        assert {(await ask(app, path)).status for _ in range(2)} == {status}
        assert counted.count == 2
    counted = Counted(broken)
    app = site(endpoint_of("async", counted, cache=fence), "/broken")
    failures = await asyncio.gather(*[ask(app, "/broken") for _ in range(10)], return_exceptions=True)
    assert {repr(failure) for failure in failures} == {"LookupError('broken')"}
    assert counted.count == 1


async def test_p1_a_condition_of_the_leader_s_is_answered_by_the_cache(fence: AsyncCacheFence) -> None:
    calls: list[str] = []

    async def endpoint(request: Request) -> Response:
        calls.append(request.headers.get("if-none-match", "whole"))
        return Response(status_code=304) if calls[-1] != "whole" else PlainTextResponse("x", headers={"ETag": '"1"'})

    app = site(cache_view(cache=fence, ttl=60)(endpoint))
    answers = await asyncio.gather(*[ask(app, headers=[("If-None-Match", '"1"')]) for _ in range(20)])
    assert ({answer.status for answer in answers}, calls) == ({304}, ["whole"])


async def test_p11_who_is_known_does_not_get_what_strangers_get(fence: AsyncCacheFence) -> None:
    app = site(endpoint_of("async", Counted(), cache=fence))
    stranger, known = [SimpleNamespace(is_authenticated=each) for each in (False, True)]
    assert [(await ask(app, user=user)).body for user in (stranger, stranger, known, stranger)] == [
        b"book 1", b"book 1", b"book 2", b"book 1"]


async def test_background_tasks_run_for_the_request_that_made_them(fence: AsyncCacheFence) -> None:
    ran: list[int] = []
    counted = Counted(lambda count: PlainTextResponse("book", background=BackgroundTask(ran.append, count)))
    app = site(endpoint_of("async", counted, cache=fence))
    await ask(app)
    await ask(app)
    assert ran == [1]


async def test_a_response_that_the_endpoint_keeps_is_not_changed(fence: AsyncCacheFence) -> None:
    kept = PlainTextResponse("book")
    before = list(kept.raw_headers)
    app = site(endpoint_of("async", Counted(lambda _: kept), cache=fence))
    await ask(app)
    await ask(app, headers=[("Cookie", "a=b")])
    assert kept.raw_headers == before


async def test_inside_the_middleware_its_tags_count(fence: AsyncCacheFence) -> None:
    counted = Counted()
    inner = endpoint_of("async", counted, cache=fence, tags=["book"])
    app = site(inner, middleware=[Middleware(CacheMiddleware, cache=fence, rules=[Rule("/books", ttl=60)])])
    assert [(await ask(app)).body for _ in range(2)] == [b"book 1"] * 2
    await fence.invalidate_tags("book")
    assert (await ask(app)).body == b"book 2"


def test_the_framework_s_own_client_sees_a_miss_and_a_hit() -> None:
    @cache_view(ttl=60)
    async def books(request: Request) -> Response:
        return JSONResponse({"books": 3})

    app = site(books)
    install(app, CacheFence("memory://"))
    with TestClient(app) as client:
        answers = [client.get("/books") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"books": 3}] * 2
    assert ["hit" in answer.headers["cache-status"] for answer in answers] == [False, True]


async def test_without_a_cache_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="install"):
        await ask(site(endpoint_of("async", Counted())))


async def chunks(request: Request) -> AsyncIterator[bytes]:
    yield b""


WRONG: dict[str, Callable[[], object]] = {
    "no life": lambda: cache_view(ttl=-1),
    "no such option": lambda: cache_view(tll=1),  # type: ignore[call-arg]
    "a text of tags": lambda: cache_view(tags="book"),
    "no text": lambda: cache_view(tags=[7]),  # type: ignore[list-item]
    "no tag": lambda: cache_view(tags=["a b"]),
    "no field": lambda: cache_view(tags=["book:{0}"]),
    "no cache": lambda: cache_view(cache="memory://"),  # type: ignore[arg-type]
    "a class": lambda: cache_view(ttl=1)(HTTPEndpoint),
    "a generator": lambda: cache_view(ttl=1)(chunks),
    "no such policy": lambda: cache_view(policy="x", cache=CacheFence("memory://")),
    "nothing to install": lambda: install(Starlette(), "memory://"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused_at_once(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        wrong()


@pytest.mark.parametrize("name", ["starlette", "fastapi"])
def test_without_the_framework_the_error_names_the_extra(name: str) -> None:
    program = f"import sys; sys.modules[{name!r}] = None\nimport cachefence_web.{name}"
    answer = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert f'pip install "cachefence-web[{name}]"' in answer.stderr
