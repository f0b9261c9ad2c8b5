"""What an INSERT, UPDATE, DELETE or MERGE writes, wherever in the statement it stands."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from cachefence_web.sql.conditions import Froms, conjuncts, key_of, keys_named, operand
from cachefence_web.sql.facts import Change, Keys, Operand
from cachefence_web.sql.lexing import Unreadable
from cachefence_web.sql.schema import Schema

WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.MultitableInserts, exp.Into)


def changes_of(tree: exp.Expr, schema: Schema) -> tuple[Change, ...]:
    """Everything that a tree writes; nothing for one that only reads.

    Raises:
        Unreadable: it writes, but not what.
    """
    found: dict[Change, None] = {}
    for node in tree.find_all(*WRITES):
        if node.find_ancestor(exp.Merge, exp.MultitableInserts) is None:
            found.update(dict.fromkeys(_changes(node, schema)))
    return tuple(found)


def _changes(node: exp.Expr, schema: Schema) -> Iterator[Change]:
    if isinstance(node, exp.Insert):
        yield from _inserted(node, schema)
    elif isinstance(node, exp.Update):
        yield from _updated(node, schema)
    elif isinstance(node, exp.Delete):
        yield from _deleted(node, schema)
    else:
        targets = node.find_all(exp.Table) if not isinstance(node, exp.Merge) else [node.this]
        yield from _wholly(list(targets), schema, cascading=isinstance(node, exp.Merge))


def _wholly(targets: list[exp.Table], schema: Schema, *, cascading: bool) -> Iterator[Change]:
    """Every row of these may be another one, or gone."""
    if not targets:
        raise Unreadable("a write to nothing that has a name")
    for target in targets:
        for name in schema.under(_name(target)):
            yield Change(name)
        yield from _reached(target, schema, cascading=cascading)


def _reached(target: exp.Table, schema: Schema, *, cascading: bool) -> Iterator[Change]:
    for name in schema.under(_name(target)):
        yield from [Change(other) for other in sorted(schema.reached(name, cascading=cascading))]


def _name(target: object) -> str:
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier):
        raise Unreadable("a write to something that is no table")
    return target.name.casefold()


def _inserted(node: exp.Insert, schema: Schema) -> Iterator[Change]:
    into = node.this
    target = into.this if isinstance(into, exp.Schema) else into
    conflict = node.args.get("conflict")
    does = str(conflict.args.get("action") or "").upper() if conflict is not None else "DO NOTHING"
    replaces = str(node.args.get("alternative") or "").upper() == "REPLACE" or bool(node.args.get("overwrite"))
    if does != "DO NOTHING" or replaces:
        yield from _wholly([target], schema, cascading=True)
        return
    name = _name(target)
    if schema.under(name) == {name}:
        yield Change(name, _keys_inserted(node, into, schema), fresh=True)
    else:  # what an INSERT into a view does is the view's secret
        yield from _wholly([target], schema, cascading=True)
    yield from _reached(target, schema, cascading=False)


def _keys_inserted(node: exp.Insert, into: exp.Expr, schema: Schema) -> Keys | None:
    """The keys among the values of an INSERT."""
    values = node.args.get("expression")
    if not isinstance(into, exp.Schema) or not isinstance(values, exp.Values) or not key_of(into.this, schema):
        return None
    key = key_of(into.this, schema)
    columns = [column.name.casefold() for column in into.expressions]
    rows = [row.expressions for row in values.expressions if isinstance(row, exp.Tuple)]
    if len(rows) != len(values.expressions) or any(len(row) != len(columns) for row in rows):
        return None
    named: list[tuple[Operand, ...]] = []
    for column, exact in key.items():
        if column not in columns:
            return None
        given = [operand(row[columns.index(column)], exact) for row in rows]
        if any(each is None for each in given):
            return None
        named.append(tuple([each for each in given if each is not None]))
    return Keys(tuple(key.values()), tuple(named), zipped=True)


def _updated(node: exp.Update, schema: Schema) -> Iterator[Change]:
    target = node.this
    name = _name(target)
    written = {part.name.casefold() for setting in node.expressions for part in _left(setting).find_all(exp.Identifier)}
    source = node.args.get("from_")
    if target.args.get("joins") or schema.under(name) != {name}:
        tables = [target, *[join.this for join in target.args.get("joins") or []]]
        yield from _wholly([each for each in tables if isinstance(each, exp.Table)], schema, cascading=True)
        return
    key = key_of(target, schema)
    rekeyed = not key or not written.isdisjoint(key)
    keys = None if rekeyed else _named(node, target, [source.this] if source is not None else [], schema)
    yield Change(name, keys)
    yield from _reached(target, schema, cascading=rekeyed)


def _left(setting: exp.Expr) -> exp.Expr:
    return setting.this if isinstance(setting, exp.EQ) and isinstance(setting.this, exp.Expr) else setting


def _deleted(node: exp.Delete, schema: Schema) -> Iterator[Change]:
    target = node.this
    using = node.args.get("using") or []
    several = node.args.get("tables") or []
    if several or target.args.get("joins"):
        tables = [*several, target, *[join.this for join in target.args.get("joins") or []]]
        yield from _wholly([each for each in tables if isinstance(each, exp.Table)], schema, cascading=True)
        return
    name = _name(target)
    if schema.under(name) != {name}:
        yield from _wholly([target], schema, cascading=True)
        return
    yield Change(name, _named(node, target, list(using), schema))
    yield from _reached(target, schema, cascading=True)


def _named(node: exp.Expr, target: exp.Table, others: list[exp.Expr], schema: Schema) -> Keys | None:
    """The rows that an UPDATE or DELETE names in its WHERE."""
    froms = Froms(schema)
    for item in [target, *others]:
        froms.add(item)
        for join in item.args.get("joins") or []:
            froms.add(join.this)
    where = node.args.get("where")
    if where is None or target.alias_or_name.casefold() in froms.ambiguous:
        return None
    return keys_named(conjuncts(where.this), froms, target.alias_or_name.casefold())
