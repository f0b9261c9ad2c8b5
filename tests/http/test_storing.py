"""What may be shared, and what of it is kept."""

from __future__ import annotations

import pytest

from cachefence_web.http import (
    Reason,
    Refused,
    Request,
    Response,
    ResponsePolicy,
    Storable,
    storable,
)
from tests.http.build import answer, ask, fields, stored

SHARED = ResponsePolicy()


def verdict(
    response: Response,
    request: Request | None = None,
    policy: ResponsePolicy = SHARED,
    *,
    personal: bool = False,
) -> Reason | None:
    """The reason for a refusal, None for none."""
    decided = storable(request or ask(), response, policy, personal=personal)
    return decided.reason if isinstance(decided, Refused) else None


def test_a_plain_200_is_stored_with_its_repeated_headers_in_order() -> None:
    kept = stored(
        "Content-Type: text/html", "Link: </a>", "X-B: 1", "Link: </b>", "Content-Length: 14", 'ETag: "v1"'
    )
    assert kept.headers == fields(
        "content-type: text/html", "link: </a>", "x-b: 1", "link: </b>", "content-length: 14", 'etag: "v1"'
    )
    assert kept.body == b"<h1>Books</h1>"


@pytest.mark.parametrize("status", [100, 201, 203, 204, 301, 302, 307, 400, 401, 404, 500, 503])
def test_p11_only_200_is_stored(status: int) -> None:
    assert verdict(answer(status=status)) is Reason.STATUS


def test_a_304_of_the_application_answers_one_visitors_condition_and_is_told_apart() -> None:
    assert verdict(answer(status=304)) is Reason.NOT_MODIFIED


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Set-Cookie: session=1", Reason.ADDRESSED),
        ("SET-COOKIE: a=b", Reason.ADDRESSED),
        ('Clear-Site-Data: "cookies"', Reason.ADDRESSED),
        ("Cache-Control: private", Reason.PRIVATE),
        ("Cache-Control: max-age=0, must-revalidate", Reason.MAX_AGE),
        ("Cache-Control: max-age=60, PRIVATE", Reason.PRIVATE),
        ('Cache-Control: private="X-User"', Reason.PRIVATE),
        ("Cache-Control: no-store", Reason.NO_STORE),
        ('Cache-Control: x="a, b", No-Store', Reason.NO_STORE),
        ("Cache-Control: no-cache", Reason.NO_CACHE),
        ('Cache-Control: no-cache="Set-Cookie"', Reason.NO_CACHE),
        ("Cache-Control: s-maxage=0", Reason.S_MAXAGE),
        ("Cache-Control: s-maxage='60'", Reason.S_MAXAGE),
        ("Vary: *", Reason.VARY),
        ("Vary: Accept-Encoding, *", Reason.VARY),
        ("Vary: Accept-Language", Reason.VARY),
        ("Content-Range: bytes 0-13/100", Reason.PARTIAL),
        ("Content-Length: 13", Reason.LENGTH),
        ("Content-Length: 15", Reason.LENGTH),
        ("Content-Length: 14, 14", Reason.LENGTH),
        ("Content-Length: many", Reason.LENGTH),
    ],
)
def test_p11_a_response_that_forbids_sharing_is_not_stored(header: str, reason: Reason) -> None:
    assert verdict(answer("Content-Type: text/html", header)) is reason


@pytest.mark.parametrize(
    "header",
    [
        "Cache-Control: public, max-age=60",
        "Cache-Control: max-age='3600'",
        'Cache-Control: x="no-store, private"',
        "Content-Length: 14",
        "Vary: Host",
        "Vary: ",
    ],
)
def test_what_does_not_forbid_does_not_refuse(header: str) -> None:
    assert verdict(answer(header)) is None


def test_p11_a_206_is_not_stored_even_without_its_range() -> None:
    assert verdict(answer(status=206)) is Reason.PARTIAL


def test_p11_two_lengths_are_not_believed() -> None:
    assert verdict(answer("Content-Length: 14", "Content-Length: 14")) is Reason.LENGTH


def test_p11_an_answer_to_head_is_not_stored_for_get() -> None:
    assert verdict(answer(body=b""), ask(method="HEAD")) is Reason.HEAD


@pytest.mark.parametrize(
    "request_",
    [
        ask(method="POST"),
        ask("Authorization: a"),
        ask("Cookie: a=1"),
        ask("Range: bytes=0-"),
        ask("Cache-Control: no-store"),
    ],
)
def test_p11_what_may_not_be_answered_from_the_store_may_not_fill_it(request_: Request) -> None:
    assert isinstance(storable(request_, answer(), SHARED, personal=False), Refused)


