"""What may be shared, and what of it is kept (RFC 9111 section 3)."""

from __future__ import annotations

import pytest

from cachefence_web.http import Reason, Request, ResponsePolicy
from tests.http.build import BY_HEADERS, LIFE, SHARED, answer, ask, fields, granted, refusal, stored

FRESH = "Cache-Control: max-age=60"
both_modes = pytest.mark.parametrize("policy", [SHARED, BY_HEADERS], ids=["policy", "headers"])


@both_modes
def test_a_fresh_200_is_stored_with_its_repeated_fields_in_order(policy: ResponsePolicy) -> None:
    kept = stored("Content-Type: text/html", "Link: </a>", "X-B: 1", FRESH, "Link: </b>", 'ETag: "v1"', policy=policy)
    assert kept.response.headers == fields(
        "content-type: text/html", "link: </a>", "x-b: 1", "cache-control: max-age=60", "link: </b>", 'etag: "v1"',
        "content-length: 14",
    )
    assert (kept.response.status, kept.response.body) == (200, b"<h1>Books</h1>")


def test_silence_is_stored_under_a_policy_and_not_where_the_headers_decide() -> None:
    assert refusal(answer()) is None
    assert refusal(answer(), policy=BY_HEADERS) is Reason.NO_FRESHNESS


@both_modes
@pytest.mark.parametrize("status", [200, 203, 204, 205, 299, 301, 302, 307, 400, 401, 404, 410, 418, 500, 503, 599])
def test_a_final_status_is_stored_if_it_says_how_long(policy: ResponsePolicy, status: int) -> None:
    assert refusal(answer(FRESH, status=status, body=b""), policy=policy) is None


@both_modes
@pytest.mark.parametrize(
    ("status", "reason"),
    [(100, Reason.STATUS), (103, Reason.STATUS), (206, Reason.PARTIAL), (304, Reason.NOT_MODIFIED)],
)
def test_p11_what_is_not_final_or_not_whole_is_not_stored(policy: ResponsePolicy, status: int, reason: Reason) -> None:
    assert refusal(answer(FRESH, status=status), policy=policy) is reason


@pytest.mark.parametrize("status", [201, 203, 204, 301, 302, 307, 400, 401, 404, 500, 503])
def test_under_a_policy_only_a_200_is_stored_without_a_word(status: int) -> None:
    assert refusal(answer(status=status, body=b"")) is Reason.STATUS
    assert refusal(answer("Cache-Control: max-age=60", "Age: 60", status=status, body=b"")) is Reason.STATUS


FORBIDDEN = [
    (["Cache-Control: no-store"], Reason.NO_STORE),
    (["Cache-Control: No-Store, max-age=60"], Reason.NO_STORE),
    (['Cache-Control: x="a, b", no-store'], Reason.NO_STORE),
    (["Cache-Control: max-age=60", "Cache-Control: no-store"], Reason.NO_STORE),
    (['Cache-Control: no-store="x"'], Reason.NO_STORE),
    (["Cache-Control: private, max-age=60"], Reason.PRIVATE),
    (["Cache-Control: max-age=60, PRIVATE"], Reason.PRIVATE),
    (['Cache-Control: max-age=60, private=""'], Reason.PRIVATE),
    (['Cache-Control: max-age=60, private="not a name"'], Reason.PRIVATE),
    (['Cache-Control: max-age=60, private="x", private'], Reason.PRIVATE),
    (["Cache-Control: private = x, max-age=60"], Reason.PRIVATE),
    ([FRESH, "Set-Cookie: session=1"], Reason.ADDRESSED),
    ([FRESH, "SET-COOKIE: a=b"], Reason.ADDRESSED),
    ([FRESH, "Connection: set-cookie", "Set-Cookie: a=b"], Reason.ADDRESSED),
    ([FRESH, 'Authentication-Info: nextnonce="x"'], Reason.ADDRESSED),
    (["Cache-Control: public, max-age=60", "Set-Cookie: a=b"], Reason.ADDRESSED),
    ([FRESH, "Vary: *"], Reason.VARY),
    ([FRESH, "Vary: Accept-Encoding, *"], Reason.VARY),
    ([FRESH, "Content-Length: 13"], Reason.LENGTH),
    ([FRESH, "Content-Length: 15"], Reason.LENGTH),
    ([FRESH, "Content-Length: 14, 15"], Reason.LENGTH),
    ([FRESH, "Content-Length: 14", "Content-Length: 15"], Reason.LENGTH),
    ([FRESH, "Content-Length: many"], Reason.LENGTH),
    ([FRESH, "Content-Type: text/event-stream; charset=utf-8"], Reason.STREAM),
    (["Cache-Control: must-understand, private, max-age=60"], Reason.PRIVATE),
]


