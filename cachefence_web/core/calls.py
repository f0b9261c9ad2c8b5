"""The key of a memoized call: equal calls share it, however they are written, and unequal ones never do."""

from __future__ import annotations

import enum
import hashlib
import inspect
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from cachefence_web.errors import ConfigurationError

LONGEST_READABLE = 200
_PLAIN = (date, datetime, time, timedelta, timezone, Decimal, uuid.UUID)


class Call:
    """How a function's calls are named.

    Raises:
        ConfigurationError: at construction, for a function without a name of its own: a lambda, a partial, or one that
            closes over variables, of which there may be many under one name.
    """

    __slots__ = ("_defaults", "name", "signature")

    def __init__(self, function: Callable[..., Any], *, named: bool = False) -> None:
        plain = inspect.unwrap(function)
        self.signature = inspect.signature(function)
        qualified = getattr(plain, "__qualname__", None)
        # A decorated function is another than the bare one: what decorates it is part of its name.
        self.name = "@".join([f"{plain.__module__}.{qualified or type(plain).__qualname__}", *_decorators(function)])
        if named:
            return
        if qualified is None:
            raise ConfigurationError(
                f'a {type(plain).__qualname__} has no name to make keys of: give it one, as in key="user:{{user_id}}"')
        if "<lambda>" in self.name:
            raise ConfigurationError('a lambda has no name to make keys of: give it one, as in key="user:{user_id}"')
        if getattr(plain, "__closure__", None) and "<locals>" in self.name and not _only_class_cell(plain):
            raise ConfigurationError(
                f"{self.name} uses variables of the function around it, which its arguments do not tell:"
                ' name its keys, as in key="user:{user_id}"')

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments by name, defaults included.

        Raises:
            TypeError: as the call itself would.
        """
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def key(self, arguments: Mapping[str, Any]) -> str:
        """The key of a call with these arguments.

        Raises:
            ConfigurationError: for an argument that has no text that is surely its own.
        """
        text = ",".join([f"{name}={encode(value, name)}" for name, value in arguments.items()])
        if len(text) > LONGEST_READABLE:
            text = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return f"{self.name}({text})"


def encode(value: object, name: str = "value") -> str:
    """A text that no other value has: types are told apart (1, True, 1.0, "1"), containers are delimited.

    Raises:
        ConfigurationError: for a type without such a text; it may offer `__cachefence_key__()`.
    """
    kind = type(value)
    if value is None or kind in (bool, int):
        return repr(value)
    if kind is float:
        return f"{value!r}f"
    if kind is str or kind is bytes:
        return repr(value)
    if isinstance(value, (list, tuple)) and kind in (list, tuple):
        inner = ",".join([encode(item, name) for item in value])
        return f"[{inner}]" if kind is list else f"({inner},)"
    if isinstance(value, (set, frozenset)) and kind in (set, frozenset):
        return f"{kind.__name__}{{{','.join(sorted(encode(item, name) for item in value))}}}"
    if isinstance(value, dict) and kind is dict:
        return f"{{{','.join(sorted(f'{encode(key, name)}:{encode(item, name)}' for key, item in value.items()))}}}"
    if isinstance(value, enum.Enum):
        # A combination of flags has no name of its own.
        told = value.value if isinstance(value, enum.Flag) else value.name
        return f"{kind.__module__}.{kind.__qualname__}.{told}"
    if isinstance(value, type):
        return f"type:{value.__module__}.{value.__qualname__}"
    if kind in _PLAIN:
        return f"{kind.__name__}:{value!r}"
    own = getattr(value, "__cachefence_key__", None)
    if callable(own):
        return f"{kind.__module__}.{kind.__qualname__}:{encode(own(), name)}"
    raise ConfigurationError(
        f"the argument {name!r} is a {kind.__qualname__}, which has no text to make a key of: give the function a key"
        f' such as key="...:{{{name}.id}}", or the class a method __cachefence_key__()')


def _decorators(function: Any) -> list[str]:
    """The names of the functions that stand around the innermost, from the outside."""
    names = []
    while hasattr(function, "__wrapped__"):
        names.append(getattr(getattr(function, "__code__", None), "co_qualname", type(function).__qualname__))
        function = function.__wrapped__
    return names


def _only_class_cell(function: Any) -> bool:
    """A method that uses `super()` or `__class__` closes over its class alone, which its name tells."""
    return bool(function.__code__.co_freevars == ("__class__",))
