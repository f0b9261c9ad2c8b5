"""HTTP-date: what is one, what is none."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.dates import parse_date

NOW = datetime(2026, 11, 21, 7, 30, tzinfo=UTC).timestamp()
EXAMPLE = 784_111_777.0  # 1994-11-06 08:49:37 UTC
_whole_seconds = st.integers(0, 253_402_300_799)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        (b"Sunday, 06-Nov-94 08:49:37 GMT", EXAMPLE),
        (b"Sun Nov  6 08:49:37 1994", EXAMPLE),
        (b" \tSun, 06 Nov 1994 08:49:37 GMT ", EXAMPLE),
        (b"Wed, 06 Nov 1994 08:49:37 GMT", EXAMPLE),
        (b"Sun Nov 16 08:49:37 1994", EXAMPLE + 10 * 86_400),
        (b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        (b"Wed, 31 Dec 1969 23:59:59 GMT", -1.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799.0),
        (b"Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600.0),
        (b"Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800.0),
    ],
)
def test_each_of_the_three_forms_is_read(value: bytes, expected: float) -> None:
    assert parse_date(value, now=NOW) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"-1",
        b"never",
        b"784111777",
        b"sun, 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06 nov 1994 08:49:37 GMT",
        b"Sun, 06 NOV 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 gmt",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 Nov 1994 08:49:37 AEST",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun 06 Nov 1994 08:49:37 GMT",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 94 08:49:37 GMT",
        b"Sun, 06-Nov-1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Sun, 06 Nov 1994 08.49.37 GMT",
        b"Sun,  06 Nov  1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:00 GMT",
        b"Sun, 06 Nov 1994 08:49:61 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 31 Nov 1994 08:49:37 GMT",
        b"Sun, 29 Feb 2026 08:49:37 GMT",
        b"Sun, 06 Foo 1994 08:49:37 GMT",
        b"Sat, 01 Jan 0000 00:00:00 GMT",
        b"Sun, 06-Nov-94 08:49:37 GMT",
        b"Sunday, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 31-Feb-94 08:49:37 GMT",
        b"Sun Nov 6 08:49:37 1994",
        b"Sun Nov 06 08:49:37 1994 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT\n",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_anything_else_is_no_date(value: bytes) -> None:
    assert parse_date(value, now=NOW) is None


@pytest.mark.parametrize(
    ("value", "year"),
    [
        (b"Friday, 20-Nov-26 08:00:00 GMT", 2026),
        (b"Friday, 01-Jan-27 08:00:00 GMT", 2027),
        (b"Friday, 01-Jan-00 08:00:00 GMT", 2000),
        (b"Friday, 21-Nov-76 07:30:00 GMT", 2076),
        (b"Friday, 21-Nov-76 07:30:01 GMT", 1976),
        (b"Friday, 01-Jan-77 08:00:00 GMT", 1977),
        (b"Friday, 31-Dec-99 08:00:00 GMT", 1999),
    ],
)
def test_a_two_digit_year_more_than_fifty_years_ahead_is_in_the_past(value: bytes, year: int) -> None:
    seconds = parse_date(value, now=NOW)
    assert seconds is not None
    assert datetime.fromtimestamp(seconds, UTC).year == year


@given(_whole_seconds)
def test_what_others_write_of_any_second_is_read(seconds: int) -> None:
    assert parse_date(formatdate(seconds, usegmt=True).encode(), now=NOW) == seconds


@given(_whole_seconds)
def test_the_asctime_form_of_any_second_is_read(seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert parse_date(at.strftime("%a %b ").encode() + b"%2d" % at.day + at.strftime(" %H:%M:%S ").encode()
                      + b"%04d" % at.year, now=NOW) == seconds


@given(
    st.binary() | st.from_regex(rb"[A-Z][a-z]{2,8},? \d\d[ -][A-Z][a-z]{2}[ -](\d\d){1,2} \d\d:\d\d:\d\d( GMT)?"),
    st.floats(-1e18, 1e18),
)
def test_no_bytes_break_the_parser(value: bytes, now: float) -> None:
    assert isinstance(parse_date(value, now=now), float | None)
