"""Cache-Control as it really arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.cache_control import FOREVER, delta_seconds, directives, upstream_age
from tests.http.build import fields


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("no-store", {b"no-store": None}),
        ("No-STORE", {b"no-store": None}),
        ("no-cache,no-store", {b"no-cache": None, b"no-store": None}),
        (" ,, no-store ,", {b"no-store": None}),
        ('private="Set-Cookie, X-User", max-age=5', {b"private": b"Set-Cookie, X-User", b"max-age": b"5"}),
        ('x="no-store"', {b"x": b"no-store"}),
        ('x="a, no-store, b"', {b"x": b"a, no-store, b"}),
        ('x="a\\", no-store"', {b"x": b'a", no-store'}),
        ('max-age="60"', {b"max-age": b"60"}),
        ("max-age='60'", {b"max-age": b"'60'"}),
        ("max-age=1, max-age=2", {b"max-age": b"1"}),
        ("max-age=, private", {b"max-age": b"", b"private": None}),
        ("no-storeish", {b"no-storeish": None}),
        ("", {}),
    ],
)
def test_directives_are_told_apart_as_the_grammar_says(
    line: str, expected: dict[bytes, bytes | None]
) -> None:
    assert directives(fields(f"Cache-Control: {line}")) == expected


@pytest.mark.parametrize(
    "line",
    [
        'x="broken, no-store',
        "no-store; max-age=5",
        ";no-store",
        "no-store=1",
        "a b, no-store",
        '"no-store',
    ],
)
def test_p11_broken_syntax_does_not_hide_a_no_store(line: str) -> None:
    assert b"no-store" in directives(fields(f"Cache-Control: {line}"))


def test_all_lines_of_the_field_count() -> None:
    found = directives(fields("Cache-Control: public", "X: no-cache", "CACHE-CONTROL: private"))
    assert found == {b"public": None, b"private": None}


@given(st.lists(st.binary()))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    found = directives(tuple((b"cache-control", value) for value in values))
    assert all(name == name.lower() for name in found)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9-]*", fullmatch=True),
        st.none() | st.binary().map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")),
    )
)
def test_what_is_written_by_the_grammar_is_read_back(written: dict[str, bytes | None]) -> None:
    expected = {name.encode(): argument for name, argument in written.items()}
    line = b" , ".join(
        name if argument is None else name + b'="' + _quoted(argument) + b'"'
        for name, argument in expected.items()
    )
    assert directives(((b"cache-control", line),)) == expected


def _quoted(argument: bytes) -> bytes:
    return argument.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


@pytest.mark.parametrize(
    ("argument", "seconds"),
    [
        (b"60", 60),
        (b"0", 0),
        (b"007", 7),
        (b"9" * 5000, FOREVER),
        (b"2147483648", FOREVER),
        (None, 0),
        (b"", 0),
        (b"'60'", 0),
        (b"-1", 0),
        (b"1.5", 0),
        (b"1e3", 0),
        (b" 1", 0),
        ("٣".encode(), 0),
    ],
)
def test_a_number_of_seconds_that_is_none_counts_as_stale(argument: bytes | None, seconds: int) -> None:
    assert delta_seconds(argument) == seconds


def test_the_age_of_a_response_without_one_is_zero() -> None:
    assert upstream_age(fields("Date: x")) == 0
    assert upstream_age(fields("AGE: 12", "Age: 5")) == 12
