"""What a plan may ask of a store: each effect is one request, and `yield from` it evaluates to its typed answer.

The effects here are atomic steps: a store performs each wholly or not at all. Their laws stand here, once, and
`stores/memory.py` and `stores/redis/*.lua` keep them. What a plan asks of its driver is in `flight.py`.
Any of them may raise `StoreUnavailable` into the plan; whether the step was taken is then unknown.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from msgspec import Struct

from cachefence_web.core.entry import Entry, Kind
from cachefence_web.core.tags import Instant, Lease, Times

A_co = TypeVar("A_co", covariant=True)
R = TypeVar("R")


class Effect(Struct, Generic[A_co], frozen=True):
    """One request to the outside, answered with an A."""

    def __iter__(self) -> Generator[Effect[Any], Any, A_co]:
        answer: A_co = yield self
        return answer


Plan = Generator[Effect[Any], Any, R]
"""A decision: it yields effects, is sent their answers, and returns an R."""


class StoreEffect(Effect[A_co], frozen=True):
    """An effect that a store performs."""


class Look(Struct, frozen=True):
    """What a store holds under a key, and the dates to judge it by.

    failure: the key's error record; only a Claim looks for it.
    """

    entry: Entry | None
    times: Times
    failure: Entry | None = None


class Claimed(Struct, frozen=True):
    """The answer to a Claim.

    lease: granted, and dated, if not None.
    holder: otherwise the token of the lease that stands in the way; None if an entry or error record does.
    look: taken after the claim was decided, so a value that appeared meanwhile is in it.
    """

    lease: Lease | None
    holder: str | None
    look: Look


class Glanced(Struct, frozen=True):
    """The answer to a Glance.

    endless: the store would keep the entry for ever.
    """

    look: Look
    endless: bool


class Filed(enum.Enum):
    """What became of a value handed to the store."""

    ADMITTED = "admitted"
    REVOKED = "revoked"          # the lease is no longer this token's: a set, a delete or a takeover came between
    INVALIDATED = "invalidated"  # a tag was invalidated after the lease, or the epoch has ended
    CONFLICT = "conflict"        # the entry is no longer the expected one
    OCCUPIED = "occupied"        # what is kept under the key is no entry of any cache, and not to be lost
    LATE = "late"                # the request arrived after the caller had given up


class Outcome(enum.StrEnum):
    """How a COMMIT ended, as far as its writer knows."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    UNKNOWN = "unknown"


class Read(StoreEffect[Look], frozen=True):
    """The entry under a key with the epoch and the records of its tags; runs no script.

    eventual: a replica may answer, which may be behind.
    """

    key: str
    eventual: bool = False


class Settle(StoreEffect[Times], frozen=True):
    """The epoch and the tags' records after every fence whose deadline has passed was applied: its deadline
    becomes an invalidation, in record and in `recent`, and it is dropped. A record whose fences were lost counts
    its latest deadline as an invalidation.
    """

    tags: tuple[str, ...]


class Claim(StoreEffect[Claimed], frozen=True):
    """Grant the key's lease for `life` seconds if it is free, and date it; then look.

    Granted only if: no lease is held, or the one held is `takeover`'s or already this token's; and the entry is
    the one that was judged unusable (its lease equals `seen`; None means there was none); and there is no error
    record, or it is `spent`'s.
    The instant is taken after the lease; a missing clock begins a new epoch.
    """

    key: str
    token: str
    life: float
    seen: Lease | None = None
    takeover: str | None = None
    spent: Lease | None = None


class Renew(StoreEffect[bool], frozen=True):
    """Give the lease `life` more seconds from now, if it is still the token's."""

    key: str
    token: str
    life: float


class Fill(StoreEffect[Filed], frozen=True):
    """Admit an entry under its lease, then store it and end the lease, waking those who wait.

    Admitted only if the epoch is the lease's and, for each tag, the lease is after its invalidation, passed
    deadlines included (pending fences do not matter). A missing record is created, dated at the latest of: what
    `recent` has of it, what `recent` no longer remembers, deadlines passed. Records outlive the entry.
    Stored only if the lease is the token's. `life` is seconds the store keeps it; None for ever.
    OCCUPIED if users keep something else of the store's there, such as a set of Redis: a reader is not to destroy it.
    A kind of FAILURE or PASS goes to the key's error record and leaves the entry alone.
    """

    key: str
    token: str
    entry: Entry
    life: float | None


