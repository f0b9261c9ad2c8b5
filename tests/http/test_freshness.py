"""Age and lifetime by RFC 9111 section 4.2."""

from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.cache_control import FOREVER, directives
from cachefence_web.http.freshness import LONGEST_GUESS, explicit_lifetime, heuristic_lifetime, initial_age
from tests.http.build import fields

NOW = 1_795_246_200.5
DAY = 86_400


def at(seconds: float) -> str:
    return formatdate(int(NOW + seconds), usegmt=True)


@pytest.mark.parametrize(
    ("lines", "age"),
    [
        ([], 0.0),
        ([f"Date: {at(0)}"], 0.5),
        ([f"Date: {at(-100)}"], 100.5),
        ([f"Date: {at(100)}"], 0.0),
        (["Date: yesterday"], 0.0),
        ([f"Date: {at(-100)}", f"Date: {at(-50)}"], 0.0),
        ([f"Date: {at(-100)}", f"date: {at(-100)}"], 100.5),
        (["Age: 30"], 30.0),
        (["AGE:  30 "], 30.0),
        (["Age: 0030"], 30.0),
        ([f"Date: {at(-100)}", "Age: 30"], 100.5),
        ([f"Date: {at(-100)}", "Age: 300"], 300.0),
        (["Age: 99999999999999"], float(FOREVER)),
        (["Age: 0", "Age: 7200"], math.inf),
        (["Age: 30", "Age: 30"], math.inf),
        (["Age: 0, 7200"], math.inf),
        (["Age: 7200, 0"], math.inf),
        (["Age: -30"], math.inf),
        (["Age: 30.5"], math.inf),
        (["Age: abc"], math.inf),
        (["Age: 30a"], math.inf),
        (['Age: "30"'], math.inf),
        (["Age: "], math.inf),
    ],
)
def test_the_age_on_arrival_is_the_greater_of_what_date_and_age_say(lines: list[str], age: float) -> None:
    assert initial_age(fields(*lines), now=NOW) == age


@pytest.mark.parametrize(
    ("lines", "lifetime"),
    [
        ([], None),
        (["Cache-Control: public"], None),
        (["Cache-Control: max-age=60"], 60.0),
        (["Cache-Control: max-age=60, s-maxage=10"], 10.0),
        (["Cache-Control: s-maxage=0, max-age=60"], 0.0),
        (["Cache-Control: s-maxage=x, max-age=60"], 0.0),
        (["Cache-Control: max-age=60", f"Expires: {at(-60)}"], 60.0),
        (["Cache-Control: max-age=0", f"Expires: {at(60)}"], 0.0),
        (["Cache-Control: max-age=99999999999"], float(FOREVER)),
        ([f"Expires: {at(60)}", f"Date: {at(0)}"], 60.0),
        ([f"Expires: {at(60)}", f"Date: {at(-100)}"], 160.0),
        ([f"Expires: {at(60)}", f"Date: {at(100)}"], 0.0),
        ([f"Expires: {at(60)}"], 59.5),
        ([f"Expires: {at(60)}", "Date: nonsense"], 59.5),
        ([f"Expires: {at(-60)}", f"Date: {at(0)}"], 0.0),
        ([f"Expires: {at(0)}", f"Date: {at(0)}"], 0.0),
        (["Expires: 0"], 0.0),
        (["Expires: -1"], 0.0),
        (["Expires: "], 0.0),
        ([f"Expires: {at(60)}, {at(60)}"], 0.0),
        ([f"Expires: {at(60)}", f"Expires: {at(90)}"], 0.0),
        ([f"Expires: {at(60)}", f"Expires: {at(60)}", f"Date: {at(0)}"], 60.0),
        ([f"Expires: {at(0).lower()}"], 0.0),
    ],
)
def test_an_explicit_lifetime_is_read_in_the_order_for_shared_caches(
    lines: list[str], lifetime: float | None
) -> None:
    headers = fields(*lines)
    assert explicit_lifetime(headers, directives(headers), now=NOW) == lifetime


@pytest.mark.parametrize(
    ("said", "lifetime"), [({}, None), ({b"max-age": b"5"}, 5.0), ({b"must-revalidate": None}, None)]
)
def test_a_targeted_field_silences_expires(said: dict[bytes, bytes | None], lifetime: float | None) -> None:
    assert explicit_lifetime(fields(f"Expires: {at(60)}"), said, now=NOW, targeted=True) == lifetime


@pytest.mark.parametrize(
    ("status", "lines", "lifetime"),
    [
        (200, [f"Last-Modified: {at(-1000)}", f"Date: {at(0)}"], 100.0),
        (200, [f"Last-Modified: {at(-1000)}"], 100.05),
        (200, [f"Last-Modified: {at(-1000)}", f"Date: {at(-500)}"], 50.0),
        (200, [f"Last-Modified: {at(-1000 * DAY)}", f"Date: {at(0)}"], LONGEST_GUESS),
        (200, [f"Last-Modified: {at(0)}", f"Date: {at(0)}"], 0.0),
        (200, [f"Last-Modified: {at(10)}", f"Date: {at(20)}"], None),
        (200, [f"Last-Modified: {at(-10)}", f"Date: {at(-20)}"], None),
        (200, [f"Last-Modified: {at(-1000)}", f"Last-Modified: {at(-2000)}"], None),
        (200, ["Last-Modified: long ago"], None),
        (200, [], None),
        (201, [f"Last-Modified: {at(-1000)}", f"Date: {at(0)}"], None),
        (201, [f"Last-Modified: {at(-1000)}", f"Date: {at(0)}", "Cache-Control: public"], 100.0),
        (599, [f"Last-Modified: {at(-1000)}", f"Date: {at(0)}", "Cache-Control: public"], 100.0),
        (599, ["Cache-Control: public"], None),
    ],
)
def test_freshness_is_guessed_from_a_tenth_of_the_time_without_change(
    status: int, lines: list[str], lifetime: float | None
) -> None:
    headers = fields(*lines)
    guessed = heuristic_lifetime(status, headers, directives(headers), now=NOW)
    assert guessed == (None if lifetime is None else pytest.approx(lifetime))


@pytest.mark.parametrize("status", range(200, 600))
def test_freshness_is_guessed_only_where_rfc_9110_15_1_allows_it(status: int) -> None:
    guessed = heuristic_lifetime(status, fields(f"Last-Modified: {at(-1000)}"), {}, now=NOW)
    assert (guessed is not None) == (status in {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})


@given(
    st.lists(st.tuples(
        st.sampled_from([b"age", b"date", b"expires", b"last-modified", b"cache-control"]),
        st.binary() | st.sampled_from([at(-5).encode(), b"max-age=5", b"5"]),
    )).map(tuple),
    st.floats(0, 1e11),
)
def test_nothing_that_arrives_breaks_the_arithmetic(headers: tuple[tuple[bytes, bytes], ...], now: float) -> None:
    said = directives(headers)
    assert initial_age(headers, now=now) >= 0
    for lifetime in (explicit_lifetime(headers, said, now=now), heuristic_lifetime(200, headers, said, now=now)):
        assert lifetime is None or 0 <= lifetime < math.inf
