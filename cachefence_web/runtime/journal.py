"""What a process does while its store is away: it remembers what it could not tell, and does not ask in vain.

While anything is owed to the store, nobody in this process reads from it or fills it: what would be found there may be
what the process itself has made untrue; it is computed instead. A thread pays what is owed as soon as
the store takes it; it is a thread for event loops too, since theirs end with each `asyncio.run`.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cachefence_web.core.effects import StoreEffect, Wait
from cachefence_web.core.journal import Journal, Owed
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.breaker import Breaker, paid_a_deadline
from cachefence_web.runtime.replaying import replay
from cachefence_web.stores.base import Store

log = logging.getLogger("cachefence_web")

FIRST, LONGEST = 0.05, 1.0
"""Seconds, before jitter, between the first tries to pay what is owed, and between later ones."""


def pause_after(failures: int) -> float:
    """Seconds to the next try: none before the first, then longer each time."""
    return min(LONGEST, FIRST * 2 ** min(failures - 1, 10)) * (0.5 + random.random()) if failures else 0.0  # noqa: S311


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
        self._journal = Journal()
        self._paying = Journal()
        self._store: Store | None = None
        self._unfenced = self._used = False
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._one_pays = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How much is owed to the store."""
        return len(self._journal) + len(self._paying)

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
                if self.waiting or self.breaker.rests():
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
            if self.shut and (self.waiting or isinstance(effects[0], Wait) or not self.breaker.admits()):
                return self._refusal()
        return None

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

    def close(self, *, last: bool = False) -> None:
        """End the thread and try to pay once more; what is still owed is said in the log.

        last: nobody will try again.
        """
        with self._lock:
            thread = self._thread
            self._closing.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._closing.clear()
        if self.waiting and not self._pay():
            log.error("the store of %s is away still, and was not told to invalidate these. %s: %s", self.name,
                      "Nobody will tell it any more: they may be served until they expire" if last else
                      "They are kept in this process, and lost if that ends before the store is back", self._owed())
        with self._lock:
            store, self._used = self._store, self.waiting > 0
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
            return StoreUnavailable(
                f"{self.waiting} invalidations of this process wait for the store; nothing is asked of it before they"
                " are there. See whether it is up")
        return StoreUnavailable("the store gave no answer a moment ago; it is asked again within two seconds")

    def _begin(self) -> None:
        """Start the thread, in a process that has none."""
        if self._thread is None and not self._closing.is_set():
            self._thread = threading.Thread(target=self._work, name="cachefence-journal", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is going down, and tries once more before it ends
                self._thread = None

    def _work(self) -> None:
        failures = 0
        while True:
            done = not self._closing.wait(self.pause(failures)) and self._pay(say=not failures)
            failures = 0 if done else failures + 1
            with self._lock:
                if self._closing.is_set() or (done and not self.waiting):
                    self._thread = None
                    return

    def _pay(self, *, say: bool = True) -> bool:
        """Tell the store all that was owed when this began; False if some of it is left.

        say: whether to log what broke.
        """
        with self._one_pays:
            with self._lock:
                store, paying = self._store, self._paying
                paying.add(self._journal)
                self._journal = Journal()
                owed = len(paying)
            assert store is not None, "what is owed is owed to a store"
            try:
                replay(store, paying, self._closing.is_set)
            except StoreUnavailable:
                return False
            except Exception:
                if say:
                    log.exception("what the store of %s is owed could not be told", self.name)
                return False
            with self._lock:
                if not self.waiting:
                    self._unfenced = False
                    self.breaker.close()
                    self.shut = False
                    _indebted.discard(self)
            if owed:
                log.warning("the store of %s is back, and was told %d invalidations that had waited", self.name, owed)
            return True


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
