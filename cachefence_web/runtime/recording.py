"""What the compute that is running now depends on, wherever in its call tree that is found out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from cachefence_web.core.flight import Failed, Lead, Served
from cachefence_web.core.recording import Recording
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
    tracked: whether it depends on the statements that it runs now.
    """

    recording: Recording
    flights: tuple[object, ...]
    outer: Scope | None
    lease: Lease | None
    store: str
    began: int
    tracked: bool = True

    def computes(self, flight: object) -> bool:
        """Whether this compute, or one around it, is the one that leads `flight`."""
        scope: Scope | None = self
        while scope is not None:
            if any(led is flight for led in scope.flights):
                return True
            scope = scope.outer
        return False


_current: ContextVar[Scope | None] = ContextVar("cachefence_scope", default=None)
_gathered: ContextVar[Recording | None] = ContextVar("cachefence_gathered", default=None)
_nobody = Recording()
_elsewhere: Callable[[], Recording | None] | None = None
_explained: ContextVar[list[tuple[str, Recording]] | None] = ContextVar("cachefence_explained", default=None)
_looks_past: ContextVar[bool] = ContextVar("cachefence_looks_past", default=False)


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
    if (explained := _explained.get()) is not None:
        made.sources = {tag: {"": None} for tag in tags}
        explained.append((next((_key_of(each) for each in flights if isinstance(each, Flight)), ""), made))
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


@contextmanager
def untracked() -> Iterator[None]:
    """Run statements that what is being computed does not depend on: a log, a counter, what may be old. Writes in
    the block invalidate as everywhere; cached values used in it still hand on what they depend on.
    """
    scope = _current.get()
    reset = _current.set(replace(scope, tracked=False) if scope is not None else None)
    nobody = _gathered.set(_nobody)
    try:
        yield
    finally:
        _gathered.reset(nobody)
        _current.reset(reset)


def gather(recording: Recording | None) -> None:
    """Record what is read outside of any compute, for the parts of an answer that are still to be computed from it.

    It ends with None, or with the context that it was begun in.
    """
    _gathered.set(recording)


def gather_through(find: Callable[[], Recording | None] | None) -> None:
    """Where a context holds no recording, this finds it: there are frameworks whose requests have no context of their
    own to be begun in. It is asked for each statement outside of a compute.
    """
    global _elsewhere  # noqa: PLW0603 (one of the process)
    _elsewhere = find


def gathered() -> Recording | None:
    """What was read so far outside of any compute, if that is recorded."""
    found = _gathered.get()
    if found is None:
        return None if _elsewhere is None else _elsewhere()
    return None if found is _nobody else found


def recorder() -> Recording | None:
    """Where a statement that is run here and now is recorded, if it is."""
    scope = _current.get()
    if scope is None:
        return gathered()
    return scope.recording if scope.tracked else None


@contextmanager
def explaining(*, anew: bool = False) -> Iterator[list[tuple[str, Recording]]]:
    """A block whose computes are listed, by key, with what each of their tags came from (`Recording.sources`).

    anew: everything is computed in it, whatever is stored, and nothing of that is stored.
    """
    found: list[tuple[str, Recording]] = []
    reset, past = _explained.set(found), _looks_past.set(anew or _looks_past.get())
    try:
        yield found
    finally:
        _looks_past.reset(past)
        _explained.reset(reset)


def explained() -> bool:
    """Whether somebody wants to know what the computes of the caller depend on."""
    return _explained.get() is not None


def looks_past() -> bool:
    """Whether the caller is to compute for itself as if the store were away."""
    return _looks_past.get()


def keep_private(why: str, *, after: int | None = None) -> None:
    """What was read here is for its reader alone: no compute around it is stored, nor shared with who waits for it.

    after: only those that began later than this, in microseconds of the monotonic clock: what was read is as old.
    """
    scope = _current.get()
    while scope is not None:
        if after is None or scope.began > after:
            _keep(scope.recording, why)
        scope = scope.outer
    if after is None and (around := gathered()) is not None:
        _keep(around, why)


def _keep(recording: Recording, why: str) -> None:
    recording.private = True
    recording.why = recording.why or why


def fall_behind(lag: float) -> None:
    """What was read here may be `lag` seconds old: every compute around it is dated that much earlier."""
    scope = _current.get()
    while scope is not None:
        scope.recording.lag = max(scope.recording.lag, lag)
        scope = scope.outer
    if (around := gathered()) is not None:
        around.lag = max(around.lag, lag)


def depends_on(*tags: str) -> None:
    """Add tags to whatever is being computed now: a cached value, a cached view. Outside of one it does nothing.

    Raises:
        ConfigurationError: for a tag that cannot be one.
    """
    checked = check_tags(tags)
    scope = _current.get()
    recording = gathered() if scope is None else scope.recording
    if recording is not None:
        recording.depend(checked)


def inherit(landing: Served | Failed) -> None:
    """Hand what a cached value depends on to the compute that uses it."""
    scope = _current.get()
    recording = gathered() if scope is None else scope.recording
    if recording is not None:
        recording.inherit(landing)
