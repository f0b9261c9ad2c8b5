"""What DDL touches, by its tokens: the tables it names, or everything where a name does not say what depends on it."""

from __future__ import annotations

from cachefence_web.sql.facts import Change, Facts, Kind
from cachefence_web.sql.lexing import Sort, Token
from cachefence_web.sql.schema import Schema

_TABLES = frozenset({"TABLE", "TABLES", "VIEW"})
# These stand on a table and can change what it shows: a policy hides rows, a rule rewrites queries.
_ON_TABLES = frozenset({"POLICY", "RULE"})
# No row that a query returns changes with these.
_WITHOUT_ROWS = frozenset({
    "INDEX", "SEQUENCE", "USER", "ROLE", "EXTENSION", "STATISTICS", "PUBLICATION", "SUBSCRIPTION", "TABLESPACE",
    "TRIGGER", "EVENT", "GROUP", "PROFILE",
})
_OBJECTS = _TABLES | _ON_TABLES | _WITHOUT_ROWS | frozenset({
    "FUNCTION", "PROCEDURE", "PACKAGE", "AGGREGATE", "TYPE", "DOMAIN", "SCHEMA", "DATABASE", "CAST", "OPERATOR",
    "COLLATION", "SERVER", "SYNONYM", "SYSTEM", "OWNED",
})
_BEFORE_A_NAME = frozenset({"IF", "NOT", "EXISTS", "ONLY", "CONCURRENTLY", "TABLE"})
_BEFORE_ANOTHER = frozenset({"TO", "OF", "PARTITION", "INHERIT", "TABLE", "RENAME", "ON", "WITH"})
_NO_NAMES = _BEFORE_ANOTHER | {
    "COLUMN", "CONSTRAINT", "INDEX", "KEY", "DELETE", "UPDATE", "COMMIT", "BY", "VALUES", "IF", "ONLY", "NOT", "NULL",
    "EXISTS", "DEFAULT", "CONCURRENTLY",
}


def definition(tokens: list[Token], schema: Schema) -> Facts:
    """What CREATE, ALTER, DROP, RENAME and REFRESH touch."""
    if tokens[0].upper == "RENAME":
        return _touched([token.name for token in tokens[2:] if token.name and token.upper != "TO"], schema)
    at = next((i for i, token in enumerate(tokens) if token.upper in _OBJECTS), None)
    what = tokens[at].upper if at is not None else ""
    if at is None or what not in _TABLES | _ON_TABLES | _WITHOUT_ROWS:
        return Facts(Kind.DDL, everything=True)
    if what in _WITHOUT_ROWS:
        return Facts(Kind.DDL)
    names = named_after(tokens, at + 1) if what in _TABLES else []
    names += [name for name in _others(tokens[at:]) if what in _ON_TABLES or name not in names]
    names += [token.name for token in tokens[at:] if token.name in schema.names]
    return _touched(names, schema)


def truncation(tokens: list[Token], schema: Schema) -> Facts:
    """What TRUNCATE empties; with CASCADE all that refers to it, and that nobody has told us."""
    if any(token.upper == "CASCADE" for token in tokens):
        return Facts(Kind.DDL, everything=True)
    return _touched(named_after(tokens, 1), schema)


def named_after(tokens: list[Token], position: int) -> list[str]:
    """The folded last parts of the names, divided by commas, that begin here."""
    names = []
    while position < len(tokens):
        while position < len(tokens) and tokens[position].upper in _BEFORE_A_NAME:
            position += 1
        name, position = _name(tokens, position)
        if not name:
            break
        names.append(name)
        if position < len(tokens) and tokens[position].text == "*":
            position += 1
        if position >= len(tokens) or tokens[position].text != ",":
            break
        position += 1
    return names


def _name(tokens: list[Token], position: int) -> tuple[str, int]:
    """The last part of a dotted name, and the position after it; an empty one for anything else."""
    name = ""
    while position < len(tokens) and tokens[position].sort in (Sort.WORD, Sort.QUOTED):
        name = tokens[position].name
        position += 1
        if position >= len(tokens) or tokens[position].text != ".":
            break
        position += 1
    return name, position


def _others(tokens: list[Token]) -> list[str]:
    """Names further on: RENAME TO, PARTITION OF, ATTACH PARTITION, INHERIT, EXCHANGE WITH TABLE, ON."""
    found = []
    for position, token in enumerate(tokens):
        if token.upper in _BEFORE_ANOTHER:
            name, _ = _name(tokens, position + 1)
            if name and name.upper() not in _NO_NAMES:
                found.append(name)
    return found


def _touched(names: list[str], schema: Schema) -> Facts:
    if not names:
        return Facts(Kind.DDL, everything=True)
    under = {each for name in names for each in schema.under(name)}
    under |= {other for name in under for other in schema.reached(name, cascading=True)}
    return Facts(Kind.DDL, changes=tuple([Change(name) for name in sorted(under)]))
