"""Targeted fields: the first that is valid speaks, alone (RFC 9213)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.cache_control import seconds
from cachefence_web.http.targeted import targeted
from tests.http.build import fields

LIST = (b"ours-cache-control", b"cdn-cache-control")


def cdn(value: str) -> dict[bytes, bytes | None] | None:
    return targeted(fields(f"CDN-Cache-Control: {value}"), LIST)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("max-age=60", {b"max-age": b"60"}),
        ("max-age=60;x=1, no-store", {b"max-age": b"60", b"no-store": None}),
        ("max-age=0060", {b"max-age": b"60"}),
        ("no-store=?1", {b"no-store": None}),
        ("max-age=1,max-age=2", {b"max-age": b"2"}),
        ('private="set-cookie", no-cache="x"', {b"private": None, b"no-cache": None}),
        ("private, no-cache", {b"private": None, b"no-cache": None}),
        ("  s-maxage=5 ,\tmust-revalidate  ", {b"s-maxage": b"5", b"must-revalidate": None}),
        ("stale-while-revalidate=5, stale-if-error=6", {b"stale-while-revalidate": b"5", b"stale-if-error": b"6"}),
        ("none", {}),
        ('a=1.5, b="x", c=:AA==:, d=(1 2);p, e=tok, f=@1, g=%"f%c3%bc", *h=?0, max-age=5', {b"max-age": b"5"}),
    ],
)
def test_a_valid_dictionary_becomes_directives(value: str, expected: dict[bytes, bytes | None]) -> None:
    assert cdn(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        ",",
        "max-age=60,",
        "max-age=60,,no-store",
        "max-age =60",
        "max-age= 60",
        "max-age=60 no-store",
        "Max-Age=60",
        "MAX-AGE=60",
        "max-age=6O",
        "max-age='60'",
        'max-age="60"',
        "max-age=60.0",
        "max-age=sixty",
        "max-age=?1",
        "max-age",
        "max-age=(60)",
        "max-age=:NjA=:",
        "max-age=@60",
        "max-age=1000000000000000",
        "no-store=1",
        'no-store="x"',
        "no-store=?0",
        "no-store=x",
        "must-revalidate=1, max-age=60",
        "private=x",
        "private=1",
        "no-cache=(a b)",
        'x="unterminated, max-age=60',
        "max-age=60; no-store=",
        "max-age=60, é=1",
        "&",
    ],
)
def test_a_field_that_is_empty_broken_or_of_the_wrong_type_is_not_there(value: str) -> None:
    assert cdn(value) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["CDN-Cache-Control: max-age=1", "Ours-Cache-Control: max-age=2"], {b"max-age": b"2"}),
        (["CDN-Cache-Control: max-age=1", "Ours-Cache-Control: "], {b"max-age": b"1"}),
        (["CDN-Cache-Control: max-age=1", "Ours-Cache-Control: max-age=x"], {b"max-age": b"1"}),
        (["CDN-Cache-Control: max-age=1", "Ours-Cache-Control: unknown"], {}),
        (
            ["cdn-cache-control: max-age=1", "X: y", "CDN-CACHE-CONTROL: no-store"],
            {b"max-age": b"1", b"no-store": None},
        ),
        (["CDN-Cache-Control: max-age=1", "CDN-Cache-Control: $"], None),
        (["Theirs-Cache-Control: max-age=1", "Cache-Control: max-age=2"], None),
        ([], None),
    ],
)
def test_the_first_valid_field_of_the_list_counts_over_all_its_lines(
    lines: list[str], expected: dict[bytes, bytes | None] | None
) -> None:
    assert targeted(fields(*lines), LIST) == expected


@pytest.mark.parametrize(("value", "expected"), [("max-age=-1", 0), ("max-age=999999999999999", 2**31)])
def test_seconds_out_of_range_are_read_as_those_of_cache_control(value: str, expected: int) -> None:
    said = cdn(value)
    assert said is not None
    assert seconds(said, b"max-age") == expected


@given(st.lists(st.binary() | st.text(alphabet='max-ge=60,;"\\@%:?()* .').map(str.encode)))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    said = targeted(tuple((b"cdn-cache-control", value) for value in values), LIST)
    assert said is None or all(argument is None or argument.lstrip(b"-").isdigit() for argument in said.values())
