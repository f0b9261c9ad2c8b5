"""A text as tokens: what is quoted, commented or a parameter is told apart before anything else is asked.

The first face of every statement, so it knows only what the dialects disagree about: quotes, comments, and how a
parameter is written. A text that it cannot read to its end has no tokens.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Slot: TypeAlias = int | str
"""Where a parameter is found: its index, or its name."""


class Dialect(enum.Enum):
    """The languages that are understood; the value is the parser's name for it."""

    POSTGRES = "postgres"
    SQLITE = "sqlite"
    MYSQL = "mysql"  # and MariaDB
    ORACLE = "oracle"


class Paramstyle(enum.Enum):
    """How a parameter is written, as PEP 249 names it; `dollar` is asyncpg's."""

    FORMAT = "format"
    PYFORMAT = "pyformat"
    QMARK = "qmark"
    NAMED = "named"
    NUMERIC = "numeric"
    DOLLAR = "dollar"


class Sort(enum.Enum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted"  # a name in quotes
    STRING = "string"
    NUMBER = "number"
    PLACE = "place"  # a parameter
    SYMBOL = "symbol"


class Token(NamedTuple):
    """One token.

    spaced: whether something that means nothing stands before it.
    slots: of a parameter its slot, and those at its place in the repetitions that were left out.
    """

    sort: Sort
    text: str
    spaced: bool
    slots: tuple[Slot, ...] = ()

    @property
    def upper(self) -> str:
        """The word in upper case; empty for anything that is no word."""
        return self.text.upper() if self.sort is Sort.WORD else ""

    @property
    def name(self) -> str:
        """The identifier, folded, if it can be one; else empty."""
        if self.sort is Sort.WORD:
            return self.text.casefold()
        return self.text[1:-1].replace(self.text[-1] * 2, self.text[-1]).casefold() if self.sort is Sort.QUOTED else ""


class Unreadable(Exception):
    """The text does not end where its quotes or comments say, or says more than a text of this dialect should."""


@dataclass(frozen=True, slots=True)
class Lexer:
    """The tokens of one dialect, with parameters as one driver writes them.

    bound: whether parameters were given at all: without them drivers take `%s` and `%%` for what they are.
    """

    dialect: Dialect
    style: Paramstyle
    bound: bool

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a text.

        Raises:
            Unreadable: no statement can be made out of it.
        """
        find = _pattern(self.dialect, self.style, self.bound).match
        percent = self.bound and self.style in _FORMATS
        repeats = _REPEATS.get(self.style) if self.bound else None
        found: list[Token] = []
        position, end, count, spaced = 0, len(text), 0, True
        while position < end:
            match = find(text, position)
            if match is None:
                raise Unreadable("a quote without an end")
            kind, piece, position = match.lastgroup or "symbol", match.group(), match.end()
            if kind == "blank":
                spaced = True
                continue
            if kind == "comment":
                position, spaced = self._after_comment(text, match.start(), position), True
                count += _within(text[match.start():position]) if percent else 0
                continue
            if repeats is not None and (piece == "(" or kind == "place" or piece in _WHEN):
                run = self._run(text, match.start(), count, found, repeats)
                if run is not None:
                    begun, position, count = run
                    found += [begun[0]._replace(spaced=spaced), *begun[1:]]
                    spaced = True
                    continue
            slots: tuple[Slot, ...] = ()
            if kind == "place":
                slot, count = self._slot(match, count)
                slots = (slot,)
            elif percent and "%" in piece:
                count += _within(piece)
                piece = piece.replace("%%", "%")
            found.append(Token(_SORTS[kind], piece, spaced, slots))
            spaced = False
        return found

    def _run(
        self, text: str, start: int, count: int, found: list[Token], repeats: re.Pattern[str]
    ) -> tuple[list[Token], int, int] | None:
        """What is written here many times over, once; where it ends, and how many parameters there are by then.

        Nothing but speed: the tokens of a thousand rows take twenty times as long one by one.
        """
        match = repeats.match(text, start)
        if match is None or (match.group("item") and not (
                len(found) > 1 and found[-1].text == "(" and found[-2].upper == "IN")):
            return None
        unit = match.group(match.lastgroup or 0)
        times = (match.end() - start) // len(unit)
        try:
            tokens = self.tokens(unit)
        except Unreadable:  # a quote goes on beyond it
            return None
        each = sum(1 for token in tokens if token.slots)
        if each != unit.count("%" if self.style in _FORMATS else "?"):
            return None
        end, place = count + each * times, count
        once = []
        for token in tokens:
            if token.slots:
                token = token._replace(slots=tuple(range(place, end, each)))
                place += 1
            once.append(token)
        return once, match.end(), end

    def _slot(self, match: re.Match[str], count: int) -> tuple[Slot, int]:
        """Where this parameter's value is, and how many anonymous ones there are by now."""
        name = match.groupdict().get("named")
        if name is None:
            return count, count + 1
        if name.isdigit():  # SQLite goes on counting after the greatest number
            return int(name) - 1, max(count, int(name))
        return name, count

    def _after_comment(self, text: str, start: int, end: int) -> int:
        if not text.startswith("/*", start):
            return end
        if self.dialect is Dialect.MYSQL and text.startswith(("/*!", "/*M!"), start):
            raise Unreadable("a comment that MySQL runs")
        if self.dialect is not Dialect.POSTGRES:
            close = text.find("*/", start + 2)
            if close < 0 and self.dialect is not Dialect.SQLITE:
                raise Unreadable("a comment without an end")
            return close + 2 if close >= 0 else len(text)
        depth = 0
        for mark in _COMMENT_MARKS.finditer(text, start):
            depth += 1 if mark.group() == "/*" else -1
            if not depth:
                return mark.end()
        raise Unreadable("a comment without an end")


def _within(piece: str) -> int:
    """How many parameters stand where SQL sees none: drivers that format do not ask what is quoted."""
    return sum(mark != "%%" for mark in _PERCENTS.findall(piece))


_WHEN = ("WHEN", "when")


def _repeating(place: str) -> re.Pattern[str]:
    """A row of VALUES, an item of IN or an arm of a CASE, with what divides it from the next, at least four times.

    An arm with a character that may begin a comment or a text is none: it is not clear what repeats.
    """
    row = rf"(?P<row>\({place}(?:,\s?{place})*\),\s?)(?P=row){{3,}}"
    item = rf"(?P<item>{place},\s?)(?P=item){{3,}}"
    plain = r"[^'%?#/;$\\-]"
    arm = rf"(?P<arm>(?:WHEN|when)\s{plain}{{1,200}}{place}{plain}{{1,60}}{place}{plain}{{0,60}}?\s)(?P=arm){{3,}}"
    return re.compile(f"{row}|{item}|{arm}")


_REPEATS = {
    Paramstyle.FORMAT: _repeating("%s"), Paramstyle.PYFORMAT: _repeating("%s"), Paramstyle.QMARK: _repeating(r"\?"),
}
_FORMATS = (Paramstyle.FORMAT, Paramstyle.PYFORMAT)
_PERCENTS = re.compile(r"%[%sbt]")
_COMMENT_MARKS = re.compile(r"/\*|\*/")
_SORTS = {
    "word": Sort.WORD, "quoted": Sort.QUOTED, "string": Sort.STRING, "number": Sort.NUMBER, "place": Sort.PLACE,
    "symbol": Sort.SYMBOL, "percent": Sort.SYMBOL,
}

_WORD = r"(?P<word>[^\W\d][\w$]*)"
_ORACLE_WORD = r"(?P<word>[^\W\d][\w$#]*)"
_NUMBER = r"(?P<number>0[xX][0-9a-fA-F]+|(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
_SYMBOL = r"(?P<symbol>[^\s'\"`])"
_BLANK = r"(?P<blank>\s+)"
_PLAIN_STRING = r"'[^']*(?:''[^']*)*'"  # without a choice for each character: a text may be megabytes long
_ESCAPED_STRING = r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'"

_STRINGS = {
    Dialect.POSTGRES: rf"[eE]{_ESCAPED_STRING}|(?:[bBxXnN]|[uU]&)?{_PLAIN_STRING}"
                      r"|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$",
    Dialect.SQLITE: rf"[xX]?{_PLAIN_STRING}",
    Dialect.MYSQL: rf"(?:[bBxXnN])?{_ESCAPED_STRING}|\"[^\"\\]*(?:(?:\\.|\"\")[^\"\\]*)*\"",
    Dialect.ORACLE: r"[nN]?[qQ]'(?:\[.*?\]|\{.*?\}|\(.*?\)|<.*?>|(?P<mark>[^\[{(<\s]).*?(?P=mark))'"
                    rf"|[nN]?{_PLAIN_STRING}",
}
_QUOTED = {
    Dialect.POSTGRES: r'"(?:[^"]|"")*"',
    Dialect.SQLITE: r'"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]',
    Dialect.MYSQL: r"`(?:[^`]|``)*`",
    Dialect.ORACLE: r'"[^"]*"',
}
_COMMENTS = {
    Dialect.POSTGRES: r"--[^\n\r]*|/\*",
    Dialect.SQLITE: r"--[^\n]*|/\*",
    Dialect.MYSQL: r"--(?=[\s\x00-\x1f]|$)[^\n]*|#[^\n]*|/\*",
    Dialect.ORACLE: r"--[^\n]*|/\*",
}
_PLACES = {
    Paramstyle.FORMAT: r"%[sbt]",
    Paramstyle.PYFORMAT: r"%(?:\((?P<named>[^)]*)\))?[sbt]",
    Paramstyle.QMARK: r"\?",
    Paramstyle.NAMED: r"(?<!:):(?P<named>\w+)",
    Paramstyle.NUMERIC: r"(?<!:):(?P<named>\d+)",
    Paramstyle.DOLLAR: r"\$(?P<named>\d+)",
}
# SQLite takes all of its own forms, whatever the driver says of itself.
_SQLITE_PLACE = r"(?:\?(?=\d)|(?<!:)[:@$](?=\w))(?P<named>\w+)|\?"

_patterns: dict[tuple[Dialect, Paramstyle, bool], re.Pattern[str]] = {}


def _pattern(dialect: Dialect, style: Paramstyle, bound: bool) -> re.Pattern[str]:
    known = _patterns.get((dialect, style, bound))
    if known is None:
        parts = [_BLANK, rf"(?P<comment>{_COMMENTS[dialect]})"]
        if bound:
            sqlites = dialect is Dialect.SQLITE and style not in _FORMATS
            parts.append(rf"(?P<place>{_SQLITE_PLACE if sqlites else _PLACES[style]})")
        word = _ORACLE_WORD if dialect is Dialect.ORACLE else _WORD
        parts += [rf"(?P<string>{_STRINGS[dialect]})", rf"(?P<quoted>{_QUOTED[dialect]})", _NUMBER, word]
        if bound and style in _FORMATS:
            parts.append(r"(?P<percent>%%)")
        known = re.compile("|".join([*parts, _SYMBOL]), re.DOTALL)
        _patterns[dialect, style, bound] = known
    return known
