"""What holds for every request and response, however broken: nothing raises, nothing leaks, nothing is injected."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachefence_web.core.keys import check_key
from cachefence_web.http import (
    Allowed,
    Collapsed,
    Forward,
    Forwarded,
    Headers,
    Hit,
    Outcome,
    Reason,
    Request,
    Response,
    ResponsePolicy,
    Shown,
    Storable,
    answers_from_cache,
    freshened,
    invalidated,
    matches,
    nobodys,
    normalized,
    pack,
    response_key,
    storable,
    unpack,
    validators,
    variant_key,
)
from cachefence_web.http.cache_control import directives, named_fields
from tests.http.build import LIFE, NOW, ask

POLICIES = [
    ResponsePolicy(),
    ResponsePolicy(freshness="headers"),
    ResponsePolicy(cookies="apart", vary_on=("accept", "_user"), browser_ttl=60, shows_key=True),
    ResponsePolicy(cookies="ignore", ignored_query=("utm_*",), sorted_query=True, browser_ttl=None, shows_key=True),
    ResponsePolicy(freshness="headers", vary_on=("cookie", "authorization"), targeted=(), shows_key=True),
]

_WORDS = [
    b"no-store", b"private", b'private="set-cookie"', b"PRIVATE", b'private="x', b"no-cache", b'no-cache="vary"',
    b"max-age=60", b"max-age=0", b"max-age=1e9", b's-maxage="5"', b"public", b"must-revalidate", b"must-understand",
    b'x="', b"=,", b"stale-while-revalidate=9", b"stale-if-error=9", b"only-if-cached", b"max-stale", b"min-fresh=1",
    b"\x00", b"\xff", b"*", b"accept", b"cookie, x", b'"v1"', b'W/"v1"', b"bytes=0-1", b"bytes=-5,1-2", b"bytes=9-",
    b"a\r\nb: c", b"1", b"-1", b"", b"9" * 30, b"Sat, 21 Nov 2026 09:00:00 GMT", b"Sat, 21 Nov 2026 11:00:00 GMT",
    b"close", b"set-cookie", b"/b", b"//x", b"?1",
]
_NAMES = [
    b"cache-control", b"Cache-Control", b"CDN-Cache-Control", b"set-cookie", b"Set-Cookie", b"vary", b"etag", b"date",
    b"age", b"expires", b"last-modified", b"content-length", b"content-type", b"content-range", b"content-encoding",
    b"connection", b"pragma", b"cookie", b"authorization", b"range", b"if-range", b"if-none-match",
    b"if-modified-since", b"cache-groups", b"location", b"content-location", b"cache-status",
    b"cache-group-invalidation", b"accept", b"accept-language", b"accept-encoding", b"", b"\xff",
]
_word = st.sampled_from(_WORDS)
_value = _word | st.lists(_word, max_size=4).map(b", ".join) | st.binary(max_size=12)
_headers = st.lists(st.tuples(st.sampled_from(_NAMES) | st.binary(max_size=5), _value), max_size=7).map(tuple)
_requests = st.builds(
    Request,
    st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "X"]),
    st.sampled_from(["http", "https", ""]),
    st.sampled_from(["shop.example", "[::1]:80", ""]) | st.text(max_size=5),
    st.binary(max_size=9).map(lambda rest: b"/" + rest),
    st.binary(max_size=9),
    _headers,
)
_responses = st.builds(
    Response, st.sampled_from([200, 200, 200, 204, 206, 301, 304, 404, 500, 599]) | st.integers(100, 999), _headers,
    st.just(b"") | st.binary(max_size=20),
)
_policies = st.sampled_from(POLICIES)
_outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Hit(3.0, 4.0), Hit(3.0, -4.0), Collapsed(1.0), Forwarded(Forward.MISS, stored=True),
        Forwarded(Forward.STALE, stored=True, status=304),
    ]
)
DATE = st.sampled_from([0.0, NOW, 4e9, 1e12])


def said(headers: Headers, name: bytes) -> list[bytes]:
    return [value for given, value in headers if given.lower() == name]


@settings(max_examples=600)
@given(_requests, _requests, _responses, _policies, _outcomes, DATE)
def test_nothing_raises_and_nothing_is_injected(
    request: Request, other: Request, response: Response, policy: ResponsePolicy, outcome: Outcome, now: float
) -> None:
    request = normalized(request, policy)
    key = check_key(response_key(request, policy))
    invalidated(request, response)
    verdict = storable(request, response, policy, personal=False, life=LIFE, now=now)
    if not isinstance(verdict, Storable):
        assert verdict.reason in Reason
        return
    stored = unpack(pack(verdict.stored))
    assert stored == verdict.stored
    assert stored is not None
    assert matches(stored.selecting, request)
    check_key(variant_key(key, stored, other))
    nobodys(other, policy, stored)
    storable(request, freshened(stored.response, response), policy, personal=False, life=LIFE, now=now)
    assert all(name in (b"if-none-match", b"if-modified-since") for name, _ in validators(stored.response))
    served = Shown(policy, key, now).serve(other, stored, outcome)
    ours = set(served.headers) - set(stored.response.headers)
    for name, value in ours:
        assert name == name.lower()
        assert not {*b"\r\n\0"}.intersection(name + value), (name, value)


@settings(max_examples=600)
@given(_requests, _responses, _policies, _outcomes)
def test_a_304_and_an_answer_to_head_have_no_body_and_all_else_the_length_it_says(
    request: Request, response: Response, policy: ResponsePolicy, outcome: Outcome
) -> None:
    verdict = storable(ask(), response, policy, personal=False, life=LIFE, now=NOW)
    if not isinstance(verdict, Storable):
        return
    served = Shown(policy, None, NOW).serve(request, verdict.stored, outcome)
    lengths = said(served.headers, b"content-length")
    if served.status == 304 or request.method == "HEAD" or served.status == 204:
        assert served.body == b""
        assert served.status not in (204, 304) or not lengths
    else:
        assert lengths == [b"%d" % len(served.body)]
    assert served.status in (verdict.stored.response.status, 206, 304, 416)


@settings(max_examples=1500)
@given(_requests, _responses, _policies, st.booleans())
def test_p11_what_says_that_it_is_not_for_sharing_is_not_shared(
    request: Request, response: Response, policy: ResponsePolicy, personal: bool
) -> None:
    verdict = storable(request, response, policy, personal=personal, life=LIFE, now=NOW)
    if not isinstance(verdict, Storable):
        return
    kept = verdict.stored.response.headers
    assert not said(kept, b"set-cookie")
    assert not said(kept, b"connection")
    assert not said(kept, b"transfer-encoding")
    assert all(name == name.lower() for name, _ in kept)
    assert isinstance(answers_from_cache(request, policy), Allowed)
    assert request.method == "GET"
    assert not said(request.headers, b"range")
    assert b"*" not in b",".join(said(response.headers, b"vary")).replace(b" ", b"").split(b",")
    targets = [name for name in policy.targets if said(response.headers, name)]
    if not targets:
        told = directives(response.headers)
        assert b"no-store" not in told or b"must-understand" in told
        assert b"private" not in told or named_fields(told[b"private"])
        assert not (said(response.headers, b"set-cookie")
                    and b"set-cookie" not in named_fields(told.get(b"private")) | named_fields(told.get(b"no-cache")))


_SECRET = b"b6f1"


@settings(max_examples=600)
@given(_headers, _responses, st.sampled_from(["cookie", "authorization", "x-api-key"]), _policies)
def test_p11_a_personal_answer_never_has_the_key_of_another_visitor(
    headers: Headers, response: Response, credential: str, policy: ResponsePolicy
) -> None:
    mine = Request("GET", "https", "h", b"/", b"", (*headers, (credential.encode(), _SECRET)))
    verdict = storable(mine, response, policy, personal=True, life=LIFE, now=NOW)
    if isinstance(verdict, Storable):
        for theirs in (headers, (*headers, (credential.encode(), b"other"))):
            another = Request("GET", "https", "h", b"/", b"", theirs)
            assert response_key(another, policy) != response_key(mine, policy)


@pytest.mark.parametrize("policy", POLICIES, ids=range(len(POLICIES)))
def test_the_examples_above_store_something(policy: ResponsePolicy) -> None:
    fresh = Response(200, ((b"Cache-Control", b"s-maxage=60"),), b"x")
    assert isinstance(storable(ask(), fresh, policy, personal=False, life=LIFE, now=NOW), Storable)
