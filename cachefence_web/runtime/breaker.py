"""After one caller has paid a deadline in vain, the others do not: for a while nobody asks, then one does for all.

A refusal costs no deadline, so it opens nothing: what refuses at once is found well again at once.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from cachefence_web.chance import chance

REST = 1.0
"""Seconds, jittered by half of it, for which a silent store is left alone."""

LONGEST_PROBE = 30.0
"""Seconds after which one who asks for all, and has said nothing since, is not waited for any longer."""


class Breaker:
    """Whether a store is to be asked. Its owner holds a lock around every call.

    clock: seconds; chance: uniform in [0, 1). Both are arguments so that tests can decide them.
    """

    __slots__ = ("_chance", "_clock", "_probing", "_until", "is_open")

    def __init__(self, clock: Callable[[], float] = monotonic, chance: Callable[[], float] = chance.random) -> None:
        self._clock = clock
        self._chance = chance
        self.close()

    def close(self) -> None:
        """All is well: everybody asks."""
        self.is_open = self._probing = False
        self._until = 0.0

    def open(self) -> None:
        """A deadline was paid: nobody asks for a while."""
        self.is_open, self._probing = True, False
        self._until = self._clock() + REST * (0.5 + self._chance())

    def rests(self) -> bool:
        """Whether nobody is to ask."""
        return self.is_open and self._clock() < self._until

    def admits(self) -> bool:
        """Whether the caller is to ask; if so, it says how that ended by `open`, `close` or `withdraw`."""
        if self.rests():
            return False
        if self.is_open:
            self._probing, self._until = True, self._clock() + LONGEST_PROBE
        return True

    def withdraw(self) -> None:
        """Who was to ask for all was cancelled: the next one may."""
        if self._probing:
            self._probing, self._until = False, self._clock()


def paid_a_deadline(error: BaseException) -> bool:
    """Whether an error tells of silence: a timeout is what it came of."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, TimeoutError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
