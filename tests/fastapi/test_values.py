"""A value: kept by what its function takes of the request, and made with its own request's tools."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from cachefence_web import AsyncCacheFence, ConfigurationError
from cachefence_web.fastapi import cached, install
from tests.starlette.asgi import LONG, ask


class Session:
    """What a database hands out: open for as long as its request is."""

    def __init__(self) -> None:
        self.open = True


async def session() -> AsyncIterator[Session]:
    opened = Session()
    yield opened
    opened.open = False


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def app(fence: AsyncCacheFence) -> FastAPI:
    app = FastAPI()
    install(app, fence)
    return app


def serve(app: FastAPI, load: Callable[..., Any], **options: Any) -> None:
    dependency = cached(load, **{"ttl": 60, **options})

    @app.get("/value/{shelf}")
    async def value(shelf: str, found: Annotated[Any, Depends(dependency)]) -> Any:
        return found


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_p1_a_crowd_costs_one_load(app: FastAPI, calls: list[Any], colour: str) -> None:
    async def load(shelf: str) -> str:
        calls.append(shelf)
        return f"on {shelf}"

    def threaded(shelf: str) -> str:
        calls.append(shelf)
        return f"on {shelf}"

    serve(app, load if colour == "async" else threaded, key="shelf:{shelf}")
    answers = await asyncio.gather(*[ask(app, "/value/a") for _ in range(100)])
    assert {answer.body for answer in answers} == {b'"on a"'}
    assert calls == ["a"]
    assert (await ask(app, "/value/b")).body == b'"on b"'


class Filter(BaseModel):
    pages: int = 0
    language: str = ""


@dataclass(frozen=True)
class Window:
    first: int
    last: int


def window(first: int = 0, last: int = 9) -> Window:
    return Window(first, last)


CALLS: list[Any] = []


async def load(
    shelf: str, wanted: Annotated[Filter, Query()], window: Annotated[Window, Depends(window)],
    database: Annotated[Session, Depends(session)], accept_language: Annotated[str, Header()] = "",
) -> int:
    assert database.open
    CALLS.append(shelf)
    return len(CALLS)


async def test_every_value_that_it_takes_is_part_of_the_key_and_nothing_else(app: FastAPI) -> None:
    serve(app, load, unkeyed=["database"])
    CALLS.clear()
    different = ["/value/a", "/value/b", "/value/a?pages=2", "/value/a?language=x", "/value/a?first=3"]
    first = [(await ask(app, target)).body for target in different]
    first.append((await ask(app, "/value/a", headers=[("Accept-Language", "de")])).body)
    assert len(set(first)) == 6
    assert (await ask(app, "/value/a?unknown=1", headers=[("Cookie", "a=b")])).body == first[0]
    assert (await ask(app, "/value/a?pages=x")).status == 422


async def test_p2_an_invalidation_is_seen_by_the_next_request(
    app: FastAPI, fence: AsyncCacheFence, calls: list[Any]
) -> None:
    async def load(shelf: str) -> int:
        calls.append(shelf)
        return len(calls)

    serve(app, load, key="shelf:{shelf}", tags=["shelf:{shelf}"])
    assert [(await ask(app, "/value/a")).body for _ in range(2)] == [b"1", b"1"]
    await fence.invalidate_tags("shelf:a")
    assert (await ask(app, "/value/a")).body == b"2"


async def test_p7_a_cancelled_leader_is_replaced_by_one_whose_session_is_open(app: FastAPI, calls: list[Any]) -> None:
    stuck = asyncio.Event()

    async def load(database: Annotated[Session, Depends(session)]) -> bool:
        calls.append(database)
        if len(calls) == 1:
            stuck.set()
            await asyncio.Event().wait()
        return database.open

    serve(app, load, key="open")
    leader = asyncio.create_task(ask(app, "/value/a"))
    await stuck.wait()
    followers = [asyncio.create_task(ask(app, "/value/a")) for _ in range(10)]
    await asyncio.sleep(0)
    leader.cancel()
    assert {answer.body for answer in await asyncio.gather(*followers)} == {b"true"}
    assert len(calls) == 2
    with pytest.raises(asyncio.CancelledError):
        await leader


@pytest.mark.usefixtures("gated")
async def test_p8_one_failure_is_everybody_s(app: FastAPI, calls: list[Any]) -> None:
    async def load() -> None:
        calls.append(1)
        raise LookupError("broken")

    serve(app, load, key="broken")
    failures = await asyncio.gather(*[ask(app, "/value/a") for _ in range(20)], return_exceptions=True)
    assert {repr(failure) for failure in failures} == {"LookupError('broken')"}
    assert calls == [1]


async def test_p8_the_last_good_value_stands_in_for_one_that_fails(
    app: FastAPI, fence: AsyncCacheFence, calls: list[Any]
) -> None:
    async def load() -> int:
        calls.append(1)
        if len(calls) > 1:
            raise LookupError("broken")
        return 7

    serve(app, load, key="sometimes", stale_if_error=60, tags=["seven"])
    assert (await ask(app, "/value/a")).body == b"7"
    await fence.expire_tags("seven")
    assert (await ask(app, "/value/a")).body == b"7"
    assert calls == [1, 1]


async def test_an_answer_of_http_is_not_taken_for_a_failure_of_everybody_s(app: FastAPI, calls: list[Any]) -> None:
    async def load() -> None:
        calls.append(1)
        raise HTTPException(404)

    serve(app, load, key="missing")
    assert [(await ask(app, "/value/a")).status for _ in range(3)] == [404, 404, 404]
    assert calls == [1, 1, 1]


async def test_p8_an_exception_that_is_an_answer_is_one_in_every_process(store: str, namespace: str) -> None:
    async def load() -> None:
        raise KeyError("missing")

    for _ in range(2):
        async with AsyncCacheFence(store, namespace=namespace, timeout=LONG) as fence:
            app = FastAPI(exception_handlers={KeyError: lambda request, error: Response(status_code=404)})
            install(app, fence)
            serve(app, load, key="missing")
            assert (await ask(app, "/value/a")).status == 404


async def test_what_has_no_text_is_refused_before_it_runs_and_the_error_says_what_to_do(app: FastAPI) -> None:
    serve(app, load)
    CALLS.clear()
    with pytest.raises(ConfigurationError, match=r"database.*unkeyed"):
        await ask(app, "/value/a")
    assert not CALLS


async def test_a_connection_of_its_own_is_handed_to_it(app: FastAPI, calls: list[Any]) -> None:
    async def load(connection: HTTPConnection) -> str:
        calls.append(connection)
        return connection.url.path

    serve(app, load, key="path")
    assert [(await ask(app, "/value/a")).body for _ in range(2)] == [b'"/value/a"'] * 2
    assert len(calls) == 1


async def test_the_schema_is_the_loader_s(app: FastAPI) -> None:
    serve(app, load, unkeyed=["database"])
    plain = FastAPI()

    @plain.get("/value/{shelf}")
    async def value(shelf: str, found: Annotated[Any, Depends(load)]) -> Any:
        return found

    assert app.openapi() == plain.openapi()


def numbers() -> Iterator[int]:
    yield 1


async def with_request(request: Request) -> None: ...


async def with_response(response: Response) -> None: ...


async def with_tasks(tasks: BackgroundTasks) -> None: ...


async def of_shelf(shelf: str) -> None: ...


WRONG: dict[str, Callable[[], object]] = {
    "a generator": lambda: cached(numbers, ttl=1),
    "a session's generator": lambda: cached(session, ttl=1),
    "no function": lambda: cached(7, ttl=1),  # type: ignore[call-overload]
    "a lambda": lambda: cached(lambda: 1, ttl=1),
    "a request": lambda: cached(with_request, ttl=1),
    "a response": lambda: cached(with_response, ttl=1),
    "tasks": lambda: cached(with_tasks, ttl=1),
    "no such tag": lambda: cached(of_shelf, tags=["a:{b}"]),
    "no such key": lambda: cached(of_shelf, key="a:{b}"),
    "no such parameter": lambda: cached(of_shelf, unkeyed=["b"]),
    "a text of unkeyed": lambda: cached(of_shelf, unkeyed="shelf"),
    "a response's option": lambda: cached(of_shelf, vary_on=["Accept"]),  # type: ignore[call-overload]
    "no life": lambda: cached(of_shelf, ttl=0),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_cannot_work_is_refused_at_once(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        wrong()
