"""What a SELECT reads: by primary key, where its text and the count of its rows prove that nothing else was asked.

A table is read by key if it stands in the statement once, in the outermost FROM, restricted to rows that are named.
Then the result is a function of those rows and of the other tables, all of which count as read whole. Rows that were
not found are not known by this: the count of what came back must tell, so whatever could yield a row without one
(an aggregate without GROUP BY, an unknown function that may be one) reads the table whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlglot import exp

from cachefence_web.sql.conditions import Froms, conjuncts, keys_named
from cachefence_web.sql.facts import Keys, Sought
from cachefence_web.sql.schema import Exact, Schema

# What changes which rows WHERE speaks of, or what a row of the FROM is.
_UNUSUAL = ("connect", "match", "pivots", "prewhere", "laterals", "for_", "into", "sample")

# One value for one row, always: with any other function a statement may be an aggregate, or yield several rows.
_SCALAR = (
    exp.Abs, exp.And, exp.Array, exp.Case, exp.Cast, exp.Ceil, exp.Coalesce, exp.Concat, exp.ConcatWs, exp.CurrentDate,
    exp.CurrentTime, exp.CurrentTimestamp, exp.Exists, exp.Extract, exp.Floor, exp.Greatest, exp.If, exp.JSONExtract,
    exp.JSONExtractScalar, exp.Least, exp.Left, exp.Length, exp.Lower, exp.Nullif, exp.Or, exp.Pow, exp.Right,
    exp.Round, exp.StrPosition, exp.Substring, exp.TimestampTrunc, exp.Trim, exp.Upper,
)


def sought_by(tree: exp.Expr, schema: Schema) -> Sought | None:
    """The rows that a statement asks for by primary key, or None if it must be taken to read whole tables."""
    if not isinstance(tree, exp.Select) or any(tree.args.get(unusual) for unusual in _UNUSUAL):
        return None
    first = tree.args.get("from_")
    if first is None or not _one_row_for_one(tree):
        return None
    if any(column.args.get("join_mark") for column in tree.find_all(exp.Column)):
        return None  # Oracle's (+): a condition that is no condition where nothing matches
    joins: list[exp.Join] = tree.args.get("joins") or []
    items = [first.this, *[join.this for join in joins]]
    if any(item.args.get("joins") or item.args.get("laterals") or item.args.get("sample") for item in items):
        return None
    froms = Froms(schema)
    for item in items:
        froms.add(item)
    return _Search(tree, joins, froms, schema).sought()


class _Search:
    """One outermost SELECT, looked through for a table that is read by key."""

    def __init__(self, tree: exp.Select, joins: list[exp.Join], froms: Froms, schema: Schema) -> None:
        self._tree, self._froms, self._schema = tree, froms, schema
        where = tree.args.get("where")
        self._where = list(conjuncts(where.this if where is not None else None))
        self._inner = list(self._where)
        self._everywhere = list(self._where)
        self._using = any(join.args.get("using") or join.args.get("method") for join in joins)
        for join in joins:
            on = list(conjuncts(join.args.get("on")))
            self._everywhere += on
            if not join.side and join.kind in ("", "INNER", "CROSS"):
                self._inner += on
        # A view speaks of the tables beneath it, a CTE hides the table of its name.
        names = Counter([name for table in tree.find_all(exp.Table) for name in schema.under(table.name.casefold())])
        names.update([cte.alias_or_name.casefold() for cte in tree.find_all(exp.CTE)])
        self._once = {name for name, times in names.items() if times == 1}

    def sought(self) -> Sought | None:
        for alias, table in self._froms.tables.items():
            if table is None or not self._alone(alias, table):
                continue
            keys = keys_named(self._where, self._froms, alias)
            if keys is not None:
                joined = self._joined_by_key(alias, keys)
                tables = tuple(dict.fromkeys([self._froms.tables[each] or "" for each in joined]))
                return Sought(tables, keys, self._one_for_each(joined))
        return None

    def _alone(self, alias: str, table: str) -> bool:
        """Whether this is the only place where the statement speaks of the table, and no view of others."""
        return table in self._once and alias not in self._froms.ambiguous and self._schema.under(table) == {table}

    def _joined_by_key(self, alias: str, keys: Keys) -> list[str]:
        """The items whose own key equals this one's in every row: the parents and children of one object."""
        found = [alias]
        if len(keys.exact) > 1:
            return found
        for one in found:  # grows as it is gone through
            for other, table in self._froms.tables.items():
                if other in found or table is None or not self._alone(other, table):
                    continue
                if tuple(self._froms.keys[other].values()) == keys.exact and self._equal(one, other):
                    found.append(other)
        return found

    def _equal(self, one: str, other: str) -> bool:
        ours, theirs = next(iter(self._froms.keys[one])), next(iter(self._froms.keys[other]))
        return any(
            {(one, ours), (other, theirs)} == {self._column(condition.this), self._column(condition.expression)}
            for condition in self._inner if isinstance(condition, exp.EQ))

    def _column(self, node: exp.Expr) -> tuple[str, str]:
        owner = self._froms.owner(node) if isinstance(node, exp.Column) else None
        return (owner, node.name.casefold()) if owner is not None else ("", "")

    def _one_for_each(self, joined: list[str]) -> bool:
        """Whether no row asked for can come back twice: every other item is joined by its whole primary key."""
        if self._using or not all(
                isinstance(each, (*_SCALAR, exp.AggFunc)) or _of_django(each) for each in _functions(self._tree)):
            return False
        settled = set(joined)
        changed = True
        while changed:
            changed = False
            for alias, table in self._froms.tables.items():
                if alias not in settled and table is not None and self._settles(alias, table, settled):
                    settled.add(alias)
                    changed = True
        return len(settled) == len(self._froms.tables)

    def _settles(self, alias: str, table: str, settled: set[str]) -> bool:
        key = set(self._froms.keys[alias])
        if not key or self._schema.under(table) != {table}:
            return False
        if Exact.TEXT in self._froms.keys[alias].values():
            return False  # the other column may compare as numbers do, or without case: '1' and '01' both equal 1
        given = set()
        for condition in self._everywhere:
            if isinstance(condition, exp.EQ):
                for one, other in ((condition.this, condition.expression), (condition.expression, condition.this)):
                    if self._column(one)[0] == alias and self._column(other)[0] in settled:
                        given.add(self._column(one)[1])
        return key <= given


