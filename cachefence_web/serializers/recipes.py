"""How a type that MessagePack lacks is taken apart into supported parts, and rebuilt from them."""

from __future__ import annotations

import dataclasses
import enum
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from hashlib import blake2b
from itertools import chain
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers.base import type_name


@dataclass(frozen=True, slots=True)
class Recipe:
    """How values of exactly one type, and of no subclass, travel: `Recipe(Money, str, Money.parse)`.

    take_apart: value -> anything that is supported, other registered types included.
    rebuild: what take_apart gave -> the value. What it is given came from the store: do not execute it.
    name: what the stored bytes call the type; empty for its module and qualified name. With a name of its own
        a class may move to another module and its stored values are still read.
    fields: the parts' names; values stored with other fields are no longer read.
    """

    kind: type
    take_apart: Callable[[Any], object]
    rebuild: Callable[[Any], object]
    name: str = ""
    fields: tuple[str, ...] = ()

    @property
    def stamp(self) -> bytes:
        """Eight bytes that stand for name and fields in what is stored."""
        words = (self.name or type_name(self.kind), *self.fields)
        return blake2b("\0".join(words).encode(), digest_size=8).digest()


def recipe_for(kind: type | Recipe, name: str = "") -> Recipe:
    """The recipe of a dataclass, Struct, pydantic model, namedtuple or Enum.

    Raises: ConfigurationError for other types, which need a Recipe written by hand.
    """
    if isinstance(kind, Recipe):
        return dataclasses.replace(kind, name=name or kind.name)
    if isinstance(kind, type):
        if issubclass(kind, enum.Flag):
            return Recipe(kind, lambda member: member.value, kind, name)
        if issubclass(kind, enum.Enum):
            return Recipe(kind, lambda member: member.name, kind.__getitem__, name)
        if issubclass(kind, msgspec.Struct):
            return _struct(kind, name)
        if _is_pydantic(kind):
            return _pydantic(kind, name)
        if dataclasses.is_dataclass(kind) and _is_plain_object(kind):
            return _dataclass(kind, name)
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return _record(kind, kind._fields, lambda values: tuple.__new__(kind, values), name)
    raise ConfigurationError(
        f"types=[{kind!r}]: only dataclasses, msgspec Structs, pydantic models, namedtuples and Enums are "
        "understood by themselves; give Recipe(kind, take_apart, rebuild) for this one"
    )


def _dataclass(kind: type, name: str) -> Recipe:
    fields = tuple(field.name for field in dataclasses.fields(kind))

    def make(values: Sequence[object]) -> object:
        # Neither __init__ nor __post_init__: they would compute again, and refuse what was valid when stored.
        made: object = object.__new__(kind)
        for field, value in zip(fields, values, strict=True):
            object.__setattr__(made, field, value)
        return made

    return _record(kind, fields, make, name)


def _struct(kind: type[msgspec.Struct], name: str) -> Recipe:
    fields = kind.__struct_fields__
    # A Struct offers no other door than its constructor, which runs __post_init__ but checks no types.
    return _record(kind, fields, lambda values: kind(**dict(zip(fields, values, strict=True))), name)


def _record(kind: type, fields: tuple[str, ...], make: Callable[[Sequence[object]], object], name: str) -> Recipe:
    """A value of named fields, and of what else stands in its __dict__ (cached properties, for one)."""

    def take_apart(value: object) -> object:
        held = getattr(value, "__dict__", {})
        extras = {key: each for key, each in held.items() if key not in fields}
        return [[getattr(value, field) for field in fields], extras]

    def rebuild(part: tuple[Sequence[object], Mapping[str, object]]) -> object:
        values, extras = part
        if len(values) != len(fields):
            raise SerializationError(f"{len(values)} values for {len(fields)} fields of {type_name(kind)}")
        made = make(values)
        if extras:
            vars(made).update(extras)
        return made

    return Recipe(kind, take_apart, rebuild, name, fields)


def _pydantic(kind: Any, name: str) -> Recipe:
    def rebuild(state: object) -> object:
        made = kind.__new__(kind)
        made.__setstate__(state)
        return made

    return Recipe(kind, lambda value: value.__getstate__(), rebuild, name, tuple(kind.model_fields))


def _is_pydantic(kind: type) -> bool:
    # Whoever holds a model has imported pydantic; nobody else should have to.
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _is_plain_object(kind: type) -> bool:
    try:
        object.__new__(kind)
    except TypeError:  # it also is a dict, an exception, ...: its fields are not all there is to it
        return False
    return True


def _zone_parts(zone: tzinfo | None) -> object:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset, label = zone.utcoffset(None), zone.tzname(None)
        return [offset, None if label == timezone(offset).tzname(None) else label]
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    raise SerializationError(
        f"a time zone of type {type_name(type(zone))} would not come back as it is: use zoneinfo.ZoneInfo or "
        "datetime.timezone"
    )


def _zone(part: Any) -> tzinfo | None:
    if part is None:
        return None
    if isinstance(part, str):
        return ZoneInfo(part)
    offset, label = part
    return timezone(offset) if label is None else timezone(offset, label)


def _moment_parts(moment: datetime | time) -> object:
    if not moment.fold and (moment.tzinfo is None or moment.tzinfo is UTC):
        return moment.isoformat()
    return [moment.replace(tzinfo=None, fold=0).isoformat(), moment.fold, _zone_parts(moment.tzinfo)]


def _moment(kind: type[datetime | time]) -> Recipe:
    def rebuild(part: Any) -> datetime | time:
        if isinstance(part, str):
            return kind.fromisoformat(part)
        text, fold, zone = part
        return kind.fromisoformat(text).replace(tzinfo=_zone(zone), fold=fold)

    return Recipe(kind, _moment_parts, rebuild)


def _pairs(part: Iterable[Any]) -> dict[Any, Any]:
    each = iter(part)
    return dict(zip(each, each, strict=True))


BUILTINS: Mapping[int, Recipe] = {
    1: Recipe(tuple, list, tuple),
    2: Recipe(set, list, set),
    3: Recipe(frozenset, list, frozenset),
    4: Recipe(dict, lambda value: list(chain.from_iterable(value.items())), _pairs),
    5: Recipe(
        int,
        lambda value: value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True),
        lambda part: int.from_bytes(part, "little", signed=True),
    ),
    # Not bytearray(part): for a forged number that would allocate so many bytes.
    6: Recipe(bytearray, bytes, lambda part: bytearray() + part),
    7: _moment(datetime),
    8: Recipe(date, date.isoformat, date.fromisoformat),
    9: _moment(time),
    10: Recipe(
        timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda part: timedelta(*part),
    ),
    11: Recipe(Decimal, str, Decimal),
    12: Recipe(UUID, lambda value: value.bytes, lambda part: UUID(bytes=part)),
}
"""Extension code -> recipe; stored values hold the codes, so none may change. An int or dict is here for what
MessagePack's own cannot say: beyond 64 bits, keys that are not text."""

REGISTERED = 64
"""The extension code of all types that the application registered; a stamp tells which."""
