"""Which requests the store may answer (RFC 9111 sections 3, 4 and 5.2.1)."""

from __future__ import annotations

import math

import pytest

from cachefence_web.http import (
    Allowed,
    Bypass,
    Forward,
    Reason,
    ResponsePolicy,
    Unsafe,
    Wishes,
    answers_from_cache,
    nobodys,
)
from tests.http.build import BY_HEADERS, SHARED, ask, fields, stored

both_modes = pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])


@both_modes
def test_a_plain_get_is_answered_and_may_fill(policy: ResponsePolicy) -> None:
    assert answers_from_cache(ask("Accept: text/html", "Accept-Encoding: br"), policy) == Allowed()


@both_modes
@pytest.mark.parametrize(
    "request_",
    [
        ask(method="HEAD"),
        ask("Range: bytes=0-1"),
        ask("Range: bytes=0-1", method="HEAD"),
        ask("Range: nonsense", "If-Range: x"),
    ],
    ids=["head", "range", "head with range", "broken range"],
)
def test_head_and_range_are_answered_but_never_fill(policy: ResponsePolicy, request_: object) -> None:
    assert answers_from_cache(request_, policy) == Allowed(fills=False, offers=False)  # type: ignore[arg-type]


@both_modes
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY", "PURGE", "get", ""])
def test_a_method_that_is_not_known_to_be_safe_is_unsafe(policy: ResponsePolicy, method: str) -> None:
    assert answers_from_cache(ask("Cache-Control: no-store", method=method), policy) == Unsafe()


@both_modes
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_other_safe_methods_pass_by_and_change_nothing(policy: ResponsePolicy, method: str) -> None:
    assert answers_from_cache(ask(method=method), policy) == Bypass(Forward.METHOD, Reason.METHOD)


@both_modes
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ('If-Match: "a"', Reason.PRECONDITION),
        ("If-Unmodified-Since: Sat, 21 Nov 2026 10:00:00 GMT", Reason.PRECONDITION),
        ("Upgrade: websocket", Reason.UPGRADE),
        ("Content-Length: 3", Reason.REQUEST_BODY),
        ("Content-Length: 0, 3", Reason.REQUEST_BODY),
        ("Content-Length: none", Reason.REQUEST_BODY),
        ("Transfer-Encoding: chunked", Reason.REQUEST_BODY),
        ("Cache-Control: no-store", Reason.REQUEST_NO_STORE),
        ("Cache-Control: max-age=0, No-Store", Reason.REQUEST_NO_STORE),
    ],
)
def test_p11_a_request_that_the_key_cannot_describe_passes_by(
    policy: ResponsePolicy, header: str, reason: Reason
) -> None:
    assert answers_from_cache(ask("Accept: */*", header), policy) == Bypass(Forward.BYPASS, reason)


CREDENTIALS = [
    ("Authorization: Bearer abc", Reason.AUTHORIZATION),
    ("AUTHORIZATION: ", Reason.AUTHORIZATION),
    ("Proxy-Authorization: Basic x", Reason.AUTHORIZATION),
    ("X-Api-Key: k", Reason.AUTHORIZATION),
    ("X-Forwarded-User: ada", Reason.AUTHORIZATION),
]


@pytest.mark.parametrize(("header", "reason"), [*CREDENTIALS, ("cookie: theme=dark", Reason.COOKIE)])
def test_p11_under_a_policy_credentials_that_are_not_keyed_pass_by(header: str, reason: Reason) -> None:
    assert answers_from_cache(ask(header), SHARED) == Bypass(Forward.BYPASS, reason)


@pytest.mark.parametrize("header", [header for header, _ in CREDENTIALS])
def test_p11_where_the_headers_decide_who_says_who_asks_fills_only_with_permission(header: str) -> None:
    assert answers_from_cache(ask(header), BY_HEADERS) == Allowed(fills=False, authorized=True)


def test_p11_who_says_who_asks_fills_no_more_for_having_wishes() -> None:
    asked = answers_from_cache(ask("Authorization: a", "Cache-Control: max-age=60"), BY_HEADERS)
    assert asked == Allowed(fills=False, authorized=True, wishes=Wishes(max_age=60))


def test_where_the_headers_decide_a_cookie_is_left_to_vary() -> None:
    assert answers_from_cache(ask("Cookie: a=1"), BY_HEADERS) == Allowed()


def test_p11_a_rule_for_cookies_counts_where_the_headers_decide_too() -> None:
    strict = ResponsePolicy(freshness="headers", cookies="bypass")
    assert answers_from_cache(ask("Cookie: a=1"), strict) == Bypass(Forward.BYPASS, Reason.COOKIE)
    keyed = ResponsePolicy(freshness="headers", cookies="bypass", vary_on=("cookie",))
    assert answers_from_cache(ask("Cookie: a=1"), keyed) == Allowed()


def test_credentials_that_are_keyed_do_not_bypass() -> None:
    keyed = ResponsePolicy(vary_on=("Authorization", "Cookie"))
    assert answers_from_cache(ask("Authorization: a", "Cookie: b"), keyed) == Allowed()