def test_p11_a_personal_page_is_not_stored() -> None:
    assert verdict(answer(), personal=True) is Reason.PERSONAL
    assert (
        verdict(answer(), ask("Cookie: s=1"), ResponsePolicy(cookies="ignore"), personal=True)
        is Reason.PERSONAL
    )
    assert (
        verdict(
            answer(), ask("Cookie: s=1"), ResponsePolicy(vary_on=("accept",), cookies="ignore"), personal=True
        )
        is Reason.PERSONAL
    )


def test_a_personal_page_is_stored_for_the_credentials_it_is_keyed_by() -> None:
    assert verdict(answer(), ask("Cookie: s=1"), ResponsePolicy(vary_on=("cookie",)), personal=True) is None
    assert (
        verdict(answer(), ask("Authorization: a"), ResponsePolicy(vary_on=("authorization",)), personal=True)
        is None
    )


def test_p11_a_first_visit_without_credentials_shares_no_token() -> None:
    assert verdict(answer(), ask(), ResponsePolicy(vary_on=("cookie",)), personal=True) is Reason.PERSONAL


def test_p11_an_ignored_cookie_beside_a_keyed_token_shares_no_personal_page() -> None:
    policy = ResponsePolicy(vary_on=("authorization",), cookies="ignore")
    both = ask("Authorization: a", "Cookie: s=1")
    assert verdict(answer(), both, policy, personal=True) is Reason.PERSONAL
    assert verdict(answer(), both, policy) is None


def test_vary_is_satisfied_by_the_keyed_fields_in_any_case() -> None:
    policy = ResponsePolicy(vary_on=("Accept-Language", "accept-ENCODING"))
    assert verdict(answer("Vary: accept-Language", "Vary: Accept-Encoding"), policy=policy) is None
    assert verdict(answer("Vary: Accept-Language, Origin"), policy=policy) is Reason.VARY


def test_p11_vary_cookie_is_settled_only_where_cookies_bypass() -> None:
    assert verdict(answer("Vary: Cookie, Authorization")) is None
    assert verdict(answer("Vary: Cookie"), policy=ResponsePolicy(cookies="ignore")) is Reason.VARY


def test_hop_by_hop_fields_and_those_connection_lists_are_dropped() -> None:
    kept = stored(
        "Connection: X-Hop, keep-alive",
        "Connection: x-other",
        "Keep-Alive: 5",
        "X-Hop: 1",
        "x-Other: 2",
        "Transfer-Encoding: chunked",
        "Trailer: x",
        "Upgrade: h2c",
        "Proxy-Authenticate: Basic",
        "X-End: 3",
    )
    assert [name for name, _ in kept.headers] == [b"x-end", b"content-length", b"etag"]


def test_p11_connection_cannot_hide_a_cookie() -> None:
    assert verdict(answer("Connection: set-cookie", "Set-Cookie: a=1")) is Reason.ADDRESSED


def test_the_shared_lifetime_that_a_response_grants_is_handed_on() -> None:
    granted = storable(
        ask(), answer("Cache-Control: s-maxage=60, max-age=5", "Age: 20"), SHARED, personal=False
    )
    silent = storable(ask(), answer("Cache-Control: max-age=5"), SHARED, personal=False)
    assert isinstance(granted, Storable)
    assert isinstance(silent, Storable)
    assert (granted.max_ttl, silent.max_ttl) == (40.0, None)


def test_a_response_that_used_up_its_lifetime_elsewhere_is_refused() -> None:
    assert verdict(answer("Cache-Control: s-maxage=60", "Age: 60")) is Reason.S_MAXAGE


def test_an_entity_tag_is_made_of_what_is_sent_and_nothing_else() -> None:
    def tag(*headers: str, body: bytes = b"a") -> bytes:
        return dict(stored(*headers, body=body).headers)[b"etag"]

    # A constant, because it must be the same in every process and release.
    assert tag("Content-Type: text/plain") == b'"4caa71145394871923c9b3a1b6177829"'
    assert tag("Content-Type: text/plain", "X-Request-Id: 7") == tag("content-type: text/plain")
    assert (
        len(
            {
                tag(),
                tag(body=b"b"),
                tag("Content-Type: a"),
                tag("Content-Encoding: a"),
                tag("Content-Type: a", "Content-Encoding: a"),
            }
        )
        == 5
    )


def test_an_entity_tag_of_the_application_is_kept() -> None:
    assert dict(stored('ETag: W/"mine"').headers)[b"etag"] == b'W/"mine"'
