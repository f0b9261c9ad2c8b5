"""Which rows a WHERE leaves: a table's whole primary key, equal to or among values that are given.

If one of the conditions that are ANDed says so of one table of the FROM, then whatever else is ANDed, joined, grouped
or ordered, every row of the result was made with one of these rows: a condition on the key is never true of the
NULLs that an outer join fills in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from cachefence_web.sql.facts import Keys, Operand, Place
from cachefence_web.sql.schema import Exact, Schema
from cachefence_web.sql.shaping import Constant

_DType = exp.DataType.Type
_CASTS = {
    Exact.INTEGER: frozenset({_DType.INT, _DType.BIGINT, _DType.SMALLINT}),
    Exact.UUID: frozenset({_DType.UUID}),
    Exact.TEXT: frozenset({_DType.TEXT, _DType.VARCHAR}),
}
# What a backslash means depends on the dialect and its settings; of these characters none came from one.
_PLAIN_TEXT = re.compile(r"[\w .,:@/+-]*")


@dataclass(slots=True)
class Froms:
    """The tables of one FROM: alias -> table, folded; None for what is no plain table.

    keys: the primary key of each.
    ambiguous: aliases that two of them have once they are folded.
    """

    schema: Schema
    tables: dict[str, str | None] = field(default_factory=dict)
    keys: dict[str, Mapping[str, Exact]] = field(default_factory=dict)
    ambiguous: set[str] = field(default_factory=set)

    def add(self, item: exp.Expr) -> None:
        """Take in one item of a FROM or JOIN."""
        plain = isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier) and not item.args.get("pivots")
        alias = item.alias_or_name.casefold() or f"({len(self.tables)})"
        if alias in self.tables:
            self.ambiguous.add(alias)
        renamed = item.args.get("alias")
        if isinstance(renamed, exp.TableAlias) and renamed.args.get("columns"):
            plain = False  # its columns have other names
        self.tables[alias] = item.name.casefold() if plain else None
        self.keys[alias] = key_of(item, self.schema) if plain else {}

    def owner(self, column: exp.Column) -> str | None:
        """The alias of the item that a column belongs to, as far as the text alone tells."""
        alias = column.table.casefold()
        if not alias:
            return next(iter(self.tables)) if len(self.tables) == 1 and not self.ambiguous else None
        return alias if alias in self.tables and alias not in self.ambiguous else None

    def column_of(self, node: exp.Expr | None, alias: str) -> str | None:
        """The folded name of a column if it belongs to this item; None for anything else."""
        node = bare(node)
        return node.name.casefold() if isinstance(node, exp.Column) and self.owner(node) == alias else None


def key_of(table: exp.Expr, schema: Schema) -> Mapping[str, Exact]:
    """The primary key of a table as the statement names it."""
    return schema.key(table.name.casefold(), table.text("db").casefold())


def bare(node: exp.Expr | None) -> exp.Expr | None:
    """A node without the parentheses around it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    """All that must be true for the condition to be."""
    left = [condition]
    while left:
        node = bare(left.pop())
        if isinstance(node, exp.And):
            left += [node.expression, node.this]
        elif node is not None:
            yield node


def keys_named(conditions: Iterable[exp.Expr], froms: Froms, alias: str) -> Keys | None:
    """The rows of one item of the FROM that satisfy the conditions, if they name its whole primary key."""
    key = froms.keys[alias]
    if not key:
        return None
    exact = tuple(key.values())
    found: dict[str, tuple[Operand, ...]] = {}
    for condition in conditions:
        if isinstance(condition, exp.Or):
            either = _either(condition, froms, alias)
            if either is not None:
                return either
            continue
        named = _compared(condition)
        if named is None:
            continue
        sides, values = named
        columns = [froms.column_of(side, alias) or "" for side in sides]
        if len(columns) == 1:
            (column,) = columns
            if column in key and column not in found:
                operands = _operands([value for (value,) in values], key[column])
                found.update({column: operands} if operands is not None else {})
        elif set(key) == set(columns) and len(columns) == len(key):
            at = [columns.index(name) for name in key]
            zipped = [_operands([row[i] for row in values], kind) for i, kind in zip(at, exact, strict=True)]
            known = tuple([operands for operands in zipped if operands is not None])
            if len(known) == len(exact):
                return Keys(exact, known, zipped=True)
    if len(found) == len(key):
        return Keys(exact, tuple([found[name] for name in key]))
    return None


