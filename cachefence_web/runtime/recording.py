"""What the compute that is running now depends on, wherever in its call tree that is found out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cachefence_web.core.flight import Failed, Recording, Served
from cachefence_web.core.tags import check_tags


@dataclass(frozen=True, slots=True)
class Scope:
    """A compute under way: its recording, what it computes, and the compute it was called from."""

    recording: Recording
    flights: tuple[object, ...]
    outer: Scope | None

    def computes(self, flight: object) -> bool:
        """Whether this compute, or one around it, is the one that leads `flight`."""
        scope: Scope | None = self
        while scope is not None:
            if any(led is flight for led in scope.flights):
                return True
            scope = scope.outer
        return False


_current: ContextVar[Scope | None] = ContextVar("cachefence_scope", default=None)


def current() -> Scope | None:
    """The innermost compute that the caller runs in."""
    return _current.get()


@contextmanager
def recording(tags: tuple[str, ...], *flights: object) -> Iterator[Recording]:
    """Record what is depended on in this block, which computes what the flights are for."""
    made = Recording(dict.fromkeys(tags))
    reset = _current.set(Scope(made, flights, _current.get()))
    try:
        yield made
    finally:
        _current.reset(reset)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Run a block that no compute depends on."""
    reset = _current.set(None)
    try:
        yield
    finally:
        _current.reset(reset)


def depends_on(*tags: str) -> None:
    """Add tags to whatever is being computed now: a cached value, a cached view. Outside of one it does nothing.

    Raises:
        ConfigurationError: for a tag that cannot be one.
    """
    checked = check_tags(tags)
    scope = _current.get()
    if scope is not None:
        scope.recording.depend(checked)


def inherit(landing: Served | Failed) -> None:
    """Hand what a cached value depends on to the compute that uses it."""
    scope = _current.get()
    if scope is not None:
        scope.recording.inherit(landing)
