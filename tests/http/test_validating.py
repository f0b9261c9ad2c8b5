"""Conditional requests, those of clients and our own to the application (RFC 9110 section 13, RFC 9111 section 4.3)."""

from __future__ import annotations

import pytest

from cachefence_web.http import (
    Forward,
    Forwarded,
    Hit,
    Response,
    ResponsePolicy,
    Shown,
    Storable,
    Stored,
    freshened,
    validators,
)
from tests.http.build import BY_HEADERS, HOUR_AGO, IN_AN_HOUR, NOW, SHARED, TODAY, answer, ask, fields, judged, stored

FRESH = "Cache-Control: max-age=60"
HIT = Hit(age=12.0, ttl=47.0)
both_modes = pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])


def status(kept: Stored, *conditions: str, method: str = "GET", policy: ResponsePolicy = BY_HEADERS) -> int:
    served = Shown(policy, None, NOW).serve(ask(*conditions, method=method), kept, HIT)
    assert (served.body == b"") == (served.status == 304 or method == "HEAD")
    return served.status


@both_modes
@pytest.mark.parametrize(
    ("tag", "condition", "expected"),
    [
        ('"v1"', '"v1"', 304),
        ('"v1"', 'W/"v1"', 304),
        ('W/"v1"', '"v1"', 304),
        ('W/"v1"', 'W/"v1"', 304),
        ('"v1"', '"v0", W/"x,y" ,"v1"', 304),
        ('"a,b"', '"a,b"', 304),
        ('"v1"', "*", 304),
        ('"v1"', " * ", 304),
        ('""', '""', 304),
        ('"\xe9"', '"\xe9"', 304),
        ('"v1"', '"v2"', 200),
        ('"v1"', '"V1"', 200),
        ('"v1"', "v1", 200),
        ('"v1"', '"v1', 200),
        ('"a"', '"a,b"', 200),
        ('"v1"', "", 200),
        ("unquoted", "unquoted", 200),
        ('"v1"', '"*"', 200),
    ],
)
def test_a_304_for_who_holds_it_already(policy: ResponsePolicy, tag: str, condition: str, expected: int) -> None:
    kept = stored(FRESH, f"ETag: {tag}", policy=policy)
    assert status(kept, f"If-None-Match: {condition}", policy=policy) == expected


def test_all_lines_of_if_none_match_count_and_head_has_it_too() -> None:
    conditions = ['If-None-Match: "a"', 'IF-NONE-MATCH: "b"']
    assert status(stored('ETag: "b"'), *conditions, method="HEAD") == 304
    assert status(stored('ETag: "c"'), *conditions, method="HEAD") == 200


@both_modes
def test_a_tag_of_ours_validates_as_well(policy: ResponsePolicy) -> None:
    kept = stored(FRESH, policy=policy)
    tag = dict(kept.response.headers)[b"etag"].decode()
    assert status(kept, f"If-None-Match: {tag}", policy=policy) == 304
    assert status(stored(FRESH, body=b"edited", policy=policy), f"If-None-Match: {tag}", policy=policy) == 200


AT = "Sat, 21 Nov 2026 08:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "since", "expected"),
    [
        ([f"Last-Modified: {AT}"], AT, 304),
        ([f"Last-Modified: {AT}"], HOUR_AGO, 304),
        ([f"Last-Modified: {AT}"], "Saturday, 21-Nov-26 08:00:00 GMT", 304),
        ([f"Last-Modified: {AT}"], "Sat Nov 21 08:00:00 2026", 304),
        ([f"Last-Modified: {AT}"], "Sat, 21 Nov 2026 07:59:59 GMT", 200),
        ([f"Last-Modified: {AT}"], "2026-11-22", 200),
        ([f"Last-Modified: {AT}"], "Sat, 31 Feb 2026 10:00:00 GMT", 200),
        ([f"Last-Modified: {AT}"], "Sat, 21 Foo 2026 10:00:00 GMT", 200),
        ([f"Last-Modified: {AT}"], "Sat, 21 Nov 2026 99:00:00 GMT", 200),
        ([f"Last-Modified: {AT}"], f"{AT}, {AT}", 200),
        # Without a Last-Modified it is as old as its Date, or as we know it to be (RFC 9111 section 4.3.2).
        ([f"Date: {HOUR_AGO}", "Cache-Control: max-age=7200"], HOUR_AGO, 304),
        ([f"Date: {HOUR_AGO}", "Cache-Control: max-age=7200"], AT, 200),
        ([FRESH], TODAY, 304),
        ([FRESH], "Sat, 21 Nov 2026 09:59:48 GMT", 304),
        ([FRESH], "Sat, 21 Nov 2026 09:59:47 GMT", 200),
        ([FRESH], HOUR_AGO, 200),
        ([FRESH, "Last-Modified: yesterday"], HOUR_AGO, 200),
        ([FRESH, "Last-Modified: yesterday"], IN_AN_HOUR, 304),
    ],
    ids=str,
)
def test_if_modified_since_compares_dates_and_ignores_what_is_none(
    headers: list[str], since: str, expected: int
) -> None:
    for method in ("GET", "HEAD"):
        assert status(stored(*headers, policy=BY_HEADERS), f"If-Modified-Since: {since}", method=method) == expected


def test_two_lines_of_if_modified_since_are_none() -> None:
    kept = stored(f"Last-Modified: {AT}")
    assert status(kept, f"If-Modified-Since: {AT}", f"If-Modified-Since: {AT}") == 200


