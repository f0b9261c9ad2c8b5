"""Which fields of a stored response are kept, added, or only for the one who asked (RFC 9111 section 3.1)."""

from __future__ import annotations

import pytest

from cachefence_web.http import Forward, Forwarded, Hit, ResponsePolicy, Shown
from tests.http.build import BY_HEADERS, NOW, SHARED, answer, ask, granted, refusal, stored, values

FRESH = "Cache-Control: max-age=60"
both_modes = pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])


@both_modes
def test_hop_by_hop_fields_and_those_connection_lists_are_dropped(policy: ResponsePolicy) -> None:
    kept = stored(
        "Connection: X-Hop, keep-alive", "Connection: x-other", "Keep-Alive: 5", "Proxy-Connection: x", "TE: x",
        "X-Hop: 1", "x-Other: 2", "Transfer-Encoding: chunked", "Trailer: x", "Upgrade: h2c", FRESH,
        "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x", "Proxy-Authorization: x", "X-End: 3",
        policy=policy,
    )
    assert [name for name, _ in kept.response.headers] == [b"cache-control", b"x-end", b"content-length", b"etag"]


@both_modes
@pytest.mark.parametrize("name", ["Cache-Control", "Vary", "ETag", "Content-Length"])
def test_p11_connection_cannot_take_away_what_serving_needs(policy: ResponsePolicy, name: str) -> None:
    lines = [FRESH, "Vary: Accept", 'ETag: "v"', "Content-Length: 14"]
    kept = stored(f"Connection: {name}", *lines, policy=policy)
    assert sorted(kept.response.headers) == sorted(stored(*lines, policy=policy).response.headers)


@pytest.mark.parametrize(
    "line",
    [
        "Content-Security-Policy: default-src 'self'", "Content-Encoding: br", "Content-Disposition: inline",
        "Content-Location: /b", "Content-Language: en", "Warning: 110 - old", "X-Frame-Options: DENY", "Date: then",
        "Strict-Transport-Security: max-age=1", "Surrogate-Control: x", "Last-Modified: then", "Age: 3", "X-: \xff",
        "Access-Control-Allow-Origin: *", "Server: x", "Via: 1.1 x", "Pragma: x", "Cache-Status: inner; hit",
    ],
)
@both_modes
def test_what_is_not_known_to_be_somebodys_own_is_kept_as_it_is(policy: ResponsePolicy, line: str) -> None:
    name, _, value = line.partition(": ")
    kept = stored(FRESH, line, policy=policy).response
    assert values(kept, name.lower().encode()) == [value.encode("latin-1")]


NAMED = [
    'private="X-User, set-COOKIE"', 'no-cache="x-user", private="Set-Cookie"', "private=x-user, no-cache=set-cookie",
]


@both_modes
@pytest.mark.parametrize("said", NAMED)
def test_p11_the_fields_that_private_and_no_cache_name_are_for_the_asker_alone(
    policy: ResponsePolicy, said: str
) -> None:
    own = ["X-User: ada", "Set-Cookie: a=1", "Set-Cookie: b=2"]
    verdict = granted(answer(f"Cache-Control: max-age=60, {said}", "X-Other: 1", *own), policy=policy)
    shown = Shown(policy, None, NOW)
    miss = shown.serve(ask(), verdict.first, Forwarded(Forward.MISS, stored=True))
    hit = shown.serve(ask(), verdict.stored, Hit(1.0, 9.0))
    assert (values(miss, b"x-user"), values(miss, b"set-cookie")) == ([b"ada"], [b"a=1", b"b=2"])
    assert (values(hit, b"x-user"), values(hit, b"set-cookie")) == ([], [])
    assert values(hit, b"x-other") == [b"1"]


@both_modes
def test_a_response_cannot_withhold_what_says_who_may_have_it(policy: ResponsePolicy) -> None:
    said = 'Cache-Control: max-age=60, private="vary, cache-control, content-length, connection"'
    verdict = granted(answer(said, "Vary: Accept", "Connection: x"), policy=policy)
    assert values(verdict.stored.response, b"vary") == [b"Accept"]
    assert values(verdict.stored.response, b"content-length") == [b"14"]
    assert len(values(verdict.stored.response, b"cache-control")) == 1
    assert verdict.withheld == ()
    assert verdict.first is verdict.stored


@both_modes
def test_p11_an_entity_tag_that_is_the_askers_own_is_not_shown_to_others(policy: ResponsePolicy) -> None:
    verdict = granted(answer('Cache-Control: max-age=60, private="etag"', 'ETag: "ada"'), policy=policy)
    (tag,) = values(verdict.stored.response, b"etag")
    assert tag.startswith(b'W/"cf-')
    assert verdict.first is verdict.stored


@pytest.mark.parametrize(
    ("status", "body", "headers", "lengths"),
    [
        (200, b"abc", [], [b"3"]),
        (200, b"abc", ["Content-Length: 3", "Content-Length: 3"], [b"3"]),
        (404, b"abc", ["Content-Length:  3"], [b"3"]),
        (200, b"", [], [b"0"]),
        (204, b"", [], []),
        (204, b"", ["Content-Length: 0"], []),
        (204, b"", ["Content-Length: 3"], []),
        (205, b"", [], [b"0"]),
    ],
    ids=str,
)
def test_what_is_kept_has_one_length_and_that_is_true(
    status: int, body: bytes, headers: list[str], lengths: list[bytes]
) -> None:
    kept = stored("Cache-Control: s-maxage=60", *headers, status=status, body=body).response
    assert values(kept, b"content-length") == lengths


@pytest.mark.parametrize("status", [204, 205])
def test_a_status_without_a_body_is_not_believed_if_it_has_one(status: int) -> None:
    assert refusal(answer("Cache-Control: s-maxage=60", status=status, body=b"x")) is not None


def test_an_entity_tag_is_made_of_what_is_sent_and_nothing_else() -> None:
    def tag(*headers: str, body: bytes = b"a", policy: ResponsePolicy = SHARED) -> bytes:
        return values(stored(FRESH, *headers, body=body, policy=policy).response, b"etag")[0]

    # A constant, because it must be the same in every process and release.
    assert tag("Content-Type: text/plain") == b'W/"cf-4caa71145394871923c9b3a1b6177829"'
    assert tag("Content-Type: text/plain", "X-Request-Id: 7") == tag("content-type: text/plain", policy=BY_HEADERS)
    different = [tag(), tag(body=b"b"), tag("Content-Type: a"), tag("Content-Encoding: a")]
    assert len({*different, tag("Content-Type: a", "Content-Encoding: a")}) == 5


@pytest.mark.parametrize("tag", ['"mine"', 'W/"mine"', "unquoted"])
def test_an_entity_tag_of_the_application_is_kept(tag: str) -> None:
    assert values(stored(f"ETag: {tag}").response, b"etag") == [tag.encode()]


@pytest.mark.parametrize("status", [404, 301])
def test_only_a_200_is_given_an_entity_tag(status: int) -> None:
    assert values(stored(FRESH, status=status).response, b"etag") == []
