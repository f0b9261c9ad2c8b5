"""How long what is stored is fresh, may be served stale and is kept (RFC 9111 section 4.2, 5861, 9213)."""

from __future__ import annotations

import math

import pytest

from cachefence_web.core.policy import LONGEST, SHORTEST, Policy
from cachefence_web.http import Reason, ResponsePolicy
from cachefence_web.http.storing import KEPT_FOR_THE_PATIENT, KEPT_FOR_VALIDATION
from tests.http.build import BY_HEADERS, HOUR_AGO, IN_AN_HOUR, LIFE, TODAY, answer, ask, granted, refusal

SPENT = SHORTEST
"""What stands for a life that is over: the stores know no shorter one."""

TTLS = [
    (["Cache-Control: max-age=60"], 60),
    (["Cache-Control: max-age=60, s-maxage=10"], 10),
    (["Cache-Control: s-maxage=60, max-age=10"], 60),
    (["Cache-Control: s-maxage=60", "Expires: 0"], 60),
    (["Cache-Control: max-age=60", f"Expires: {IN_AN_HOUR}"], 60),
    (["Cache-Control: max-age=60, max-age=10"], 60),
    (["Cache-Control: max-age=99999999999999999999"], LONGEST),
    ([f"Expires: {IN_AN_HOUR}", f"Date: {TODAY}"], 3600),
    ([f"Expires: {IN_AN_HOUR}"], 3600),
    # The hour that it is fresh began an hour ago: both Date and Age count, the older one wins.
    ([f"Expires: {IN_AN_HOUR}", f"Date: {HOUR_AGO}"], 3600),
    (["Cache-Control: max-age=7200", f"Date: {HOUR_AGO}"], 3600),
    (["Cache-Control: max-age=7200", "Age: 200"], 7000),
    (["Cache-Control: max-age=7200", "Age: 200", f"Date: {HOUR_AGO}"], 3600),
    (["Cache-Control: max-age=7200", "Age: 4600", f"Date: {HOUR_AGO}"], 2600),
    (["Cache-Control: max-age=60", f"Date: {IN_AN_HOUR}"], 60),
    ([f"Last-Modified: {HOUR_AGO}", f"Date: {TODAY}"], 360),
    ([f"Last-Modified: {HOUR_AGO}"], 360),
    (["Last-Modified: Sun, 21 Nov 2004 10:00:00 GMT"], 86_400),
    (["CDN-Cache-Control: max-age=5", "Cache-Control: max-age=60"], 5),
    (["CDN-Cache-Control: max-age=5, s-maxage=7", "Cache-Control: no-store"], 7),
    (["CDN-Cache-Control: max-age=5", "Expires: 0", "Age: 2"], 3),
    # What is no Structured Field is not there.
    (["CDN-Cache-Control: max-age=5.0", "Cache-Control: max-age=60"], 60),
    (["CDN-Cache-Control: ", "Cache-Control: max-age=60"], 60),
    (["Surrogate-Control: max-age=5", "Cache-Control: max-age=60"], 60),
]


