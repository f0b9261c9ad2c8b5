"""The way from a request to its answer where the responses' own header fields decide, by threads and by loops."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cachefence_web import CacheFence, Policy
from cachefence_web.http import Headers, Outcome, Request, Response, ResponsePolicy, cache_status
from cachefence_web.responding import Rule, arespond, respond

RULE = Rule(policy=Policy(), http=ResponsePolicy(freshness="headers"), tags=("book",))
PATH = b"/books"


def asking(*headers: tuple[bytes, bytes], method: str = "GET", path: bytes = PATH) -> Request:
    return Request(method, "http", "shop.example", path, b"", headers)


class Origin:
    """An application that counts, remembers what it was asked, and answers what it is told to."""

    def __init__(self, *headers: tuple[bytes, bytes], status: int = 200) -> None:
        self.headers, self.status = headers, status
        self.count = 0
        self.conditions: list[Headers] = []
        self.error: Exception | None = None

    def answer(self, conditions: Headers) -> Response:
        self.conditions.append(conditions)
        if self.error is not None:
            raise self.error
        if self.status == 304 and not conditions:
            return Response(200, self.headers, b"asked without a condition")
        self.count += self.status != 304
        return Response(self.status, self.headers, b"" if self.status == 304 else b"page %d" % self.count)


class Visit:
    """One request to an origin, in either colour."""

    answers: tuple[type[BaseException], ...] = ()
    revalidates = True
    name = "visit"

    def __init__(self, origin: Origin, request: Request, *, is_async: bool = False, personal: bool = False) -> None:
        self.origin, self.request, self._async, self._personal = origin, request, is_async, personal
        self.behind: list[Callable[[], Any]] = []

    def call(self, leading: object, conditions: Headers = ()) -> Any:
        return self._later(conditions) if self._async else self.origin.answer(conditions)

    def again(self, leading: object, headers: Headers) -> Any:
        return self.call(leading)

    async def _later(self, conditions: Headers) -> Response:
        await asyncio.sleep(0)
        return self.origin.answer(conditions)

    def after(self, answer: Response, run: Callable[[], Any]) -> Response:
        self.behind.append(run)
        return answer

    def head(self, answer: Response) -> Response:
        return replace(answer, body=b"")

    def describe(self, answer: Response) -> Response:
        return answer

    def personal(self, answer: Response | None) -> bool:
        return self._personal

    def rebuild(self, response: Response) -> Response:
        return response

    def mark(self, answer: Response, outcome: Outcome, told: Headers = ()) -> Response:
        return replace(answer, headers=(*answer.headers, (b"cache-status", cache_status(outcome))))


class Walk:
    """Asks an origin through one cache, in one colour, and does what is to be done behind the answers when told to."""

    def __init__(self, fence: CacheFence, *, is_async: bool) -> None:
        self.fence, self._async = fence, is_async
        self._behind: list[Callable[[], Any]] = []

    def __call__(
        self, origin: Origin, *headers: tuple[bytes, bytes], method: str = "GET", rule: Rule = RULE,
        personal: bool = False, path: bytes = PATH,
    ) -> Response:
        visit = Visit(origin, asking(*headers, method=method, path=path), is_async=self._async, personal=personal)
        if self._async:
            answer: Response = _loop.run_until_complete(arespond(self.fence.aio, visit, rule))
        else:
            answer = respond(self.fence, visit, rule)
        self._behind += visit.behind
        return answer

    def catch_up(self) -> int:
        """Do what is to be done behind the answers; how much it was."""
        behind, self._behind = self._behind, []
        for run in behind:
            done = run()
            if self._async:
                _loop.run_until_complete(done)
        return len(behind)


_loop = asyncio.new_event_loop()


@pytest.fixture(params=[False, True], ids=["threads", "loops"])
def ask(request: pytest.FixtureRequest) -> Iterator[Walk]:
    fence = CacheFence("memory://")
    yield Walk(fence, is_async=request.param)
    _loop.run_until_complete(fence.aio.aclose())
    fence.close()


@pytest.fixture(scope="module", autouse=True)
def _closing() -> Iterator[None]:
    yield
    _loop.close()


def status_of(answer: Response) -> bytes:
    return next(value for name, value in answer.headers if name == b"cache-status")


def named(answer: Response, name: bytes) -> list[bytes]:
    return [value for field, value in answer.headers if field == name]


FRESH = (b"cache-control", b"max-age=60")
TAGGED = (b"etag", b'"one"')


def test_rfc9111_4_a_fresh_response_answers_with_its_age(ask: Walk) -> None:
    origin, began = Origin(FRESH), time.monotonic()
    assert status_of(ask(origin)) == b"cachefence; fwd=miss; stored"
    found = ask(origin)
    (age,) = named(found, b"age")
    assert 0 <= int(age) <= time.monotonic() - began
    assert found.body == b"page 1"
    assert re.fullmatch(rb"cachefence; hit; ttl=[345]\d", status_of(found))


@pytest.mark.parametrize("wish", [
    (b"cache-control", b"no-cache"), (b"cache-control", b"max-age=0"), (b"pragma", b"no-cache"),
    (b"cache-control", b"min-fresh=120"),
], ids=lambda wish: wish[1].decode() + wish[0].decode())
def test_rfc9111_5_2_1_who_wants_it_newer_has_it_validated_for_everybody(ask: Walk, wish: tuple[bytes, bytes]) -> None:
    origin = Origin(FRESH, TAGGED)
    ask(origin)
    origin.status = 304
    given = ask(origin, wish) if wish[1] != b"max-age=0" else ask(origin, (b"cache-control", b"no-cache, max-age=0"))
    assert origin.conditions[-1] == ((b"if-none-match", b'"one"'),)
    assert (given.status, given.body) == (200, b"page 1")
    assert status_of(given) == b"cachefence; fwd=request; fwd-status=304; stored"


def test_rfc9111_4_3_a_stale_response_is_confirmed_by_the_application_and_updated(ask: Walk) -> None:
    origin = Origin(FRESH, TAGGED, (b"x-edition", b"first"))
    ask(origin)
    ask.fence.expire_tags("book")
    origin.status, origin.headers = 304, (FRESH, (b"x-edition", b"second"))
    given = ask(origin)
    assert (given.status, given.body, named(given, b"x-edition")) == (200, b"page 1", [b"second"])
    assert status_of(given) == b"cachefence; fwd=stale; fwd-status=304; stored"
    assert named(ask(origin), b"x-edition") == [b"second"]
    assert len(origin.conditions) == 2, "the confirmed response is fresh again"


def test_rfc9111_4_3_a_client_with_a_condition_of_its_own_hears_304_of_what_was_confirmed(ask: Walk) -> None:
    origin = Origin(FRESH, TAGGED)
    ask(origin)
    ask.fence.expire_tags("book")
    origin.status = 304
    assert ask(origin, (b"if-none-match", b'"one"')).status == 304
    assert origin.conditions[-1] == ((b"if-none-match", b'"one"'),)


def test_p11_a_confirmation_with_a_cookie_is_for_the_asker_alone_and_whole(ask: Walk) -> None:
    origin = Origin(FRESH, TAGGED)
    ask(origin)
    ask.fence.expire_tags("book")
    origin.status, origin.headers = 304, (FRESH, (b"set-cookie", b"id=alice"))
    given = ask(origin)
    assert (given.status, given.body, named(given, b"set-cookie")) == (200, b"page 1", [b"id=alice"])
    assert status_of(given) == b"cachefence; fwd=stale; fwd-status=304; detail=set-cookie"
    origin.status, origin.headers = 200, (FRESH,)
    assert not named(ask(origin), b"set-cookie")


def test_rfc9111_5_2_2_7_a_withheld_field_is_for_the_asker_alone(ask: Walk) -> None:
    origin = Origin((b"cache-control", b'max-age=60, private="set-cookie"'), (b"set-cookie", b"id=alice"))
    assert named(ask(origin), b"set-cookie") == [b"id=alice"]
    found = ask(origin)
    assert (found.body, named(found, b"set-cookie")) == (b"page 1", [])


def test_p2_what_was_invalidated_is_not_validated_but_made_anew(ask: Walk) -> None:
    origin = Origin(FRESH, TAGGED)
    ask(origin)
    ask.fence.invalidate_tags("book")
    assert ask(origin).body == b"page 2"
    assert origin.conditions[-1] == ()


def test_rfc5861_3_the_old_response_is_shown_and_the_new_one_made_behind_it(ask: Walk) -> None:
    origin = Origin((b"cache-control", b"max-age=60, stale-while-revalidate=60"))
    ask(origin)
    ask.fence.expire_tags("book")
    old = ask(origin)
    assert (old.body, origin.count) == (b"page 1", 1)
    assert b"; hit; ttl=-" in status_of(old)
    assert ask(origin).body == b"page 1", "one refreshes, the others are shown the old one"
    assert ask.catch_up() == 1
    assert (ask(origin).body, origin.count) == (b"page 2", 2)


def test_p2_an_invalidation_during_the_refresh_refuses_what_it_brings(ask: Walk) -> None:
    origin = Origin((b"cache-control", b"max-age=60, stale-while-revalidate=60"))
    ask(origin)
    ask.fence.expire_tags("book")
    ask(origin)
    ask.fence.invalidate_tags("book")
    ask.catch_up()
    assert ask(origin).body == b"page 3"


@pytest.mark.parametrize("behind", [False, True], ids=["waited for", "behind"])
def test_what_the_application_answers_otherwise_now_is_not_shown_again(ask: Walk, behind: bool) -> None:
    more = b", stale-while-revalidate=60" if behind else b", stale-if-error=60"
    origin = Origin((b"cache-control", b"max-age=60" + more))
    ask(origin)
    ask.fence.expire_tags("book")
    origin.status, origin.headers = 404, ((b"cache-control", b"no-store"),)
    ask(origin)
    assert ask.catch_up() == int(behind)
    assert ask(origin).status == 404
    origin.error = LookupError("broken")
    with pytest.raises(LookupError):
        ask(origin)


def test_rfc5861_4_the_old_response_stands_in_for_an_error(ask: Walk) -> None:
    origin = Origin((b"cache-control", b"max-age=60, stale-if-error=60"))
    ask(origin)
    ask.fence.expire_tags("book")
    origin.error = LookupError("broken")
    assert ask(origin).body == b"page 1"


@pytest.mark.parametrize("forbidding", [b"must-revalidate", b"proxy-revalidate", b"no-cache", b"s-maxage=60"])
def test_rfc9111_4_2_4_no_old_response_is_shown_where_that_is_forbidden(ask: Walk, forbidding: bytes) -> None:
    origin = Origin((b"cache-control", b"max-age=60, stale-if-error=60, stale-while-revalidate=60, " + forbidding))
    ask(origin)
    ask.fence.expire_tags("book")
    origin.error = LookupError("broken")
    with pytest.raises(LookupError):
        ask(origin, (b"cache-control", b"max-stale"))


def test_rfc9111_5_2_1_2_who_is_patient_is_shown_the_old_one(ask: Walk) -> None:
    origin = Origin(FRESH)
    ask(origin)
    ask.fence.expire_tags("book")
    assert ask(origin, (b"cache-control", b"max-stale=30")).body == b"page 1"
    assert ask(origin).body == b"page 2"


def test_rfc9111_5_2_1_7_who_wants_only_what_is_stored_hears_504_where_nothing_is(ask: Walk) -> None:
    origin, wish = Origin(FRESH), (b"cache-control", b"only-if-cached")
    assert (ask(origin, wish).status, origin.count) == (504, 0)
    ask(origin)
    assert ask(origin, wish).body == b"page 1"


def test_rfc9111_4_1_several_variants_live_side_by_side(ask: Walk) -> None:
    origin = Origin(FRESH, (b"vary", b"accept-language"))
    english, german = (b"accept-language", b"en"), (b"accept-language", b"de")
    assert [ask(origin, each).body for each in (english, german)] == [b"page 1", b"page 2"]
    assert [ask(origin, each).body for each in (german, english)] == [b"page 2", b"page 1"]
    assert ask(origin).body == b"page 3", "absent is another variant"
    assert status_of(ask(origin, (b"accept-language", b"fr"))) == b"cachefence; fwd=vary-miss; stored"


def test_rfc9111_4_4_a_change_invalidates_all_variants_before_the_answer_goes_out_and_after_it(ask: Walk) -> None:
    origin = Origin(FRESH, (b"vary", b"accept-language"))
    languages = [(b"accept-language", each) for each in (b"en", b"de")]
    for language in languages:
        ask(origin, language)
    ask(origin, method="POST")
    assert [ask(origin, language).body for language in languages] == [b"page 4", b"page 5"]
    assert ask.catch_up() == 1
    assert ask(origin, languages[0]).body == b"page 6", "the writer's transaction may have ended after its answer"


def test_rfc9111_4_4_a_change_that_failed_invalidates_nothing(ask: Walk) -> None:
    origin = Origin(FRESH)
    ask(origin)
    assert ask(Origin(status=500), method="DELETE").status == 500
    assert ask(origin).body == b"page 1"


def test_rfc9111_4_4_the_places_that_a_change_names_are_invalidated_too(ask: Walk) -> None:
    origin, other = Origin(FRESH), b"/books/1"
    ask(origin, path=other)
    ask(Origin((b"location", b"/books/1"), status=303), method="POST")
    assert ask(origin, path=other).body == b"page 2"


def test_rfc9875_a_group_is_invalidated_as_a_whole(ask: Walk) -> None:
    origin, other = Origin(FRESH, (b"cache-groups", b'"books"')), b"/books/1"
    ask(origin, path=other)
    assert ask(origin, path=other).body == b"page 1"
    ask(Origin((b"cache-group-invalidation", b'"books"')), method="POST", path=b"/elsewhere")
    assert ask(origin, path=other).body == b"page 2"


def test_rfc9111_3_5_who_says_who_asks_is_shown_only_what_may_be_shown_to_all(ask: Walk) -> None:
    known = (b"authorization", b"Bearer x")
    origin = Origin(FRESH)
    ask(origin)
    assert [ask(origin, known).body for _ in range(2)] == [b"page 2", b"page 3"]
    assert ask(origin).body == b"page 1"
    public = Origin((b"cache-control", b"public, max-age=60"))
    assert [ask(public, known, path=b"/public").body for _ in range(2)] == [b"page 1", b"page 1"]


def test_p11_a_page_that_becomes_fit_for_sharing_is_stored_though_its_key_is_passed_by(ask: Walk) -> None:
    origin = Origin((b"cache-control", b"no-store"))
    assert [ask(origin).body for _ in range(2)] == [b"page 1", b"page 2"]
    origin.headers = (FRESH,)
    assert status_of(ask(origin)) == b"cachefence; fwd=miss; stored"
    assert ask(origin).body == b"page 3"


def test_p11_a_personal_page_is_never_stored(ask: Walk) -> None:
    origin = Origin(FRESH)
    assert [ask(origin, personal=True).body for _ in range(2)] == [b"page 1", b"page 2"]
    assert ask(origin).body == b"page 3"


def test_p11_private_pages_are_not_made_one_after_the_other() -> None:
    """Ten threads meet in the view: if any of them had to wait for another, nobody would ever leave it."""
    fence, meeting = CacheFence("memory://"), threading.Barrier(10, timeout=30)
    origin = Origin((b"cache-control", b"private"))
    respond(fence, Visit(origin, asking()), RULE)

    class Meeting(Visit):
        def call(self, leading: object, conditions: Headers = ()) -> Any:
            meeting.wait()
            return super().call(leading, conditions)

    threads = [threading.Thread(target=respond, args=(fence, Meeting(origin, asking()), RULE)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert origin.count == 11
    fence.close()


def test_rfc9111_5_2_2_4_what_must_be_validated_each_time_is_not_handed_to_those_who_waited() -> None:
    fence, origin = CacheFence("memory://"), Origin((b"cache-control", b"no-cache"), TAGGED)

    async def crowd() -> list[Response]:
        visits = [Visit(origin, asking(), is_async=True) for _ in range(5)]
        return list(await asyncio.gather(*[arespond(fence.aio, visit, RULE) for visit in visits]))

    answers = _loop.run_until_complete(crowd())
    assert len({answer.body for answer in answers}) == origin.count == 5
    _loop.run_until_complete(fence.aio.aclose())
    fence.close()


def test_p11_what_was_made_behind_a_visitor_is_not_stored_as_the_visitors_own(ask: Walk) -> None:
    life = (b"cache-control", b"max-age=60, stale-while-revalidate=60")
    ann = (b"cookie", b"id=ann")
    origin = Origin(life)
    ask(origin, ann)
    ask.fence.expire_tags("book")
    origin.headers = (life, (b"vary", b"cookie"))
    assert ask(origin, ann).body == b"page 1"
    ask.catch_up()
    assert ask(origin, ann).body == b"page 3", "page 2 was asked for without her cookie"
    assert ask(origin).body == b"page 2"
