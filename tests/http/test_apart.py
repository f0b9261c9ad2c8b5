"""Requests with cookies kept apart from those without: for adapters that see what a view looked at."""

from __future__ import annotations

from cachefence_web.http import Allowed, Reason, ResponsePolicy, answers_from_cache, response_key
from tests.http.build import answer, ask, refusal

APART = ResponsePolicy(cookies="apart")


def key(*lines: str, policy: ResponsePolicy = APART) -> str:
    return response_key(ask(*lines), policy)


def test_cookies_are_no_reason_to_pass_by() -> None:
    assert answers_from_cache(ask("Cookie: a=1"), APART) == Allowed()


def test_p11_requests_with_cookies_share_among_themselves_only() -> None:
    assert key("Cookie: a=1") == key("Cookie: b=2")
    assert key("Cookie: a=1") != key()
    assert key() == key(policy=ResponsePolicy())
    long = f"X-Long: {'x' * 300}"
    varied = ResponsePolicy(cookies="apart", vary_on=("x-long",))
    assert key(long, "Cookie: a=1", policy=varied) == key(long, "Cookie: b=2", policy=varied)
    assert key(long, "Cookie: a=1", policy=varied) != key(long, policy=varied)


def test_p11_no_header_looks_like_a_cookie_in_the_key() -> None:
    varied = ResponsePolicy(cookies="apart", vary_on=("cookie-x",))
    assert len({key("Cookie: a", policy=varied), key("Cookie-X: a", policy=varied), key(policy=varied)}) == 3


def test_p11_a_cookie_that_is_varied_on_is_in_the_key_by_value() -> None:
    varied = ResponsePolicy(cookies="apart", vary_on=("cookie",))
    assert len({key("Cookie: a=1", policy=varied), key("Cookie: b=2", policy=varied), key(policy=varied)}) == 3


def test_p11_a_personal_answer_is_stored_only_as_the_anonymous_one() -> None:
    assert refusal(answer("Vary: Cookie"), ask(), APART, personal=True) is None
    assert refusal(answer(), ask("Cookie: a=1"), APART, personal=True) is Reason.PERSONAL
    named = ResponsePolicy(cookies="apart", vary_on=("authorization",))
    both = ask("Authorization: x", "Cookie: a=1")
    assert refusal(answer(), both, named, personal=True) is Reason.PERSONAL


def test_p11_an_answer_that_varies_by_cookie_is_not_shared_among_those_who_have_some() -> None:
    assert refusal(answer("Vary: Cookie"), ask("Cookie: a=1"), APART) is Reason.VARY


def test_p11_where_the_headers_decide_cookies_may_be_kept_apart_too() -> None:
    apart = ResponsePolicy(freshness="headers", cookies="apart")
    assert key("Cookie: a=1", policy=apart) != key(policy=apart)
    fresh = answer("Cache-Control: max-age=60")
    assert refusal(fresh, ask("Cookie: a=1"), apart) is None
    assert refusal(fresh, ask("Cookie: a=1"), apart, personal=True) is Reason.PERSONAL
    assert refusal(fresh, ask(), apart, personal=True) is None
