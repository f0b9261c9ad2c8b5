"""Facts and parameters to tags: the rows that are meant are known only now, and whether they were found only later.

A reader of rows by primary key carries their tags and `book:*`; if not all of them came back it carries `book`, since
the one that is missing may appear. So `reads` gives both, and how many rows tell which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

from msgspec import Struct

from cachefence_web.sql.facts import Change, Facts, Keys, Kind, Operand, Place
from cachefence_web.sql.naming import MOST_ROWS, Value, column_name, table_name
from cachefence_web.sql.schema import Exact
from cachefence_web.sql.shaping import Constant, Source

Parameters: TypeAlias = Sequence[Value] | Mapping[str, Value] | None
"""What is given to a driver beside the text."""


class Reads(Struct, frozen=True):
    """What a result depends on.

    tags: if at least `expected` rows came back.
    otherwise: if fewer did, or nobody knows how many.
    refusal: why nothing that depends on the result may be stored, or None.
    """

    tags: tuple[str, ...]
    expected: int = 0
    otherwise: tuple[str, ...] = ()
    refusal: str | None = None

    def after(self, rows: int | None) -> tuple[str, ...]:
        """The tags, now that it is known how many rows came back; None: it is not."""
        if not self.expected or (rows is not None and rows >= self.expected):
            return self.tags
        return self.otherwise


@dataclass(frozen=True, slots=True)
class _Spread:
    """A parameter whose value is a list of values."""

    source: Source


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that a statement names, once its parameters are known."""

    exact: tuple[Exact, ...]
    columns: tuple[tuple[Source | _Spread, ...], ...]
    zipped: bool

    def names(self, parameters: Parameters) -> list[str] | None:
        """What follows `book:` in the rows' tags, each once; None if they are not known exactly, or are too many."""
        lists = []
        for sources, exact in zip(self.columns, self.exact, strict=True):
            names = _column(sources, exact, parameters)
            if names is None:
                return None
            lists.append(names)
        if len(lists) == 1:
            found = list(dict.fromkeys(lists[0]))
        elif self.zipped:
            if len({len(names) for names in lists}) > 1:
                return None
            found = list(dict.fromkeys([",".join(parts) for parts in zip(*lists, strict=True)]))
        else:
            lists = [list(dict.fromkeys(names)) for names in lists]
            count = 1
            for names in lists:
                count *= len(names)
            found = [",".join(parts) for parts in product(*lists)] if count <= MOST_ROWS else []
        return found if 0 < len(found) <= MOST_ROWS else None


def _column(sources: tuple[Source | _Spread, ...], exact: Exact, parameters: Parameters) -> list[str] | None:
    names = []
    for source in sources:
        for value in _values(source, parameters):
            name = column_name(value, exact)
            if name is None:
                return None
            names.append(name)
    return names


_UNNAMED = (None,)  # no row is named by NULL


def _values(source: Source | _Spread, parameters: Parameters) -> Iterable[Value]:
    if isinstance(source, _Spread):
        (value,) = _values(source.source, parameters)
        return value if isinstance(value, list | tuple) else _UNNAMED
    if isinstance(source, Constant):
        return (source.value,) if source.known else _UNNAMED
    try:
        return (parameters[source],)  # type: ignore[index]
    except (LookupError, TypeError):
        return _UNNAMED


_One: TypeAlias = tuple[Source, Exact]
"""The only value of a key of one column, which nearly all statements by key have."""


def _name(one: _One, parameters: Parameters) -> str | None:
    source, exact = one
    try:
        value = source.value if type(source) is Constant else parameters[source]  # type: ignore[index]
    except (LookupError, TypeError):
        return None
    return str(value) if type(value) is int and exact is Exact.INTEGER and -_PLAIN < value < _PLAIN \
        else column_name(value, exact)


_PLAIN = 1 << 62


@dataclass(frozen=True, slots=True)
class _Written:
    """One table that is written: its tag, the one for unknown rows (None: there are none), and the rows."""

    prefix: str
    table: str
    unknown: str | None
    rows: _Rows | None
    one: _One | None

    def add(self, parameters: Parameters, tags: dict[str, None]) -> None:
        tags[self.table] = None
        if self.one is not None and (name := _name(self.one, parameters)) is not None:
            tags[self.prefix + name] = None
            return
        names = self.rows.names(parameters) if self.rows is not None and self.one is None else None
        if names is not None:
            tags.update(dict.fromkeys([self.prefix + name for name in names]))
        elif self.unknown is not None:
            tags[self.unknown] = None


