"""What a process does while its store is away: it remembers what it could not tell, and does not ask in vain.

While anything is owed to the store, nobody in this process reads from it or fills it: what would be found there may be
what the process itself has made untrue; it is computed instead. A thread pays what is owed as soon as
the store takes it; it is a thread for event loops too, since theirs end with each `asyncio.run`.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cachefence_web.chance import chance
from cachefence_web.core.effects import StoreEffect, Wait
from cachefence_web.core.journal import Journal, Owed
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.breaker import Breaker, paid_a_deadline
from cachefence_web.runtime.outboxes import Busy, Drain, Outboxes, only_forbid
from cachefence_web.runtime.replaying import replay
from cachefence_web.stores.base import Store

log = logging.getLogger("cachefence_web")

FIRST, LONGEST = 0.05, 1.0
"""Seconds, before jitter, between the first tries to pay what is owed, and between later ones."""

LONGEST_LOOK = 2.0
"""Seconds for which the end of a cache waits for a database that is being looked into: one may be locked for hours."""


def pause_after(failures: int) -> float:
    """Seconds to the next try: none before the first, then longer each time."""
    return min(LONGEST, FIRST * 2 ** min(failures - 1, 10)) * (0.5 + chance.random()) if failures else 0.0


class Outage:
    """How one store stands with this process; all faces over the same data share it.

    shut: whether there is anything to be asked here before the store is: the one thing that a hit looks at.
    """

    def __init__(
        self, name: str = "", *, breaker: Breaker | None = None, pause: Callable[[int], float] = pause_after
    ) -> None:
        self.name = name
        self.breaker = breaker or Breaker()
        self.pause = pause
        self.shut = False
        self.outboxes = Outboxes()
        self._journal = Journal()
        self._paying = Journal()
        self._store: Store | None = None
        self._unfenced = self._kept = self._used = False
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._one_pays = threading.Lock()
        self._one_looks = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.outboxes.reset()

    @property
    def waiting(self) -> int:
        """How much is owed to the store; an outbox that is to be looked into counts as one."""
        return self.journaled + self.outboxes.owed

    @property
    def journaled(self) -> int:
        """How much of it nobody but this process knows."""
        return len(self._journal) + len(self._paying)

    @property
    def outstanding(self) -> int:
        """How much of it because the store was away."""
        return self.journaled + self.outboxes.outstanding

    @property
    def is_used(self) -> bool:
        """Whether there was anything to pay, and so perhaps a connection over which it was paid."""
        return self._used

    def check(self) -> None:
        """Ask before requests that are not made for all, such as a walk through the namespace.

        Raises:
            StoreUnavailable: if the store is not to be asked now.
        """
        if self.shut:
            with self._lock:
                if self.journaled or self.breaker.rests():
                    raise self._refusal()

    @contextmanager
    def probing(self, effect: StoreEffect[Any]) -> Iterator[None]:
        """Around a request that is made although the gate was shut: what it hears is heard for all.

        Raises:
            StoreUnavailable: if the store is not to be asked now.
        """
        refused = self.refused((effect,))
        if refused is not None:
            raise refused
        try:
            yield
        except StoreUnavailable as error:
            self.failed(error)
            raise
        except Exception:  # an answer, such as a sum that does not fit
            self.answered()
            raise
        except BaseException:
            self.undecided()
            raise
        self.answered()

    def refused(self, effects: Sequence[StoreEffect[Any]]) -> StoreUnavailable | None:
        """Why the store is not to be asked now, if it is not. To wait for a lease tells nothing of the store."""
        with self._lock:
            owing = self.journaled or (self.outboxes.owed and not only_forbid(effects))
            if self.shut and (owing or isinstance(effects[0], Wait) or not self.breaker.admits()):
                return self._refusal()
        return None

    def first_look(self, effects: Sequence[StoreEffect[Any]]) -> Callable[[], object] | None:
        """What waits until this process has looked into its outboxes for the first time, if these must."""
        if not self.outboxes.first_is_due() or only_forbid(effects):
            return None
        with self._lock:
            self._begin()
            nobody_looks = self._thread in (None, threading.current_thread())
            return None if nobody_looks else self.outboxes.first()

    def heard(self, answers: Sequence[Any]) -> None:
        """What came of several requests at once."""
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                self.failed(answer)
                return
        if self.shut:
            self.answered()

    def failed(self, error: StoreUnavailable) -> None:
        """A request was not answered, or refused."""
        if self.outboxes and error.__cause__ is not None:
            self.expect()
        if paid_a_deadline(error):
            with self._lock:
                self.breaker.open()
                self.shut = True
        elif error.__cause__ is not None:  # a refusal; without a cause it is the client that could not ask
            if self.shut:
                self.answered()
        else:
            self.undecided()

    def answered(self) -> None:
        """The store speaks."""
        with self._lock:
            self.breaker.close()
            self.shut = self.waiting > 0

    def undecided(self) -> None:
        """A request was given up before it was answered."""
        with self._lock:
            self.breaker.withdraw()

    def owe(self, owed: Owed, store: Store, what: str, error: StoreUnavailable, *, unfenced: bool = False) -> None:
        """Remember what a call could not tell the store, and tell it when it is back.

        unfenced: it was to stand before a write, which goes on without it.
        """
        with self._lock:
            first, was_all = not self.waiting, self._journal.everything
            unsaid = unfenced and not self._unfenced
            self._unfenced |= unfenced
            self._journal.add(owed)
            self._store, self._used, self.shut = store, True, True
            _indebted.add(self)
            self._begin()
        if first:
            log.error("%s did not reach the store of %s: %s. It is kept in this process and told when the store is"
                      " back; until then this process neither reads from the store nor fills it, and other processes"
                      " may serve what was to be forbidden", what, self.name, error)
        if unsaid:
            log.error("a write goes on without its fence, for the store of %s is away: until what it has changed is"
                      " told, other processes may serve what was there before, and for as long as that lives if this"
                      " process ends first", self.name)
        if self._journal.everything and not was_all and not owed.everything:
            log.warning("so much is kept for the store of %s that everything in it will be invalidated", self.name)

    def attach(self, name: Hashable, drain: Drain, store: Store, life: float) -> None:
        """There is an outbox for this store: nothing is read from the store before it was looked into."""
        with self._lock:
            self.outboxes.attach(name, drain, life)
            self._store, self.shut = store, True

    def detach(self, name: Hashable) -> None:
        """The outbox is no longer used."""
        with self._lock:
            self.outboxes.detach(name)

    def expect(self, *, kept: bool = False) -> None:
        """There may be rows in the outboxes; kept: there are, written by this process."""
        with self._lock:
            self.outboxes.owe()
            said, self._kept = self._kept, self._kept or kept
            self.shut = True
            self._begin()
        if kept and not said:
            log.warning("the store of %s is away: commits are kept in the outbox of their database, and told from there"
                        " when it is back; until then this process neither reads from the store nor fills it, and other"
                        " processes may serve what was to be forbidden", self.name)

    def close(self, *, last: bool = False) -> None:
        """End the thread and try to pay once more; what is still owed is said in the log.

        What is in an outbox is safe there.

        last: nobody will try again.
        """
        with self._lock:
            thread = self._thread
            self._closing.set()
            self.outboxes.not_again()
        if thread is not None and thread is not threading.current_thread():
            thread.join(LONGEST_LOOK if self.outboxes else None)
        with self._lock:
            self._closing, self._thread = threading.Event(), None  # one that looks still ends by the old event
        if self.journaled and not self._pay(look=False):
            log.error("the store of %s is away still, and was not told to invalidate these. %s: %s", self.name,
                      "Nobody will tell it any more: they may be served until they expire" if last else
                      "They are kept in this process, and lost if that ends before the store is back", self._owed())
        with self._lock:
            store, self._used = self._store, self.journaled > 0
        if store is not None:
            store.close()

    def _owed(self) -> Journal:
        with self._one_pays, self._lock:
            both = Journal()
            both.add(self._paying)
            both.add(self._journal)
            return both

    def _refusal(self) -> StoreUnavailable:
        if self.waiting:
            self._begin()
        if self.outboxes.owed and not self.journaled:
            return StoreUnavailable(
                "commits that the store has not heard of may wait in the outbox of a database; nothing is read from the"
                " store before it was told of them. See whether it and the database are up")
        if self.waiting:
            return StoreUnavailable(
                f"{self.waiting} invalidations of this process wait for the store; nothing is asked of it before they"
                " are there. See whether it is up")
        return StoreUnavailable("the store gave no answer a moment ago; it is asked again within two seconds")

    def _begin(self) -> None:
        """Start the thread, in a process that has none."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(
                target=self._work, args=(self._closing,), name="cachefence-journal", daemon=True)
            self._used = True
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is going down, and tries once more before it ends
                self._thread = None

    def _work(self, closing: threading.Event) -> None:
        failures = 0
        while True:
            done = not closing.wait(self.pause(failures)) and self._pay(say=not failures)
            failures = 0 if done else failures + 1
            self.outboxes.looked()
            with self._lock:
                if closing.is_set() or (done and not self.waiting):
                    if self._closing is closing:
                        self._thread = None
                    return

    def _pay(self, *, say: bool = True, look: bool = True) -> bool:
        """Tell the store all that was owed when this began; False if some of it is left.

        say: whether to log what broke. look: whether to look into outboxes too.
        """
        with self._lock:
            looks = self.outboxes.due() if look else {}
        try:
            owed = self._replay()
            found = self._drain(list(looks)) if looks else 0
        except (StoreUnavailable, Busy):
            return False
        except Exception:
            if say:
                more = _UNTIL if looks else ""
                log.exception("what the store of %s is owed could not be told%s", self.name, more)
            return False
        with self._lock:
            self.outboxes.paid(looks)
            if looks:
                self.outboxes.again(self._look_again)
            if not self.waiting:
                self._unfenced = self._kept = False
                self.breaker.close()
                self.shut = False
                _indebted.discard(self)
        if owed:
            log.warning("the store of %s is back, and was told %d invalidations that had waited", self.name, owed)
        if found:
            log.warning("the store of %s was told %d commits that had waited in an outbox", self.name, found)
        return True

    def _replay(self) -> int:
        """Tell the store what is in the journal; how much that is."""
        with self._one_pays:
            with self._lock:
                store, paying = self._store, self._paying
                paying.add(self._journal)
                self._journal = Journal()
                owed = len(paying)
            assert store is not None, "what is owed is owed to a store"
            replay(store, paying, self._closing.is_set)
            return owed

    def _drain(self, names: list[Hashable]) -> int:
        """Tell the store what is in outboxes; how long a database takes is nothing to a journal."""
        store = self._store
        assert store is not None, "there are outboxes to look into, and so a store"
        with self._one_looks:
            return self.outboxes.drain(names, store)

    def _look_again(self) -> None:
        """Nobody is refused meanwhile, unless this cannot be done."""
        with self._lock:
            names = self.outboxes.all()
        try:
            self._drain(names)
        except Exception:
            self.expect()


_UNTIL = "; a database's outbox is among it, and nothing is read from the store until it was looked into"
_all: weakref.WeakSet[Outage] = weakref.WeakSet()
_indebted: set[Outage] = set()
_by_store: weakref.WeakValueDictionary[str, Outage] = weakref.WeakValueDictionary()


def outage_of(identity: str) -> Outage:
    """How the store with this identity stands, the same for every face in the process."""
    made = Outage(identity)
    return _by_store.setdefault(identity, made)


def _after_fork() -> None:
    """The child owes what its parent did, and has no thread yet that pays: to be told twice harms nobody."""
    for outage in list(_all):
        outage._reset()
        outage.breaker.withdraw()


def _at_exit() -> None:
    for outage in list(_indebted):
        outage.close(last=True)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
