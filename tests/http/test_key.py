"""Different requests have different keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.core.keys import check_key
from cachefence_web.http import Headers, Request, ResponsePolicy, response_key, wire_path
from cachefence_web.http.key import LONGEST
from tests.http.build import SHARED, ask, fields

BY_LANGUAGE = ResponsePolicy(vary_on=("Accept-Language",))
VARIED = ("a", "b")

# Few letters and all the separators, so that collisions would be found.
_text = st.text(alphabet="aB/:?|#=1@%~\x00\u212a\udc80", max_size=5) | st.text(max_size=3)
_bytes = st.binary(max_size=3) | st.lists(
    st.sampled_from([b"/", b"a", b"?", b"|", b"a=1:x", b"#", b"=", b"1:", b"%2F", b"\0", b"x" * 90]),
    max_size=4,
).map(b"".join)
_headers = st.lists(st.tuples(st.sampled_from([b"a", b"A", b"b", b"c"]), _bytes), max_size=4).map(tuple)
_requests = st.builds(
    Request,
    st.sampled_from(["GET", "HEAD", "POST", "get"]) | _text,
    st.sampled_from(["http", "https"]) | _text,
    _text,
    _bytes,
    _bytes,
    _headers,
)
_policies = st.lists(st.sampled_from(VARIED), max_size=2).map(
    lambda names: ResponsePolicy(vary_on=tuple(names))
)


def keyed_parts(request: Request, policy: ResponsePolicy) -> tuple[object, ...]:
    """What the key is to tell apart, said without bytes being joined."""
    varied = {
        name: [value for field, value in request.headers if field.lower() == name.encode()]
        for name in policy.vary_on
    }
    ascii_lower = str.maketrans({chr(upper): chr(upper + 32) for upper in range(65, 91)})
    return (
        "GET" if request.method == "HEAD" else request.method,
        request.scheme.translate(ascii_lower),
        request.host.translate(ascii_lower),
        request.raw_path,
        request.query,
        varied,
    )


@given(_requests, _policies, _requests, _policies)
def test_p11_two_requests_share_a_key_exactly_if_they_agree(
    one: Request,
    one_policy: ResponsePolicy,
    other: Request,
    other_policy: ResponsePolicy,
) -> None:
    same = keyed_parts(one, one_policy) == keyed_parts(other, other_policy)
    assert (response_key(one, one_policy) == response_key(other, other_policy)) == same


@given(_requests, _policies, st.data())
def test_p11_moving_a_border_between_parts_changes_the_key(
    request: Request,
    policy: ResponsePolicy,
    data: st.DataObject,
) -> None:
    joined = request.raw_path + request.query
    cut = data.draw(st.integers(0, len(joined)))
    moved = replace(request, raw_path=joined[:cut], query=joined[cut:])
    same = keyed_parts(request, policy) == keyed_parts(moved, policy)
    assert (response_key(request, policy) == response_key(moved, policy)) == same


@given(_requests, _policies)
def test_a_key_is_short_printable_and_accepted_by_the_core(request: Request, policy: ResponsePolicy) -> None:
    key = response_key(request, policy)
    assert len(key) <= LONGEST
    assert key.isascii()
    assert key.isprintable()
    assert " " not in key
    assert check_key(key) == key


def test_a_plain_key_is_readable() -> None:
    request = Request(
        "HEAD", "HTTPS", "Shop.Example:8443", b"/b%C3%BCcher", b"page=2", fields("accept-language: en-gb")
    )
    assert response_key(request, SHARED) == "response:GET:https://shop.example:8443/b%C3%BCcher?page=2"
    assert response_key(request, BY_LANGUAGE).endswith("?page=2|accept-language=5:en-gb")


def test_a_long_key_keeps_its_readable_beginning() -> None:
    key = response_key(ask(query=b"q=" + b"x" * 500), SHARED)
    assert key.startswith("response:GET:https://shop.example/books?q=xxx")
    assert len(key) == LONGEST


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ask(path=b"/x", query=b"a=1"), ask(path=b"/x%3Fa=1")),
        (ask(path=b"/x", query=b"a=1"), ask(path=b"/x?a=1")),
        (ask(query=b"a=1&a=2"), ask(query=b"a=2&a=1")),
        (ask(query=b"a=1"), ask()),
        (ask(path=b"/a/"), ask(path=b"/a")),
        (ask(path=b"/a%2Fb"), ask(path=b"/a/b")),
        (ask(), replace(ask(), host="other.example")),
        (ask(), replace(ask(), scheme="http")),
        (ask(), ask(method="POST")),
        (replace(ask(path=b"/c"), host="a/b"), replace(ask(path=b"/b/c"), host="a")),
        (replace(ask(), host="\u212aey"), replace(ask(), host="key")),
    ],
)
def test_p11_the_whole_target_is_in_the_key(one: Request, other: Request) -> None:
    assert response_key(one, SHARED) != response_key(other, SHARED)


def test_p11_vary_values_are_told_apart_by_field_line_and_absence() -> None:
    policy = ResponsePolicy(vary_on=("x", "y"))
    variants: list[Headers] = [
        (),
        fields("x: "),
        fields("y: "),
        fields("x: a", "y: bc"),
        fields("x: ab", "y: c"),
        fields("x: a,b"),
        fields("x: a", "x: b"),
        fields("x: b", "x: a"),
        fields("x: a|y=1:b"),
        fields("x: a", "y: b"),
        fields("x: ", "x: "),
    ]
    keys = {response_key(replace(ask(), headers=headers), policy) for headers in variants}
    assert len(keys) == len(variants)


def test_p11_a_shortcut_through_the_key_does_not_pass_for_a_field() -> None:
    policy = ResponsePolicy(cookies="apart", vary_on=("cookie-", "x"))
    keys = {
        response_key(ask(*headers), policy)
        for headers in (
            [], ["Cookie: a"], ["cookie-: a"], ["x: |cookie?"], ["x: a|#0"], ["x: a|~0"], ["Cookie: a", "x: a"],
        )
    }
    assert len(keys) == 7


def test_head_shares_the_key_of_get_and_unkeyed_headers_do_not_matter() -> None:
    plain = response_key(ask(), BY_LANGUAGE)
    assert response_key(ask("X-Forwarded-For: ::1", "User-Agent: a", method="HEAD"), BY_LANGUAGE) == plain


def test_the_case_of_host_and_field_names_does_not_matter() -> None:
    assert response_key(
        replace(ask("ACCEPT-language: de"), host="SHOP.example"), BY_LANGUAGE
    ) == response_key(ask("Accept-Language: de"), BY_LANGUAGE)


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_p11_decoded_paths_that_differ_stay_different_on_the_wire(one: bytes, other: bytes) -> None:
    assert (wire_path(one) == wire_path(other)) == (one == other)
    assert b"?" not in wire_path(one)


def test_a_decoded_question_mark_is_no_query() -> None:
    assert wire_path("/bü?a=1".encode()) == b"/b%C3%BC%3Fa=1"


def test_p11_a_hashed_key_tells_values_from_the_name_of_the_next_field() -> None:
    policy, long = ResponsePolicy(vary_on=("x", "y")), ask(query=b"q" * 300)
    one, other = replace(long, headers=fields("x: y", "x: v")), replace(long, headers=fields("y: v", "y: y"))
    assert response_key(one, policy) != response_key(other, policy)


def test_p11_a_hashed_key_tells_where_a_part_ends() -> None:
    one, other = ask(path=b"/" + b"a" * 300, query=b"b"), ask(path=b"/" + b"a" * 299, query=b"ab")
    assert response_key(one, SHARED) != response_key(other, SHARED)
