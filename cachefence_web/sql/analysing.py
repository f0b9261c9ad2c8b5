"""A text to its statement: read once for each distinct text, and parsed once for each shape."""

from __future__ import annotations

from typing import cast

from cachebox import LRUCache

from cachefence_web.errors import ConfigurationError
from cachefence_web.sql.facts import Facts, Kind
from cachefence_web.sql.lexing import Dialect, Lexer, Paramstyle, Token, Unreadable
from cachefence_web.sql.parsing import parsed
from cachefence_web.sql.schema import Schema
from cachefence_web.sql.shaping import Source, shape_of
from cachefence_web.sql.statement import Statement, statement
from cachefence_web.sql.understanding import UNKNOWN, facts_of, understood, with_routines

LONGEST_REMEMBERED = 8_000
"""Characters: a longer text is mostly rows, and its shape, which is short, is remembered instead."""

_TEXTS = 4_000
_HEAD = 200  # tokens: before them an INSERT has named its columns
_SHAPES = 2_000
_LONG_SHAPES = 50  # a literal may be long, and another one each time
_LONGEST_PARSED = 100_000  # characters of a shape; the parser needs some 10 µs for each ten
_NAMES = {
    "postgresql": Dialect.POSTGRES, "postgres": Dialect.POSTGRES, "postgis": Dialect.POSTGRES,
    "cockroachdb": Dialect.POSTGRES, "sqlite": Dialect.SQLITE, "spatialite": Dialect.SQLITE, "mysql": Dialect.MYSQL,
    "mariadb": Dialect.MYSQL, "oracle": Dialect.ORACLE,
}


class Analyser:
    """Understands the statements of one database, as one driver is given them.

    dialect: the database, or its name as Django's `vendor` and SQLAlchemy's `dialect.name` have it.
    paramstyle: how parameters are written; Django writes "pyformat" for every database.
    schema: what the application knows of its tables.
    space: put before every tag, for a database that shares none of its rows with the others: "archive." gives
        `archive.book:42`.

    Raises:
        ConfigurationError: for a database or a paramstyle that is not known.
    """

    def __init__(
        self,
        dialect: Dialect | str,
        paramstyle: Paramstyle | str,
        schema: Schema | None = None,
        *,
        space: str = "",
    ) -> None:
        self._dialect = _dialect(dialect)
        style = _style(paramstyle)
        self._schema = schema or Schema()
        self._space = space
        self._bound = Lexer(self._dialect, style, bound=True)
        self._unbound = Lexer(self._dialect, style, bound=False)
        self._with: LRUCache[str, Statement] = LRUCache(_TEXTS)
        self._without: LRUCache[str, Statement] = LRUCache(_TEXTS)
        self._shapes: LRUCache[str, Facts] = LRUCache(_SHAPES)
        self._long_shapes: LRUCache[str, Facts] = LRUCache(_LONG_SHAPES)

    def analyse(self, text: str, *, bound: bool = True) -> Statement:
        """What a text does, whatever it is: what is not understood says so.

        bound: whether parameters are given with it; an empty list of them counts, None does not.
        """
        remembered = self._with if bound else self._without
        try:
            return remembered[text]
        except (KeyError, TypeError):  # a TypeError: what psycopg takes as well, and has no hash
            found = self._read(text, bound=bound)
            if isinstance(cast("object", text), str) and len(text) <= LONGEST_REMEMBERED:
                remembered[text] = found
            return found

    def _read(self, text: str, *, bound: bool) -> Statement:
        parts: list[tuple[Facts, tuple[tuple[Source, ...], ...]]] = []
        try:
            if not isinstance(cast("object", text), str):  # psycopg takes bytes and objects too
                raise Unreadable("not a text")
            for tokens in _statements((self._bound if bound else self._unbound).tokens(text)):
                parts += self._part(tokens)
        except Unreadable:
            parts.append((UNKNOWN, ()))
        return statement(parts or [(Facts(Kind.NEUTRAL), ())], self._space)

    def _part(self, tokens: list[Token]) -> list[tuple[Facts, tuple[tuple[Source, ...], ...]]]:
        """One statement's facts, and what the parameters of its shape stand for."""
        sources: tuple[tuple[Source, ...], ...] = ()

        def parse(asked: list[Token]) -> Facts:
            nonlocal sources
            shape = shape_of(_plainly(asked))
            sources = shape.sources
            shapes = self._shapes if len(shape.text) <= LONGEST_REMEMBERED else self._long_shapes
            try:
                return shapes[shape.text]
            except KeyError:
                if len(shape.text) > _LONGEST_PARSED:
                    raise Unreadable("too long") from None
                facts = facts_of(parsed(shape.text, self._dialect), self._dialect, self._schema)
                shapes[shape.text] = facts
                return facts

        found = understood(tokens, self._dialect, self._schema, parse)
        return [(with_routines(facts, tokens, self._schema), sources) for facts in found]


def _statements(tokens: list[Token]) -> list[list[Token]]:
    """The statements of a text, without the semicolons between them.

    Raises:
        Unreadable: one has statements inside it, so that nobody knows where it ends.
    """
    found: list[list[Token]] = [[]]
    for token in tokens:
        if token.text == ";":
            found.append([])
        else:
            found[-1].append(token)
    found = [each for each in found if each]
    if len(found) > 1 and any(_holds_others(each) for each in found):
        raise Unreadable("a body of statements")
    return found


def _holds_others(tokens: list[Token]) -> bool:
    words = {token.upper for token in tokens}
    return tokens[0].upper in ("CREATE", "DECLARE") and "BEGIN" in words


def _plainly(tokens: list[Token]) -> list[Token]:
    """The same statement in words that the parser knows, without TABLE, REPLACE INTO, UPDATE OR IGNORE, OVERRIDING.

    Raises:
        Unreadable: an UPDATE OR REPLACE removes rows that it does not name.
    """
    if tokens[0].upper == "REPLACE":
        named = tokens[2:] if len(tokens) > 1 and tokens[1].upper == "INTO" else tokens[1:]
        return _words(tokens[0], "INSERT", "OR", "REPLACE", "INTO") + named
    if tokens[0].upper == "TABLE":
        return _words(tokens[0], "SELECT", "1", "FROM") + tokens[1:]
    if tokens[0].upper == "UPDATE" and len(tokens) > 3 and tokens[1].upper == "OR":
        if tokens[2].upper == "REPLACE":
            raise Unreadable("an UPDATE that replaces other rows")
        return [tokens[0], *tokens[3:]]
    words = [token.upper for token in tokens[:_HEAD]]
    if tokens[0].upper == "INSERT" and "OVERRIDING" in words:
        at = words.index("OVERRIDING")
        return tokens[:at] + tokens[at + 3:] if words[at + 2:at + 3] == ["VALUE"] else tokens
    return tokens


def _words(like: Token, *words: str) -> list[Token]:
    return [like._replace(text=word, spaced=True) for word in words]


def _dialect(name: Dialect | str) -> Dialect:
    if isinstance(name, Dialect):
        return name
    if name not in _NAMES:
        raise ConfigurationError(
            f"statements of {name!r} are not understood, only those of {', '.join(sorted(_NAMES))}: name tags yourself")
    return _NAMES[name]


def _style(name: Paramstyle | str) -> Paramstyle:
    try:
        return Paramstyle(name)
    except ValueError:
        known = ", ".join(style.value for style in Paramstyle)
        raise ConfigurationError(f"paramstyle is one of {known}, not {name!r}") from None