def _one_row_for_one(tree: exp.Select) -> bool:
    """Whether a row of the result proves a row of the FROM, which an aggregate over nothing disproves."""
    group = tree.args.get("group")
    if group is not None:
        plain = all(isinstance(each, exp.Column | exp.Literal | exp.Binary | exp.Cast) for each in group.expressions)
        return bool(group.expressions) and plain and not any(
            group.args.get(form) for form in ("all", "grouping_sets", "cube", "rollup", "totals"))
    if tree.args.get("having") is not None:
        return False
    return all(isinstance(each, _SCALAR) or _of_django(each) for each in _functions(tree))


def _functions(tree: exp.Select) -> Iterator[exp.Expr]:
    """The functions that decide what kind of SELECT this is: none of WHERE, none that a window surrounds."""
    parts = [*tree.expressions, tree.args.get("order"), tree.args.get("distinct"), tree.args.get("qualify")]
    parts += tree.args.get("windows") or []
    left: list[exp.Expr] = [part for part in parts if isinstance(part, exp.Expr)]
    while left:
        node = left.pop()
        if isinstance(node, exp.Query | exp.Subquery):
            yield from _outer_aggregates(node)
            continue
        if isinstance(node, exp.Func):
            yield node
        children = list(node.iter_expressions())
        if isinstance(node, exp.Window):
            inner = node.this
            while isinstance(inner, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
                inner = inner.this
            children = [child for child in children if child is not node.this]
            children += list(inner.iter_expressions()) if isinstance(inner, exp.Expr) else []
        left += children


def _outer_aggregates(query: exp.Expr) -> Iterator[exp.Expr]:
    """Functions of a subquery whose arguments may all be of the outer query, whose aggregate they then are."""
    own = {table.alias_or_name.casefold() for table in query.find_all(exp.Table)}
    for function in query.find_all(exp.Func):
        columns = list(function.find_all(exp.Column))
        if columns and not all(column.table and column.table.casefold() in own for column in columns):
            yield function


def _of_django(function: exp.Expr) -> bool:
    """Django's own functions on SQLite; its aggregates there have other names."""
    return isinstance(function, exp.Anonymous) and function.name.startswith("django_")
