"""The rows that a statement names, by the keys that stand in it or are given as its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias, cast

from cachefence_web.sql.facts import Keys, Operand, Place
from cachefence_web.sql.naming import MOST_ROWS, Value, column_name
from cachefence_web.sql.schema import Exact
from cachefence_web.sql.shaping import Constant, Source

Parameters: TypeAlias = Sequence[Value] | Mapping[str, Value] | None
"""What is given to a driver beside the text."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A parameter whose value is a list of values."""

    source: Source


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a statement names, once its parameters are known.

    plain: of each column, whether it holds integers and all of them are given as parameters, as nearly all keys are.
    """

    exact: tuple[Exact, ...]
    columns: tuple[tuple[Source | Spread, ...], ...]
    plain: tuple[bool, ...]
    zipped: bool

    def names(self, parameters: Parameters) -> list[str] | None:
        """What follows `book:` in the rows' tags, each once; None if they are not known exactly, or are too many."""
        lists = []
        for sources, exact, plain in zip(self.columns, self.exact, self.plain, strict=True):
            names = (_integers(sources, parameters) if plain else None) or _column(sources, exact, parameters)
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


def _column(sources: tuple[Source | Spread, ...], exact: Exact, parameters: Parameters) -> list[str] | None:
    names = []
    for source in sources:
        if isinstance(source, Spread):
            for value in _spread(source.source, parameters):
                name = column_name(value, exact)
                if name is None:
                    return None
                names.append(name)
            continue
        name = name_of(source, exact, parameters)
        if name is None:
            return None
        names.append(name)
    return names


def _integers(sources: tuple[Source | Spread, ...], parameters: Parameters) -> list[str] | None:
    """The names, if all are integers indeed: what `_column` would find out one by one."""
    try:
        values: list[object] = [parameters[source] for source in sources]  # type: ignore[index]
    except (LookupError, TypeError):
        return None
    if set(map(type, values)) != {int}:
        return None
    numbers = cast("list[int]", values)
    return list(map(str, numbers)) if min(numbers) > -_PLAIN and max(numbers) < _PLAIN else None


_UNNAMED = (None,)  # no row is named by NULL


def _spread(source: Source, parameters: Parameters) -> Iterable[Value]:
    try:
        value = None if isinstance(source, Constant) else parameters[source]  # type: ignore[index]
    except (LookupError, TypeError):
        return _UNNAMED
    return value if isinstance(value, list | tuple) else _UNNAMED


One: TypeAlias = tuple[Source, Exact]
"""The only value of a key of one column, which nearly all statements by key have."""


def name_of(source: Source, exact: Exact, parameters: Parameters) -> str | None:
    """One value of a key as it stands in a row's name; None if it does not say exactly which row is meant."""
    try:
        value = source.value if type(source) is Constant else parameters[source]  # type: ignore[index]
    except (LookupError, TypeError):
        return None
    return str(value) if type(value) is int and exact is Exact.INTEGER and -_PLAIN < value < _PLAIN \
        else column_name(value, exact)


_PLAIN = 1 << 62


def only_one(rows: Rows) -> One | None:
    """The one value that they are named by, if there is no other."""
    first = rows.columns[0]
    if len(rows.columns) > 1 or len(first) > 1 or isinstance(first[0], Spread):
        return None
    unknown = isinstance(first[0], Constant) and not first[0].known
    return None if unknown else (first[0], rows.exact[0])


def rows_of(keys: Keys, sources: tuple[tuple[Source, ...], ...]) -> Rows:
    """Those of some keys, whose places stand for these sources."""
    columns = tuple([
        tuple([each for operand in operands for each in _sources(operand, sources)]) for operands in keys.columns])
    plain = tuple([
        exact is Exact.INTEGER and len(column) > 1 and not any(isinstance(each, Constant | Spread) for each in column)
        for exact, column in zip(keys.exact, columns, strict=True)])
    return Rows(keys.exact, columns, plain, keys.zipped)


def _sources(operand: Operand, sources: tuple[tuple[Source, ...], ...]) -> list[Source | Spread]:
    if not isinstance(operand, Place):
        return [operand]
    found = sources[operand.number]
    return [Spread(each) for each in found] if operand.spread else list(found)
