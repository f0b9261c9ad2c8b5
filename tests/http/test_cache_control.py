"""Cache-Control as it really arrives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.cache_control import FOREVER, delta_seconds, directives, named_fields, seconds
from tests.http.build import fields


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("no-store", {b"no-store": None}),
        ("No-STORE", {b"no-store": None}),
        ("no-cache,no-store", {b"no-cache": None, b"no-store": None}),
        (" ,, no-store ,", {b"no-store": None}),
        ("\tmax-age=5\t,\tpublic", {b"max-age": b"5", b"public": None}),
        ('private="Set-Cookie, X-User", max-age=5', {b"private": b"Set-Cookie, X-User", b"max-age": b"5"}),
        ('x="no-store"', {b"x": b"no-store"}),
        ('x="a, no-store, b"', {b"x": b"a, no-store, b"}),
        ('x="max-age=5", max-age=1', {b"x": b"max-age=5", b"max-age": b"1"}),
        ('x="a\\", no-store"', {b"x": b'a", no-store'}),
        ('x="a\\\\", no-store', {b"x": b"a\\", b"no-store": None}),
        ('x="" , y=1', {b"x": b"", b"y": b"1"}),
        ('max-age="60"', {b"max-age": b"60"}),
        ("max-age='60'", {b"max-age": b"'60'"}),
        ("max-age=1, max-age=2", {b"max-age": b"1"}),
        ("max-age=, private", {b"max-age": b"", b"private": None}),
        ("no-storeish", {b"no-storeish": None}),
        ("x=no-store", {b"x": b"no-store"}),
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
        'x="broken, no-store, y="z"',
        'x="broken" junk, no-store',
        'x="broken, y="no-store, z"',
        'x="a\\", no-store',
        "no-store; max-age=5",
        ";no-store",
        "no-store=1",
        "a b, no-store",
        "max-age=5 no-store",
        "max-age=5; no-store",
        '"no-store',
        "\x0bno-store",
    ],
)
def test_p11_broken_syntax_does_not_hide_a_no_store(line: str) -> None:
    assert b"no-store" in directives(fields(f"Cache-Control: {line}"))


@pytest.mark.parametrize("line", ["public;x", "x public", "must-understand junk", '"public"', "public =x", "x =public"])
def test_p11_broken_syntax_allows_nothing(line: str) -> None:
    said = directives(fields(f"Cache-Control: {line}"))
    assert said.keys().isdisjoint({b"public", b"must-understand"})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("max-age=100", 100),
        ("MAX-AGE=100", 100),
        ('max-age="100"', 100),
        ("max-age=0100", 100),
        ("max-age=000000000000000100", 100),
        ("max-age=1, max-age=2", 1),
        ("max-age=2147483647", 2147483647),
        ("max-age=2147483648", FOREVER),
        ("max-age=99999999999", FOREVER),
        ("max-age =100", 0),
        ("max-age= 100", 0),
        ("max-age = 100", 0),
        ("max-age='100'", 0),
        ("max-age=100.0", 0),
        ("max-age=-100", 0),
        ("max-age=+100", 0),
        ("max-age=a100", 0),
        ("max-age=100a", 0),
        ("max-age=100 a", 0),
        ('max-age="100" a', 0),
        ('max-age=" 100"', 0),
        ('max-age="100', 0),
        ("max-age=100;x", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ('x="max-age=100"', None),
        ("x-max-age=100", None),
        ("max_age=100", None),
        ("", None),
    ],
)
def test_the_seconds_of_a_directive_are_exact_or_none_at_all(line: str, expected: int | None) -> None:
    assert seconds(directives(fields(f"Cache-Control: {line}")), b"max-age") == expected


def test_all_lines_of_the_field_count() -> None:
    found = directives(fields("Cache-Control: public", "X: no-cache", "CACHE-CONTROL: private"))
    assert found == {b"public": None, b"private": None}


def test_a_quote_left_open_ends_with_its_line() -> None:
    found = directives(fields('Cache-Control: x="a', 'Cache-Control: no-store, y="b"'))
    assert found[b"no-store"] is None
    assert found[b"y"] == b"b"


def test_another_field_may_be_read_in_the_same_way() -> None:
    headers = fields("Cache-Control: no-store", "X-Cache-Control: max-age=1")
    assert directives(headers, b"x-cache-control") == {b"max-age": b"1"}


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (['private="Set-Cookie, X-User"'], {b"set-cookie", b"x-user"}),
        (['private=" Set-Cookie ,, "'], {b"set-cookie"}),
        (["private=Set-Cookie"], {b"set-cookie"}),
        (['private="a"', 'private="b"'], {b"a", b"b"}),
        (['private="a", private'], set()),
        (["private", 'private="a"'], set()),
        (['private="a"', 'private="b c"'], set()),
        (["private"], set()),
        (['private=""'], set()),
        (['private="a b"'], set()),
        (['private= "a"'], set()),
        (['private="a" b'], set()),
        (['private="a'], set()),
    ],
)
def test_p11_private_is_limited_to_fields_only_by_what_clearly_names_them(
    lines: list[str], names: set[bytes]
) -> None:
    said = directives(fields(*(f"Cache-Control: {line}" for line in lines)))
    assert named_fields(said[b"private"]) == names


@given(st.lists(st.binary() | st.text(alphabet='ab=", \\;\t').map(str.encode)))
def test_no_bytes_break_the_parser(values: list[bytes]) -> None:
    found = directives(tuple((b"cache-control", value) for value in values))
    assert all(name == name.lower() for name in found)
    for argument in found.values():
        assert 0 <= delta_seconds(argument) <= FOREVER
        named_fields(argument)


@given(st.text(alphabet='ab=", \\;\t').map(str.encode), st.text(alphabet="ab=, ;\t").map(str.encode))
def test_p11_a_no_store_of_its_own_counts_whatever_broken_text_goes_before(before: bytes, after: bytes) -> None:
    line = b'x="' + before.replace(b'"', b"").replace(b"\\", b"") + b", no-store, " + after
    assert b"no-store" in directives(((b"cache-control", line),))


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


@given(st.binary())
def test_a_directive_inside_quotes_never_counts(text: bytes) -> None:
    line = b'x="' + _quoted(text + b", no-store, max-age=9, " + text) + b'"'
    assert directives(((b"cache-control", line),)).keys() == {b"x"}


def _quoted(argument: bytes) -> bytes:
    return argument.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


@pytest.mark.parametrize("piece", ['a="', 'a=",', 'a="\\",', '"', "\\", 'a="x",', ", ", "a b ", "=", " "])
def test_a_long_line_costs_no_more_than_its_length(piece: str) -> None:
    directives(fields("Cache-Control: " + piece * (200_000 // len(piece))))  # quadratic would be minutes


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"60", 60),
        (b"0", 0),
        (b"007", 7),
        (b"0" * 5000, 0),
        (b"9" * 5000, FOREVER),
        (b"2147483647", 2147483647),
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
def test_a_number_of_seconds_that_is_none_counts_as_stale(argument: bytes | None, expected: int) -> None:
    assert delta_seconds(argument) == expected
