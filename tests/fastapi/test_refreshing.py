"""Stale while revalidate behind `Depends(cached(...))`: all dependencies run anew, as nobody, and end as ever."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from cachefence_web import AsyncCacheFence
from cachefence_web.fastapi import CacheMiddleware, Rule, cache_view, cached, install
from tests.starlette.asgi import LONG, Answer, ask

STALE: dict[str, Any] = {"ttl": 60, "stale_for": 600, "tags": ["book"]}
SHAPES = ["dependency", "view", "router", "sub-application"]


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
    return Depends(cached(**{**STALE, **options}))


async def bodies(app: Any, times: int, target: str = "/books", **more: Any) -> list[bytes]:
    async with asyncio.timeout(30):
        return [(await ask(app, target, **more)).body for _ in range(times)]


def hit(answer: Answer) -> bool:
    return "; hit" in answer.cache_status


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_the_old_page_first_then_the_new_one_with_all_its_dependencies(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop, shape: str, colour: str
) -> None:
    open_now: list[int] = []

    async def session(request: Request) -> AsyncIterator[str]:
        assert not await request.body()
        open_now.append(1)
        yield "session"
        open_now.pop()

    async def books(session: Annotated[str, Depends(session)]) -> str:
        assert open_now
        return f"{session} {ran('endpoint')}"

    def threaded(session: Annotated[str, Depends(session)]) -> str:
        assert open_now
        return f"{session} {ran('endpoint')}"

    endpoint = books if colour == "async" else threaded
    target = "/books"
    if shape == "dependency":
        app.get("/books", dependencies=[caching()])(endpoint)
    elif shape == "view":
        app.get("/books")(cache_view(**STALE)(endpoint))
    elif shape == "router":
        router = APIRouter(prefix="/shop", dependencies=[caching()])
        router.get("/books")(endpoint)
        app.include_router(router, prefix="/v1")
        target = "/v1/shop/books"
    else:
        sub = FastAPI()
        install(sub, fence)
        sub.get("/books", dependencies=[caching()])(endpoint)
        app.mount("/sub", sub)
        target = "/sub/books"
    await ask(app, target)
    await fence.expire_tags("book")
    assert await bodies(app, 3, target) == [b'"session 1"', b'"session 2"', b'"session 2"']
    assert (ran.ran, open_now) == ({"endpoint": 2}, [])


async def test_p1_a_crowd_at_a_stale_page_costs_one_refresh(app: FastAPI, fence: AsyncCacheFence, ran: Shop) -> None:
    gate = asyncio.Event()

    @app.get("/books", dependencies=[caching()])
    async def books() -> int:
        if (count := ran("endpoint")) > 1:
            await gate.wait()
        return count

    await ask(app)
    await fence.expire_tags("book")
    crowd = [asyncio.create_task(ask(app)) for _ in range(50)]
    async with asyncio.timeout(30):
        while sum(asking.done() for asking in crowd) < 49:  # noqa: ASYNC110 - tasks have no event
            await asyncio.sleep(0)
        gate.set()
        assert {answer.body for answer in await asyncio.gather(*crowd)} == {b"1"}
    assert ran.ran == {"endpoint": 2}


async def test_what_dependencies_say_to_the_refresh_is_not_taken_for_the_visitor_s(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    def number(request: Request, response: Response) -> None:
        response.headers["X-Number"] = str(ran("number"))
        if ran.ran["number"] == 3:  # the refresh
            response.headers["X-More"] = "1"

    app.get("/own", dependencies=[caching(), Depends(number)])(lambda: HTMLResponse("<p>"))
    app.get("/value", dependencies=[caching(), Depends(number)])(lambda: "value")
    for path, kind in (("/own", "text/html; charset=utf-8"), ("/value", "application/json")):
        ran.ran.clear()
        first = await ask(app, path)
        await fence.expire_tags("book")
        stale, fresh = [await ask(app, path) for _ in range(2)]
        assert [answer.all("content-type") for answer in (first, stale, fresh)] == [[kind]] * 3
        assert ran.ran["number"] == 4
        assert [answer.all("x-more") for answer in (stale, fresh)] == [[], []]
        assert fresh.all("x-number") == ([] if path == "/own" else ["4"])


async def test_background_tasks_of_dependencies_run_behind_a_stale_answer_too(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    def log(tasks: BackgroundTasks) -> None:
        tasks.add_task(ran, "by dependency")

    @app.get("/books", dependencies=[caching(), Depends(log)])
    async def books(tasks: BackgroundTasks) -> str:
        tasks.add_task(ran, "by endpoint")
        return "books"

    await ask(app)
    await fence.expire_tags("book")
    await ask(app)
    assert ran.ran == {"by dependency": 3, "by endpoint": 2}  # the visitor's and the refresh's own


async def test_p11_a_page_behind_credentials_is_refreshed_by_its_visitors(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    def friend(request: Request) -> str:
        if "friend" not in request.cookies:
            ran("refused")
            raise HTTPException(401)
        return "friend"

    @app.get("/books", dependencies=[caching(cookies="ignore")])
    async def books(who: Annotated[str, Depends(friend)]) -> str:
        return f"for each {who} {ran('endpoint')}"

    friendly = [("Cookie", "friend=1")]
    await ask(app, headers=friendly)
    await fence.expire_tags("book")
    assert await bodies(app, 3, headers=friendly) == [b'"for each friend 1"', *[b'"for each friend 2"'] * 2]
    assert ran.ran == {"endpoint": 2, "refused": 1}
    assert (await ask(app)).status == 401


async def test_p11_credentials_that_are_part_of_the_key_are_the_refresh_s_too(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    @app.get("/books", dependencies=[caching(vary_on=["Authorization"])])
    async def books(who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
        return f"{who.username} {ran(who.username)}"

    ann, bob = [[("Authorization", f"Basic {coded}")] for coded in ("YW5uOnA=", "Ym9iOnA=")]
    assert [await bodies(app, 1, headers=who) for who in (ann, bob)] == [[b'"ann 1"'], [b'"bob 1"']]
    await fence.expire_tags("book")
    assert await bodies(app, 2, headers=ann) == [b'"ann 1"', b'"ann 2"']
    assert await bodies(app, 2, headers=bob) == [b'"bob 1"', b'"bob 2"']


async def test_p8_a_dependency_that_fails_in_a_refresh_is_not_the_visitor_s(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    def opened() -> None:
        if ran("opened") == 3:
            raise LookupError("broken")

    app.get("/books", dependencies=[caching(), Depends(opened)])(lambda: ran("endpoint"))
    await ask(app)
    await fence.expire_tags("book")
    assert await bodies(app, 2) == [b"1", b"1"]


async def test_a_dependency_that_fails_behind_the_endpoint_leaves_the_refresh_to_the_next(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    async def closing() -> AsyncIterator[None]:
        yield
        if ran("closed") == 2:
            raise LookupError("broken")

    app.get("/books", dependencies=[caching(), Depends(closing)])(lambda: ran("endpoint"))
    await ask(app)
    await fence.expire_tags("book")
    with pytest.raises(LookupError):
        await ask(app)
    async with asyncio.timeout(30):
        shown = b"1"
        while shown == b"1":
            gc.collect()  # before FastAPI 0.118 the answer was never sent, and the error still holds it
            shown = (await ask(app)).body
    assert shown in (b"2", b"3")


async def test_an_endpoint_s_own_declaration_wins_over_its_router_s_and_that_over_a_rule(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    router = APIRouter(prefix="/r", dependencies=[caching(ttl=200, tags=["router"])])
    router.get("/plain")(lambda: ran("plain"))
    router.get("/own", dependencies=[caching(ttl=300, tags=["own"])])(lambda: ran("own"))
    router.get("/view")(cache_view(ttl=400, tags=["own"])(lambda: ran("view")))
    app.get("/rule")(lambda: ran("rule"))
    app.include_router(router)
    app.add_middleware(CacheMiddleware, cache=fence, rules=[Rule("/{path:path}", ttl=100, tags=["site"])])
    expected = {"/rule": 100, "/r/plain": 200, "/r/own": 300, "/r/view": 400}
    for path, ttl in expected.items():
        for _ in range(2):
            await ask(app, path)  # what comes before a declaration is dated from a route's second request on
        found = await ask(app, path)
        assert hit(found)
        assert ttl - LONG <= int(found.cache_status.rpartition("ttl=")[2]) <= ttl
        await fence.invalidate_tags("site")
        assert not hit(await ask(app, path))


async def test_p2_a_get_between_a_post_and_its_commit_does_not_keep_the_old_page(
    app: FastAPI, fence: AsyncCacheFence, ran: Shop
) -> None:
    titles, ending, commit = ["old"], asyncio.Event(), asyncio.Event()

    async def transaction() -> AsyncIterator[list[str]]:
        written: list[str] = []
        yield written
        ending.set()
        await commit.wait()  # as a session does that commits when the answer has gone out (FastAPI >= 0.118)
        titles.extend(written)

    @app.get("/books", dependencies=[Depends(cached(ttl=60))])
    async def books() -> str:
        return titles[-1]

    @app.post("/books", dependencies=[Depends(cached(ttl=60))])
    async def save(written: Annotated[list[str], Depends(transaction)]) -> str:
        written.append("new")
        return "saved"

    cachings = [app, CacheMiddleware(_plain(books, save), fence, rules=[Rule("/books", ttl=60)])]
    for caching_app in cachings:
        titles[:] = ["old"]
        ending.clear()
        commit.clear()
        await fence.invalidate_all()
        await bodies(caching_app, 2)
        saving = asyncio.create_task(ask(caching_app, method="POST"))
        async with asyncio.timeout(30):
            await ending.wait()
            assert await bodies(caching_app, 2) == [b'"old"'] * 2  # not committed, so it is the truth, and stored
            commit.set()
            await saving
            assert await bodies(caching_app, 1) == [b'"new"']


def _plain(books: Any, save: Any) -> FastAPI:
    """The same site without declarations of its own."""
    app = FastAPI()
    app.get("/books")(books)
    app.post("/books")(save)
    return app
