"""Whether what is stored satisfies one request (RFC 9111 sections 4 and 5.2.1, RFC 5861)."""

from __future__ import annotations

import math

import pytest

from cachefence_web.core.flight import Fitness, Served, Status
from cachefence_web.http import Allowed, Request, Response, Stored, answers_from_cache, pack
from cachefence_web.responding.judging import Judgement
from tests.http.build import BY_HEADERS, SHARED, ask

FITS, SUFFICES, UNFIT = Fitness.FITS, Fitness.SUFFICES, Fitness.UNFIT


def kept(**known: object) -> bytes:
    return pack(Stored(Response(200, (), b"x"), **known))  # type: ignore[arg-type]


def fresh(age: float = 10.0, left: float | None = 50.0, value: object = None) -> Served:
    return Served(value or kept(), (), Status.HIT, remaining=left, age=age)


def stale(late: float = 10.0, age: float = 70.0, value: object = None) -> Served:
    return Served(value or kept(), (), Status.STALE, remaining=0.0, age=age, late=late)


def fitness(served: Served, request: Request) -> Fitness:
    asked = answers_from_cache(request, BY_HEADERS)
    assert isinstance(asked, Allowed)
    return Judgement(request, asked)(served)


TABLE = [
    # Cache-Control of the request, what is found, what is made of it.
    ("", fresh(), FITS),
    ("", fresh(left=None), FITS),
    ("", stale(), FITS),
    ("no-cache", fresh(), UNFIT),
    ("no-cache", stale(), UNFIT),
    ("no-cache, max-stale", stale(), UNFIT),
    ("max-age=0", fresh(age=0.1), UNFIT),
    ("max-age=10", fresh(age=10.0), FITS),
    ("max-age=10", fresh(age=10.1), UNFIT),
    ("max-age=10", fresh(age=0.0, value=kept(initial_age=11.0)), UNFIT),
    ("max-age=100", stale(), UNFIT),
    ("max-age=10, max-stale", stale(age=9.0), SUFFICES),
    ("max-age=10, max-stale", stale(age=11.0), UNFIT),
    ("min-fresh=50", fresh(left=50.0), FITS),
    ("min-fresh=51", fresh(left=50.0), UNFIT),
    ("min-fresh=51", fresh(left=None), FITS),
    ("min-fresh=1", stale(), UNFIT),
    ("max-stale", fresh(), FITS),
    ("max-stale", stale(late=1e6), SUFFICES),
    ("max-stale=10", stale(late=10.0), SUFFICES),
    ("max-stale=10", stale(late=10.1), UNFIT),
    ("max-stale=0", stale(), FITS),
    ("max-stale", stale(value=kept(strict=True)), UNFIT),
    ("only-if-cached", fresh(), FITS),
    ("only-if-cached", stale(), FITS),
    ("only-if-cached, max-stale", stale(), SUFFICES),
    # The store's shortest life stands for one that was over from the start: nothing is fresh that never was.
    ("", fresh(age=0.0, left=0.001, value=kept(overdue=0.0)), UNFIT),
    ("", fresh(age=0.0, left=0.001), FITS),
    ("", stale(value=kept(overdue=0.0)), FITS),
    ("", fresh(age=0.0, left=0.001, value=kept(overdue=9.0, bridges=True)), FITS),
    ("max-age=60", fresh(age=0.0, left=0.001, value=kept(overdue=9.0, bridges=True)), UNFIT),
    ("only-if-cached", fresh(age=0.0, value=kept(overdue=0.0)), UNFIT),
    ("min-fresh=1", fresh(age=0.0, value=kept(overdue=0.0)), UNFIT),
    ("max-stale", fresh(age=0.0, value=kept(overdue=0.0)), SUFFICES),
    ("max-stale", fresh(age=0.0, value=kept(overdue=0.0, strict=True)), UNFIT),
    ("max-stale=9", fresh(age=0.0, value=kept(overdue=10.0)), UNFIT),
    ("max-stale=10", fresh(age=0.0, value=kept(overdue=10.0)), SUFFICES),
    ("max-stale=19", stale(value=kept(overdue=10.0)), UNFIT),
    ("max-stale=20", stale(value=kept(overdue=10.0)), SUFFICES),
]


@pytest.mark.parametrize(
    ("said", "found", "expected"),
    TABLE,
    ids=[f"{index}: {said or 'nothing'}" for index, (said, _, _) in enumerate(TABLE)],
)
def test_a_request_is_satisfied_by_what_it_asks_for(said: str, found: Served, expected: Fitness) -> None:
    request = ask(f"Cache-Control: {said}") if said else ask()
    assert fitness(found, request) is expected


@pytest.mark.parametrize("found", [fresh(age=1e9), stale(late=1e9)], ids=["fresh", "stale"])
@pytest.mark.parametrize("said", ["no-cache", "max-age=0", "min-fresh=99999", "max-stale=1", "only-if-cached"])
def test_under_a_policy_only_the_policy_says_what_is_good_enough(said: str, found: Served) -> None:
    request = ask(f"Cache-Control: {said}", "Pragma: no-cache")
    asked = answers_from_cache(request, SHARED)
    assert isinstance(asked, Allowed)
    assert Judgement(request, asked)(found) is FITS


@pytest.mark.parametrize("value", [None, b"", b"foreign", "text", 7, kept()[:-1]], ids=str)
def test_p12_what_is_no_response_is_passed_over(value: object) -> None:
    found = Served(value, (), Status.HIT, remaining=50.0)
    assert fitness(found, ask()) is UNFIT
    judge = Judgement(ask(), Allowed())
    assert judge.stored(found) is None
    assert judge.fitting(found) is None


@pytest.mark.parametrize(
    ("authorized", "expected"), [(False, UNFIT), (True, FITS)], ids=["without permission", "with permission"]
)
def test_p11_who_says_who_asks_is_answered_only_with_permission(authorized: bool, expected: Fitness) -> None:
    value = kept(authorized=authorized)
    assert fitness(fresh(value=value), ask("Authorization: a")) is expected
    assert fitness(stale(value=value), ask("Authorization: a")) is expected
    assert fitness(fresh(value=value), ask()) is FITS


def test_another_variant_shows_the_way_however_old_it_is() -> None:
    german = kept(selecting=((b"accept-language", b"de"),))
    french, judge = ask("Accept-Language: fr", "Cache-Control: no-cache"), None
    spent = fresh(value=kept(selecting=((b"accept-language", b"de"),), overdue=0.0))
    for found in (fresh(value=german), stale(value=german), spent):
        assert fitness(found, french) is SUFFICES
        judge = Judgement(french, Allowed())
        assert judge.fitting(found) is None
    assert fitness(fresh(value=german), ask("Accept-Language: de")) is FITS


def test_what_was_unpacked_is_not_unpacked_again() -> None:
    judge, found = Judgement(ask(), Allowed()), fresh()
    assert judge.stored(found) is judge.stored(found)
    assert judge.stored(found) is not judge.stored(fresh(age=math.pi))
