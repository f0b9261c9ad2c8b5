"""The parser, kept quiet: a tree of one statement, or the word that there is none.

sqlglot takes what it does not know for a `Command` and says so in the log; here that is no tree at all, and the log of
the application stays its own.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

try:
    from sqlglot import exp, parse
    from sqlglot.errors import ErrorLevel, ParseError, SqlglotError
except ImportError as missing:
    raise ImportError("statements are read by sqlglot: install cachefence-web[sql]") from missing

from cachefence_web.sql.lexing import Dialect, Unreadable

# What is read off the trees. A part that a later parser calls otherwise would be missed in silence.
_READ_OFF = {
    exp.Select: ("from_", "joins", "where", "group", "having", "order", "distinct", "qualify", "windows", "connect",
                 "match", "pivots", "prewhere", "laterals", "for_", "into", "sample", "limit"),
    exp.Insert: ("this", "expression", "conflict", "alternative", "overwrite"),
    exp.OnConflict: ("action",),
    exp.Update: ("this", "expressions", "from_", "where"),
    exp.Delete: ("this", "using", "tables", "where"),
    exp.Merge: ("this", "using"),
    exp.Table: ("this", "alias", "db", "joins", "laterals", "pivots", "sample"),
    exp.Column: ("this", "table", "join_mark"),
    exp.Join: ("this", "on", "using", "side", "kind", "method"),
    exp.Group: ("expressions", "all", "grouping_sets", "cube", "rollup", "totals"),
    exp.In: ("this", "expressions", "query", "field", "unnest"),
}


def unfamiliar() -> list[str]:
    """The parts of its trees that the parser now calls otherwise."""
    return [
        f"{kind.__name__}.{name}" for kind, names in _READ_OFF.items() for name in names if name not in kind.arg_types]


if unfamiliar():
    raise ImportError(f"this sqlglot is not understood ({', '.join(unfamiliar())}): install cachefence-web[sql]")

_parsing: ContextVar[bool] = ContextVar("cachefence_web.sql.parsing", default=False)


def parsed(text: str, dialect: Dialect) -> exp.Expression:
    """The tree of a text that holds one statement, parameters as `exp.Placeholder`.

    Raises:
        Unreadable: for what the parser does not understand, wholly or in a part.
    """
    logger = logging.getLogger("sqlglot")
    if _not_ours not in logger.filters:
        logger.addFilter(_not_ours)
    token = _parsing.set(True)
    try:
        trees = parse(text, dialect=dialect.value, error_level=ErrorLevel.IMMEDIATE)
    except (SqlglotError, RecursionError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        # A parser's bug is a statement that was not understood, not an error of whoever sent it.
        raise Unreadable(_where(error)) from error
    finally:
        _parsing.reset(token)
    if len(trees) != 1 or not isinstance(trees[0], exp.Expression):
        raise Unreadable("not one statement")
    if trees[0].find(exp.Command) is not None:
        raise Unreadable("a part that the parser took over as it was")
    return trees[0]


def _where(error: Exception) -> str:
    """What the parser stumbled over; never the text around it, which may hold what nobody should log."""
    if isinstance(error, ParseError) and error.errors:
        return "line {line}, column {col}".format_map(error.errors[0])
    return type(error).__name__


def _not_ours(record: logging.LogRecord) -> bool:
    del record
    return not _parsing.get()
