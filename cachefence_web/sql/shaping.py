"""What repeats is written once: a thousand rows, or a thousand arms of a CASE, parse as one.

The shape of a statement is its text with parameters as `:p0`, `:p1`; each stands for the parameter, or for all those
that stood at its place in the repetitions. In what repeats, literals are parameters too: they are constants of the
statement, not of its shape. So statements of one shape are parsed once, however many rows they have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from cachefence_web.sql.lexing import Slot, Sort, Token


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the text itself; `known` is False where it is no plain number or text."""

    value: object
    known: bool = True


Source: TypeAlias = Slot | Constant
"""Where a value comes from."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A statement's text as the parser gets it; `sources[n]` is what `:pn` stands for, once for each repetition."""

    text: str
    sources: tuple[tuple[Source, ...], ...]


def shape_of(tokens: list[Token]) -> Shape:
    """The shape of one statement."""
    writer = _Writer()
    closing = _closing(tokens)
    position = 0
    while position < len(tokens):
        position = _repetition(tokens, position, closing, writer) or writer.one(tokens[position], position)
    return Shape("".join(writer.pieces), tuple(writer.sources))


class _Writer:
    """The shape as far as it is written."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.sources: list[tuple[Source, ...]] = []

    def one(self, token: Token, position: int) -> int:
        """Write a token as it is; returns the position after it."""
        if token.slots:
            self.many(token, token.slots)
        else:
            self._write(token, token.text)
        return position + 1

    def many(self, token: Token, sources: tuple[Source, ...]) -> None:
        """Write a parameter that stands for all of these."""
        self._write(token, f":p{len(self.sources)}")
        self.sources.append(sources)

    def _write(self, token: Token, text: str) -> None:
        if token.spaced:
            self.pieces.append(" ")
        self.pieces.append(text)


def _repetition(tokens: list[Token], start: int, closing: dict[int, int], writer: _Writer) -> int | None:
    """Write what begins here once if it repeats: returns the position after the last repetition, None for none."""
    token = tokens[start]
    if token.text == "(" and token.sort is Sort.SYMBOL:
        if start in closing and _lists_rows(tokens, start):
            return _write_once(tokens, _groups(tokens, start, closing), writer)
    elif token.upper == "WHEN":
        return _write_once(tokens, _arms(tokens, start, closing), writer)
    elif start and tokens[start - 1].text == "(" and start > 1 and tokens[start - 2].upper == "IN":
        return _write_once(tokens, _items(tokens, start, closing.get(start - 1, start)), writer)
    return None


def _lists_rows(tokens: list[Token], start: int) -> bool:
    """Whether a parenthesis opens a row of VALUES, or of IN ((1, 2), (3, 4)), first or not."""
    if not start:
        return False
    before = tokens[start - 1]
    if before.upper in ("VALUES", "VALUE"):
        return True
    if before.text == "(":
        return start > 1 and tokens[start - 2].upper == "IN"
    return before.text == "," and start > 1 and tokens[start - 2].text == ")"


def _groups(tokens: list[Token], start: int, closing: dict[int, int]) -> Iterator[tuple[int, int]]:
    """From where to where each of the rows goes that begin here, the comma after it left out."""
    while True:
        end = closing[start] + 1
        yield start, end
        if end + 1 >= len(tokens) or tokens[end].text != "," or end + 1 not in closing:
            return
        start = end + 1


def _arms(tokens: list[Token], start: int, closing: dict[int, int]) -> Iterator[tuple[int, int]]:
    """From where to where each WHEN ... THEN ... goes that begins here."""
    position, depth = start + 1, 0
    while position < len(tokens):
        word = tokens[position].upper
        if tokens[position].text == ")":
            return
        if word == "CASE":
            depth += 1
        elif word == "END":
            if not depth:
                yield start, position
                return
            depth -= 1
        elif not depth and word in ("WHEN", "ELSE"):
            yield start, position
            if word == "ELSE":
                return
            start = position
        position = closing.get(position, position) + 1


def _items(tokens: list[Token], start: int, end: int) -> Iterator[tuple[int, int]]:
    """From where to where each of the values goes that are listed between parentheses."""
    depth = 0
    for position in range(start, end):
        text = tokens[position].text
        if text == "," and not depth:
            yield start, position
            start = position + 1
        elif text in "()" and tokens[position].sort is Sort.SYMBOL:
            depth += 1 if text == "(" else -1
    if start < end:
        yield start, end


def _write_once(tokens: list[Token], ranges: Iterator[tuple[int, int]], writer: _Writer) -> int | None:
    """Write the first of the ranges if the next have its form; returns where the last of those ends."""
    first = next(ranges, None)
    if first is None:
        return None
    start, end = first
    form = _form(tokens, start, end)
    alike = [start]
    last = end
    for at, until in ranges:  # lazily: the first of another form is where it stops
        if _form(tokens, at, until) != form:
            break
        alike.append(at)
        last = until
    if len(alike) < 2:
        return None
    for position in range(start, end):
        token = tokens[position]
        if _value(token):
            writer.many(token, tuple([source for at in alike for source in _sources(tokens[at + position - start])]))
        else:
            writer.one(token, position)
    return last


def _form(tokens: list[Token], start: int, end: int) -> list[str]:
    return ["" if _value(token) else token.text for token in tokens[start:end]]


def _value(token: Token) -> bool:
    return token.sort in _VALUES or token.upper in _CONSTANTS


_VALUES = (Sort.PLACE, Sort.STRING, Sort.NUMBER)
_CONSTANTS = ("NULL", "TRUE", "FALSE", "DEFAULT")


def _sources(token: Token) -> tuple[Source, ...]:
    return token.slots or (constant(token),)


def constant(token: Token) -> Constant:
    """What a literal says, as far as all dialects agree about how it is written."""
    if token.sort is Sort.NUMBER and token.text.isdigit() and token.text.isascii():
        return Constant(int(token.text))
    if token.sort is Sort.STRING and token.text.startswith("'") and "\\" not in token.text:
        return Constant(token.text[1:-1].replace("''", "'"))
    return Constant(None, known=False)


def _closing(tokens: list[Token]) -> dict[int, int]:
    """For each opening parenthesis where it is closed."""
    opened: list[int] = []
    closing = {}
    for position, token in enumerate(tokens):
        if token.sort is Sort.SYMBOL:
            if token.text == "(":
                opened.append(position)
            elif token.text == ")" and opened:
                closing[opened.pop()] = position
    return closing