@dataclass(frozen=True, slots=True)
class _Sought:
    """Rows that are read by key."""

    prefixes: tuple[str, ...]
    rows: _Rows
    several: bool
    one: _One | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A text that is understood: one statement, or several in a row.

    kinds: of each of them, in their order.
    kind: of all: the one that changes most.
    commits: it ends the transaction that is open by committing it, as MySQL and Oracle do at any definition too.
    tables: all that it names, folded.
    """

    kinds: tuple[Kind, ...]
    kind: Kind
    commits: bool
    tables: frozenset[str]
    refusal: str | None
    _sought: _Sought | None = field(repr=False)
    _known: tuple[str, ...] = field(repr=False)
    _whole: Reads = field(repr=False)
    _written: tuple[_Written, ...] = field(repr=False)
    _everything: tuple[str, ...] = field(repr=False)

    def reads(self, parameters: Parameters = None) -> Reads:
        """What the result depends on, which the count of its rows will tell exactly."""
        sought = self._sought
        if sought is None:
            return self._whole
        if sought.one is not None:
            name = _name(sought.one, parameters)
            if name is None:
                return self._whole
            tags = [prefix + name for prefix in sought.prefixes]
            return Reads((*tags, *self._known), 1, self._whole.tags, self.refusal)
        return self._several(sought, parameters)

    def _several(self, sought: _Sought, parameters: Parameters) -> Reads:
        names = sought.rows.names(parameters)
        if names is None or (len(names) > 1 and not sought.several):
            return self._whole
        tags = tuple([prefix + name for prefix in sought.prefixes for name in names])
        return Reads(tags + self._known, len(names), self._whole.tags, self.refusal)

    def writes(self, parameters: Parameters = None) -> tuple[str, ...]:
        """The tags that it makes untrue; none for one that writes nothing."""
        tags: dict[str, None] = {}
        for written in self._written:
            written.add(parameters, tags)
        tags.update(dict.fromkeys(self._everything))
        return tuple(tags)

    def writes_many(self, parameters: Iterable[Parameters]) -> tuple[str, ...]:
        """The tags of an `executemany`.

        parameters: those of each execution. What is neither list nor tuple is not looked at, since it could be read
            once only: its rows are unknown.
        """
        if not isinstance(parameters, list | tuple) or len(parameters) > MOST_ROWS:
            return self.writes()
        tags: dict[str, None] = {}
        for each in parameters:
            for written in self._written:
                written.add(each, tags)
        if len(tags) > MOST_ROWS:
            return self.writes()
        tags.update(dict.fromkeys(self._everything))
        return tuple(tags)


_ORDER = (Kind.UNKNOWN, Kind.DDL, Kind.WRITE)


def statement(parts: Sequence[tuple[Facts, tuple[tuple[Source, ...], ...]]], space: str = "") -> Statement:
    """The statement of these parts; `space` is put before every tag."""
    facts = [each for each, _ in parts]
    kinds = tuple([each.kind for each in facts])
    kind = next((each for each in _ORDER if each in kinds), None) or next(
        (each for each in kinds if each not in (Kind.READ, Kind.NEUTRAL)), None) or (
        Kind.READ if Kind.READ in kinds else Kind.NEUTRAL)
    refusal = next((each.refusal for each in facts if each.refusal), None)
    everything = f"{space}db:*"
    sought = _bound(parts[0], space) if len(parts) == 1 else None
    whole = {table: None for each in facts for table in sorted(each.reads)}
    asked = {table: None for each in facts if each.sought for table in each.sought.tables}
    names = [space + table_name(table) for table in whole]
    also = [space + table_name(table) for table in asked]
    return Statement(
        kinds, kind,
        commits=any(each.commits for each in facts),
        tables=frozenset([*whole, *asked, *[change.table for each in facts for change in each.changes]]),
        refusal=refusal,
        _sought=sought,
        _known=(*[f"{tag}:*" for tag in also], *names, everything),
        _whole=Reads((*also, *names, everything), refusal=refusal),
        _written=tuple([_to_write(change, sources, space) for each, sources in parts for change in each.changes]),
        _everything=(everything,) if any(each.everything for each in facts) else (),
    )


def _bound(part: tuple[Facts, tuple[tuple[Source, ...], ...]], space: str) -> _Sought | None:
    facts, sources = part
    if facts.sought is None:
        return None
    rows = _rows(facts.sought.keys, sources)
    prefixes = tuple([f"{space}{table_name(table)}:" for table in facts.sought.tables])
    return _Sought(prefixes, rows, facts.sought.several, _only(rows))


def _only(rows: _Rows) -> _One | None:
    first = rows.columns[0]
    if len(rows.columns) > 1 or len(first) > 1 or isinstance(first[0], _Spread):
        return None
    unknown = isinstance(first[0], Constant) and not first[0].known
    return None if unknown else (first[0], rows.exact[0])


def _rows(keys: Keys, sources: tuple[tuple[Source, ...], ...]) -> _Rows:
    columns = tuple([
        tuple([each for operand in operands for each in _sources(operand, sources)]) for operands in keys.columns])
    return _Rows(keys.exact, columns, keys.zipped)


def _sources(operand: Operand, sources: tuple[tuple[Source, ...], ...]) -> list[Source | _Spread]:
    if not isinstance(operand, Place):
        return [operand]
    found = sources[operand.number]
    return [_Spread(each) for each in found] if operand.spread else list(found)


def _to_write(change: Change, sources: tuple[tuple[Source, ...], ...], space: str) -> _Written:
    table = space + table_name(change.table)
    rows = _rows(change.keys, sources) if change.keys is not None else None
    unknown = None if change.fresh else f"{table}:*"
    return _Written(f"{table}:", table, unknown, rows, _only(rows) if rows is not None else None)
