"""One flight per process and key, shared by threads and event loops: who is aboard, and who hears how it ended.

A flight lands once. Each caller has a ticket from when it first asked, and a landing covers those before a number: it
began after they had asked. The others look again, keeping their tickets, so the next flight covers them all.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable

from cachefence_web.core.flight import Again, Ask, Failed, Granted, Landing, Overdue, PassBy, Served
from cachefence_web.core.policy import Consistency
from cachefence_web.runtime.seats import Seat


class Flight:
    """One shared compute, from its launch to its landing.

    leader: the ticket of the caller who launched it; None if it was launched behind everybody's back.
    orphaned: tells whether the loop it is led in has been closed; seat: the thread that it may need there.
    holder, since: the token under which it computes ("" without a lease), and since when on the monotonic clock.
    """

    __slots__ = (
        "_cancel", "_lock", "_table", "_waiting", "holder", "key", "landing", "leader", "orphaned", "present",
        "seat", "since",
    )

    def __init__(
        self, key: object, table: dict[object, Flight], lock: threading.Lock, leader: int | None = None
    ) -> None:
        self.key = key
        self.leader = leader
        self.landing: Landing | None = None
        self.present = 0
        self.holder: str | None = None
        self.since = 0.0
        self.orphaned: Callable[[], bool] | None = None
        self.seat: Seat | None = None
        self._table = table
        self._lock = lock
        self._waiting: list[Callable[[], None]] = []
        self._cancel: Callable[[], None] | None = None

    def leave(self) -> None:
        """Go; when nobody is left aboard, the compute is cancelled."""
        with self._lock:
            self.present -= 1
            deserted = self.present == 0 and self.landing is None
            cancel = self._cancel if deserted else None
        if cancel is not None:
            cancel()

    def computes(self, token: str) -> None:
        """From now on the compute itself is running."""
        self.since = time.monotonic()
        self.holder = token

    def overdue(self, patience: float) -> Overdue:
        """What to tell a caller whose patience is over: a compute that was begun late in it is another's takeover."""
        running = self.holder is not None and time.monotonic() - self.since >= patience / 2
        return Overdue(self, self.holder if running else None)

    def cancel_with(self, cancel: Callable[[], None]) -> None:
        """How to stop the compute once nobody waits for it; without this it runs to its end."""
        self._cancel = cancel

    def on_landing(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the flight has landed, at once if it has; from whichever thread lands it."""
        with self._lock:
            if self.landing is None:
                self._waiting.append(wake)
                return
        wake()

    def land(self, landing: Landing) -> None:
        """End the flight and wake everybody aboard; a second landing does nothing."""
        with self._lock:
            if self.landing is not None:
                return
            self.landing = landing
            if self._table.get(self.key) is self:
                del self._table[self.key]
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def answer(self, ticket: int) -> Landing:
        """What the landing is worth to the one with this ticket."""
        landing = self.landing
        assert landing is not None, "asked before the landing"
        match landing:
            case Served(covers=covers) | Failed(covers=covers) | PassBy(covers=covers):
                # Its leader asked before it began, and has nobody else to ask: what is his alone covers nobody.
                return landing if ticket < covers or ticket == self.leader else Again()
            case Again():
                return landing if ticket == self.leader else Again()


class Flights:
    """The flights of one store in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: dict[object, Flight] = {}
        _all.add(self)

    def board(self, key: object, ticket: int, overdue: Overdue | None = None) -> tuple[Flight, bool]:
        """The key's flight, with the caller aboard, and whether it has just launched it.

        overdue: a flight to be replaced if it is still the key's, and hangs in its compute.
        """
        self._clear_orphan(key)
        instead_of = overdue.flight if overdue is not None and overdue.holder is not None else None
        with self._lock:
            flight = self._table.get(key)
            launched = flight is None or flight is instead_of
            if flight is None or launched:
                flight = self._table[key] = Flight(key, self._table, self._lock, ticket)
            flight.present += 1
            return flight, launched

    def launch(self, key: object) -> Flight | None:
        """A new flight with nobody aboard, or None if there is one already."""
        self._clear_orphan(key)
        with self._lock:
            if key in self._table:
                return None
            flight = self._table[key] = Flight(key, self._table, self._lock)
            return flight

    def _clear_orphan(self, key: object) -> None:
        """A loop that was closed without cancelling its tasks leaves flights that nobody will land."""
        flight = self._table.get(key)
        if flight is not None and flight.orphaned is not None and flight.orphaned():
            flight.land(Again())

    def apart(self, key: object, ticket: int) -> Flight:
        """A flight for one caller alone, which nobody else can join."""
        return Flight(key, {}, threading.Lock(), ticket)

    def under_way(self, key: object) -> bool:
        """Whether the key has a flight now."""
        return key in self._table

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._table = {}


def computing(flight: object, granted: Granted | None) -> None:
    """Note that the compute of a flight begins; None for one that nobody can join."""
    if isinstance(flight, Flight):
        flight.computes(granted.token if granted is not None else "")


def name_of(ask: Ask, *, alone: bool = False) -> tuple[str, bool, bool]:
    """What tells flights apart: a strict caller must not share one whose landing trusts a later admission."""
    return ask.key, ask.policy.consistency is Consistency.STRICT, alone


def ticket() -> int:
    """A number above all that were drawn before."""
    return next(_tickets)


_tickets = itertools.count(1)
_all: weakref.WeakSet[Flights] = weakref.WeakSet()
_by_store: weakref.WeakValueDictionary[str, Flights] = weakref.WeakValueDictionary()


def flights_of(identity: str) -> Flights:
    """The flights of the store with this identity, the same for every face in the process."""
    made = Flights()
    return _by_store.setdefault(identity, made)


def _after_fork() -> None:
    """The child has none of the threads that lead its parent's flights."""
    for flights in list(_all):
        flights._forget()


os.register_at_fork(after_in_child=_after_fork)