@pytest.mark.parametrize(("headers", "ttl"), TTLS, ids=[" ".join(headers) for headers, _ in TTLS])
def test_the_headers_say_how_long_it_is_fresh(headers: list[str], ttl: float) -> None:
    assert granted(answer(*headers), policy=BY_HEADERS).life.ttl == ttl


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], Reason.NO_FRESHNESS),
        (["Cache-Control: must-revalidate"], Reason.NO_FRESHNESS),
        (["Cache-Control: public"], Reason.MAX_AGE),
        (["Cache-Control: max-age=0"], Reason.MAX_AGE),
        (["Cache-Control: max-age=-1"], Reason.MAX_AGE),
        (["Cache-Control: max-age=1.5"], Reason.MAX_AGE),
        (["Cache-Control: s-maxage=0, max-age=60"], Reason.MAX_AGE),
        (["Expires: 0"], Reason.MAX_AGE),
        ([f"Expires: {HOUR_AGO}"], Reason.MAX_AGE),
        ([f"Expires: {TODAY}"], Reason.MAX_AGE),
        ([f"Expires: {IN_AN_HOUR}", "Expires: 0"], Reason.MAX_AGE),
        (["Cache-Control: max-age=60", "Age: 60"], Reason.MAX_AGE),
        (["Cache-Control: max-age=60", "Age: -1"], Reason.MAX_AGE),
        (["Cache-Control: max-age=60", "Age: 1", "Age: 2"], Reason.MAX_AGE),
        (["Cache-Control: max-age=60", f"Date: {HOUR_AGO}"], Reason.MAX_AGE),
        (["Cache-Control: no-cache"], Reason.NO_FRESHNESS),
        (["CDN-Cache-Control: max-age=0", "Cache-Control: max-age=60"], Reason.MAX_AGE),
        (["CDN-Cache-Control: must-revalidate", "Cache-Control: max-age=60"], Reason.NO_FRESHNESS),
        (["CDN-Cache-Control: private", "Cache-Control: max-age=60"], Reason.PRIVATE),
    ],
    ids=str,
)
def test_what_is_never_fresh_and_cannot_be_validated_is_not_stored(headers: list[str], reason: Reason) -> None:
    assert refusal(answer(*headers), policy=BY_HEADERS) is reason


@pytest.mark.parametrize(
    "headers",
    [
        [], ["Cache-Control: max-age=0"], ["Cache-Control: no-cache"], ["Cache-Control: no-cache, max-age=60"],
        ["Expires: 0"], ["Cache-Control: max-age=60", "Age: 70"],
    ],
    ids=str,
)
def test_what_is_not_fresh_but_can_be_validated_is_kept_for_that(headers: list[str]) -> None:
    life = granted(answer('ETag: "v1"', *headers), policy=BY_HEADERS).life
    assert (life.ttl, life.stale_for, life.stale_if_error) == (SPENT, 0, KEPT_FOR_VALIDATION)


@pytest.mark.parametrize("status", [203, 404, 301, 500])
def test_only_a_200_is_validated(status: int) -> None:
    assert refusal(answer('ETag: "v1"', "Cache-Control: max-age=0", status=status), policy=BY_HEADERS) is Reason.MAX_AGE


@pytest.mark.parametrize(
    ("status", "public", "stored"),
    [
        (200, False, True), (203, False, True), (204, False, True), (300, False, True), (301, False, True),
        (308, False, True), (404, False, True), (405, False, True), (410, False, True), (414, False, True),
        (501, False, True), (201, False, False), (302, False, False), (307, False, False), (400, False, False),
        (403, False, False), (500, False, False), (503, False, False), (599, False, False), (302, True, True),
        (599, True, True),
    ],
)
def test_freshness_is_guessed_only_where_the_status_permits_it(status: int, public: bool, stored: bool) -> None:
    headers = [f"Last-Modified: {HOUR_AGO}", *(["Cache-Control: public"] if public else [])]
    body = b"" if status == 204 else b"x"
    if stored:
        assert granted(answer(*headers, status=status, body=body), policy=BY_HEADERS).life.ttl == 360
    else:
        assert refusal(answer(*headers, status=status, body=body), policy=BY_HEADERS) is Reason.NO_FRESHNESS


STALE = [
    ("max-age=60", 0, 0, False),
    ("max-age=60, stale-while-revalidate=30", 30, 0, False),
    ("max-age=60, stale-if-error=40", 0, 40, False),
    ("max-age=60, stale-while-revalidate=30, stale-if-error=40", 30, 40, False),
    ("max-age=60, stale-while-revalidate=soon, stale-if-error", 0, 0, False),
    # Where staleness is forbidden no other directive permits it (RFC 9111 section 4.2.4).
    ("max-age=60, stale-while-revalidate=30, stale-if-error=40, must-revalidate", 0, 0, True),
    ("max-age=60, stale-while-revalidate=30, stale-if-error=40, proxy-revalidate", 0, 0, True),
    ("s-maxage=60, stale-while-revalidate=30, stale-if-error=40", 0, 0, True),
    ("max-age=60, stale-while-revalidate=30, stale-if-error=40, no-cache", 0, 0, True),
]