class Release(StoreEffect[None], frozen=True):
    """End the lease if it is the token's, waking those who wait."""

    key: str
    token: str


class TakeInstant(StoreEffect[Lease], frozen=True):
    """An instant and its epoch, for a value that needs no lease."""


class Put(StoreEffect[Filed], frozen=True):
    """Store an entry, whoever is computing the key: as a Fill that asks for no token, and revokes the one there is.

    expected: store only if the present entry has this lease; None means only if there is none, nor anything else that
    users keep there (OCCUPIED); ANY skips the check.
    Refused as LATE if it arrives more than the operation's deadline after it was sent. An entry that is not
    admitted removes the present one all the same: the caller said it is no longer the value.
    """

    key: str
    entry: Entry
    life: float | None
    expected: Lease | Anything | None


class Anything(enum.Enum):
    """The present entry does not matter."""

    ANY = "any"


ANY = Anything.ANY


class Delete(StoreEffect[bool], frozen=True):
    """Remove entry and error record and revoke the lease; True if anything stood where the entry does."""

    key: str


class Amend(StoreEffect[bool], frozen=True):
    """Give the entry new dates, if it is still the one computed under `lease`.

    renewal: what hits are to give it from then on, if they give it anything; 0 leaves that as it is.
    """

    key: str
    lease: Lease
    fresh_until: Instant
    stale_until: Instant
    error_until: Instant
    life: float | None
    renewal: int = 0


class Add(StoreEffect[int | None], frozen=True):
    """Add to a NUMBER in place, keeping its life; None if it is no longer the one computed under `lease`.

    Done, it revokes the lease there is, as a Put: a refresh that began before it knows nothing of what was added.
    Raises OverflowError into the plan when the sum does not fit 64 bits.
    """

    key: str
    lease: Lease
    delta: int


class Swap(StoreEffect[bool], frozen=True):
    """Give the entry another payload, if it is still `seen` to the last byte; its lease, dates, tags and life stay.

    So whatever invalidates `seen`, before or after this, speaks to what was made of it too. Done, it revokes the
    lease there is, as a Put.
    """

    key: str
    seen: Entry
    payload: bytes
    kind: Kind


class Glance(StoreEffect[Glanced], frozen=True):
    """The entry under a key without its payload, and dates that are no older than the look at it: for a sweep."""

    key: str


class Sweep(StoreEffect[bool], frozen=True):
    """Remove the entry if it is still the one computed under `lease`: a look has shown that it is gone for good."""

    key: str
    lease: Lease


class Keep(StoreEffect[None], frozen=True):
    """Have the records of the tags outlive an endless entry that was just seen: they last thirty days from now."""

    tags: tuple[str, ...]


class Unswept(StoreEffect[int | None], frozen=True):
    """The epoch, if ended ones left what nobody has swept yet, or endless entries were not walked over for a day.

    None if there is nothing to do, or the store frees by itself what is gone.
    """


class Swept(StoreEffect[None], frozen=True):
    """Note that all keys were walked over since `epoch` began; without effect if it has ended."""

    epoch: int


class Invalidate(StoreEffect[Instant], frozen=True):
    """Date an invalidation of the tags now: in each record there is, and in `recent`."""

    tags: tuple[str, ...]


class Expire(StoreEffect[Instant], frozen=True):
    """Make what carries the tags stale as of now. A tag without a record is invalidated instead."""

    tags: tuple[str, ...]


class Fence(StoreEffect[Instant], frozen=True):
    """Date an invalidation of the tags `life` seconds from now, unless it is lifted; the deadline."""

    tags: tuple[str, ...]
    token: str
    life: float


class Lift(StoreEffect[None], frozen=True):
    """End a fence: COMMITTED invalidates now and drops it, ROLLED_BACK drops it, UNKNOWN invalidates now and
    leaves it to its deadline.
    """

    tags: tuple[str, ...]
    token: str
    outcome: Outcome


class Clear(StoreEffect[None], frozen=True):
    """Begin a new epoch: everything in the namespace is gone at once."""


class Wait(StoreEffect[float], frozen=True):
    """Sleep until the lease is no longer the holder's, or `timeout` seconds are over; the seconds waited."""

    key: str
    holder: str
    timeout: float
