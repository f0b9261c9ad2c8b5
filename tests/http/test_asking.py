"""Which requests the store may answer."""

from __future__ import annotations

import pytest

from cachefence_web.errors import ConfigurationError
from cachefence_web.http import Allowed, Bypass, Forward, Reason, ResponsePolicy, answers_from_cache
from tests.http.build import ask

SHARED = ResponsePolicy()


def test_a_plain_get_is_answered_and_may_fill() -> None:
    assert answers_from_cache(ask("Accept: text/html", "Accept-Encoding: br"), SHARED) == Allowed(fills=True)


def test_head_is_answered_but_never_fills() -> None:
    assert answers_from_cache(ask(method="HEAD"), SHARED) == Allowed(fills=False)


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get", "PURGE", ""]
)
def test_p11_no_other_method_is_answered_with_a_stored_get(method: str) -> None:
    assert answers_from_cache(ask(method=method), SHARED) == Bypass(Forward.METHOD, Reason.METHOD)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Authorization: Bearer abc", Reason.AUTHORIZATION),
        ("AUTHORIZATION: ", Reason.AUTHORIZATION),
        ("Cookie: session=1", Reason.COOKIE),
        ("cookie: theme=dark", Reason.COOKIE),
        ("Range: bytes=0-10", Reason.RANGE),
        ('If-Match: "a"', Reason.PRECONDITION),
        ("If-Unmodified-Since: Sat, 21 Nov 2026 10:00:00 GMT", Reason.PRECONDITION),
        ("Upgrade: websocket", Reason.UPGRADE),
        ("Content-Length: 3", Reason.REQUEST_BODY),
        ("Content-Length: 0, 3", Reason.REQUEST_BODY),
        ("Content-Length: none", Reason.REQUEST_BODY),
        ("Transfer-Encoding: chunked", Reason.REQUEST_BODY),
        ("Cache-Control: no-store", Reason.REQUEST_NO_STORE),
        ("X-Api-Key: k", Reason.AUTHORIZATION),
        ("Cache-Control: max-age=0, No-Store", Reason.REQUEST_NO_STORE),
    ],
)
def test_p11_a_request_that_the_key_cannot_describe_passes_by(header: str, reason: Reason) -> None:
    assert answers_from_cache(ask("Accept: */*", header), SHARED) == Bypass(Forward.BYPASS, reason)


@pytest.mark.parametrize(
    "header",
    [
        "Content-Length: 0",
        "Cache-Control: no-cache",
        "Cache-Control: max-age=0",
        'Cache-Control: x="no-store"',
        "Pragma: no-cache",
        'If-None-Match: "a"',
        "Upgrade-Insecure-Requests: 1",
    ],
)
def test_a_reload_cannot_bring_the_stampede_back(header: str) -> None:
    assert answers_from_cache(ask(header), SHARED) == Allowed(fills=True)


def test_credentials_that_are_keyed_do_not_bypass() -> None:
    keyed = ResponsePolicy(vary_on=("Authorization", "Cookie"))
    assert answers_from_cache(ask("Authorization: a", "Cookie: b"), keyed) == Allowed(fills=True)


def test_p11_keying_one_credential_does_not_excuse_the_other() -> None:
    by_cookie, by_token = ResponsePolicy(vary_on=("cookie",)), ResponsePolicy(vary_on=("authorization",))
    both = ask("Authorization: a", "Cookie: b")
    assert answers_from_cache(both, by_cookie) == Bypass(Forward.BYPASS, Reason.AUTHORIZATION)
    assert answers_from_cache(both, by_token) == Bypass(Forward.BYPASS, Reason.COOKIE)


def test_p11_ignoring_cookies_does_not_ignore_authorization() -> None:
    ignoring = ResponsePolicy(cookies="ignore")
    assert answers_from_cache(ask("Cookie: a=1"), ignoring) == Allowed(fills=True)
    asked = answers_from_cache(ask("Cookie: a=1", "Authorization: b"), ignoring)
    assert asked == Bypass(Forward.BYPASS, Reason.AUTHORIZATION)


def test_p11_keying_a_range_does_not_make_a_part_sharable() -> None:
    keyed = ResponsePolicy(vary_on=("range",))
    assert answers_from_cache(ask("Range: bytes=0-1"), keyed) == Bypass(Forward.BYPASS, Reason.RANGE)


@pytest.mark.parametrize(
    "vary_on", ["Accept", ("*",), ("Accept Language",), ("",), (b"accept",), ("naïve",), 7]
)
def test_a_vary_on_that_cannot_work_is_refused_at_once(vary_on: object) -> None:
    with pytest.raises(ConfigurationError, match="vary_on"):
        ResponsePolicy(vary_on=vary_on)  # type: ignore[arg-type]


def test_an_unknown_word_for_cookies_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="'bypass', 'apart' or 'ignore'"):
        ResponsePolicy(cookies="drop")  # type: ignore[arg-type]


def test_the_case_and_order_of_vary_on_mean_nothing() -> None:
    assert ResponsePolicy(vary_on=("B", "a", "b")) == ResponsePolicy(vary_on=("A", "B"))
    assert ResponsePolicy(vary_on=("B", "a")).vary_on == ("a", "b")
