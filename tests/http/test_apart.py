"""Requests with cookies kept apart from those without: for adapters that see what a view looked at."""

from __future__ import annotations

from cachefence_web.http import (
    Allowed,
    Reason,
    Refused,
    ResponsePolicy,
    Storable,
    answers_from_cache,
    response_key,
    storable,
)
from tests.http.build import answer, ask

APART = ResponsePolicy(cookies="apart")


def key(*lines: str, policy: ResponsePolicy = APART) -> str:
    return response_key(ask(*lines), policy)


def test_cookies_are_no_reason_to_pass_by() -> None:
    assert answers_from_cache(ask("Cookie: a=1"), APART) == Allowed(fills=True)


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
    assert isinstance(storable(ask(), answer("Vary: Cookie"), APART, personal=True), Storable)
    assert storable(ask("Cookie: a=1"), answer(), APART, personal=True) == Refused(Reason.PERSONAL)
    named = ResponsePolicy(cookies="apart", vary_on=("authorization",))
    assert storable(ask("Authorization: x", "Cookie: a=1"), answer(), named, personal=True) == Refused(Reason.PERSONAL)


def test_p11_an_answer_that_varies_by_cookie_is_not_shared_among_those_who_have_some() -> None:
    assert storable(ask("Cookie: a=1"), answer("Vary: Cookie"), APART, personal=False) == Refused(Reason.VARY)
