"""One statement's tokens to its facts: by its leading words where they say it all, by the parser where they do not.

Transaction control and what only speaks of the session is told by words, or every savepoint would clear the cache.
A SELECT that is not understood is not stored; anything else that is not understood may have written everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from sqlglot import exp

from cachefence_web.sql.defining import definition, named_after, truncation
from cachefence_web.sql.facts import Change, Facts, Kind
from cachefence_web.sql.lexing import Dialect, Token, Unreadable
from cachefence_web.sql.reading import sought_by
from cachefence_web.sql.schema import Schema
from cachefence_web.sql.writing import changes_of

Parse: TypeAlias = Callable[[list[Token]], Facts]
"""Asks the parser, or remembers what it said, about a statement that it can read."""

NEUTRAL = Facts(Kind.NEUTRAL)
UNKNOWN = Facts(Kind.UNKNOWN, everything=True, refusal="the statement was not understood")

_QUERIES = frozenset({"SELECT", "VALUES", "TABLE"})
_PARSED = _QUERIES | {"WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"}
_DEFINING = frozenset({"CREATE", "ALTER", "DROP", "RENAME", "REFRESH"})
_SESSION = frozenset({
    "SET", "SHOW", "RESET", "FETCH", "MOVE", "CLOSE", "LISTEN", "UNLISTEN", "NOTIFY", "LOCK", "UNLOCK", "VACUUM",
    "ANALYSE", "CHECKPOINT", "DISCARD", "DEALLOCATE", "USE", "KILL", "FLUSH", "REINDEX", "CLUSTER", "COMMENT", "GRANT",
    "REVOKE", "SECURITY", "ATTACH", "DETACH", "OPTIMIZE", "HELP", "REASSIGN",
})
_BLOCK_FREE = frozenset({
    "", "TRANSACTION", "WORK", "TRAN", "IMMEDIATE", "DEFERRED", "EXCLUSIVE", "CONCURRENT", "ISOLATION", "READ", "NOT",
    "DEFERRABLE",
})
_COMMITTING = frozenset({Kind.COMMIT, Kind.COMMIT_PREPARED})
_CATALOGS = frozenset({"pg_catalog", "information_schema", "performance_schema", "mysql", "sys"})


def understood(tokens: list[Token], dialect: Dialect, schema: Schema, parse: Parse) -> tuple[Facts, ...]:
    """What one statement is; COMMIT AND CHAIN is two."""
    first, second = tokens[0].upper, tokens[1].upper if len(tokens) > 1 else ""
    if tokens[0].text == "(" or first in _PARSED:
        return (_asked(tokens, parse),)
    control = _control(tokens, first, second)
    if control:
        commits = _COMMITTING | {Kind.BEGIN} if dialect is Dialect.MYSQL else _COMMITTING
        return tuple([UNKNOWN if kind is Kind.UNKNOWN else Facts(kind, commits=kind in commits) for kind in control])
    if first in _DEFINING or first == "TRUNCATE":
        found = truncation(tokens, schema) if first == "TRUNCATE" else definition(tokens, schema)
        return (replace(found, commits=dialect in (Dialect.MYSQL, Dialect.ORACLE)),)
    return (_session(tokens, first, dialect, schema, parse),)


def _asked(tokens: list[Token], parse: Parse) -> Facts:
    try:
        return parse(tokens)
    except Unreadable as why:
        words = {token.upper for token in tokens}
        if words.isdisjoint(("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "INTO")) or (
                tokens[0].upper == "SELECT" and "INTO" not in words):
            return Facts(Kind.READ, refusal=f"the statement was not understood ({why})")
        return UNKNOWN


def _control(tokens: list[Token], first: str, second: str) -> tuple[Kind, ...]:
    """The steps of a transaction that these words are; none for other words."""
    words = [token.upper for token in tokens]
    chained = words[-2:] == ["AND", "CHAIN"]
    match first:
        case "BEGIN":
            return (Kind.BEGIN,) if second in _BLOCK_FREE and (second or len(tokens) == 1) else (Kind.UNKNOWN,)
        case "START":
            return (Kind.BEGIN,) if second == "TRANSACTION" else ()
        case "COMMIT" | "END":
            if second == "PREPARED":
                return (Kind.COMMIT_PREPARED,)
            return (Kind.COMMIT, Kind.BEGIN) if chained else (Kind.COMMIT,)
        case "ROLLBACK" | "ABORT":
            if second == "PREPARED":
                return (Kind.ROLLBACK_PREPARED,)
            if "TO" in words:
                return (Kind.ROLLBACK_TO,)
            return (Kind.ROLLBACK, Kind.BEGIN) if chained else (Kind.ROLLBACK,)
        case "SAVEPOINT":
            return (Kind.SAVEPOINT,)
        case "RELEASE":
            return (Kind.RELEASE,)
        case "PREPARE":
            return (Kind.PREPARE,) if second == "TRANSACTION" else ()
    return ()


def _session(tokens: list[Token], first: str, dialect: Dialect, schema: Schema, parse: Parse) -> Facts:
    """What is neither a query nor a definition nor a step of a transaction."""
    words = {token.upper for token in tokens}
    match first:
        case "EXPLAIN" | "DESCRIBE" | "DESC" | "ANALYZE":
            return _explained(tokens, first, dialect, schema, parse)
        case "PREPARE":
            return NEUTRAL
        case "DECLARE" if "CURSOR" in words and "FOR" in words:
            return understood(tokens[[token.upper for token in tokens].index("FOR") + 1:], dialect, schema, parse)[0] \
                if tokens[-1].upper != "FOR" else UNKNOWN
        case "PRAGMA":
            asks = not any(token.text == "=" for token in tokens)
            return replace(NEUTRAL, refusal="a PRAGMA may tell anything") if asks and len(tokens) > 2 else NEUTRAL
        case "COPY":
            return _copied(tokens, words, schema)
        case "CALL" | "EXEC" | "EXECUTE" | "DO":
            return _called(tokens, schema)
        case "LOCK" | "UNLOCK" if dialect is Dialect.MYSQL:
            return Facts(Kind.COMMIT, commits=True)  # MySQL commits what is open first
        case "SET" if dialect is Dialect.MYSQL and "AUTOCOMMIT" in words:
            on = tokens[-1].text.upper() not in ("0", "OFF", "FALSE")
            return Facts(Kind.COMMIT if on else Kind.BEGIN, commits=on)
    if first not in _SESSION:
        return UNKNOWN
    return replace(NEUTRAL, refusal="a variable is set by a query") if "SELECT" in words else NEUTRAL


def _explained(tokens: list[Token], first: str, dialect: Dialect, schema: Schema, parse: Parse) -> Facts:
    """A plan is never stored; with ANALYZE the statement is run all the same."""
    for position, token in enumerate(tokens[1:], 1):
        if token.upper in _PARSED | {"EXECUTE", "CREATE", "REFRESH", "DECLARE", "CALL"}:
            inner = understood(tokens[position:], dialect, schema, parse)[0]
            runs = first == "ANALYZE" or any(before.upper in ("ANALYZE", "ANALYSE") for before in tokens[1:position])
            plan = "a plan is true for a moment only"
            return replace(inner, refusal=plan) if runs else Facts(Kind.READ, refusal=plan)
    return NEUTRAL


def _copied(tokens: list[Token], words: set[str], schema: Schema) -> Facts:
    if "FROM" in words and len(tokens) > 1 and tokens[1].text != "(":
        old = tokens[1].upper == "BINARY" and tokens[2].upper != "FROM"  # how it was written before PostgreSQL 7.3
        return written(schema, named_after(tokens, 2 if old else 1)[:1])
    if words.isdisjoint(("INSERT", "UPDATE", "DELETE", "MERGE")):
        return Facts(Kind.READ, refusal="what is copied out is not followed")
    return UNKNOWN


def written(schema: Schema, tables: list[str]) -> Facts:
    """Tables written by what does not tell rows."""
    if not tables:
        return UNKNOWN
    names = {under for table in tables for under in schema.under(table)}
    names |= {other for name in names for other in schema.reached(name, cascading=True)}
    return Facts(Kind.WRITE, changes=tuple([Change(name) for name in sorted(names)]))


def _called(tokens: list[Token], schema: Schema) -> Facts:
    """A procedure touches what was declared of it; of one that was not, nothing is known."""
    names = named_after(tokens, 1)
    return Facts(Kind.WRITE) if names and schema.routine(names[0]) is not None else UNKNOWN


def with_routines(facts: Facts, tokens: list[Token], schema: Schema) -> Facts:
    """The facts, and what was declared of the routines that the statement calls."""
    if not schema.knows_routines:
        return facts
    reads, writes = set(facts.reads), dict.fromkeys(facts.changes)
    wrote = False
    bare = any(token.upper in ("CALL", "EXEC", "EXECUTE") for token in tokens)  # of a procedure, without parentheses
    for position, token in enumerate(tokens):
        routine = schema.routine(token.name) if token.name else None
        called = position + 1 < len(tokens) and tokens[position + 1].text == "("
        if routine is not None and (called or bare):
            reads.update(under for table in routine.reads for under in schema.under(table))
            writes.update(dict.fromkeys(written(schema, list(routine.writes)).changes) if routine.writes else {})
            wrote = wrote or bool(routine.writes)
    if reads == facts.reads and not wrote:
        return facts
    kind = Kind.WRITE if wrote and facts.kind is Kind.READ else facts.kind
    return replace(facts, kind=kind, reads=frozenset(reads), changes=tuple(writes))


def facts_of(tree: exp.Expr, dialect: Dialect, schema: Schema) -> Facts:
    """What a tree reads and writes.

    Raises:
        Unreadable: the tree is not of a form that this package knows, which half a statement may well have.
    """
    try:
        return _facts_of(tree, dialect, schema)
    except (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Unreadable(type(error).__name__) from error


def _facts_of(tree: exp.Expr, dialect: Dialect, schema: Schema) -> Facts:
    changes = changes_of(tree, schema)
    tables = list(tree.find_all(exp.Table))
    if any(isinstance(node.args.get("field"), exp.Column | exp.Table) for node in tree.find_all(exp.In)):
        raise Unreadable("IN a table")
    # A table may be called like a function: SQLite's virtual ones are.
    names = {(table.name or table.this.name).casefold() for table in tables}
    reads = frozenset([under for name in names if name for under in schema.under(name)])
    if changes:
        return Facts(Kind.WRITE, reads, changes=changes)
    refusal = None
    if any(tree.find_all(exp.Lock)):
        refusal = "it locks rows: what it reads is about to be written"
    elif any(_of_catalog(table, dialect, schema) for table in tables):
        refusal = "it reads the database's catalog, which no statement tells of"
    sought = sought_by(tree, schema)
    return Facts(Kind.READ, reads.difference(sought.tables if sought else ()), sought, refusal=refusal)


def _of_catalog(table: exp.Table, dialect: Dialect, schema: Schema) -> bool:
    name = table.name.casefold()
    if table.db.casefold() in _CATALOGS:
        return True
    own = {Dialect.POSTGRES: ("pg_",), Dialect.SQLITE: ("sqlite_", "pragma_", "dbstat")}.get(dialect, ())
    return name.startswith(own) and name not in schema.names if own else False
