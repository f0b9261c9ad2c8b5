"""rules=None: the responses' own header fields decide, and the application is asked what still holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from cachefence_web import AsyncCacheFence
from cachefence_web.core.flight import Fitness, Served, Status
from cachefence_web.starlette import CacheMiddleware
from tests.starlette.asgi import Answer, ask

Fields = Iterable[tuple[str, str]]


class Origin:
    """An application whose answers are set by the test; it honours conditions, and knows what it was asked."""

    def __init__(self, *fields: tuple[str, str]) -> None:
        self.fields = list(fields)
        self.asked: list[dict[str, str]] = []
        self.started = asyncio.Event()
        self.before: asyncio.Barrier | None = None
        self.after: asyncio.Barrier | None = None

    @property
    def count(self) -> int:
        return len(self.asked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        said = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(said)
        number, tags = self.count, [value for name, value in self.fields if name == "ETag"]
        if self.before is not None:
            await self.before.wait()
        confirms = bool(tags) and said.get("if-none-match") == tags[0]
        fields = [*self.fields, ("X-Number", str(number)), *([] if confirms else [("Content-Type", "text/plain")])]
        body = b"" if confirms else f"page {number} {said.get('accept-language', '')}".strip().encode()
        await send({"type": "http.response.start", "status": 304 if confirms else 200,
                    "headers": [(name.lower().encode(), value.encode()) for name, value in fields]})
        if self.after is not None:
            await self.after.wait()
        await send({"type": "http.response.body", "body": body})


def over(origin: Origin, fence: AsyncCacheFence) -> CacheMiddleware:
    return CacheMiddleware(origin, fence, rules=None)


async def grown_old(fence: AsyncCacheFence) -> None:
    """What was stale when it came has the shortest life there is, a millisecond: see it end."""

    def however(_: Served) -> Fitness:
        return Fitness.SUFFICES

    async with asyncio.timeout(20):
        while True:
            found = await fence.peek("response:GET:http://shop.example/books", fitness=however)
            assert found is not None
            if found.status is Status.STALE:
                return
            await asyncio.sleep(0)


def hit(answer: Answer) -> bool:
    return "; hit" in answer.cache_status


async def test_a_304_of_the_application_s_renews_what_is_stored(fence: AsyncCacheFence) -> None:
    origin = Origin(("ETag", '"1"'), ("Cache-Control", "no-cache"))
    app = over(origin, fence)
    first = await ask(app)
    await grown_old(fence)
    confirmed = await ask(app)
    assert (first.body, confirmed.body, confirmed.status) == (b"page 1", b"page 1", 200)
    assert (confirmed.all("x-number"), confirmed.all("etag")) == (["2"], ['"1"'])
    assert "fwd-status=304" in confirmed.cache_status
    assert [said.get("if-none-match") for said in origin.asked] == [None, '"1"']
    await grown_old(fence)
    knows = await ask(app, headers=[("If-None-Match", '"1"')])
    assert (knows.status, knows.body, origin.count) == (304, b"", 3)
    origin.fields[0] = ("ETag", '"2"')
    await grown_old(fence)
    assert (await ask(app, headers=[("If-None-Match", '"1"')])).body == b"page 4"
    assert (await ask(app, headers=[("If-None-Match", '"2"')])).status == 304


async def test_a_client_s_own_condition_does_not_reach_the_application(fence: AsyncCacheFence) -> None:
    origin = Origin(("ETag", '"1"'), ("Cache-Control", "no-cache"))
    app = over(origin, fence)
    await ask(app)
    await grown_old(fence)
    conditions = [("If-None-Match", '"other"'), ("If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT")]
    answer = await ask(app, headers=conditions)
    assert (answer.status, answer.body) == (200, b"page 1")
    assert origin.asked[1].get("if-none-match") == '"1"'
    assert "if-modified-since" not in origin.asked[1]


HALF = [("Cache-Control", "max-age=100"), ("Age", "50")]
OVER = [("Cache-Control", "max-age=50"), ("Age", "60")]


@pytest.mark.parametrize(("stored", "said", "expected"), [
    pytest.param(HALF, "", True, id="fresh"),
    pytest.param(HALF, "no-cache", False, id="no-cache"),
    pytest.param(HALF, "max-age=60", True, id="young enough"),
    pytest.param(HALF, "max-age=40", False, id="too old"),
    pytest.param(HALF, "max-age=0", False, id="reload"),
    pytest.param(HALF, "min-fresh=40", True, id="fresh for long enough"),
    pytest.param(HALF, "min-fresh=60", False, id="not fresh for long enough"),
    pytest.param(HALF, "only-if-cached", True, id="only if cached"),
    pytest.param(OVER, "", False, id="stale"),
    pytest.param(OVER, "max-stale", True, id="however stale"),
    pytest.param(OVER, "max-stale=30", True, id="stale enough"),
    pytest.param(OVER, "max-stale=5", False, id="too stale"),
    pytest.param([("Cache-Control", "max-age=50, must-revalidate"), OVER[1]], "max-stale", False, id="strict"),
])
async def test_what_a_request_wants_of_a_stored_page(
    fence: AsyncCacheFence, stored: Fields, said: str, expected: bool
) -> None:
    origin = Origin(*stored, ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"))
    app = over(origin, fence)
    await ask(app)
    if stored is not HALF:
        await grown_old(fence)
    answer = await ask(app, headers=[("Cache-Control", said)] if said else [])
    assert (hit(answer), origin.count) == (expected, 1 if expected else 2)


async def test_only_if_cached_is_a_504_where_nothing_is(fence: AsyncCacheFence) -> None:
    origin = Origin(("Cache-Control", "max-age=100"))
    app = over(origin, fence)
    wants = [("Cache-Control", "only-if-cached")]
    assert (await ask(app, headers=wants)).status == 504
    assert origin.count == 0
    await ask(app)
    assert (await ask(app, headers=wants)).status == 200


@pytest.mark.parametrize(("said", "shared"), [
    ("max-age=100", False), ("public, max-age=100", True), ("s-maxage=100", True),
    ("must-revalidate, max-age=100", True), ("private, max-age=100", False)])
async def test_p11_who_says_who_asks_shares_only_what_may_be(fence: AsyncCacheFence, said: str, shared: bool) -> None:
    origin = Origin(("Cache-Control", said))
    app = over(origin, fence)
    ann, bob = [[("Authorization", f"Basic {name}")] for name in ("ann", "bob")]
    answers = [await ask(app, headers=headers) for headers in (ann, bob, [])]
    assert [hit(answer) for answer in answers] == [False, shared, shared]
    plain = Origin(("Cache-Control", said))
    app = CacheMiddleware(plain, fence, rules=None)
    await ask(app, "/plain")
    assert hit(await ask(app, "/plain", headers=ann)) == shared


async def test_p1_each_variant_is_made_once_however_many_ask_at_once(fence: AsyncCacheFence) -> None:
    origin = Origin(("Cache-Control", "max-age=100"), ("Vary", "Accept-Language"))
    app = over(origin, fence)
    languages = ["de", "en", "fr", "it"]
    crowd = [ask(app, headers=[("Accept-Language", languages[number % 4])]) for number in range(80)]
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*crowd)
    assert origin.count == 4
    for number, answer in enumerate(answers):
        assert answer.body.endswith(languages[number % 4].encode())
    assert sorted(said["accept-language"] for said in origin.asked) == languages


async def test_p11_visitors_of_a_private_page_do_not_wait_for_one_another(fence: AsyncCacheFence) -> None:
    origin = Origin(("Cache-Control", "private"))
    app = over(origin, fence)
    origin.after = asyncio.Barrier(50)  # all of them are in the midst of their answers at once
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*[ask(app) for _ in range(50)])
    assert len({answer.body for answer in answers}) == 50
    origin.after, origin.before = None, asyncio.Barrier(50)  # by now not even the beginning is waited for
    async with asyncio.timeout(30):
        await asyncio.gather(*[ask(app) for _ in range(50)])
    assert origin.count == 100


async def test_a_page_that_has_become_storable_is_stored_though_it_was_private(fence: AsyncCacheFence) -> None:
    origin = Origin(("Cache-Control", "private"))
    app = over(origin, fence)
    await ask(app)
    origin.fields = [("Cache-Control", "max-age=100")]
    answers = [await ask(app) for _ in range(3)]
    assert [hit(answer) for answer in answers] == [False, True, True]
    assert "stored" in answers[0].cache_status


async def test_stale_while_revalidate_is_the_response_s_to_say(fence: AsyncCacheFence) -> None:
    origin = Origin(("Cache-Control", "max-age=50, stale-while-revalidate=100"), ("Age", "60"), ("ETag", '"1"'))
    app = over(origin, fence)
    await ask(app)
    await grown_old(fence)
    origin.fields[1] = ("Age", "0")
    shown, after = [await ask(app) for _ in range(2)]
    assert ("ttl=-" in shown.cache_status, shown.all("x-number")) == (True, ["1"])
    assert (hit(after), after.all("x-number"), after.body) == (True, ["2"], b"page 1")
    assert origin.asked[1]["if-none-match"] == '"1"'


@pytest.mark.parametrize("broken", ["raises", "503"])
async def test_p8_stale_if_error_is_the_response_s_to_say(fence: AsyncCacheFence, broken: str) -> None:
    origin = Origin(("Cache-Control", "max-age=50, stale-if-error=100"), ("Age", "60"))
    fails = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not fails:
            await origin(scope, receive, send)
        elif broken == "raises":
            raise LookupError("broken")
        else:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            await send({"type": "http.response.body", "body": b"away"})

    cached = CacheMiddleware(app, fence, rules=None)
    await ask(cached)
    await grown_old(fence)
    fails = True
    shown = await ask(cached)
    assert (shown.status, shown.body) == (200, b"page 1")


async def test_a_stream_is_passed_on_at_once_also_when_an_old_one_is_kept(fence: AsyncCacheFence) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    go.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"cache-control", b"max-age=50"), (b"age", b"60"), (b"etag", b'"1"')]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await go.wait()
        await send({"type": "http.response.body", "body": b"two"})

    async def on_send(message: Any) -> None:
        if message.get("body") == b"one ":
            begun.set()

    cached = CacheMiddleware(app, fence, rules=None)
    await ask(cached)
    await grown_old(fence)
    go.clear()
    asking = asyncio.create_task(ask(cached, on_send=on_send))
    async with asyncio.timeout(20):
        await begun.wait()
        go.set()
        assert (await asking).body == b"one two"


async def test_unsafe_methods_invalidate_what_they_name(fence: AsyncCacheFence) -> None:
    origin = Origin(("Cache-Control", "max-age=100"), ("Cache-Groups", '"books"'))
    app = over(origin, fence)
    for target in ("/books", "/list", "/texts"):
        await ask(app, target)
    origin.fields = [("Cache-Control", "max-age=100"), ("Location", "/list"), ("Cache-Group-Invalidation", '"texts"')]
    await ask(app, "/books", method="PATCH")
    assert [hit(await ask(app, target)) for target in ("/books", "/list", "/texts")] == [False, False, True]
