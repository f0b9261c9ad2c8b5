"""How a page that depends on whole tables could depend on less: read off the text of its statements, for people."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cachefence_web.responding.telling import brief

_COUNTS = (
    "it counts or sums: any row that comes, goes or changes may change it. Keep the number on a row, read it under"
    " untracked() if it may be as old as the page, or show it in a view of its own that the page asks for")
_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(COUNT|SUM|AVG|MIN|MAX)\s*\(", re.IGNORECASE),
     _COUNTS),
    (re.compile(r"\bJOIN\b", re.IGNORECASE),
     "it joins: prefetch_related() in place of select_related() reads the other rows by primary key"),
    (re.compile(r"\bWHERE\b.*\b(UNION|INTERSECT|EXCEPT)\b|\bOR\b", re.IGNORECASE | re.DOTALL),
     "OR and UNION are not read as look-ups of rows: look up by primary key alone"),
)
_NO_WHERE = (
    "it reads the table without a WHERE: a list changes with each of its rows. Show it in a view of its own that the"
    " page asks for, or keep what is dear in fragments and values, so that making the page anew costs little")
_OTHERS = (
    "it looks for rows by other columns than the primary key, or one of those it looked for was not there. Find the"
    " primary key under untracked(), if it never changes, and look up by that")
_SHOWN = 120


def advice(tables: Mapping[str, list[str]]) -> list[str]:
    """What to do about each statement that made a page depend on a whole table; once for each.

    tables: the statements, by table.
    """
    found: dict[str, None] = {}
    for table, statements in tables.items():
        for statement in statements:
            found[f"{table}: {brief(statement, _SHOWN)}: {_hint(statement)}"] = None
    return list(found)


def _hint(statement: str) -> str:
    for pattern, hint in _HINTS:
        if pattern.search(statement):
            return hint
    return _OTHERS if re.search(r"\bWHERE\b", statement, re.IGNORECASE) else _NO_WHERE
