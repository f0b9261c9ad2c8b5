"""What an application declares of its databases, checked as it starts: a slip here would leave pages old in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.sql import Routine

_PARTS = ("reads", "writes")


def space_in(name: str, space: object) -> str:
    """What is put before the tags of a database that shares no rows with others; empty for one that does.

    Raises:
        ConfigurationError: as the functions below, naming what was declared: here for what no tag may begin with.
    """
    if not isinstance(space, str) or ":" in space:  # a colon divides tables from rows
        raise ConfigurationError(f"{name} is a text without colons such as 'archive.', not {space!r:.60}")
    try:
        check_tags((f"{space}table",))
    except ConfigurationError as refused:
        raise ConfigurationError(f"{name} stands before tags: {refused}") from refused
    return space


def mapping_in(name: str, given: object) -> Mapping[str, Any]:
    """A dict whose names are texts."""
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given):
        raise ConfigurationError(f"{name} is a dict of names, not {given!r:.60}")
    return given


def tables_in(name: str, given: object) -> dict[str, tuple[str, ...]]:
    """For each name, tables."""
    return {each: _tables(f'{name}["{each}"]', of) for each, of in mapping_in(name, given).items()}


def routines_in(name: str, given: object) -> dict[str, Routine]:
    """For each name, what the routine touches: a Routine, or a dict with its parts."""
    return {each: _routine(f'{name}["{each}"]', of) for each, of in mapping_in(name, given).items()}


def _routine(name: str, given: object) -> Routine:
    of = {part: getattr(given, part) for part in _PARTS} if isinstance(given, Routine) else mapping_in(name, given)
    for part in of:
        if part not in _PARTS:
            raise ConfigurationError(f'{name} may have "reads" and "writes", not {part!r:.60}')
    return Routine(*[_tables(f'{name}["{part}"]', of.get(part, ())) for part in _PARTS])


def _tables(name: str, given: object) -> tuple[str, ...]:
    tables = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (None,)
    if not all(isinstance(table, str) and table.strip() for table in tables):
        raise ConfigurationError(f"{name} is a list of the names of tables, not {given!r:.60}")
    return tables
