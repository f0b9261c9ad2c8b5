"""What the client gets of a stored response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http import (
    Collapsed,
    Forward,
    Forwarded,
    Hit,
    Outcome,
    Reason,
    Response,
    ResponsePolicy,
    Storable,
    cache_status,
    serve,
    storable,
)
from tests.http.build import answer, ask, fields, stored

HIT = Hit(age=12.9, ttl=47.1)


def field(response: Response, name: bytes) -> list[bytes]:
    """The values of a header field's lines."""
    return [value for given, value in response.headers if given == name]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Hit(3.0, 47.1), b"cachefence; hit; ttl=47"),
        (Hit(3.0, -0.5), b"cachefence; hit; ttl=-1"),
        (Hit(3.0, None), b"cachefence; hit"),
        (Hit(3.0, float("inf")), b"cachefence; hit; ttl=999999999999999"),
        (Collapsed(), b"cachefence; fwd=miss; collapsed"),
        (Forwarded(Forward.MISS, stored=True), b"cachefence; fwd=miss; stored"),
        (Forwarded(Forward.STALE), b"cachefence; fwd=stale"),
        (
            Forwarded(Forward.BYPASS, detail=Reason.AUTHORIZATION),
            b"cachefence; fwd=bypass; detail=authorization",
        ),
        (Forwarded(Forward.METHOD, detail=Reason.METHOD), b"cachefence; fwd=method; detail=method"),
    ],
)
def test_cache_status_says_how_it_came(outcome: Outcome, expected: bytes) -> None:
    assert cache_status(outcome) == expected


def test_a_hit_has_the_stored_status_headers_and_body() -> None:
    kept = stored("Content-Type: text/html", "Link: </a>", "Link: </b>", 'ETag: "v1"')
    served = serve(ask(), kept, HIT)
    assert served.headers == (*kept.headers, *fields("age: 12", "cache-status: cachefence; hit; ttl=47"))
    assert (served.status, served.body) == (200, kept.body)


def test_cache_status_is_added_after_what_is_there() -> None:
    served = serve(ask(), stored("Cache-Status: inner; hit"), HIT)
    assert field(served, b"cache-status") == [b"inner; hit", b"cachefence; hit; ttl=47"]


def test_the_age_spent_in_other_caches_is_counted() -> None:
    assert field(serve(ask(), stored("Age: 30"), HIT), b"age") == [b"42"]


@given(st.floats(-1e6, 1e12))
def test_an_age_is_never_negative(age: float) -> None:
    (value,) = field(serve(ask(), stored(), Hit(age, 1.0)), b"age")
    assert value.isdigit()


def test_only_what_the_application_was_not_asked_for_has_an_age() -> None:
    assert field(serve(ask(), stored(), Collapsed(0.4)), b"age") == [b"0"]
    assert field(serve(ask(), stored(), Forwarded(Forward.MISS, stored=True)), b"age") == []


def test_a_miss_and_its_hit_differ_only_in_age_and_cache_status() -> None:
    verdict = storable(ask(), answer("Content-Type: a/b"), ResponsePolicy(), personal=False)
    assert isinstance(verdict, Storable)
    kept = verdict.response
    miss, hit = serve(ask(), kept, Forwarded(Forward.MISS, stored=True)), serve(ask(), kept, HIT)
    assert [line for line in hit.headers if line[0] not in (b"age", b"cache-status")] == list(
        miss.headers[:-1]
    )
    assert miss.body == hit.body


def test_head_gets_the_headers_of_get_and_no_body() -> None:
    kept = stored("Content-Type: text/html")
    head = serve(ask(method="HEAD"), kept, HIT)
    assert head.headers == serve(ask(), kept, HIT).headers
    assert (head.status, head.body, field(head, b"content-length")) == (200, b"", [b"14"])


