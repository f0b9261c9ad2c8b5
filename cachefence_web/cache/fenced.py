"""Tags with a fence raised over them, until somebody says how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cachefence_web.core.effects import Outcome, Plan
from cachefence_web.core.fencing import lift_fences
from cachefence_web.core.journal import Owed
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.memory import now_in_microseconds

TRIES = 3
"""Times that a fence is raised for which this process stands still too long to make use of it."""

_LIFTING = "lifting a fence"


def owed_for(tags: tuple[str, ...], life: float, outcome: Outcome) -> Owed | None:
    """What a write of these tags makes untrue, if the store cannot be told of it; UNKNOWN: it may be made yet.

    One that was rolled back owes nothing: should its fence stand, the deadline costs no more than a compute.
    """
    if outcome is Outcome.ROLLED_BACK:
        return None
    return Owed(tags=tags) if outcome is Outcome.COMMITTED else Owed(unsure=tags, life=life)


def stood_still(life: float) -> StoreUnavailable:
    """Why there is no fence although the store can be reached."""
    return StoreUnavailable(
        f"a fence of {life:g} s was half over each time that the store's answer was read: raise `fence_life`, or see"
        " what keeps this process from running")


def lasts(sent: int, life: float) -> bool:
    """Whether a fence that was sent then has most of its life before it."""
    return now_in_microseconds() - sent <= life * 500_000


@dataclass(frozen=True, slots=True)
class Fenced:
    """A pending write of these tags; if it is never lifted, its deadline, `life` seconds off, invalidates them."""

    tags: tuple[str, ...]
    token: str
    life: float
    _write: Callable[[str, Plan[None], None, Owed | None], None] = field(repr=False)
    _sent: int = field(repr=False)

    @property
    def lasts(self) -> bool:
        """Whether the commit may be begun: most of the fence's life is before it."""
        return lasts(self._sent, self.life)

    def lift(self, outcome: Outcome) -> None:
        """End it: COMMITTED invalidates, ROLLED_BACK does not, UNKNOWN does so now and at the deadline.

        Raises:
            StoreUnavailable: with on_outage="raise"; the deadline comes all the same, if the fence was raised.
        """
        plan = lift_fences(self.tags, self.token, outcome)
        self._write(_LIFTING, plan, None, owed_for(self.tags, self.life, outcome))


@dataclass(frozen=True, slots=True)
class AsyncFenced:
    """A pending write of these tags; if it is never lifted, its deadline, `life` seconds off, invalidates them."""

    tags: tuple[str, ...]
    token: str
    life: float
    _write: Callable[[str, Plan[None], None, Owed | None], Awaitable[None]] = field(repr=False)
    _sent: int = field(repr=False)

    @property
    def lasts(self) -> bool:
        """Whether the commit may be begun: most of the fence's life is before it."""
        return lasts(self._sent, self.life)

    async def lift(self, outcome: Outcome) -> None:
        """End it, as `Fenced.lift` does; shield it from cancellation, which must not lose a commit."""
        plan = lift_fences(self.tags, self.token, outcome)
        await self._write(_LIFTING, plan, None, owed_for(self.tags, self.life, outcome))