def _either(condition: exp.Or, froms: Froms, alias: str) -> Keys | None:
    """The rows of conditions that are ORed, if each of them names its own: how Django asks for composite keys."""
    arms: list[Keys] = []
    left: list[exp.Expr | None] = [condition]
    while left:
        node = bare(left.pop())
        if isinstance(node, exp.Or):
            left += [node.this, node.expression]
            continue
        # A key of several columns is one row here, so that rows can be told apart by their position.
        simple = len(froms.keys[alias]) == 1
        keys = keys_named([each for each in conjuncts(node) if simple or _single(each)], froms, alias)
        if keys is None:
            return None
        arms.append(keys)
    columns = [sum(column, start=()) for column in zip(*[keys.columns for keys in arms], strict=True)]
    return Keys(arms[0].exact, tuple(columns), zipped=True)


def _single(condition: exp.Expr) -> bool:
    return isinstance(condition, exp.EQ) and condition.find(exp.Any) is None


def _compared(condition: exp.Expr) -> tuple[list[exp.Expr], list[list[exp.Expr]]] | None:
    """A comparison by equality: the columns compared, and each row of values that they may equal."""
    if isinstance(condition, exp.EQ):
        one, other = bare(condition.this), bare(condition.expression)
        assert one is not None
        assert other is not None
        if not isinstance(one, exp.Column | exp.Tuple) or not _columns(one):
            one, other = other, one
        return _columns(one), [_row(other)] if len(_row(other)) == len(_columns(one)) else []
    if isinstance(condition, exp.In) and not condition.args.get("query") and not condition.args.get("unnest"):
        this = bare(condition.this)
        assert this is not None
        listed = condition.expressions
        if (given := condition.args.get("field")) is not None:
            listed = [exp.Any(this=given.copy())]
        columns = _columns(this)
        rows = [_row(bare(each) or each) for each in listed]
        return (columns, rows) if rows and all(len(row) == len(columns) for row in rows) else None
    return None


def _columns(node: exp.Expr) -> list[exp.Expr]:
    listed = node.expressions if isinstance(node, exp.Tuple) else [node]
    return listed if all(isinstance(bare(each), exp.Column) for each in listed) else []


def _row(node: exp.Expr) -> list[exp.Expr]:
    return node.expressions if isinstance(node, exp.Tuple) else [node]


def _operands(values: list[exp.Expr], exact: Exact) -> tuple[Operand, ...] | None:
    found = [operand(value, exact) for value in values]
    known = tuple([each for each in found if each is not None])
    return known if known and len(known) == len(found) else None


def operand(node: exp.Expr | None, exact: Exact, *, spread: bool = False) -> Operand | None:
    """A parameter or literal that a column which compares so is held against; None for whatever is computed."""
    node = bare(node)
    if isinstance(node, exp.Any) and not spread:
        return operand(node.this, exact, spread=True)
    if type(node) is exp.Cast:
        return operand(node.this, exact, spread=spread) if _harmless(node.to, exact, spread=spread) else None
    if isinstance(node, exp.Placeholder) and str(node.this)[:1] == "p" and str(node.this)[1:].isdigit():
        return Place(int(node.this[1:]), spread)
    if spread:
        return None
    negative = isinstance(node, exp.Neg)
    literal = bare(node.this) if isinstance(node, exp.Neg) else node
    if not isinstance(literal, exp.Literal):
        return None
    if literal.is_string:
        return Constant(literal.this) if not negative and _PLAIN_TEXT.fullmatch(literal.this) else None
    if literal.this.isdigit() and literal.this.isascii():
        return Constant(-int(literal.this) if negative else int(literal.this))
    return None


def _harmless(to: exp.DataType, exact: Exact, *, spread: bool) -> bool:
    """Whether a cast changes nothing about a value that names a row exactly; one to a length would."""
    if spread and to.this is _DType.ARRAY and len(to.expressions) == 1:
        to = to.expressions[0]
    return to.this in _CASTS[exact] and not to.expressions
