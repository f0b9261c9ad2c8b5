"""Which of the responses to one URL a request is answered with (RFC 9111 section 4.1), and which URLs are one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.core.keys import check_key
from cachefence_web.http import (
    Reason,
    Request,
    Response,
    ResponsePolicy,
    Stored,
    invalidated,
    matches,
    normalized,
    response_key,
    url_tag,
    variant_key,
)
from cachefence_web.http.key import LONGEST
from tests.http.build import BY_HEADERS, SHARED, answer, ask, granted, refusal

FRESH = "Cache-Control: max-age=60"
both_modes = pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])


def varying(vary: str, *asked: str, policy: ResponsePolicy = SHARED) -> Stored:
    return granted(answer(FRESH, f"Vary: {vary}"), ask(*asked), policy).stored


@both_modes
@pytest.mark.parametrize(
    ("vary", "first", "then", "same"),
    [
        ("Foo", ["Foo: 1"], ["Foo: 1"], True),
        ("FOO", ["foo: 1"], ["fOO: 1"], True),
        ("Foo", ["Foo: 1"], ["Foo: 2"], False),
        ("Foo", ["Foo: 1"], [], False),
        ("Foo", [], [], True),
        ("Foo", [], ["Foo: 1"], False),
        ("Foo", [], ["Foo: "], False),
        ("Foo", ["Foo: 1", "Foo: 2"], ["Foo: 1, 2"], True),
        ("Foo", ["Foo: 1, 2"], ["Foo: 2, 1"], False),
        ("Foo", ["Foo: 1"], ["Foo: 1", "Bar: 2"], True),
        ("Foo, Bar", ["Foo: 1", "Bar: 2"], ["Bar: 2", "Foo: 1"], True),
        ("Foo, Bar", ["Foo: 1", "Bar: 2"], ["Foo: 1"], False),
        ("Foo, Bar", ["Foo: a", "Bar: bc"], ["Foo: ab", "Bar: c"], False),
        ("Accept-Encoding", ["Accept-Encoding: br, gzip"], ["Accept-Encoding: gzip,br;q=1.0"], True),
        ("Accept-Encoding", ["Accept-Encoding: br"], ["Accept-Encoding: br;q=0"], False),
        ("Accept-Language", ["Accept-Language: de, en;q=0.5"], ["Accept-Language: DE,en;q=0.50"], True),
        ("Accept-Language", ["Accept-Language: de, en"], ["Accept-Language: en, de"], False),
    ],
)
def test_a_variant_answers_who_says_the_same_in_all_that_vary_names(
    policy: ResponsePolicy, vary: str, first: list[str], then: list[str], same: bool
) -> None:
    assert matches(varying(vary, *first, policy=policy).selecting, ask(*then)) is same


@both_modes
@pytest.mark.parametrize("vary", ["*", "Foo, *", "Foo bar"])
def test_p11_what_no_request_can_be_known_to_match_is_not_stored(policy: ResponsePolicy, vary: str) -> None:
    assert refusal(answer(FRESH, f"Vary: {vary}"), policy=policy) is Reason.VARY


def test_where_the_headers_decide_vary_may_name_cookies_and_credentials() -> None:
    kept = varying("Cookie", "Cookie: a=1", policy=BY_HEADERS)
    assert kept.selecting == ((b"cookie", b"a=1"),)
    assert not matches(kept.selecting, ask())
    assert not matches(kept.selecting, ask("Cookie: a=2"))
    public = granted(answer("Cache-Control: s-maxage=9", "Vary: Authorization"), ask("Authorization: a"), BY_HEADERS)
    assert public.stored.selecting == ((b"authorization", b"a"),)


@pytest.mark.parametrize(
    ("cookies", "vary", "asked", "reason"),
    [
        ("bypass", "Cookie", [], None),
        ("bypass", "Authorization", [], None),
        ("ignore", "Authorization", ["Cookie: a=1"], None),
        ("ignore", "Cookie", [], Reason.VARY),
        ("ignore", "Accept, COOKIE", ["Cookie: a=1"], Reason.VARY),
        ("apart", "Cookie", [], None),
        ("apart", "Cookie", ["Cookie: a=1"], Reason.VARY),
    ],
)
def test_p11_under_a_policy_vary_cookie_is_settled_only_where_cookies_never_share(
    cookies: str, vary: str, asked: list[str], reason: Reason | None
) -> None:
    policy = ResponsePolicy(cookies=cookies)  # type: ignore[arg-type]
    assert refusal(answer(f"Vary: {vary}"), ask(*asked), policy) is reason


def test_what_the_key_holds_is_not_told_apart_again() -> None:
    policy = ResponsePolicy(vary_on=("Accept-Language", "Cookie"))
    asked = ["Accept-Language: de", "Cookie: a=1", "Accept: x"]
    kept = varying("accept-LANGUAGE, Cookie, Accept, Host", *asked, policy=policy)
    assert kept.selecting == ((b"accept", b"x"),)
    assert refusal(answer("Vary: Cookie"), ask("Cookie: a=1"), policy) is None


_value = st.none() | st.binary(max_size=4) | st.sampled_from([b"-", b"1:a", b"a, b", b"2:ab"])
_selection = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"ab", b"1:a"]), _value), max_size=3, unique_by=lambda line: line[0]
)
_key = st.sampled_from(["k", "k2", "1:k", "k" * LONGEST, "k" * (LONGEST - 1) + "j"])


def _stored(selection: list[tuple[bytes, bytes | None]]) -> tuple[Stored, Request]:
    headers = tuple([(name, value) for name, value in selection if value is not None])
    names = tuple([(name, None) for name, _ in selection])
    return Stored(Response(200, (), b""), selecting=names), replace(ask(), headers=headers)


@given(_key, _selection, _key, _selection)
def test_p11_two_variants_share_a_key_exactly_if_they_agree(
    key: str, one: list[tuple[bytes, bytes | None]], other_key: str, other: list[tuple[bytes, bytes | None]]
) -> None:
    (stored, request), (other_stored, other_request) = _stored(one), _stored(other)

    def said(stored: Stored, request: Request) -> list[tuple[bytes, bytes | None]]:
        # A wish to be told apart by what white space surrounds is normalised away.
        lines = dict(request.headers)
        return [(name, lines[name].strip(b" \t").replace(b", ", b",") if name in lines else None)
                for name, _ in stored.selecting]

    same = (key, said(stored, request)) == (other_key, said(other_stored, other_request))
    made = variant_key(key, stored, request), variant_key(other_key, other_stored, other_request)
    if same:
        assert made[0] == made[1]
    elif not any(b"," in (value or b"") for _, value in [*one, *other]):
        assert made[0] != made[1]
    assert made[0] not in (key, other_key)


def test_p11_a_variants_key_tells_absent_from_empty_and_the_key_from_what_follows() -> None:
    by_x = varying("X", "X: 1")
    assert len({variant_key("k", by_x, ask(*headers)) for headers in ([], ["X: "], ["X: -"], ["X: 0:"])}) == 4
    # Long enough for the readable beginnings to be the same.
    key, nothing = "k" * LONGEST, Stored(Response(200, (), b""))
    assert variant_key(key, by_x, ask()) != variant_key(f"{key}1:x-", nothing, ask())


def test_p11_a_variants_variant_has_a_key_of_its_own_that_does_not_grow() -> None:
    by_language, by_type = varying("Accept-Language", "Accept-Language: de"), varying("Accept", "Accept: a/b")
    key = response_key(ask(query=b"q" * 300), SHARED)
    seen = {key}
    for stored in (by_language, by_type, by_language, by_type):
        for request in (ask("Accept-Language: fr", "Accept: c/d"), ask("Accept-Language: en", "Accept: e/f"), ask()):
            seen.add(variant_key(key, stored, request))
        key = variant_key(key, stored, ask("Accept-Language: fr", "Accept: c/d"))
        assert len(key) <= LONGEST
        assert check_key(key) == key
    assert len(seen) == 1 + 4 * 3


def test_variants_that_mean_the_same_have_one_key() -> None:
    stored = varying("Accept-Encoding", "Accept-Encoding: br")
    one, other = ask("Accept-Encoding: gzip, br"), ask("Accept-Encoding: br;q=1, gzip")
    assert variant_key("k", stored, one) == variant_key("k", stored, other)


TRACKED = ResponsePolicy(ignored_query=("utm_*", "fbclid"))
SORTED = ResponsePolicy(sorted_query=True)


@pytest.mark.parametrize(
    ("policy", "query", "kept"),
    [
        (SHARED, b"b=1&a=2&utm_source=x", b"b=1&a=2&utm_source=x"),
        (TRACKED, b"utm_source=x&page=2&utm_medium=y&fbclid=z", b"page=2"),
        (TRACKED, b"utm_source=x", b""),
        (TRACKED, b"utm_source", b""),
        (TRACKED, b"fbclid2=x&utm=1&UTM_x=1&xutm_a=1", b"fbclid2=x&utm=1&UTM_x=1&xutm_a=1"),
        # Nothing is decoded: who hides a name from us has a response of its own.
        (TRACKED, b"utm%5Fsource=x", b"utm%5Fsource=x"),
        (TRACKED, b"b=utm_source=1&a", b"b=utm_source=1&a"),
        (TRACKED, b"a=1;utm_source=x", b"a=1;utm_source=x"),
        (SORTED, b"b=2&a=1", b"a=1&b=2"),
        (SORTED, b"b=2&a=2&b=1&a=1", b"a=2&a=1&b=2&b=1"),
        (SORTED, b"a=1&a&a=", b"a=1&a&a="),
        (SORTED, b"", b""),
    ],
    ids=str,
)
def test_only_query_parameters_that_were_named_make_no_difference(
    policy: ResponsePolicy, query: bytes, kept: bytes
) -> None:
    assert normalized(ask(query=query), policy) == ask(query=kept)


def test_the_order_of_one_parameters_values_counts() -> None:
    keys = {response_key(normalized(ask(query=query), SORTED), SORTED) for query in (b"a=1&a=2", b"a=2&a=1")}
    assert len(keys) == 2


def test_a_write_reaches_what_is_stored_without_the_parameters_that_make_no_difference() -> None:
    kept = normalized(ask(query=b"page=2&utm_source=x"), TRACKED)
    written = normalized(ask(query=b"utm_medium=y&page=2", method="POST"), TRACKED)
    assert url_tag(kept) in invalidated(written, answer())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ask(path=b"/account"), ask(path=b"/account/x.css")),
        (ask(path=b"/account/x.css"), ask(path=b"/account%2Fx.css")),
        (ask(path=b"/account"), ask(path=b"/account;x.css")),
        (ask(path=b"/account;x.css"), ask(path=b"/account%3Bx.css")),
        (ask(path=b"/account"), ask(path=b"/account%3Fx.css")),
        (ask(path=b"/account"), ask(path=b"/account%23x.css")),
        (ask(path=b"/account"), ask(path=b"/account%00")),
        (ask(path=b"/account%00"), ask(path=b"/account\0")),
        (ask(path=b"/account"), ask(path=b"/account%0d%0a")),
        (ask(path=b"/account%0d%0a"), ask(path=b"/account%0D%0A")),
        (ask(path=b"/account%0d%0a"), ask(path=b"/account\r\n")),
        (ask(path=b"/static/..%2faccount"), ask(path=b"/account")),
        (ask(path=b"/static/../account"), ask(path=b"/account")),
        (ask(path=b"//account"), ask(path=b"/account")),
        (ask(path=b"/account/"), ask(path=b"/account")),
        (ask(path=b"/Account"), ask(path=b"/account")),
        (ask(path=b"/a", query=b"b&c"), ask(path=b"/a", query=b"b;c")),
        (ask(path=b"/a", query=b"b%26c"), ask(path=b"/a", query=b"b&c")),
        (ask(path=b"/a", query=b"b\r\nx: y"), ask(path=b"/a", query=b"b%0D%0Ax:%20y")),
    ],
    ids=lambda request: repr(request.raw_path + b"?" + request.query),
)
@both_modes
def test_p11_no_path_passes_for_another(policy: ResponsePolicy, one: Request, other: Request) -> None:
    assert response_key(one, policy) != response_key(other, policy)


@pytest.mark.parametrize(
    "claim",
    ["X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "X-Forwarded-Prefix: /evil",
     "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "X-HTTP-Method-Override: DELETE",
     'Forwarded: for=192.0.2.60; host="evil.example"'],
)
def test_p11_who_claims_to_have_asked_for_something_else_poisons_nobodys_page(claim: str) -> None:
    for policy in (SHARED, BY_HEADERS):
        assert response_key(ask(claim), policy) != response_key(ask(), policy)
        assert response_key(ask(claim), policy) == response_key(ask(claim), policy)


def test_what_forwarded_says_of_the_client_makes_no_difference() -> None:
    one, other = ("Forwarded: for=192.0.2.60;proto=https", "Forwarded: for=198.51.100.17;proto=https")
    assert response_key(ask(one), SHARED) == response_key(ask(other), SHARED)
    assert response_key(ask("Forwarded: for=192.0.2.60"), SHARED) == response_key(ask(), SHARED)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "User-Agent", "Origin", "Referer"])
def test_p11_a_field_is_in_the_key_exactly_if_it_is_said_to_be(name: str) -> None:
    plain, other = ask(), ask(f"{name}: evil.example")
    assert response_key(plain, SHARED) == response_key(other, SHARED)
    assert response_key(plain, BY_HEADERS) == response_key(other, BY_HEADERS)
    keyed = ResponsePolicy(vary_on=(name,))
    assert response_key(plain, keyed) != response_key(other, keyed)
    # What varies by it by its own word is told apart without the policy's help.
    assert not matches(varying(name).selecting, other)


def test_p11_two_hosts_do_not_share() -> None:
    one, other = replace(ask(), host="shop.example:8000"), replace(ask(), host="shop.example")
    assert response_key(one, SHARED) != response_key(other, SHARED)
