"""What an unsafe request makes invalid (RFC 9111 section 4.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.core.tags import check_tags
from cachefence_web.http.groups import group_tag
from cachefence_web.http.message import Request
from cachefence_web.http.targets import invalidated, origin_of, url_tag
from tests.http.build import answer, ask, fields

BASE = Request("POST", "https", "shop.example", b"/shop/books/42", b"page=1", ())


def tag(path: bytes, query: bytes = b"", host: str = "shop.example", scheme: str = "https") -> str:
    return url_tag(Request("GET", scheme, host, path, query, ()))


def test_a_tag_is_short_and_the_same_in_all_processes() -> None:
    assert tag(b"/books", b"page=2") == "url:2b66bed441ab32b8597363e224b9feac23f01bec"
    assert check_tags([tag(b"/" + b"x" * 9000)])[0].startswith("url:")
    assert len(tag(b"/" + b"x" * 9000)) <= 60


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (BASE, replace(BASE, method="GET", headers=fields("Accept: x"))),
        (BASE, replace(BASE, scheme="HTTPS", host="Shop.EXAMPLE")),
        (BASE, replace(BASE, host="shop.example:443")),
        (BASE, replace(BASE, host="shop.example:")),
        (replace(BASE, scheme="http"), replace(BASE, scheme="http", host="shop.example:80")),
        (replace(BASE, raw_path=b""), replace(BASE, raw_path=b"/")),
        (replace(BASE, raw_path=b"/%7euser/%c3%a9"), replace(BASE, raw_path=b"/~user/%C3%A9")),
        (replace(BASE, raw_path=b"/a/./b/../c"), replace(BASE, raw_path=b"/a/c")),
    ],
)
def test_equivalent_targets_have_one_tag(one: Request, other: Request) -> None:
    assert url_tag(one) == url_tag(other)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, scheme="http"),
        replace(BASE, host="shop.example:8443"),
        replace(BASE, host="shop.example:80"),
        replace(BASE, host="other.example"),
        replace(BASE, host="shop.example\u212a"),
        replace(BASE, raw_path=b"/shop/books/42/"),
        replace(BASE, raw_path=b"/shop/Books/42"),
        replace(BASE, raw_path=b"/shop/books%2F42"),
        replace(BASE, raw_path=b"/shop/books/42%3Fpage=1", query=b""),
        replace(BASE, query=b""),
        replace(BASE, query=b"page=2"),
        replace(BASE, query=b"page%3D1"),
    ],
)
def test_different_targets_have_different_tags(other: Request) -> None:
    assert url_tag(other) != url_tag(BASE)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (BASE, "https://shop.example"),
        (replace(BASE, scheme="HTTPS", host="SHOP.example:443"), "https://shop.example"),
        (replace(BASE, host="[::1]:8000"), "https://[::1]:8000"),
        (replace(BASE, host="[::1]:443"), "https://[::1]"),
    ],
)
def test_an_origin_is_written_in_one_way(request_: Request, expected: str) -> None:
    assert origin_of(request_) == expected


@pytest.mark.parametrize(
    ("method", "status", "invalidates"),
    [
        *[(method, 200, True) for method in ("POST", "PUT", "DELETE", "PATCH", "QUUX", "get", "")],
        *[(method, 200, False) for method in ("GET", "HEAD", "OPTIONS", "TRACE")],
        *[("POST", status, True) for status in (201, 204, 299, 301, 303, 399)],
        *[("POST", status, False) for status in (100, 199, 400, 404, 422, 500, 503, 599, 999)],
    ],
)
def test_a_target_is_invalidated_by_what_is_not_safe_and_did_not_fail(
    method: str, status: int, invalidates: bool
) -> None:
    response = answer("Location: /x", 'Cache-Group-Invalidation: "g"', status=status)
    tags = invalidated(replace(BASE, method=method), response)
    expected = (url_tag(BASE), tag(b"/x"), group_tag("https://shop.example", "g"))
    assert tags == (expected if invalidates else ())


@pytest.mark.parametrize(
    ("reference", "path", "query"),
    [
        ("https://shop.example/new", b"/new", b""),
        ("HTTPS://SHOP.example:443/new?a=b#c", b"/new", b"a=b"),
        ("https://user:secret@shop.example/new", b"/new", b""),
        ("https://shop.example", b"/", b""),
        ("https://shop.example?a", b"/", b"a"),
        ("//shop.example/new", b"/new", b""),
        ("/new", b"/new", b""),
        ("/new#part", b"/new", b""),
        ("/new#a?b", b"/new", b""),
        ("  /new\t", b"/new", b""),
        ("/new?a=/../b", b"/new", b"a=/../b"),
        ("43", b"/shop/books/43", b""),
        ("./43", b"/shop/books/43", b""),
        ("43?x:y", b"/shop/books/43", b"x:y"),
        ("a/b", b"/shop/books/a/b", b""),
        ("./a:b", b"/shop/books/a:b", b""),
        (".", b"/shop/books/", b""),
        ("..", b"/shop/", b""),
        ("../pens", b"/shop/pens", b""),
        ("../../../../pens", b"/pens", b""),
        ("/a/b/../../c/./d/..", b"/c/", b""),
        ("/a//../b", b"/a/b", b""),
        ("/..", b"/", b""),
        ("?page=2", b"/shop/books/42", b"page=2"),
        ("?", b"/shop/books/42", b""),
        ("", b"/shop/books/42", b"page=1"),
        ("#top", b"/shop/books/42", b"page=1"),
        ("/caf\xc3\xa9 1", b"/caf%C3%A9%201", b""),
        ("/%7Ejo", b"/~jo", b""),
    ],
)
def test_what_the_answer_points_at_is_invalidated_too(reference: str, path: bytes, query: bytes) -> None:
    for name in ("Location", "content-location"):
        tags = invalidated(BASE, answer(f"{name}: {reference}", status=201))
        assert tags == tuple(dict.fromkeys([url_tag(BASE), tag(path, query)]))


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example/new",
        "//evil.example/new",
        "http://shop.example/new",
        "https://shop.example:8443/new",
        "https://shop.example@evil.example/",
        "https://shop.example.evil.example/",
        "https://evil.example/https://shop.example/",
        "https:/shop.example/new",
        "https:new",
        "mailto:shop.example",
        "javascript:1",
        "data:,x",
        "//",
        "https://",
        "https://[::1",
        "\\\\evil.example\\",
    ],
)
def test_another_origin_is_left_alone(reference: str) -> None:
    tags = invalidated(replace(BASE, raw_path=b"/a", query=b""), answer(f"Location: {reference}"))
    assert set(tags) <= {tag(b"/a"), tag(b"/%5C%5Cevil.example%5C")}


def test_each_tag_is_there_once_and_a_broken_group_field_takes_nothing_away() -> None:
    response = answer("Location: /a", "Location: /b", "Content-Location: /a", "Cache-Group-Invalidation: broken,")
    assert invalidated(ask(method="PUT", path=b"/a"), response) == (tag(b"/a"), tag(b"/b"))


def test_groups_are_those_of_the_own_origin() -> None:
    request = replace(BASE, host="SHOP.example:443")
    tags = invalidated(request, answer('Cache-Group-Invalidation: "a", "b c"'))
    assert tags[1:] == (group_tag("https://shop.example", "a"), group_tag("https://shop.example", "b c"))


@given(
    st.text(), st.text(), st.binary(), st.binary(),
    st.lists(st.binary() | st.text(alphabet="/.:?#@[]%aé \\").map(str.encode), max_size=4),
    st.binary(),
)  # fmt: skip
def test_no_rubbish_breaks_it(
    scheme: str, host: str, path: bytes, query: bytes, references: list[bytes], group: bytes
) -> None:
    headers = (*((b"location", value) for value in references), (b"cache-group-invalidation", group))
    request = Request("POST", scheme, host, path, query, ())
    tags = check_tags(invalidated(request, replace(answer(), headers=headers)))
    assert tags[0] == url_tag(request)


@given(st.text(alphabet="/.ab%2Ee", max_size=12).map(str.encode))
def test_a_path_has_the_tag_of_the_location_that_points_at_it(path: bytes) -> None:
    request = ask(method="POST", path=b"/" + path)
    assert invalidated(ask(method="POST"), answer("Location: https://shop.example/" + path.decode()))[-1] \
        in {url_tag(request), url_tag(ask())}
