"""What a plan may ask of its driver, and how a flight ends: the vocabulary of one compute shared by many callers."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cachefence_web.core.effects import Effect
from cachefence_web.core.entry import Entry, Kind
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Instant, Lease


class Fitness(enum.Enum):
    """What a caller makes of a value that was found, where its policy alone cannot say."""

    FITS = "fits"          # as good as the policy says
    SUFFICES = "suffices"  # as it is, however old: no refresh, no lead
    UNFIT = "unfit"        # not for this caller: look beyond it


class Ask(Struct, frozen=True):
    """What a caller wants: the input of a plan, and what everybody aboard one flight has in common.

    fitness: how this caller judges what its look finds, fresh, stale or last good; pure, for a plan calls it and may
        do so again. None: everything FITS.
    """

    key: str
    policy: Policy
    tags: tuple[str, ...] = ()
    compute: Callable[[], Any] | None = None
    fitness: Callable[[Served], Fitness] | None = None


class Status(enum.StrEnum):
    """How a value came about."""

    HIT = "hit"
    STALE = "stale"        # served past its freshness, by `stale_for`, `stale_if_error` or `soft_timeout`
    STORED = "stored"      # computed, and admitted by the store
    UNSTORED = "unstored"  # computed, and given to its callers only


class Served(Struct, frozen=True):
    """A value, and for whom of those aboard it is true: who asked before the number `covers` was drawn.

    remaining: seconds for which it stays fresh; None without end.
    age: seconds since its compute ended.
    late: seconds since its freshness ended.
    lease: of the entry that it was found in; None for one that was computed just now.
    spoiled: whatever is made of it must not be stored.
    """

    value: Any
    tags: tuple[str, ...]
    status: Status
    covers: int = 1
    remaining: float | None = None
    age: float = 0.0
    late: float = 0.0
    lease: Lease | None = None
    spoiled: bool = False


class Failed(Struct, frozen=True):
    """The compute raised, here or in another process, or nobody could be found to run it.

    spoiled: as of a value.
    """

    error: BaseException
    tags: tuple[str, ...] = ()
    covers: int = 1
    lease: Lease | None = None
    spoiled: bool = False


class Again(Struct, frozen=True):
    """Nothing that is true for the caller came of it: look again. `because` is for whoever led it."""

    because: BaseException | None = None


class PassBy(Struct, frozen=True):
    """The answers under this key cannot be shared: compute for yourself, and do not queue.

    since: a date for what the caller computes from now on, should it be one to store after all: no later than now,
        so whatever is invalidated from here on outdates it. None if none is known: the store is away.
    """

    covers: int = 1
    since: Lease | None = None


class Overdue(Struct, frozen=True):
    """The caller's patience ended before the flight did.

    holder: the token of the lease under which the flight computes, and has for as long as the caller waited; None
        if it does not compute, or has only just begun to: then it is worth waiting for once more.
    """

    flight: object
    holder: str | None = None


Landing = Served | Failed | Again | PassBy
"""How a flight ends."""


class Granted(Struct, frozen=True):
    """The right to compute: the lease, the instant near which it was granted, and who had asked before it was.

    life: seconds that the lease lives without being renewed.
    """

    token: str
    lease: Lease
    now: Instant
    covers: int
    life: float


class Lead(Struct, frozen=True):
    """A compute begun by `begin`: to be ended by `finish` or `abort`.

    granted: None for one whose value is not stored: the store is away, or a strict read must not trust it now.
    covers: for whom aboard its value is true if it is not stored.
    stale: what may be shown meanwhile; last_good: what may be shown if it fails, or be validated; also what was UNFIT.
    outdated: the tags whose invalidation has made an end of what was stored, for people.
    """

    ask: Ask
    granted: Granted | None
    flight: object
    covers: int = 1
    stale: Served | None = None
    last_good: Served | None = None
    outdated: tuple[str, ...] = ()


class Computed(Struct, frozen=True):
    """A compute that returned.

    payload: the value's bytes; None if it cannot be stored (the driver has said so in the log).
    tags: all that the value depends on: the given ones and those discovered.
    storable: False if something used inside was served stale, or the caller forbade it.
    elapsed: seconds that the compute took.
    private: it is true for its own caller only, and not stored.
    lag: seconds before its lease that it is dated at.
    """

    value: Any
    payload: bytes | None
    tags: tuple[str, ...]
    storable: bool = True
    elapsed: float = 0.0
    kind: Kind = Kind.VALUE
    private: bool = False
    lag: float = 0.0


class Raised(Struct, frozen=True):
    """A compute that raised an Exception; `tags` are those known by then, the rest is as of one that returned."""

    error: Exception
    tags: tuple[str, ...]
    elapsed: float = 0.0
    storable: bool = True
    private: bool = False
    lag: float = 0.0


class Abandoned(Struct, frozen=True):
    """A compute that was cancelled or interrupted: nobody's answer."""

    error: BaseException


class Draw(Effect[float], frozen=True):
    """A uniform random number in (0, 1]."""


class NewToken(Effect[str], frozen=True):
    """A name that nobody has used: 128 random bits as text."""


class Decode(Effect[tuple[Any] | None], frozen=True):
    """An entry's value, in a tuple of one; None when its payload is no value of ours."""

    entry: Entry


class Compute(Effect[Computed | Raised | Abandoned], frozen=True):
    """Run the caller's function, recording what it depends on; renew the lease, if there is one, while it runs."""

    ask: Ask
    granted: Granted | None


class ComputeMany(Effect[tuple[Computed | Raised | Abandoned | None, ...]], frozen=True):
    """Run the caller's batch function once, for the keys that are led; None for a key its answer leaves out."""

    leads: tuple[Lead, ...]
    compute: Callable[[list[str]], Any]


class RollCall(Effect[int], frozen=True):
    """A number above those of all who asked for the key before: what begins after this is true for each of them."""

    key: str


class Fly(Effect[Landing | Overdue], frozen=True):
    """Join the key's flight, or launch it (it runs `lead`, or `alone`), and wait for what it brings this caller.

    seen: the lease of the entry that the caller judged unusable.
    patience: seconds to wait for a flight that somebody else launched; with `detach`, for one's own as well.
    overdue: a flight that this caller gave up; launch another in its place, unless somebody has or it has no holder.
    """

    ask: Ask
    seen: Lease | None
    patience: float
    alone: bool = False
    detach: bool = False
    overdue: Overdue | None = None


class Board(Effect["Landing | Overdue | Captain"], frozen=True):
    """Like Fly, but whoever launches the flight leads it itself, by hand, and must Land it.

    patience: seconds to wait for a flight that somebody else launched; 0 answers Again at once.
    alone: a flight that stores nothing, because the store is away or may not be trusted now.
    """

    ask: Ask
    patience: float
    overdue: Overdue | None = None
    alone: bool = False


class Captain(Struct, frozen=True):
    """The caller leads the flight."""

    flight: object


class Land(Effect[None], frozen=True):
    """End a flight that was boarded as its captain."""

    flight: object
    landing: Landing


class Refresh(Effect[None], frozen=True):
    """Have the key refreshed in the background (by `refresh`), unless a flight of it is under way."""

    ask: Ask
    seen: Lease


class Together(Effect[tuple[Any, ...]], frozen=True):
    """Several effects at once, in one round trip where the store can; a StoreUnavailable is an answer, not raised."""

    effects: tuple[Effect[Any], ...]
