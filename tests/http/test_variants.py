"""Vary: which fields, and when two values of one are the same (RFC 9111 section 4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefence_web.http.message import Request
from cachefence_web.http.variants import matches, selecting, vary_names
from tests.http.build import ask, fields


def value(name: str, *values: str) -> bytes | None:
    return selecting(ask(*(f"{name}: {one}" for one in values)), (name.lower().encode(),))[0][1]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], ()),
        (["Vary: "], ()),
        (["Vary: Accept-Language"], (b"accept-language",)),
        (["Vary: B,a , ,B"], (b"a", b"b")),
        (["Vary: b", "VARY: A"], (b"a", b"b")),
        (["Vary: *"], None),
        (["Vary: a, *"], None),
        (["Vary: a", "Vary: *"], None),
        (["Vary: *, *"], None),
        (["Vary: a b"], None),
        (['Vary: "a"'], None),
        (["Vary: a;b"], None),
        (["Vary: *a"], (b"*a",)),
    ],
)
def test_vary_is_the_names_on_all_its_lines_or_nothing_that_could_match(
    lines: list[str], names: tuple[bytes, ...] | None
) -> None:
    assert vary_names(fields(*lines)) == names


def test_absent_is_not_empty() -> None:
    assert value("X") is None
    assert value("X", "") == b""
    assert value("X", " ") == b""
    assert value("Accept-Language", "") == b""
    assert value("Accept-Encoding", ", ,") == b""


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("X", ["a"], b"a"),
        ("X", [" a\t"], b"a"),
        ("X", ["a , b,\tc"], b"a,b,c"),
        ("X", ["a", "b"], b"a,b"),
        ("X", ["a,b", "c"], b"a,b,c"),
        ("X", ["a", ""], b"a,"),
        ("X", ["A  b"], b"A  b"),
        ("X", ['"a , b" , c'], b'"a , b",c'),
        ("X", ['"a \\" , b" , c'], b'"a \\" , b",c'),
        ("X", ['"a , b'], b'"a , b'),
        ("X", ["a;q=0.50"], b"a;q=0.50"),
        ("Cookie", ["a=1 , b", "c=2"], b"a=1 , b; c=2"),
        ("User-Agent", ["M/5.0 (X11; L) K/1 (KHTML, like G)"], b"M/5.0 (X11; L) K/1 (KHTML,like G)"),
        ("Accept-Language", ["en"], b"en"),
        ("Accept-Language", ["en-GB,EN;Q=0.8"], b"en-gb,en;q=0.8"),
        ("Accept-Language", ["en-GB , en ; q=0.80, "], b"en-gb,en;q=0.8"),
        ("Accept-Language", ["en;q=0.8, en-GB;q=1.000"], b"en-gb,en;q=0.8"),
        ("Accept-Language", ["en;q=0.8", "en-GB"], b"en-gb,en;q=0.8"),
        ("Accept-Language", ["b, a"], b"b,a"),
        ("Accept-Language", ["b;q=0.5, a;q=0.5, c"], b"c,b;q=0.5,a;q=0.5"),
        ("Accept-Language", ["a;q=0.9, b;q=0.10, c;q=0, d;q=0."], b"a;q=0.9,b;q=0.1,c;q=0,d;q=0"),
        ("Accept-Language", ["*;q=0.5, zh-Hant-TW"], b"zh-hant-tw,*;q=0.5"),
        ("Accept-Language", ["EN;q=2"], b"EN;q=2"),
        ("Accept-Language", ["EN;q=0.1234, de"], b"EN;q=0.1234,de"),
        ("Accept-Language", ["EN;level=1"], b"EN;level=1"),
        ("Accept-Language", ["EN de"], b"EN de"),
        ("Accept-Language", ["EN;q =1"], b"EN;q =1"),
        ("Accept-Encoding", ["gzip, deflate, br"], b"br,deflate,gzip"),
        ("Accept-Encoding", ["BR;q=1.0, GZip;q=0.50, *;q=0"], b"*;q=0,br,gzip;q=0.5"),
        ("Accept-Encoding", ["identity"], b"identity"),
        ("Accept-Encoding", ["GZIP deflate"], b"GZIP deflate"),
        ("Accept-Encoding", ["GZIP;x=1"], b"GZIP;x=1"),
    ],
)
def test_a_value_is_normalised_only_as_its_grammar_allows(name: str, values: list[str], expected: bytes) -> None:
    assert value(name, *values) == expected


def test_names_select_in_their_order_whatever_the_case_of_the_request() -> None:
    request = ask("B: 2", "a: 1", "c: 3")
    assert selecting(request, (b"a", b"b", b"d")) == ((b"a", b"1"), (b"b", b"2"), (b"d", None))
    assert selecting(request, ()) == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (["Accept-Language: en, de;q=0.5"], ["ACCEPT-LANGUAGE: de;q=0.50 , EN"], True),
        (["Accept-Language: en, de"], ["Accept-Language: de, en"], False),
        (["Accept-Language: en"], [], False),
        ([], ["Accept-Language: "], False),
        ([], [], True),
        ([], ["Other: x"], True),
        (["Accept-Encoding: gzip, br"], ["Accept-Encoding: br", "Accept-Encoding: gzip"], True),
        (["Accept-Encoding: gzip"], ["Accept-Encoding: gzip;q=0"], False),
        (["X: a", "X: b"], ["X: a,b"], True),
        (["X: a", "X: b"], ["X: b", "X: a"], False),
        (["X: a", "Y: bc"], ["X: ab", "Y: c"], False),
        (["X: A"], ["X: a"], False),
        (["X: a", "Y: "], ["X: a"], False),
        (["X: " + "a" * 9000], ["X: " + "a" * 9000 + " "], True),
    ],
)
def test_a_request_matches_if_it_says_the_same_in_every_field(one: list[str], other: list[str], same: bool) -> None:
    names = (b"accept-encoding", b"accept-language", b"x", b"y")
    assert matches(selecting(ask(*one), names), ask(*other)) == same


def test_without_vary_every_request_matches() -> None:
    assert matches((), ask("X: 1"))


_names = st.sampled_from([b"accept-language", b"accept-encoding", b"cookie", b"x"])
_values = st.binary() | st.text(alphabet='en-GB*;q=01., \t"\\').map(str.encode)


@given(_names, st.lists(_values, max_size=3))
def test_what_is_normalised_stays_as_it_is(name: bytes, values: list[bytes]) -> None:
    request = Request("GET", "https", "h", b"/", b"", tuple((name, one) for one in values))
    (chosen,) = selecting(request, (name,))
    assert (chosen[1] is None) == (not values)
    assert matches((chosen,), request)
    if chosen[1] is not None:
        again = Request("GET", "https", "h", b"/", b"", ((name, chosen[1]),))
        assert selecting(again, (name,)) == (chosen,)


@given(st.lists(st.tuples(st.sampled_from(["en", "de", "en-GB"]), st.integers(0, 1000)), max_size=5))
def test_no_weight_is_lost(preferences: list[tuple[str, int]]) -> None:
    written = ", ".join(f"{name};q={weight / 1000:.3f}" for name, weight in preferences)
    normal = (value("Accept-Language", written) or b"").decode()
    read = [(part.partition(";q=")[0], float(part.partition(";q=")[2] or 1)) for part in normal.split(",") if part]
    expected = [(name.lower(), weight / 1000) for name, weight in preferences]
    assert read == sorted(expected, key=lambda one: -one[1])


@given(st.lists(st.binary()))
def test_no_bytes_break_vary(values: list[bytes]) -> None:
    names = vary_names(tuple((b"vary", one) for one in values))
    assert names is None or list(names) == sorted(set(names))


@pytest.mark.parametrize("piece", [" ", '"', '\\"', '"\\"', " ,", "\t\t\t,", "a;q=", "a ", ",", '","'])
@pytest.mark.parametrize("name", ["X", "Accept-Language"])
def test_a_long_value_costs_no_more_than_its_length(name: str, piece: str) -> None:
    value(name, "a" + piece * (100_000 // len(piece)) + "b")  # quadratic would be minutes
