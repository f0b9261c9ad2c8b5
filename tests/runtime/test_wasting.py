"""Views whose pages are invalidated before they are of use are named in the log, once a minute."""

from __future__ import annotations

import asyncio
import logging
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from cachefence_web import CacheFence
from cachefence_web.core.policy import Policy
from cachefence_web.http import Outcome, Request, Response
from cachefence_web.responding import Rule, arespond, respond, telling
from cachefence_web.runtime import wasting
from cachefence_web.runtime.wasting import LEAST, MINUTE, MOST_ELSEWHERE, MOST_KNOWN, MOST_TAGS, MOST_VIEWS, Wasting

RULE = Rule(policy=Policy(ttl=3600), tags=("book",))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """One view with many pages, in a process whose clock stands still."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wasting = Wasting(self.clock)
        self._next = 0

    def live(self, hits: int, *, ends: bool = True, here: bool = True, times: int = 1) -> None:
        """Pages that are stored, hit so often, and then found invalidated."""
        for _ in range(times):
            self._next += 1
            key = f"page {self._next}"
            if here:
                self.wasting.stored(key)
            for _ in range(hits):
                self.wasting.hit("view", key)
            if ends:
                self.wasting.outdated("view", key, ("book", "book:1"))

    def next_minute(self, by: float = MINUTE) -> None:
        self.clock.now += by


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    class Lines(list[str]):
        pass

    said, here = Lines(), threading.get_ident()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread != here:  # an earlier test's, that has not ended yet
                return
            said.append(f"{record.levelname} {record.getMessage()}")

    handler = Handler()
    wasting.log.addHandler(handler)
    with caplog.at_level(logging.WARNING, "cachefence_web"):
        yield said
    wasting.log.removeHandler(handler)


def test_a_view_whose_pages_end_before_their_second_hit_is_named_with_numbers_and_tags(
    site: Site, lines: list[str]
) -> None:
    site.live(1, times=LEAST + 2)
    site.live(3, times=LEAST, ends=False)
    assert lines == []
    site.next_minute()
    site.live(1)
    (line,) = lines
    assert line.startswith("WARNING view is cached in vain: 12 of 22 pages")
    assert "book (12), book:1 (12)" in line
    assert "manage.py cachefence explain" in line


@pytest.mark.parametrize(("wasted", "useful", "warns"), [
    (LEAST, 0, True), (LEAST - 1, 0, False), (LEAST, LEAST - 1, True), (LEAST, LEAST, False), (30, 29, True),
    (30, 31, False)])
def test_over_half_and_enough_of_them_are_worth_a_line(
    site: Site, lines: list[str], wasted: int, useful: int, warns: bool
) -> None:
    site.live(0)
    site.live(0, times=wasted - 1)
    site.live(2, times=useful, ends=False)
    site.next_minute()
    site.live(0)
    assert bool(lines) is warns


def test_it_is_said_once_a_minute_at_most(site: Site, lines: list[str]) -> None:
    for _ in range(3):
        for _ in range(5):
            site.live(0, times=LEAST)
            site.next_minute(MINUTE / 5)
    site.live(0)
    assert len(lines) == 3


def test_what_was_long_ago_is_not_judged(site: Site, lines: list[str]) -> None:
    site.live(0, times=LEAST * 2)
    site.next_minute(by=2 * MINUTE)
    site.live(0, times=LEAST * 2)
    assert lines == []


def test_pages_that_other_processes_serve_are_not_called_unused(site: Site, lines: list[str]) -> None:
    """Each page is hit once in each of eight processes: so is the one that was stored here, as far as is seen here."""
    for _ in range(LEAST * 2):
        site.live(1)
        for _ in range(7):
            site.live(1, here=False, ends=False)
    site.next_minute()
    site.live(0)
    assert lines == []


def test_pages_are_known_for_little_however_long_their_urls_are(site: Site) -> None:
    tracemalloc.start()
    try:
        for number in range(1_000):
            site.wasting.stored(f"{number}/{'x' * 8_000}")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_memory_is_bounded(site: Site, lines: list[str]) -> None:
    for number in range(MOST_KNOWN + 100):
        site.wasting.stored(f"page {number}")
    for number in range(MOST_VIEWS + 100):
        site.wasting.outdated(f"view {number}", f"page {number + 200}", ())
    for number in range(MOST_TAGS + 100):
        site.wasting.stored("page")
        site.wasting.outdated("view", "page", (f"book:{number}",))
    for number in range(MOST_ELSEWHERE + 100):
        site.wasting.hit("view", f"another {number}")
    assert len(site.wasting._known) <= MOST_KNOWN
    assert len(site.wasting._minutes["view"].elsewhere) == MOST_ELSEWHERE
    assert len(site.wasting._minutes) <= MOST_VIEWS
    assert len(site.wasting._minutes["view"].tags) == MOST_TAGS
    assert lines == []


class Visit:
    """A request to the only view."""

    answers: tuple[type[BaseException], ...] = ()
    revalidates = False
    name = "books"

    def __init__(self, path: bytes, *, is_async: bool) -> None:
        self.request, self._async = Request("GET", "http", "shop.example", path, b"", ()), is_async

    def call(self, leading: object, conditions: object = ()) -> Any:
        return self._later() if self._async else Response(200, (), b"books")

    async def _later(self) -> Response:
        return Response(200, (), b"books")

    def after(self, answer: Response, run: object) -> Response:
        return answer

    def head(self, answer: Response) -> Response:
        return answer

    def describe(self, answer: Response) -> Response:
        return answer

    def personal(self, answer: Response | None) -> bool:
        return False

    def rebuild(self, response: Response) -> Response:
        return response

    def mark(self, answer: Response, outcome: Outcome, told: object = ()) -> Response:
        return answer


@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "loops"])
def test_views_are_watched_through_their_requests(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch, *, is_async: bool
) -> None:
    monkeypatch.setattr(telling, "wasting", site.wasting)
    with CacheFence("memory://") as fence:
        async def all_async(pages: int) -> None:
            for number in range(pages):
                await arespond(fence.aio, Visit(b"/%d" % number, is_async=True), RULE)

        def ask(pages: int) -> None:
            if is_async:
                asyncio.run(all_async(pages))
                return
            for number in range(pages):
                respond(fence, Visit(b"/%d" % number, is_async=False), RULE)

        for _ in range(2):
            ask(LEAST)
            fence.invalidate_tags("book")
        ask(LEAST)
        assert lines == []
        site.next_minute()
        fence.invalidate_tags("book")
        ask(1)
        (line,) = lines
        assert "books is cached in vain: 20 of 20 pages" in line
        assert "by book (20)" in line
        for _ in range(3):
            ask(1)  # and what is used is not
        fence.delete("nothing")
        site.next_minute()
        fence.invalidate_tags("book")
        ask(1)
        assert len(lines) == 1


def test_a_page_that_was_evicted_or_has_expired_was_not_invalidated(
    site: Site, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "wasting", site.wasting)
    with CacheFence("memory://") as fence:
        for _ in range(LEAST + 1):
            respond(fence, Visit(b"/", is_async=False), RULE)
            for names in fence.scan("*"):
                fence.delete_many(names)
        fence.invalidate_all()
        respond(fence, Visit(b"/", is_async=False), RULE)
    assert site.wasting._minutes == {}
