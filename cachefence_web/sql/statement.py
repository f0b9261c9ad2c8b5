"""Facts and parameters to tags: the rows that are meant are known only now, and whether they were found only later.

A reader of rows by primary key carries their tags and `book:*`; if not all of them came back it carries `book`, since
the one that is missing may appear. So `reads` gives both, and how many rows tell which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from cachefence_web.sql.facts import Change, Facts, Kind
from cachefence_web.sql.naming import MOST_ROWS, table_name
from cachefence_web.sql.rows import One, Parameters, Rows, name_of, only_one, rows_of
from cachefence_web.sql.shaping import Source


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
class _Written:
    """One table that is written: its tag, the one for unknown rows (None: there are none), and the rows."""

    prefix: str
    table: str
    unknown: str | None
    rows: Rows | None
    one: One | None

    def add(self, parameters: Parameters, tags: dict[str, None]) -> None:
        tags[self.table] = None
        if self.one is not None and (name := name_of(*self.one, parameters)) is not None:
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
    rows: Rows
    several: bool
    one: One | None


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
            name = name_of(*sought.one, parameters)
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
    rows = rows_of(facts.sought.keys, sources)
    prefixes = tuple([f"{space}{table_name(table)}:" for table in facts.sought.tables])
    return _Sought(prefixes, rows, facts.sought.several, only_one(rows))


def _to_write(change: Change, sources: tuple[tuple[Source, ...], ...], space: str) -> _Written:
    table = space + table_name(change.table)
    rows = rows_of(change.keys, sources) if change.keys is not None else None
    unknown = None if change.fresh else f"{table}:*"
    return _Written(f"{table}:", table, unknown, rows, only_one(rows) if rows is not None else None)