@both_modes
@pytest.mark.parametrize(("headers", "reason"), FORBIDDEN, ids=[" ".join(headers) for headers, _ in FORBIDDEN])
def test_p11_a_response_that_forbids_sharing_is_not_stored(
    policy: ResponsePolicy, headers: list[str], reason: Reason
) -> None:
    assert refusal(answer(*headers), policy=policy) is reason


@both_modes
@pytest.mark.parametrize(
    "headers",
    [
        ["Cache-Control: public, max-age=60"],
        ["Cache-Control: MAX-AGE=60"],
        ['Cache-Control: max-age="60"'],
        ['Cache-Control: max-age=60, x="no-store, private"'],
        ["Cache-Control: max-age=60, nostore, no-storex, private-ish, x=no-store"],
        [FRESH, "Content-Length: 14"],
        [FRESH, "Content-Length: 14", "Content-Length: 14"],
        [FRESH, "Vary: Host"],
        [FRESH, "Vary: "],
        [FRESH, "Pragma: no-cache"],
        [FRESH, "Content-Type: text/plain, text/event-stream"],
    ],
    ids=" ".join,
)
def test_what_does_not_forbid_does_not_refuse(policy: ResponsePolicy, headers: list[str]) -> None:
    assert refusal(answer(*headers), policy=policy) is None


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (["Cache-Control: no-cache"], Reason.NO_CACHE),
        (['Cache-Control: no-cache="not a name"'], Reason.NO_CACHE),
        (["Cache-Control: max-age=0, must-revalidate"], Reason.MAX_AGE),
        (["Cache-Control: max-age='3600'"], Reason.MAX_AGE),
        (["Cache-Control: max-age"], Reason.MAX_AGE),
        (["Cache-Control: s-maxage=0, max-age=60"], Reason.S_MAXAGE),
        (["Cache-Control: s-maxage='60'"], Reason.S_MAXAGE),
        (["Cache-Control: s-maxage=60", "Age: 60"], Reason.S_MAXAGE),
        (["Cache-Control: s-maxage=60", "Age: nobody knows"], Reason.S_MAXAGE),
        (["CDN-Cache-Control: max-age=0", FRESH], Reason.S_MAXAGE),
        (["CDN-Cache-Control: no-store", FRESH], Reason.NO_STORE),
        (["Expires: 0"], Reason.EXPIRES),
        (["Expires: Sat, 21 Nov 2026 09:00:00 GMT"], Reason.EXPIRES),
        (["Content-Range: bytes 0-13/100"], Reason.PARTIAL),
        (['Clear-Site-Data: "cookies"'], Reason.ADDRESSED),
        (["Set-Cookie2: a=b"], Reason.ADDRESSED),
    ],
    ids=str,
)
def test_p11_under_a_policy_the_response_may_still_forbid(headers: list[str], reason: Reason) -> None:
    assert refusal(answer(*headers)) is reason


@pytest.mark.parametrize(
    "headers", [["Cache-Control: max-age=60", "Expires: 0"], ["Cache-Control: max-age=1", "Age: 5"]], ids=str
)
def test_under_a_policy_what_browsers_may_keep_is_no_bound_for_the_store(headers: list[str]) -> None:
    assert granted(answer(*headers)).life == LIFE