@pytest.mark.parametrize(
    ("tag", "condition", "status"),
    [
        ('"v1"', '"v1"', 304),
        ('"v1"', 'W/"v1"', 304),
        ('W/"v1"', '"v1"', 304),
        ('W/"v1"', 'W/"v1"', 304),
        ('"v1"', '"v0", W/"x,y" ,"v1"', 304),
        ('"a,b"', '"a,b"', 304),
        ('"v1"', "*", 304),
        ('""', '""', 304),
        ('"v1"', '"v2"', 200),
        ('"v1"', '"V1"', 200),
        ('"v1"', "v1", 200),
        ('"v1"', '"v1', 200),
        ('"a"', '"a,b"', 200),
        ('"v1"', "", 200),
        ("unquoted", "unquoted", 200),
    ],
)
def test_a_304_for_who_holds_it_already(tag: str, condition: str, status: int) -> None:
    served = serve(ask(f"If-None-Match: {condition}"), stored(f"ETag: {tag}"), HIT)
    assert served.status == status
    assert (served.body == b"") == (status == 304)


def test_all_lines_of_if_none_match_count_and_head_has_it_too() -> None:
    request = ask('If-None-Match: "a"', 'IF-NONE-MATCH: "b"', method="HEAD")
    assert serve(request, stored('ETag: "b"'), HIT).status == 304


def test_a_304_has_what_a_cache_needs_and_nothing_about_the_body() -> None:
    kept = stored(
        "Content-Type: text/html",
        "Content-Language: en",
        "Content-Encoding: br",
        "Date: d",
        "Vary: Host",
        "Content-Location: /b",
        "Expires: e",
        "Cache-Control: max-age=1",
        'ETag: "v1"',
        "X-Frame-Options: DENY",
        "Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT",
    )
    served = serve(ask('If-None-Match: "v1"'), kept, HIT)
    assert [name for name, _ in served.headers] == [
        b"date",
        b"vary",
        b"content-location",
        b"expires",
        b"cache-control",
        b"etag",
        b"x-frame-options",
        b"age",
        b"cache-status",
    ]


@pytest.mark.parametrize(
    ("modified", "since", "status"),
    [
        ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 21 Nov 2026 10:00:00 GMT", 304),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 21 Nov 2026 10:00:01 GMT", 304),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 21 Nov 2026 09:59:59 GMT", 200),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "2026-11-22", 200),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 31 Feb 2026 10:00:00 GMT", 200),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 21 Foo 2026 10:00:00 GMT", 200),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "Sat, 21 Nov 2026 99:00:00 GMT", 200),
        (
            "Sat, 21 Nov 2026 10:00:00 GMT",
            "Sat, 21 Nov 2026 10:00:00 GMT, Sat, 21 Nov 2026 10:00:00 GMT",
            200,
        ),
        ("yesterday", "Sat, 21 Nov 2026 10:00:00 GMT", 200),
    ],
)
def test_if_modified_since_compares_dates_and_ignores_what_is_none(
    modified: str, since: str, status: int
) -> None:
    assert (
        serve(ask(f"If-Modified-Since: {since}"), stored(f"Last-Modified: {modified}"), HIT).status == status
    )


def test_without_a_last_modified_there_is_nothing_to_compare() -> None:
    assert serve(ask("If-Modified-Since: Sat, 21 Nov 2026 10:00:00 GMT"), stored(), HIT).status == 200


def test_if_none_match_overrules_if_modified_since() -> None:
    date = "Sat, 21 Nov 2026 10:00:00 GMT"
    kept = stored(f"Last-Modified: {date}", 'ETag: "new"')
    assert serve(ask('If-None-Match: "old"', f"If-Modified-Since: {date}"), kept, HIT).status == 200
    assert serve(ask('If-None-Match: "new"', "If-Modified-Since: then"), kept, HIT).status == 304


def test_preconditions_are_for_successful_answers_to_get_and_head() -> None:
    miss = Forwarded(Forward.MISS)
    assert serve(ask("If-None-Match: *"), answer('ETag: "a"', status=404), miss).status == 404
    assert serve(ask("If-None-Match: *", method="POST"), answer('ETag: "a"'), miss).status == 200