@pytest.mark.parametrize(("said", "stale_for", "excuses", "strict"), STALE)
def test_it_is_served_stale_only_as_far_as_it_permits(
    said: str, stale_for: float, excuses: float, strict: bool
) -> None:
    verdict = granted(answer(f"Cache-Control: {said}", 'ETag: "v"'), policy=BY_HEADERS)
    assert (verdict.life.stale_for, verdict.stored.excuses, verdict.stored.strict) == (stale_for, excuses, strict)


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        (["Cache-Control: max-age=60"], KEPT_FOR_THE_PATIENT),
        (["Cache-Control: max-age=60, must-revalidate"], 0),
        (["Cache-Control: max-age=60, stale-if-error=9999"], 9999),
        (["Cache-Control: max-age=60", 'ETag: "v"'], KEPT_FOR_VALIDATION),
        (["Cache-Control: max-age=60, must-revalidate", f"Last-Modified: {HOUR_AGO}"], KEPT_FOR_VALIDATION),
        # A tag of ours is unknown to the application, which could not say that it is still current.
        (["Cache-Control: max-age=60", 'ETag: W/"cf-0"'], KEPT_FOR_THE_PATIENT),
    ],
    ids=str,
)
def test_it_is_kept_past_its_freshness_for_what_may_yet_be_done_with_it(headers: list[str], kept: float) -> None:
    assert granted(answer(*headers), policy=BY_HEADERS).life.stale_if_error == kept


def test_what_arrives_stale_has_used_up_a_part_of_what_it_permits() -> None:
    said = "Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=900"
    life = granted(answer(said, "Age: 80"), policy=BY_HEADERS).life
    assert (life.ttl, life.stale_for, life.stale_if_error) == (SPENT, 10, 880)
    assert refusal(answer("Cache-Control: max-age=60, stale-while-revalidate=30", "Age: 90"), policy=BY_HEADERS)
    kept = granted(answer(said, "Age: 80"), policy=BY_HEADERS).stored
    assert (kept.overdue, kept.excuses, kept.bridges) == (20, 880, True)
    assert not granted(answer("Cache-Control: max-age=60"), policy=BY_HEADERS).stored.bridges


@pytest.mark.parametrize(
    ("headers", "overdue"),
    [
        (["Cache-Control: max-age=60"], None),
        (["Cache-Control: max-age=60", "Age: 60"], 0),
        (["Cache-Control: max-age=60", "Age: 80"], 20),
        (["Cache-Control: max-age=60", "Age: ?"], math.inf),
        (["Cache-Control: no-cache, max-age=60"], 0),
        ([], 0),
    ],
    ids=str,
)
def test_what_was_stale_from_the_start_is_known_to_have_been(headers: list[str], overdue: float | None) -> None:
    assert granted(answer('ETag: "v"', *headers), policy=BY_HEADERS).stored.overdue == overdue


def test_under_a_policy_nothing_is_stale_from_the_start() -> None:
    assert granted(answer("Cache-Control: max-age=60", "Age: 80")).stored.overdue is None


def test_where_the_headers_decide_the_policys_own_life_counts_for_nothing() -> None:
    life = Policy(ttl=None, stale_for=5, stale_if_error=7, jitter=0.5, lease=3, wait=4, early=0)
    decided = granted(answer("Cache-Control: max-age=60"), policy=BY_HEADERS, life=life).life
    assert decided == Policy(ttl=60, stale_if_error=KEPT_FOR_THE_PATIENT, lease=3, wait=4, early=0)
    assert granted(
        answer("Cache-Control: max-age=60"), policy=BY_HEADERS, life=Policy(sliding=True, negative_ttl=9)
    ).life == Policy(ttl=60, stale_if_error=KEPT_FOR_THE_PATIENT)


@pytest.mark.parametrize(
    ("age", "initial"),
    [(["Age: 30"], 30), ([], 0), ([f"Date: {HOUR_AGO}"], 3600), ([f"Date: {IN_AN_HOUR}"], 0), (["Age: ?"], 2**31),
     (["Age: 99999999999999"], 2**31)],
    ids=str,
)
def test_the_age_at_arrival_is_remembered(age: list[str], initial: float) -> None:
    for policy in (ResponsePolicy(), BY_HEADERS):
        assert granted(answer('ETag: "v"', *age), policy=policy).stored.initial_age == initial


