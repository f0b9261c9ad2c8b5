"""What both drivers share: the answers that need neither a thread nor a loop."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Any

from cachefence_web.chance import chance
from cachefence_web.core.effects import Effect
from cachefence_web.core.entry import Entry, Kind
from cachefence_web.core.flight import (
    Computed,
    Decode,
    Draw,
    Failed,
    Land,
    Landing,
    NewToken,
    Raised,
    RollCall,
    Served,
    Status,
)
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import MOST_TAGS, Lease
from cachefence_web.errors import ComputeFailed, SerializationError
from cachefence_web.runtime.bypassing import bypassed
from cachefence_web.runtime.flights import Flight, Flights, ticket
from cachefence_web.runtime.journal import Outage
from cachefence_web.serializers import Serializer

log = logging.getLogger("cachefence_web")

_LARGEST, _SMALLEST = 2**63 - 1, -(2**63)
_REMEMBERED = 256


@dataclass(slots=True)
class Counters:
    """How often each thing happened in this process; plain additions, so approximate under threads.

    journaled: how many invalidations wait now for a store that was away when they were asked for; an outbox that is
        to be looked into counts as one.
    """

    hits: int = 0
    stale: int = 0
    stored: int = 0
    unstored: int = 0
    failures: int = 0
    refreshes: int = 0
    journaled: int = 0

    def count(self, landing: Served | Failed) -> None:
        """Count how a caller was answered."""
        match landing:
            case Failed():
                self.failures += 1
            case Served(status=Status.HIT):
                self.hits += 1
            case Served(status=Status.STALE):
                self.stale += 1
            case Served(status=Status.STORED):
                self.stored += 1
            case Served():
                self.unstored += 1


@dataclass(slots=True)
class Engine:
    """The parts of a cache that have no colour.

    outage: how the store stands.
    chance: uniform in [0, 1); token: a name nobody has used. Both are arguments so that tests can decide them.
    """

    serializer: Serializer
    flights: Flights
    outage: Outage = field(default_factory=Outage)
    chance: Callable[[], float] = chance.random
    token: Callable[[], str] = lambda: secrets.token_hex(16)
    counters: Counters = field(default_factory=Counters)
    _errors: OrderedDict[Lease, tuple[BaseException, TracebackType | None]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, effect: Effect[Any]) -> Any:
        """Perform an effect that cannot block."""
        match effect:
            case RollCall():
                return ticket()
            case NewToken():
                return self.token()
            case Draw():
                return 1.0 - self.chance()
            case Decode(entry):
                return self.decode(entry)
            case Land(flight, landing):
                assert isinstance(flight, Flight)
                self.land(flight, landing)
                return None
        raise TypeError(f"no driver performs {effect!r}")

    def land(self, flight: Flight, landing: Landing) -> None:
        """End a flight; an original error is kept for as long as it gates the next try."""
        if isinstance(landing, Failed) and landing.lease is not None and not isinstance(landing.error, ComputeFailed):
            with self._lock:
                self._errors[landing.lease] = landing.error, landing.error.__traceback__
                while len(self._errors) > _REMEMBERED:
                    self._errors.popitem(last=False)
        flight.land(landing)

    def error_of(self, failed: Failed) -> BaseException:
        """What to raise: the original error where this process ran the compute, with the trace it had then.

        Every raise adds to the trace of an error, and this one is raised to everybody for as long as it gates.
        """
        known = self._errors.get(failed.lease) if failed.lease is not None else None
        if known is None:
            return failed.error
        error, trace = known
        return error.with_traceback(trace)

    def decode(self, entry: Entry) -> tuple[Any] | None:
        """The value of an entry, in a tuple; None if its bytes are no value of ours: a miss."""
        if entry.kind is Kind.NUMBER:
            try:
                return (int(entry.payload),)
            except ValueError:
                return None
        if entry.kind is Kind.RAW:
            return (entry.payload,)
        if entry.kind is not Kind.VALUE:
            return None
        try:
            return (self.serializer.loads(entry.payload),)
        except SerializationError:
            log.warning("an entry's payload is no value of this cache's serializer; it counts as a miss")
            return None

    def encode(self, value: Any) -> tuple[bytes, Kind]:
        """The payload of a value, and its kind.

        Raises:
            SerializationError: if it would not come back as it is.
        """
        if type(value) is int and _SMALLEST <= value <= _LARGEST:
            return b"%d" % value, Kind.NUMBER
        return self.serializer.dumps(value), Kind.VALUE

    def computed(
        self, key: str, value: Any, recorded: Recording, began: float, *, raw: bool = False
    ) -> Computed:
        """The result of a compute, which is recorded still: a lazy value, such as a queryset, reads as it is encoded.

        One that cannot be stored says so in the log and is given to its callers.

        began: when, on the monotonic clock; raw: the value is bytes to be stored as they are.
        """
        payload: bytes | None = None
        kind, why = Kind.VALUE, ""
        try:
            payload, kind = (value, Kind.RAW) if raw else self.encode(value)
        except SerializationError as refused:
            why = str(refused)
        tags = recorded.settled()
        if len(tags) > MOST_TAGS:
            why = f"it depends on {len(tags)} tags; the most is {MOST_TAGS}: let it depend on the tag of a whole table"
        if why:
            log.error("the value computed for %r is not stored: %s", key, why)
        elapsed = monotonic() - began
        return Computed(value, payload, tags, recorded.storable, elapsed, kind, _private(recorded), recorded.lag)

    def computed_many(
        self, keys: Sequence[str], values: Mapping[str, Any], recorded: Recording, began: float
    ) -> tuple[Computed | None, ...]:
        """The results of a batch; None for a key that it has not answered."""
        return tuple([self.computed(key, values[key], recorded, began) if key in values else None for key in keys])

    @staticmethod
    def raised(error: Exception, recorded: Recording, elapsed: float) -> Raised:
        """The result of a compute that has failed."""
        return Raised(error, recorded.settled(), elapsed, recorded.storable, _private(recorded), recorded.lag)


def _private(recorded: Recording) -> bool:
    """Whether what came of it is for its caller alone: also if it has written what nobody has committed yet."""
    recorded.private = bypassed() or recorded.private
    return recorded.private


