"""What the client gets of a stored response (RFC 9110 sections 9.3.2, 13 and 14, RFC 9111 sections 4 and 5.1)."""

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
    Refusal,
    Request,
    Response,
    ResponsePolicy,
    Shown,
    Stored,
    unavailable,
)
from tests.http.build import BY_HEADERS, HOUR_AGO, NOW, SHARED, TODAY, ask, fields, stored, values

HIT = Hit(age=12.9, ttl=47.1)
MISS = Forwarded(Forward.MISS, stored=True)
FRESH = "Cache-Control: max-age=60"
both_modes = pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])


def serve(request: Request, kept: Stored, outcome: Outcome = HIT, policy: ResponsePolicy = BY_HEADERS) -> Response:
    return Shown(policy, None, NOW).serve(request, kept, outcome)


@both_modes
def test_a_hit_has_the_stored_status_fields_and_body(policy: ResponsePolicy) -> None:
    kept = stored(FRESH, "Link: </a>", "Link: </b>", 'ETag: "v1"', status=404, policy=policy)
    served = serve(ask(), kept, policy=policy)
    assert served.headers == (*kept.response.headers, *fields("age: 12", "cache-status: cachefence; hit; ttl=47"))
    assert (served.status, served.body) == (404, kept.response.body)


@both_modes
def test_a_miss_and_its_hit_differ_only_in_age_and_cache_status(policy: ResponsePolicy) -> None:
    kept = stored(FRESH, "Content-Type: a/b", "Vary: Accept", policy=policy)
    miss, hit = serve(ask(), kept, MISS, policy), serve(ask(), kept, HIT, policy)
    assert [line for line in hit.headers if line[0] != b"age"][:-1] == list(miss.headers[:-1])
    assert (miss.status, miss.body) == (hit.status, hit.body)


@both_modes
@pytest.mark.parametrize(
    ("headers", "outcome", "age"),
    [
        ([], HIT, [b"12"]),
        (["Age: 30"], HIT, [b"42"]),
        (["Age: 30"], Hit(12.9, -3), [b"42"]),
        (["Date: Sat, 21 Nov 2026 09:59:50 GMT"], HIT, [b"22"]),
        (["Date: Sat, 21 Nov 2026 11:59:50 GMT"], HIT, [b"12"]),
        ([], Collapsed(0.4), [b"0"]),
        (["Age: 30"], Collapsed(1.0), [b"31"]),
        ([], MISS, []),
        (["Age: 30"], MISS, [b"30"]),
        ([], Forwarded(Forward.STALE, stored=True, status=304), []),
        ([], Hit(-5.0, 1.0), [b"0"]),
        ([], Hit(1e12, 1.0), [b"2147483648"]),
    ],
    ids=str,
)
def test_what_the_application_was_not_asked_for_says_how_old_it_is(
    policy: ResponsePolicy, headers: list[str], outcome: Outcome, age: list[bytes]
) -> None:
    kept = stored("Cache-Control: max-age=600", *headers, policy=policy)
    assert values(serve(ask(), kept, outcome, policy), b"age") == age


@given(st.floats(-1e6, 1e12), st.floats(0, 1e12))
def test_an_age_is_never_negative_nor_longer_than_a_client_can_count(age: float, initial: float) -> None:
    kept = Stored(Response(200, (), b""), initial_age=initial)
    (value,) = values(serve(ask(), kept, Hit(age, 1.0)), b"age")
    assert value.isdigit()
    assert int(value) <= 2**31


@both_modes
def test_head_gets_the_fields_of_get_and_no_body(policy: ResponsePolicy) -> None:
    kept = stored(FRESH, "Content-Type: text/html", policy=policy)
    head = serve(ask(method="HEAD"), kept, policy=policy)
    assert head.headers == serve(ask(), kept, policy=policy).headers
    assert (head.status, head.body, values(head, b"content-length")) == (200, b"", [b"14"])


ENTIRE = ["Content-Type: text/plain", FRESH, 'ETag: "v1"', f"Last-Modified: {HOUR_AGO}", f"Date: {TODAY}"]


@both_modes
@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        (["Range: bytes=0-3"], 206, b"0123"),
        (["Range: bytes=-3"], 206, b"789"),
        (["Range: bytes=7-"], 206, b"789"),
        (["Range: bytes=10-"], 416, b""),
        (["Range: bytes=x"], 200, b"0123456789"),
        (["Range: pages=1-2"], 200, b"0123456789"),
        (["Range: bytes=0-3", 'If-Range: "v1"'], 206, b"0123"),
        (["Range: bytes=0-3", 'If-Range: "v0"'], 200, b"0123456789"),
        (["Range: bytes=0-3", 'If-Range: W/"v1"'], 200, b"0123456789"),
        (["Range: bytes=0-3", f"If-Range: {HOUR_AGO}"], 206, b"0123"),
        (["Range: bytes=0-3", f"If-Range: {TODAY}"], 200, b"0123456789"),
        # Preconditions are looked at before Range (RFC 9110 section 13.2.2).
        (["Range: bytes=0-3", 'If-None-Match: "v1"'], 304, b""),
        (["Range: bytes=0-3", 'If-None-Match: "v0"'], 206, b"0123"),
    ],
    ids=str,
)
def test_a_part_comes_from_the_whole(policy: ResponsePolicy, headers: list[str], status: int, body: bytes) -> None:
    kept = stored(*ENTIRE, body=b"0123456789", policy=policy)
    served = serve(ask(*headers), kept, policy=policy)
    assert (served.status, served.body) == (status, body)
    if status == 206:
        assert values(served, b"content-length") == [b"%d" % len(body)]
        assert values(served, b"content-range")[0].endswith(b"/10")
        assert values(served, b"etag") == [b'"v1"']
    if status != 304:
        assert values(served, b"cache-status") == [b"cachefence; hit; ttl=47"]


