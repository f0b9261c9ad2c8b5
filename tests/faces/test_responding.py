"""The way from a request to its cached answer that all adapters share, driven by the smallest exchange there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachefence_web import AsyncCacheFence, CacheFence, Policy
from cachefence_web.http import Headers, Outcome, Request, Response
from cachefence_web.responding import Rule, arespond, respond

REQUEST = Request("GET", "http", "shop.example", b"/books", b"", ())
RULE = Rule(policy=Policy(ttl=60, stale_if_error=60), tags=("book",))


class Visit:
    """One visitor's request; `view` makes the answer, and says by `touched` whether it looked at the visitor."""

    answers: tuple[type[BaseException], ...] = ()
    revalidates = True
    name = "visit"

    def __init__(self, view: Callable[[], Any], *, touched: bool = False, request: Request = REQUEST) -> None:
        self.view = view
        self.touched = touched
        self.request = request
        self.conditions: Headers = ()
        self.behind: list[Callable[[], Any]] = []

    def call(self, leading: object, conditions: Headers = ()) -> Any:
        self.conditions = conditions
        return self.view()

    def again(self, leading: object, headers: Headers) -> Any:
        return self.view()

    def after(self, answer: Response, run: Callable[[], Any]) -> Response:
        self.behind.append(run)
        return answer

    def head(self, answer: Response) -> Response:
        return answer

    def describe(self, answer: Response) -> Response:
        return answer

    def personal(self, answer: Response | None) -> bool:
        return self.touched

    def rebuild(self, response: Response) -> Response:
        return response

    def mark(self, answer: Response, outcome: Outcome, told: Headers = ()) -> Response:
        return answer


def page(text: str, status: int = 200) -> Response:
    return Response(status, (), text.encode())


def fail(message: str) -> Response:
    raise LookupError(message)


@pytest.fixture
def fence() -> Any:
    with CacheFence("memory://") as made:
        yield made


def test_p11_one_visitors_failure_is_his_own(fence: CacheFence) -> None:
    with pytest.raises(LookupError, match="account of alice"):
        respond(fence, Visit(lambda: fail("account of alice"), touched=True), RULE)
    assert respond(fence, Visit(lambda: page("books")), RULE).body == b"books"


def test_p8_a_failure_that_is_nobodys_own_gates_the_next_try(fence: CacheFence) -> None:
    with pytest.raises(LookupError, match="broken"):
        respond(fence, Visit(lambda: fail("broken")), RULE)
    with pytest.raises(LookupError, match="broken"):
        respond(fence, Visit(lambda: page("books")), RULE)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_p8_the_last_good_page_stands_in_for_a_server_error(fence: CacheFence, status: int) -> None:
    assert respond(fence, Visit(lambda: page("books")), RULE).body == b"books"
    fence.expire_tags("book")
    shown = respond(fence, Visit(lambda: page("sorry", status)), RULE)
    assert (shown.status, shown.body) == (200, b"books")


def test_a_server_error_without_a_last_good_page_is_shown_and_not_stored(fence: CacheFence) -> None:
    assert respond(fence, Visit(lambda: page("sorry", 503)), RULE).status == 503
    assert respond(fence, Visit(lambda: page("books")), RULE).body == b"books"


async def test_p6_without_a_store_concurrent_visitors_share_one_view() -> None:
    calls = []
    asked, all_there = asyncio.Event(), asyncio.Event()

    class AsyncVisit(Visit):
        async def call(self, leading: object, conditions: Headers = ()) -> Any:
            calls.append(1)
            asked.set()
            await all_there.wait()
            await asyncio.sleep(0)  # a view that ends in the tick in which it began has nobody to share with
            return page("books")

    async with AsyncCacheFence("unix:///nowhere/at/all.sock", timeout=0.2) as away:
        visits = [asyncio.create_task(arespond(away, AsyncVisit(lambda: None), RULE)) for _ in range(50)]
        await asked.wait()
        all_there.set()
        answers = await asyncio.gather(*visits)
    assert {answer.body for answer in answers} == {b"books"}
    assert len(calls) <= 2, "who came before the view began shares it; who came later shares the next"
