"""What a process knows of the store's clock between two looks at it: never less than the clock shows.

With the clock comes the word that there is something to sweep: whoever uses the store at all hears it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cachefence_web.core.tags import Instant
from cachefence_web.errors import StoreUnavailable

RESAMPLE = 5_000_000
"""Microseconds after which the store is asked again, with the next read: bounds what drift can add up to."""

UNSWEPT = b"unswept"
"""What ends the reply of a script that saw that there is something to sweep."""

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def local_clock() -> int:
    """Microseconds, never going back, counting the time for which the machine was suspended."""
    return time.clock_gettime_ns(_BOOTTIME) // 1000


class StoreTime:
    """A sample of the namespace's clock and of the server's TIME, and when it was asked for.

    Any thread may learn, any may ask: a sample is replaced as a whole, and each is as true as the other.
    """

    __slots__ = ("_sample", "clock", "on_leftovers")

    def __init__(self, clock: Callable[[], int] = local_clock) -> None:
        self.clock = clock
        self._sample: tuple[int, int, int] | None = None
        self.on_leftovers: Callable[[], None] | None = None

    def learn(self, reply: Sequence[bytes], sent: int) -> None:
        """Take the sample that begins a script's reply: instant, epoch, TIME; it was sent for at `sent`."""
        self._sample = (int(reply[0]), sent, int(reply[2]))
        if reply[-1] == UNSWEPT and self.on_leftovers is not None:
            self.on_leftovers()

    def is_old(self, sent: int) -> bool:
        """Whether the store should be asked again."""
        sample = self._sample
        return sample is None or sent - sample[1] > RESAMPLE

    def now(self) -> Instant:
        """The clock, or somewhat later.

        Raises:
            StoreUnavailable: before the first sample, which every first request on a connection brings.
        """
        sample = self._known()
        return Instant(sample[0] + _stretched(self.clock() - sample[1]))

    def server_time(self, local: int) -> int:
        """The server's TIME at a local instant, or somewhat later."""
        sample = self._known()
        return sample[2] + _stretched(local - sample[1])

    def _known(self) -> tuple[int, int, int]:
        if self._sample is None:
            raise StoreUnavailable("the store's time is not known yet: repeat the call, which asks for it")
        return self._sample


def _stretched(elapsed: int) -> int:
    """What has passed elsewhere, at most: the clocks of two machines run apart by less than a thousandth."""
    return elapsed + elapsed // 1000 + 1