def test_several_parts_come_in_one_body() -> None:
    served = serve(ask("Range: bytes=0-1, 8-9"), stored(*ENTIRE, body=b"0123456789", policy=BY_HEADERS))
    assert served.status == 206
    assert values(served, b"content-type")[0].startswith(b"multipart/byteranges; boundary=")
    assert served.body.count(b"Content-Range: bytes ") == 2


def test_head_has_no_parts_and_errors_have_none_either() -> None:
    kept = stored(*ENTIRE, policy=BY_HEADERS)
    assert serve(ask("Range: bytes=0-3", method="HEAD"), kept).status == 200
    missing = stored(FRESH, status=404, policy=BY_HEADERS)
    assert serve(ask("Range: bytes=0-3"), missing).status == 404


def test_a_part_of_what_has_just_been_made_is_served_as_well() -> None:
    assert serve(ask("Range: bytes=0-3"), stored(*ENTIRE, policy=BY_HEADERS), MISS).status == 206


@pytest.mark.parametrize(
    ("policy", "given_", "said"),
    [
        (ResponsePolicy(), [], [b"private, no-cache"]),
        (ResponsePolicy(cookies="ignore"), [], [b"no-cache"]),
        (ResponsePolicy(cookies="apart"), [], [b"private, no-cache"]),
        (ResponsePolicy(cookies="ignore", vary_on=("cookie",)), [], [b"private, no-cache"]),
        (ResponsePolicy(cookies="ignore", vary_on=("_user",)), [], [b"private, no-cache"]),
        (ResponsePolicy(browser_ttl=None), [], []),
        # Its time outside begins when it leaves, which is what max-age less Age amounts to.
        (ResponsePolicy(browser_ttl=60), [], [b"private, max-age=72"]),
        (ResponsePolicy(browser_ttl=60, cookies="ignore"), [], [b"max-age=72"]),
        (ResponsePolicy(browser_ttl=0.5, cookies="ignore"), [], [b"max-age=13"]),
        (ResponsePolicy(browser_ttl=60), ["Cache-Control: public"], [b"public"]),
        (ResponsePolicy(browser_ttl=60), ["Cache-Control: max-age=5"], [b"max-age=5"]),
        (ResponsePolicy(browser_ttl=60), [f"Expires: {'Sat, 21 Nov 2026 11:00:00 GMT'}"], []),
        (ResponsePolicy(browser_ttl=60), ["CDN-Cache-Control: max-age=90"], [b"private, max-age=72"]),
        (BY_HEADERS, [f"Last-Modified: {HOUR_AGO}"], []),
        (ResponsePolicy(freshness="headers", browser_ttl=60), [f"Last-Modified: {HOUR_AGO}"], []),
    ],
    ids=str,
)
def test_browsers_are_told_what_to_do_unless_the_application_has_told_them(
    policy: ResponsePolicy, given_: list[str], said: list[bytes]
) -> None:
    served = serve(ask(), stored(*given_, policy=policy), HIT, policy)
    assert values(served, b"cache-control") == said


def test_a_page_just_made_may_stay_in_a_browser_for_as_long_as_one_from_the_store() -> None:
    policy = ResponsePolicy(browser_ttl=60, cookies="ignore")
    assert values(serve(ask(), stored(policy=policy), MISS, policy), b"cache-control") == [b"max-age=60"]


@pytest.mark.parametrize(
    ("vary_on", "vary", "said"),
    [
        (("Accept-Language",), [], [b"accept-language"]),
        (("Accept-Language",), ["Vary: Accept-LANGUAGE"], [b"Accept-LANGUAGE"]),
        (("Accept-Language", "X"), ["Vary: X"], [b"X", b"accept-language"]),
        ((), ["Vary: X"], [b"X"]),
        (("_user", "cookie"), [], [b"cookie"]),
    ],
    ids=str,
)
def test_caches_outside_hear_what_the_key_varies_on(
    vary_on: tuple[str, ...], vary: list[str], said: list[bytes]
) -> None:
    policy = ResponsePolicy(vary_on=vary_on)
    assert values(serve(ask(), stored(*vary, policy=policy), HIT, policy), b"vary") == said


def test_a_304_hears_it_too() -> None:
    policy = ResponsePolicy(vary_on=("X",), browser_ttl=60)
    served = serve(ask("If-None-Match: *"), stored(policy=policy), HIT, policy)
    assert (served.status, values(served, b"vary")) == (304, [b"x"])
    assert values(served, b"cache-control") == [b"private, max-age=72"]


def test_what_is_stored_nowhere_is_a_504_that_nobody_keeps() -> None:
    refused = unavailable()
    assert (refused.status, refused.body, values(refused, b"cache-control")) == (504, b"", [b"no-store"])
    assert values(refused, b"cache-status") == [b"cachefence; detail=only-if-cached"]
    assert serve(ask(), stored(policy=SHARED), Refusal(Reason.ONLY_IF_CACHED), SHARED).status == 200