def test_p11_keying_one_credential_does_not_excuse_the_other() -> None:
    by_cookie, by_token = ResponsePolicy(vary_on=("cookie",)), ResponsePolicy(vary_on=("authorization",))
    both = ask("Authorization: a", "Cookie: b")
    assert answers_from_cache(both, by_cookie) == Bypass(Forward.BYPASS, Reason.AUTHORIZATION)
    assert answers_from_cache(both, by_token) == Bypass(Forward.BYPASS, Reason.COOKIE)


def test_p11_ignoring_cookies_does_not_ignore_authorization() -> None:
    ignoring = ResponsePolicy(cookies="ignore")
    assert answers_from_cache(ask("Cookie: a=1"), ignoring) == Allowed()
    asked = answers_from_cache(ask("Cookie: a=1", "Authorization: b"), ignoring)
    assert asked == Bypass(Forward.BYPASS, Reason.AUTHORIZATION)


def test_p11_keying_a_range_does_not_make_a_part_sharable() -> None:
    keyed = ResponsePolicy(vary_on=("range",))
    assert answers_from_cache(ask("Range: bytes=0-1"), keyed) == Allowed(fills=False, offers=False)


WISHES = [
    (["Cache-Control: no-cache"], Wishes(no_cache=True)),
    (["cache-control: No-Cache"], Wishes(no_cache=True)),
    (["Pragma: no-cache"], Wishes(no_cache=True)),
    (["Pragma: x, No-Cache"], Wishes(no_cache=True)),
    (["Cache-Control: max-age=0"], Wishes(max_age=0)),
    (["Cache-Control: max-age=60"], Wishes(max_age=60)),
    (["Cache-Control: max-age=much"], Wishes(max_age=0)),
    (["Cache-Control: max-age=99999999999999999999"], Wishes(max_age=2**31)),
    (["Cache-Control: min-fresh=10"], Wishes(min_fresh=10)),
    (["Cache-Control: max-stale"], Wishes(max_stale=math.inf)),
    (["Cache-Control: max-stale=7"], Wishes(max_stale=7)),
    (["Cache-Control: max-age=60", "Cache-Control: max-stale=7"], Wishes(max_age=60, max_stale=7)),
    (['Cache-Control: max-age="60"'], Wishes(max_age=60)),
]
NO_WISHES = [
    ["Content-Length: 0"],
    ["Cache-Control: max-stale=much"],
    ["Cache-Control: min-fresh=much"],
    ['Cache-Control: x="no-store, no-cache"'],
    ["Pragma: cache"],
    # Where there is a Cache-Control, Pragma means nothing (RFC 9111 section 5.4).
    ["Pragma: no-cache", "Cache-Control: private"],
    ['If-None-Match: "a"'],
    ["Upgrade-Insecure-Requests: 1"],
]


@pytest.mark.parametrize(("headers", "wishes"), WISHES, ids=[" ".join(headers) for headers, _ in WISHES])
def test_where_the_headers_decide_a_request_is_taken_at_its_word(headers: list[str], wishes: Wishes) -> None:
    assert answers_from_cache(ask(*headers), BY_HEADERS) == Allowed(wishes=wishes)


@pytest.mark.parametrize("headers", NO_WISHES, ids=" ".join)
def test_what_is_no_directive_wishes_for_nothing(headers: list[str]) -> None:
    assert answers_from_cache(ask(*headers), BY_HEADERS) == Allowed()


def test_only_if_cached_looks_and_never_fills() -> None:
    wishes = Wishes(only_if_cached=True)
    asked = answers_from_cache(ask("Cache-Control: only-if-cached"), BY_HEADERS)
    assert asked == Allowed(fills=False, wishes=wishes)


@pytest.mark.parametrize(
    "headers", [*[headers for headers, _ in WISHES], *NO_WISHES, ["Cache-Control: only-if-cached"]], ids=" ".join
)
def test_under_a_policy_a_reload_cannot_bring_the_stampede_back(headers: list[str]) -> None:
    assert answers_from_cache(ask(*headers), SHARED) == Allowed()


VISIT = (
    "Accept: text/html", "Cookie: a=1", "Authorization: b", "X-Api-Key: c", 'If-None-Match: "d"', "If-Range: e",
    "Range: bytes=0-", "Cache-Control: no-cache", "Pragma: no-cache", "Content-Length: 0", "Accept-Language: de",
    "If-Modified-Since: then",
)


def test_p11_what_is_made_for_everybody_is_asked_for_without_the_visitors_own() -> None:
    nobody = nobodys(ask(*VISIT), SHARED, stored())
    assert nobody == fields("Accept: text/html", "Accept-Language: de")


def test_what_visitors_are_told_apart_by_is_asked_with() -> None:
    keyed = ResponsePolicy(vary_on=("cookie",))
    assert nobodys(ask(*VISIT), keyed, stored(policy=keyed)) == fields(
        "Accept: text/html", "Cookie: a=1", "Accept-Language: de"
    )
    varied = stored("Vary: X-Api-Key", "Cache-Control: s-maxage=9", policy=BY_HEADERS)
    assert (b"X-Api-Key", b"c") in nobodys(ask(*VISIT), BY_HEADERS, varied)
