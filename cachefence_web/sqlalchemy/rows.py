"""What rows are called: the tags of a model, of one row of it, and of that row as it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isclass
from typing import Any, TypeAlias, cast

from sqlalchemy import Connection, Table, inspect, select
from sqlalchemy.orm import Mapper

from cachefence_web.core.keys import Template
from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError

RowTags: TypeAlias = Callable[[Any], Iterable[str]]
"""A function of a row: `lambda post: [f"post:{post.id}"]`."""

ModelTags: TypeAlias = RowTags | Iterable[str | RowTags]
"""The tags of a model: functions of a row, templates of its attributes (`"post:{id}"`), and plain tags (`"post"`)."""


class RowRule:
    """What the tags of one model are."""

    __slots__ = ("functions", "mapper", "plain", "tables", "templates")

    def __init__(self, model: type[Any], tags: ModelTags) -> None:
        mapper = inspect(cast("Any", model), raiseerr=False)
        if not isclass(model) or not isinstance(mapper, Mapper):
            raise ConfigurationError(f"models are mapped classes, not {model!r:.60}")
        self.mapper: Mapper[Any] = mapper
        name = model.__name__
        if isinstance(tags, str) or not (callable(tags) or isinstance(cast("object", tags), Iterable)):
            raise ConfigurationError(
                f"the tags of {name} are a list or a function, not {tags!r:.60}: write [{tags!r:.60}]")
        given = [tags] if callable(tags) else list(tags)
        if not given:
            raise ConfigurationError(f"{name} has no tags: give at least one, such as '{name.lower()}:{{id}}'")
        self.functions = [tag for tag in given if callable(tag)]
        templates = [Template(tag) for tag in given if not callable(tag)]
        for template in templates:
            for attribute in template.fields:
                if not hasattr(model, attribute):
                    raise ConfigurationError(f"{template.text!r} names {{{attribute}}}, which {name} does not have")
        self.templates = [template for template in templates if template.fields]
        self.plain = check_tags([template.fill({}) for template in templates if not template.fields])
        self.tables: frozenset[Any] = frozenset(
            table for each in mapper.self_and_descendants for table in each.tables)

    def stands_in(self, table: Table) -> bool:
        return table in self.tables

    def tags_of(self, row: Any) -> tuple[str, ...]:
        """The tags of a row as it is now."""
        made = [tag for function in self.functions for tag in function(row)]
        filled = [template.fill({name: getattr(row, name) for name in template.fields}) for template in self.templates]
        return check_tags([*made, *filled, *self.plain])

    def replaced(self, row: Any, connection: Connection) -> tuple[str, ...]:
        """The tags that templates gave the row before this update."""
        names = {name for template in self.templates for name in template.fields}
        if not names:
            return ()
        old = self._old(row, names, connection)
        return check_tags([template.fill(old) for template in self.templates])

    def _old(self, row: Any, names: set[str], connection: Connection) -> dict[str, Any]:
        state, columns = inspect(row), self.mapper.column_attrs
        values: dict[str, Any] = {}
        unknown = []
        for name in names:
            history = state.attrs[name].history if name in self.mapper.attrs else None
            if history is None or not history.has_changes():
                values[name] = getattr(row, name)
            elif history.deleted:
                values[name] = history.deleted[0]
            elif name in columns:
                unknown.append(name)
            else:
                values[name] = getattr(row, name)
        if unknown:  # assigned while it was not loaded: the row still has it
            chosen = [getattr(self.mapper.class_, name).label(name) for name in unknown]
            keys = zip(self.mapper.primary_key, state.identity, strict=True)
            found = connection.execute(select(*chosen).where(*[column == key for column, key in keys])).first()
            values.update({name: getattr(row, name) for name in unknown} if found is None else found._mapping)
        return values