@pytest.mark.parametrize(
    ("headers", "status", "ttl"),
    [
        ([], 200, 300),
        (["Cache-Control: max-age=60"], 200, 300),
        (["Cache-Control: s-maxage=60"], 200, 60),
        (["Cache-Control: s-maxage=60", "Age: 20"], 200, 40),
        (["Cache-Control: s-maxage=600"], 200, 300),
        (["Cache-Control: s-maxage=600, max-age=1"], 200, 300),
        (["CDN-Cache-Control: max-age=60"], 200, 60),
        (["CDN-Cache-Control: public"], 200, 300),
        (["Cache-Control: max-age=60"], 404, 60),
        (["Cache-Control: max-age=600"], 301, 300),
        ([f"Expires: {IN_AN_HOUR}"], 410, 300),
        (["Cache-Control: max-age=60", "Age: 20"], 500, 40),
    ],
    ids=str,
)
def test_under_a_policy_its_ttl_counts_within_what_the_response_grants(
    headers: list[str], status: int, ttl: float
) -> None:
    assert granted(answer(*headers, status=status)).life.ttl == ttl


def test_under_a_policy_without_end_what_the_response_grants_is_the_end() -> None:
    endless = Policy(ttl=None)
    assert granted(answer(), life=endless).life.ttl is None
    assert granted(answer("Cache-Control: s-maxage=60"), life=endless).life.ttl == 60


def test_under_a_policy_no_hit_renews_what_the_response_has_limited() -> None:
    sliding = Policy(ttl=300, sliding=True)
    assert granted(answer(), life=sliding).life.sliding
    assert not granted(answer("Cache-Control: s-maxage=60"), life=sliding).life.sliding
    assert not granted(answer("Cache-Control: s-maxage=600"), life=sliding).life.sliding


@pytest.mark.parametrize("said", ["must-revalidate", "proxy-revalidate", "s-maxage=600", "max-age=9, must-revalidate"])
def test_under_a_policy_the_response_may_forbid_staleness(said: str) -> None:
    verdict = granted(answer(f"Cache-Control: {said}"))
    assert (verdict.life.stale_for, verdict.life.stale_if_error, verdict.stored.excuses) == (0, 0, 0)
    assert verdict.stored.strict


def test_under_a_policy_staleness_is_the_policys_affair() -> None:
    verdict = granted(answer("Cache-Control: max-age=9, stale-while-revalidate=1, stale-if-error=1"))
    assert verdict.life == LIFE
    assert (verdict.stored.excuses, verdict.stored.strict) == (LIFE.stale_if_error, False)


def test_the_fields_that_speak_to_this_cache_are_configurable() -> None:
    ours = ResponsePolicy(freshness="headers", targeted=("Shop-Cache-Control", "CDN-Cache-Control"))
    none = ResponsePolicy(freshness="headers", targeted=())
    response = answer("Cache-Control: max-age=1", "CDN-Cache-Control: max-age=2", "Shop-Cache-Control: max-age=3")
    assert [granted(response, policy=policy).life.ttl for policy in (none, BY_HEADERS, ours)] == [1, 2, 3]


def test_what_belongs_to_groups_carries_their_tags() -> None:
    for policy in (ResponsePolicy(), BY_HEADERS):
        verdict = granted(answer("Cache-Control: max-age=9", 'Cache-Groups: "books", "a b"'), ask(), policy)
        assert len(verdict.tags) == 2
        assert verdict.tags[0] == "group:https://shop.example|books"
        assert granted(answer("Cache-Control: max-age=9", "Cache-Groups: books"), ask(), policy).tags == ()


def test_no_life_is_one_that_the_stores_cannot_keep() -> None:
    for headers in (
        ["Cache-Control: max-age=2147483648, stale-while-revalidate=2147483648"],
        ["Cache-Control: max-age=0", 'ETag: "v"', "Age: 2147483648"],
    ):
        life = granted(answer(*headers), policy=BY_HEADERS).life
        assert life.ttl is not None
        assert all(math.isfinite(each) for each in (life.ttl, life.stale_for, life.stale_if_error))