@both_modes
@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (200, "must-understand, no-store, max-age=60", None),
        (404, "no-store, must-understand, max-age=60", None),
        (299, "must-understand, no-store, max-age=60", Reason.STATUS),
        (299, "must-understand, max-age=60", Reason.STATUS),
        (200, "must-understand=x no-store, max-age=60", Reason.NO_STORE),
        (200, "must-understand =, no-store, max-age=60", Reason.NO_STORE),
    ],
)
def test_must_understand_overrules_no_store_for_statuses_that_are_understood(
    policy: ResponsePolicy, status: int, said: str, reason: Reason | None
) -> None:
    assert refusal(answer(f"Cache-Control: {said}", status=status), policy=policy) is reason


@both_modes
@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (ask(method="POST"), Reason.METHOD),
        (ask(method="PURGE"), Reason.METHOD),
        (ask(method="OPTIONS"), Reason.METHOD),
        (ask(method="HEAD"), Reason.HEAD),
        (ask("Range: bytes=0-"), Reason.RANGE),
        (ask("Cache-Control: no-store"), Reason.REQUEST_NO_STORE),
        (ask("Content-Length: 2"), Reason.REQUEST_BODY),
        (ask("Cookie: a=1", method="HEAD"), Reason.HEAD),
    ],
    ids=["post", "unknown", "options", "head", "range", "no-store", "body", "head with cookie"],
)
def test_p11_what_may_not_be_answered_from_the_store_may_not_fill_it(
    policy: ResponsePolicy, request_: Request, reason: Reason
) -> None:
    keyed = ResponsePolicy(freshness=policy.freshness, vary_on=("cookie",))
    assert refusal(answer(FRESH), request_, keyed) is reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("max-age=60", Reason.AUTHORIZATION),
        ("max-age=60, proxy-revalidate", Reason.AUTHORIZATION),
        ("public, max-age=60", None),
        ("must-revalidate, max-age=60", None),
        ("s-maxage=60", None),
        ("s-maxage=soon, max-age=60", Reason.AUTHORIZATION),
        ("public = 1, max-age=60", Reason.AUTHORIZATION),
        ("private, public, max-age=60", Reason.PRIVATE),
    ],
)
def test_p11_an_answer_to_authorization_is_stored_only_with_permission(said: str, reason: Reason | None) -> None:
    for header in ("Authorization: Bearer abc", "X-Api-Key: k"):
        assert refusal(answer(f"Cache-Control: {said}"), ask(header), BY_HEADERS) is reason


@pytest.mark.parametrize(("said", "authorized"), [("max-age=60", False), ("public, max-age=60", True)])
def test_p11_what_answers_who_says_who_asks_is_remembered(said: str, authorized: bool) -> None:
    assert stored(f"Cache-Control: {said}", policy=BY_HEADERS).authorized is authorized


@both_modes
def test_p11_a_personal_page_is_not_stored(policy: ResponsePolicy) -> None:
    assert refusal(answer(FRESH), policy=policy, personal=True) is Reason.PERSONAL
    ignoring = ResponsePolicy(freshness=policy.freshness, cookies="ignore", vary_on=("accept",))
    assert refusal(answer(FRESH), ask("Cookie: s=1"), ignoring, personal=True) is Reason.PERSONAL


def test_p11_a_personal_page_is_stored_for_all_the_credentials_it_came_with_or_not_at_all() -> None:
    by_cookie, by_token = ResponsePolicy(vary_on=("cookie",)), ResponsePolicy(vary_on=("authorization",))
    assert refusal(answer(), ask("Cookie: s=1"), by_cookie, personal=True) is None
    assert refusal(answer(), ask("Authorization: a"), by_token, personal=True) is None
    # A first visit shares no token with the next one.
    assert refusal(answer(), ask(), by_cookie, personal=True) is Reason.PERSONAL
    both = ask("Authorization: a", "Cookie: s=1")
    ignoring = ResponsePolicy(vary_on=("authorization",), cookies="ignore")
    assert refusal(answer(), both, ignoring, personal=True) is Reason.PERSONAL
    assert refusal(answer(), both, ignoring) is None
