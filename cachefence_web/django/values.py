"""What is given as a value, or to make one, in the form that the fence takes."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import isawaitable, iscoroutine
from numbers import Number
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from cachefence_web.core.policy import PolicyOptions
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
    if _is_async(default):
        return async_to_sync(default)

    def load() -> Any:
        value = default()
        if not isawaitable(value):
            return value
        try:
            return async_to_sync(_result_of)(value)
        finally:
            if iscoroutine(value):
                value.close()  # it was never begun, where a thread may not wait: that of an event loop

    return load


def async_loader(default: Any) -> Callable[[], Awaitable[Any]]:
    """What makes the value, for event loops.

    Synchronous loaders run in Django's thread for such code, where its database connections are. So does what a
    QuerySet still has to ask when it is pickled.
    """

    async def load() -> Any:
        value = default
        if callable(default):
            value = await (default() if _is_async(default) else sync_to_async(default)())
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


def found(key: Any, total: V | None) -> V:
    """The sum, or whatever else was made of a value.

    Raises:
        ValueError: if there was nothing to add to, or to move.
    """
    if total is None:
        raise ValueError(f"Key {key!r} not found")
    return total


def number(delta: Any) -> Any:
    """A number that can be added."""
    if not isinstance(delta, Number):
        raise TypeError(f"incr() and decr() add numbers, not {delta!r}")
    return delta


def fits(delta: Any) -> bool:
    """Whether Redis itself can add it."""
    return type(delta) is int and -(2**63) <= delta < 2**63


def adding(delta: Any) -> Callable[[Any], Any]:
    """The sum of a value with it, as Python has it."""

    def summed(value: Any) -> Any:
        if not isinstance(value, Number):
            raise TypeError(f"incr() and decr() add to numbers only, not to {value!r:.60}")
        return value + delta

    return summed


def one_of(*, nx: bool, xx: bool) -> None:
    """Check the conditions of a `set`.

    Raises:
        ConfigurationError: if they exclude one another.
    """
    if nx and xx:
        raise ConfigurationError("nx stores where there is no value, xx only where there is one: give one of the two")


def _is_async(function: Any) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


async def _result_of(value: Awaitable[V]) -> V:
    return await value


def _is_lazy(value: object) -> bool:
    from django.db.models import QuerySet

    return isinstance(value, QuerySet)
