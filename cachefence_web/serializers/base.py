"""What every serializer promises, and the one test of exact types that two of them share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Serializer(Protocol):
    """Turns values into self-contained bytes and back.

    One instance is shared by all threads and tasks of a process.
    """

    @property
    def name(self) -> str:
        """How logs and metrics call it."""
        ...

    def dumps(self, value: object) -> bytes:
        """The value's bytes.

        Raises: SerializationError when the value would not come back equal and of the same type.
        """
        ...

    def loads(self, data: bytes) -> object:
        """The value in the bytes.

        Raises: SerializationError, and nothing else, for bytes that are damaged, foreign or forged.
        """
        ...


def misfit(value: Any, scalars: frozenset[type], keys: frozenset[type]) -> str | None:
    """What first keeps `value` from being lists and dicts of `scalars` throughout; None if nothing does.

    Types must match exactly, since encoders flatten subclasses in silence. The sets look at a whole container
    at the speed of C: this runs before every encoding. A value that contains itself ends in RecursionError.
    """
    kind = type(value)
    members: Collection[object]
    if kind is dict:
        if not keys.issuperset(map(type, value)):
            odd = next(key for key in value if type(key) not in keys)
            return f"a dict key of type {type_name(type(odd))}"
        members = value.values()
    elif kind is list:
        members = value
    else:
        return None if kind in scalars else f"a value of type {type_name(kind)}"
    if scalars.issuperset(map(type, members)):
        return None
    for member in members:
        if type(member) not in scalars and (found := misfit(member, scalars, keys)):
            return found
    return None


def type_name(kind: type) -> str:
    """How errors name a type: with its module, unless it is a builtin."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
