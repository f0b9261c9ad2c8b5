"""What dependencies find out and say holds for the answer, by whichever way it comes to be stored."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Body, Depends, FastAPI, Request, Response

from cachefence_web import AsyncCacheFence, depends_on
from cachefence_web.fastapi import cached, install
from tests.starlette.asgi import Answer, ask, scope_of


@pytest.fixture
def app(fence: AsyncCacheFence) -> FastAPI:
    app = FastAPI()
    install(app, fence)
    return app


def hit(answer: Answer) -> bool:
    return "; hit" in answer.cache_status


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_p2_what_dependencies_depend_on_holds_for_an_answer_that_was_made_alone(
    app: FastAPI, fence: AsyncCacheFence, colour: str
) -> None:
    rate, count = "old", 0

    async def rates() -> str:
        depends_on("rate:eur")
        return rate

    def page(response: Response, text: Annotated[str, Depends(rates)]) -> str:
        nonlocal count
        count += 1
        if count == 1:  # so nobody waits for the second
            response.headers["cache-control"] = "no-store"
        return text

    async def awaited(response: Response, text: Annotated[str, Depends(rates)]) -> str:
        return page(response, text)

    app.get("/books", dependencies=[Depends(cached(ttl=60))])(page if colour == "sync" else awaited)
    answers = [await ask(app) for _ in range(3)]
    assert [hit(answer) for answer in answers] == [False, False, True]
    rate = "new"
    await fence.invalidate_tags("rate:eur")
    assert (await ask(app)).body == b'"new"'


SAID: dict[str, tuple[dict[str, str], bool]] = {
    "nothing": ({}, True),
    "something else": ({"X-Own": "1"}, True),
    "no-store": ({"Cache-Control": "no-store"}, False),
    "private": ({"Cache-Control": "private"}, False),
    "no-cache": ({"Cache-Control": "no-cache"}, False),
    "no life": ({"Cache-Control": "max-age=0"}, False),
    "a cookie": ({"Set-Cookie": "a=b"}, False),
    "variety": ({"Vary": "X-Kind"}, False),
}


@pytest.mark.parametrize(("said", "shared"), SAID.values(), ids=SAID.keys())
async def test_where_headers_decide_the_endpoint_says_how_long_and_dependencies_may_object(
    app: FastAPI, said: dict[str, str], shared: bool
) -> None:
    def say(response: Response) -> None:
        response.headers.update(said)

    @app.get("/books", dependencies=[Depends(cached(freshness="headers")), Depends(say)])
    async def books(response: Response) -> int:
        response.headers.append("cache-control", "max-age=60")
        return 1

    assert [hit(await ask(app)) for _ in range(2)] == [False, shared]


async def test_where_headers_decide_who_says_nothing_is_not_stored(app: FastAPI) -> None:
    app.get("/books", dependencies=[Depends(cached(freshness="headers"))])(lambda: 1)
    assert [hit(await ask(app)) for _ in range(2)] == [False, False]


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
async def test_p2_what_an_unsafe_request_writes_behind_its_answer_is_invalidated_though_it_fails(
    app: FastAPI, fails: bool
) -> None:
    state, reached, gate = "old", asyncio.Event(), asyncio.Event()

    async def write() -> None:
        nonlocal state
        reached.set()
        await gate.wait()
        state = "new"
        if fails:
            raise LookupError("broken")

    @app.get("/books", dependencies=[Depends(cached(ttl=60))])
    async def books() -> str:
        return state

    @app.post("/books", dependencies=[Depends(cached(ttl=60))])
    async def change(tasks: BackgroundTasks) -> str:
        tasks.add_task(write)
        return "done"

    await ask(app)
    posting = asyncio.create_task(ask(app, method="POST"))
    await reached.wait()
    assert (await ask(app)).body == b'"old"'  # stored anew, from before the write
    gate.set()
    await asyncio.wait([posting])
    assert isinstance(posting.exception(), LookupError) == fails
    assert (await ask(app)).body == b'"new"'


async def ask_with(app: Any, body: bytes) -> Answer:
    """A GET with a body that no field announces, as in HTTP/2."""
    answer, pieces = Answer(), [body]

    async def receive() -> dict[str, Any]:
        if not pieces:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": pieces.pop(), "more_body": False}

    async def send(message: Any) -> None:
        answer.messages.append(message)

    await app(scope_of(http_version="2", headers=[("Content-Type", "application/json")]), receive, send)
    return answer


@pytest.mark.parametrize("reader", ["endpoint", "dependency", "parameter"])
@pytest.mark.parametrize("first", [True, False], ids=["declared first", "declared last"])
async def test_p11_a_body_that_no_field_announces_makes_an_answer_nobody_else_s(
    app: FastAPI, reader: str, first: bool
) -> None:
    async def read(request: Request) -> str:
        return (await request.body()).decode()

    async def endpoint(request: Request) -> str:
        return await read(request)

    async def dependent(text: Annotated[str, Depends(read)]) -> str:
        return text

    async def parameter(text: Annotated[str, Body()] = "") -> str:
        return text

    async def other() -> None: ...

    declared = [Depends(cached(ttl=60)), Depends(other)]
    view: Any = {"endpoint": endpoint, "dependency": dependent, "parameter": parameter}[reader]
    app.get("/books", dependencies=declared if first else declared[::-1])(view)
    evil = b'"EVIL"'
    for _ in range(2):
        assert b"EVIL" in (await ask_with(app, evil)).body
    answers = [await ask(app) for _ in range(3)]
    assert {answer.body for answer in answers} == {b'""'}
    assert hit(answers[-1])
