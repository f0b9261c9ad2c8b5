"""The debug header: what a page depends on, in a field that nothing can break out of, and that is never stored."""

from __future__ import annotations

import re

import pytest

from cachefence_web import CacheFence
from cachefence_web.http import Response
from cachefence_web.responding.telling import DEPENDS, LONGEST, brief, untold, written

# RFC 9651: a list of tokens or strings with parameters that are strings or integers.
_STRING = r'"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'
_ITEM = rf"(?:[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*|{_STRING})(?:;[a-z-]+=(?:{_STRING}|\d+))*"
_LIST = re.compile(rf"{_ITEM}(?:, {_ITEM})*")


@pytest.mark.parametrize(("depends", "value"), [
    ({"shop_book:42": ("SELECT 1",)}, 'shop_book:42;from="SELECT 1"'),
    ({"a": ("ONE", "TWO"), "b": ()}, 'a;from="ONE";statements=2, b'),
    ({"named": ("",)}, "named"),
    ({"book:*": ("SELECT  1\n  FROM book",)}, 'book:*;from="SELECT 1 FROM book"'),
    ({"1st": ()}, '"1st"'),
    ({"a,b": ('SELECT "x" FROM \\ WHERE %s',)}, r'"a,b";from="SELECT \"x\" FROM \\ WHERE %25s"'),
    ({"käse": ("SELECT 'ß'",)}, "\"k%c3%a4se\";from=\"SELECT '%c3%9f'\""),
])
def test_tags_and_their_statements_are_written_as_structured_fields(
    depends: dict[str, tuple[str, ...]], value: str
) -> None:
    assert written(depends) == value.encode()


@pytest.mark.parametrize(
    "evil", ["\r\nSet-Cookie: a=b", "\n", "\0", "\x7f", "\u2028", "\ud800", '";x="', "\\", "é\r\n"])
@pytest.mark.parametrize("where", ["tag", "statement"])
def test_nothing_breaks_out_of_the_field(where: str, evil: str) -> None:
    value = written({f"tag{evil}": ()} if where == "tag" else {"tag": (f"SELECT{evil}1",)}).decode("ascii")
    assert value.isprintable()
    assert _LIST.fullmatch(value)


@pytest.mark.parametrize("statement", ["SELECT 1", "x" * 10_000, "\u00e9" * 10_000])
def test_it_is_bounded_and_says_how_many_were_left_out(statement: str) -> None:
    value = written({f"book:{number}": (statement,) for number in range(900)}).decode()
    assert len(value) <= LONGEST
    assert _LIST.fullmatch(value)
    shown, left = value.rsplit(", *;left-out=", 1) if ", " in value else ("", value.removeprefix("*;left-out="))
    assert len(re.findall(r"book:\d+", shown)) + int(left) == 900


def test_what_an_application_writes_there_is_not_stored() -> None:
    kept = ((b"etag", b"1"),)
    assert untold(Response(200, (*kept, (b"X-CacheFence-Depends", b"forged")), b"")).headers == kept
    assert b"X-CacheFence-Depends".lower() == DEPENDS


def test_a_long_statement_is_cut() -> None:
    assert brief("SELECT " + "x" * 100, 20) == "SELECT xxxxxxxxxx..."


@pytest.mark.parametrize("given", ["true", 1, None])
def test_a_switch_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(Exception, match="debug_header is True or False"):
        CacheFence(debug_header=given)  # type: ignore[arg-type]
