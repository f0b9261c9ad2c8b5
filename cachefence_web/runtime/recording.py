"""What the compute that is running now depends on, wherever in its call tree that is found out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cachefence_web.core.flight import Failed, Lead, Recording, Served
from cachefence_web.core.tags import Lease, check_tags
from cachefence_web.runtime.flights import Flight
from cachefence_web.runtime.observing import ComputeBegun, observed, tell
from cachefence_web.stores.memory import now_in_microseconds


@dataclass(frozen=True, slots=True)
class Scope:
    """A compute under way: its recording, what it computes, and the compute it was called from.

    lease: that under which it computes, on the clock of the `store` with this identity: the date of all it reads.
        None for one whose value is not stored.
    began: when, in microseconds of this machine's monotonic clock.
    """

    recording: Recording
    flights: tuple[object, ...]
    outer: Scope | None
    lease: Lease | None
    store: str
    began: int

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
def recording(
    tags: tuple[str, ...], *flights: object, lease: Lease | None = None, store: str = ""
) -> Iterator[Recording]:
    """Record what is depended on in this block, which computes what the flights are for.

    lease, store: as in Scope.
    """
    made = Recording(dict.fromkeys(tags))
    reset = _current.set(Scope(made, flights, _current.get(), lease, store, now_in_microseconds()))
    if observed():
        for flight in flights:
            if isinstance(flight, Flight):
                tell(ComputeBegun(_key_of(flight), store))
    try:
        yield made
    finally:
        _current.reset(reset)


def earliest(leads: Iterable[Lead]) -> Lease | None:
    """The date of a batch: the earliest of its leases; None if none of them is stored."""
    leases = [lead.granted.lease for lead in leads if lead.granted is not None]
    return min(leases, key=lambda lease: lease.instant, default=None)


def _key_of(flight: Flight) -> str:
    """A flight is named by its key, and by what else tells it apart."""
    name = flight.key
    return str(name[0] if isinstance(name, tuple) else name)


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
