"""What is given as a value, or to make one, in the form that the fence takes."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from cachefence_web.core.flight import Served
from cachefence_web.core.policy import SHORTEST, PolicyOptions
from cachefence_web.errors import ConfigurationError, SerializationError

V = TypeVar("V")


class NotPicklable(SerializationError, pickle.PicklingError):
    """A value that cannot be stored: an error of ours, and the one that Django's callers expect."""


@contextmanager
def as_django_has_it() -> Iterator[None]:
    """Around storing: a value that cannot be stored is an error that Django's callers know."""
    try:
        yield
    except SerializationError as refused:
        raise NotPicklable(str(refused)) from refused


async def or_in_a_thread(storing: Awaitable[V], again: Callable[[], V]) -> V:
    """Store on the event loop; or, a value that asks the database when it is pickled, again where that is allowed."""
    try:
        with as_django_has_it():
            return await storing
    except NotPicklable as refused:
        cause = refused.__cause__
        if cause is None or not isinstance(cause.__cause__, SynchronousOnlyOperation):
            raise
        return await sync_to_async(again)()


def loader(default: Any) -> Callable[[], Any]:
    """What makes the value, for threads."""
    if not callable(default):
        return lambda: default
    return async_to_sync(default) if iscoroutinefunction(default) else default


def async_loader(default: Any) -> Callable[[], Awaitable[Any]]:
    """What makes the value, for event loops.

    Synchronous loaders run in Django's thread for such code, where its database connections are. So does what a
    QuerySet still has to ask when it is pickled.
    """

    async def load() -> Any:
        value = default
        if callable(default):
            value = await (default() if iscoroutinefunction(default) else sync_to_async(default)())
            if isawaitable(value):
                value = await value
        if _is_lazy(value):
            await sync_to_async(bool)(value)
        return value

    return load


def with_life(options: PolicyOptions, ttl: float | None) -> PolicyOptions:
    """A call's options with its timeout, which Django names otherwise.

    Raises:
        ConfigurationError: if both are given.
    """
    if "ttl" in options:
        raise ConfigurationError("Django's word for ttl is timeout: give timeout= alone")
    options["ttl"] = ttl
    return options


def found(key: Any, total: int | None) -> int:
    """The sum.

    Raises:
        ValueError: if there was nothing to add to.
    """
    if total is None:
        raise ValueError(f"Key {key!r} not found")
    return total


def integer(delta: object) -> int:
    """A number that can be added."""
    if not isinstance(delta, int):
        raise TypeError(f"incr() and decr() add integers, not {delta!r}")
    return delta


def stands(key: Any, there: Served | None) -> Served:
    """The value.

    Raises:
        ValueError: if there is none.
    """
    if there is None:
        raise ValueError(f"Key {key!r} not found")
    return there


def summed(there: Served | None, delta: int) -> tuple[int, Served]:
    """The sum with an integer that is too large for Redis to add to: pickled, or about to be.

    Raises:
        TypeError: if the value is no integer.
    """
    if there is None or not isinstance(there.value, int) or isinstance(there.value, bool):
        raise TypeError("incr() and decr() add to integers only")
    return there.value + delta, there


def whole_life(there: Served) -> float | None:
    """Of a value that keeps its date, when it is stored again."""
    return None if there.remaining is None else max(there.remaining + there.age, SHORTEST)


def _is_lazy(value: object) -> bool:
    from django.db.models import QuerySet

    return isinstance(value, QuerySet)