def test_if_none_match_overrules_if_modified_since() -> None:
    kept = stored(f"Last-Modified: {AT}", 'ETag: "new"')
    assert status(kept, 'If-None-Match: "old"', f"If-Modified-Since: {AT}") == 200
    assert status(kept, 'If-None-Match: "new"', "If-Modified-Since: then") == 304


def test_preconditions_of_what_is_neither_get_nor_head_are_not_ours() -> None:
    assert status(stored('ETag: "a"'), "If-None-Match: *", method="POST") == 200


@pytest.mark.parametrize("code", [203, 301, 404, 410, 500])
def test_only_a_200_has_preconditions(code: int) -> None:
    kept = stored(FRESH, 'ETag: "a"', f"Last-Modified: {AT}", status=code)
    assert status(kept, "If-None-Match: *") == code
    assert status(kept, f"If-Modified-Since: {TODAY}") == code


def test_a_304_has_what_a_cache_needs_and_nothing_about_the_body() -> None:
    about_the_body = ("Content-Type: a/b", "Content-Language: en", "Content-Encoding: br", f"Last-Modified: {AT}",
                      "Content-Digest: x", "Repr-Digest: x")
    needed = ("Date: d", "Vary: Host", "Content-Location: /b", f"Expires: {IN_AN_HOUR}", 'ETag: "v1"', "X-Other: D")
    kept = stored(*about_the_body, *needed, policy=BY_HEADERS)
    for outcome, ours in ((HIT, [b"age", b"cache-status"]), (Forwarded(Forward.MISS, stored=True), [b"cache-status"])):
        served = Shown(BY_HEADERS, None, NOW).serve(ask('If-None-Match: "v1"'), kept, outcome)
        assert (served.status, served.body) == (304, b"")
        assert [name for name, _ in served.headers] == [
            b"date", b"vary", b"content-location", b"expires", b"etag", b"x-other", *ours,
        ]


@pytest.mark.parametrize(
    ("headers", "conditions"),
    [
        (['ETag: "v1"'], ['if-none-match: "v1"']),
        (['ETag: W/"v1"'], ['if-none-match: W/"v1"']),
        ([f"Last-Modified: {AT}"], [f"if-modified-since: {AT}"]),
        (['ETag: "v1"', f"Last-Modified: {AT}"], ['if-none-match: "v1"', f"if-modified-since: {AT}"]),
        ([FRESH], []),
        (['ETag: W/"cf-0123"'], []),
    ],
    ids=str,
)
def test_the_application_is_asked_by_what_it_has_said_itself(headers: list[str], conditions: list[str]) -> None:
    assert validators(stored(*headers).response) == fields(*conditions)


OLD = ("Content-Type: a/b", "Content-Length: 3", "Content-Encoding: br", 'ETag: "v1"', "X-A: 1", "X-A: 2", "X-B: 1",
       "Cache-Control: max-age=1", f"Date: {AT}", "Age: 9", "Vary: Accept", f"Expires: {AT}", f"Last-Modified: {AT}")


def confirmed(*headers: str) -> dict[str, list[str]]:
    old = stored(*OLD, body=b"old").response
    found: dict[str, list[str]] = {}
    fresh = freshened(old, Response(304, fields(*headers), b"nothing"))
    assert (fresh.status, fresh.body) == (200, b"old")
    for name, value in fresh.headers:
        found.setdefault(name.decode(), []).append(value.decode())
    return found


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("Cache-Control: max-age=60", "cache-control", ["max-age=60"]),
        (f"Date: {TODAY}", "date", [TODAY]),
        (f"Expires: {TODAY}", "expires", [TODAY]),
        ("Vary: Accept-Language", "vary", ["Accept-Language"]),
        ("X-A: 3", "x-a", ["3"]),
        ("x-new: 3", "x-new", ["3"]),
        (f"LAST-MODIFIED: {TODAY}", "last-modified", [TODAY]),
        ("Content-Type: c/d", "content-type", ["c/d"]),
        ("Age: 4", "age", ["4"]),
        # Of the body that is kept the 304 says nothing.
        ("Content-Length: 0", "content-length", ["3"]),
        ("Content-Encoding: gzip", "content-encoding", ["br"]),
        ('ETag: "v2"', "etag", ['"v1"']),
    ],
)
def test_a_304_of_the_application_renews_the_fields_it_has(line: str, name: str, expected: list[str]) -> None:
    before, after = confirmed(), confirmed(line)
    assert after.pop(name) == expected
    before.pop(name, None)
    assert after == before


def test_what_a_304_repeats_replaces_all_lines_of_the_field() -> None:
    assert confirmed("X-A: 3", "X-B: 5", "X-A: 4")["x-a"] == ["3", "4"]
    assert confirmed("X-B: 5")["x-a"] == ["1", "2"]


def test_the_age_of_what_was_stored_does_not_outlive_its_confirmation() -> None:
    assert "age" not in confirmed()


@pytest.mark.parametrize(
    "line", ["Cache-Control: no-store", "Set-Cookie: a=1", "Vary: *", "Cache-Control: private"]
)
def test_p11_what_a_304_forbids_is_not_stored_again(line: str) -> None:
    old = stored(FRESH, 'ETag: "v1"', policy=BY_HEADERS).response
    assert not isinstance(judged(freshened(old, answer(line, status=304)), policy=BY_HEADERS), Storable)
