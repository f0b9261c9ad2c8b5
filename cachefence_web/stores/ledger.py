"""The atomic steps of a store as a pure state machine: no clock, no lock, no thread; the time comes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Claim,
    Claimed,
    Clear,
    Delete,
    Expire,
    Fence,
    Filed,
    Fill,
    Glance,
    Glanced,
    Invalidate,
    Keep,
    Lift,
    Look,
    Put,
    Read,
    Release,
    Renew,
    Settle,
    StoreEffect,
    Swap,
    Sweep,
    Swept,
    TakeInstant,
    Unswept,
)
from cachefence_web.core.entry import Entry, Kind
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Instant, Lease, Standing, Times, standing
from cachefence_web.stores.dates import Dates, NewEpoch

A = TypeVar("A")

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes under a key, what they say (None: they are no entry, which is a miss), and when they end."""

    raw: bytes
    entry: Entry | None
    ends: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """A lease: whose it is, and when it ends by itself."""

    token: str
    ends: int


class Ledger:
    """Everything one namespace holds: what stands under its keys, and its dates.

    Times are microseconds of a clock of the caller's; it may stand still or go back.
    """

    __slots__ = ("dates", "entries", "failures", "leases")

    def __init__(self) -> None:
        self.dates = Dates()
        self.entries: dict[str, Stored] = {}
        self.failures: dict[str, Stored] = {}
        self.leases: dict[str, Held] = {}

    def copy(self) -> Ledger:
        """A twin that goes its own way."""
        twin = Ledger.__new__(Ledger)
        twin.dates = self.dates.copy()
        twin.entries, twin.failures = self.entries.copy(), self.failures.copy()
        twin.leases = self.leases.copy()
        return twin

    def perform(
        self, effect: StoreEffect[A], time: int, new_epoch: NewEpoch, *, not_after: int | None = None
    ) -> A:
        """Take one step of `core/effects.py` at a time.

        not_after: when whoever asked gave up; None where a request cannot be delayed.
        """
        if not_after is not None and isinstance(effect, Put) and arrived_late(time, not_after):
            return cast("A", Filed.LATE)
        answer: A = _STEPS[type(effect)](self, effect, time, new_epoch)
        return answer

    def holder(self, key: str, time: int) -> Held | None:
        """The lease that stands on a key."""
        held = self.leases.get(key)
        return held if held is not None and held.ends > time else None

    def size(self) -> int:
        """How many things there are to sweep."""
        dates = self.dates
        return len(self.entries) + len(self.failures) + len(self.leases) + len(dates.records) + len(dates.recent or ())

    def sweep(self, time: int) -> None:
        """Free what has ended, and what an ended epoch or an invalidation left behind."""
        times = self.dates.times((), time)
        times = Times(times.epoch, self.dates.records, times.now)
        for table in (self.entries, self.failures):
            ended = [key for key, stored in table.items() if _over(stored, time) or _dead(stored, times)]
            for key in ended:
                del table[key]
        for key in [key for key, held in self.leases.items() if held.ends <= time]:
            del self.leases[key]
        found = (stored.entry for table in (self.entries, self.failures) for stored in table.values())
        self.dates.sweep(time, {tag for entry in found if entry is not None for tag in entry.tags})

    def _present(self, key: str, time: int) -> Stored | None:
        stored = self.entries.get(key)
        return None if stored is None or _over(stored, time) else stored

    def _entry(self, key: str, time: int) -> Entry | None:
        stored = self._present(key, time)
        return stored.entry if stored is not None else None

    def _failure(self, key: str, time: int) -> Entry | None:
        stored = self.failures.get(key)
        return None if stored is None or _over(stored, time) else stored.entry

    def _read(self, effect: Read, time: int, _: NewEpoch) -> Look:
        entry = self._entry(effect.key, time)
        return Look(entry, self.dates.times(entry.tags if entry is not None else (), time))

    def _settle(self, effect: Settle, time: int, new_epoch: NewEpoch) -> Times:
        return self.dates.settle(effect.tags, time, new_epoch)

    def _claim(self, effect: Claim, time: int, new_epoch: NewEpoch) -> Claimed:
        granted, holder = self.grant(effect, time)
        lease = self._take_instant(TakeInstant(), time, new_epoch) if granted else None
        return Claimed(lease, holder, self.look(effect.key, time))

    def grant(self, claim: Claim, time: int) -> tuple[bool, str | None]:
        """The first part of a claim: whether the lease is granted, and else whose lease stands in the way."""
        held = self.holder(claim.key, time)
        if held is not None and stands_in_the_way(held, claim):
            return False, held.token
        entry, failure = self._entry(claim.key, time), self._failure(claim.key, time)
        if not (entry_is_the_one_seen(entry, claim.seen) and failure_is_the_one_spent(failure, claim.spent)):
            return False, None
        self.leases[claim.key] = Held(claim.token, time + int(claim.life * 1_000_000))
        return True, None

    def look(self, key: str, time: int) -> Look:
        """The last part of a claim: entry, error record, and the dates of both."""
        entry, failure = self._entry(key, time), self._failure(key, time)
        tags = (entry.tags if entry is not None else ()) + (failure.tags if failure is not None else ())
        return Look(entry, self.dates.times(tags, time), failure)

    def _renew(self, effect: Renew, time: int, _: NewEpoch) -> bool:
        if not is_the_tokens(self.holder(effect.key, time), effect.token):
            return False
        self.leases[effect.key] = Held(effect.token, time + int(effect.life * 1_000_000))
        return True

    def _fill(self, effect: Fill, time: int, new_epoch: NewEpoch) -> Filed:
        admitted = self.dates.admit(effect.entry.lease, effect.entry.tags, effect.life, time, new_epoch)
        ours = is_the_tokens(self.holder(effect.key, time), effect.token)
        if ours:
            self.leases.pop(effect.key, None)
        if not admitted:
            return Filed.INVALIDATED
        if not ours:
            return Filed.REVOKED
        stored = _stored(effect.entry, effect.life, time)
        if effect.entry.kind in {Kind.FAILURE, Kind.PASS}:
            self.failures[effect.key] = stored
        else:
            self.entries[effect.key] = stored
            self.failures.pop(effect.key, None)
        return Filed.ADMITTED

    def _release(self, effect: Release, time: int, _: NewEpoch) -> None:
        if is_the_tokens(self.holder(effect.key, time), effect.token):
            self.leases.pop(effect.key, None)

    def _take_instant(self, _effect: TakeInstant, time: int, new_epoch: NewEpoch) -> Lease:
        instant = self.dates.tick(time, new_epoch)
        return Lease(instant, cast("int", self.dates.epoch))

    def _put(self, effect: Put, time: int, new_epoch: NewEpoch) -> Filed:
        present = self._entry(effect.key, time)
        if effect.expected is not ANY and not entry_is_the_one_expected(present, effect.expected):
            return Filed.CONFLICT
        admitted = self.dates.admit(effect.entry.lease, effect.entry.tags, effect.life, time, new_epoch)
        self._drop(effect.key)
        if not admitted:
            return Filed.INVALIDATED
        self.entries[effect.key] = _stored(effect.entry, effect.life, time)
        return Filed.ADMITTED

    def _delete(self, effect: Delete, time: int, _: NewEpoch) -> bool:
        present = self._present(effect.key, time) is not None
        self._drop(effect.key)
        return present

    def _drop(self, key: str) -> None:
        self.entries.pop(key, None)
        self.failures.pop(key, None)
        revoke(self.leases, key)

    def _amend(self, effect: Amend, time: int, _: NewEpoch) -> bool:
        stored = self._present(effect.key, time)
        if stored is None or stored.entry is None or stored.entry.lease != effect.lease:
            return False
        amended = replace(
            stored.entry, fresh_until=effect.fresh_until, stale_until=effect.stale_until,
            error_until=effect.error_until, renewal=stored.entry.renewal and (effect.renewal or stored.entry.renewal))
        self.entries[effect.key] = Stored(amended.encode(), amended, _end(effect.life, time))
        self.dates.keep(stored.entry.tags, effect.life, time)
        return True

    def _add(self, effect: Add, time: int, _: NewEpoch) -> int | None:
        stored = self._present(effect.key, time)
        entry = stored.entry if stored is not None else None
        if stored is None or entry is None or entry.lease != effect.lease or entry.kind is not Kind.NUMBER:
            return None
        total = int(entry.payload) + effect.delta
        if not -_LARGEST - 1 <= total <= _LARGEST:
            raise OverflowError(f"the sum under {effect.key!r} does not fit 64 bits")
        raised = replace(entry, payload=b"%d" % total)
        self.entries[effect.key] = Stored(raised.encode(), raised, stored.ends)
        revoke(self.leases, effect.key)
        return total

    def _swap(self, effect: Swap, time: int, _: NewEpoch) -> bool:
        stored = self._present(effect.key, time)
        if stored is None or stored.raw != effect.seen.encode():
            return False
        changed = replace(effect.seen, payload=effect.payload, kind=effect.kind)
        self.entries[effect.key] = Stored(changed.encode(), changed, stored.ends)
        revoke(self.leases, effect.key)
        return True

    def _glance(self, effect: Glance, time: int, _: NewEpoch) -> Glanced:
        stored = self._present(effect.key, time)
        entry = None if stored is None or stored.entry is None else replace(stored.entry, payload=b"")
        times = self.dates.times(entry.tags if entry is not None else (), time)
        return Glanced(Look(entry, times), stored is not None and stored.ends is None)

    def _keep(self, effect: Keep, time: int, _: NewEpoch) -> None:
        self.dates.keep(effect.tags, None, time)

    def _unswept(self, _effect: Unswept, _time: int, _: NewEpoch) -> None:
        """Whoever holds this sweeps it."""

    def _swept(self, _effect: Swept, _time: int, _: NewEpoch) -> None:
        """Likewise."""

    def _sweep_key(self, effect: Sweep, time: int, _: NewEpoch) -> bool:
        entry = self._entry(effect.key, time)
        if entry is None or entry.lease != effect.lease:
            return False
        del self.entries[effect.key]
        return True

    def _invalidate(self, effect: Invalidate, time: int, new_epoch: NewEpoch) -> Instant:
        return self.dates.invalidate(effect.tags, time, new_epoch)

    def _expire(self, effect: Expire, time: int, new_epoch: NewEpoch) -> Instant:
        return self.dates.expire(effect.tags, time, new_epoch)

    def _fence(self, effect: Fence, time: int, new_epoch: NewEpoch) -> Instant:
        return self.dates.fence(effect.tags, effect.token, effect.life, time, new_epoch)

    def _lift(self, effect: Lift, time: int, new_epoch: NewEpoch) -> None:
        self.dates.lift(effect.tags, effect.token, effect.outcome, time, new_epoch)

    def _clear(self, _effect: Clear, time: int, new_epoch: NewEpoch) -> None:
        self.dates.tick(time, new_epoch)
        self.dates.begin_epoch(new_epoch)


_STEPS: dict[type[StoreEffect[Any]], Callable[..., Any]] = {
    Read: Ledger._read, Settle: Ledger._settle, Claim: Ledger._claim, Renew: Ledger._renew,
    Fill: Ledger._fill, Release: Ledger._release, TakeInstant: Ledger._take_instant, Put: Ledger._put,
    Delete: Ledger._delete, Amend: Ledger._amend, Add: Ledger._add, Invalidate: Ledger._invalidate,
    Expire: Ledger._expire, Fence: Ledger._fence, Lift: Ledger._lift, Clear: Ledger._clear,
    Swap: Ledger._swap, Glance: Ledger._glance, Sweep: Ledger._sweep_key, Keep: Ledger._keep,
    Unswept: Ledger._unswept, Swept: Ledger._swept,
}


def _over(stored: Stored, time: int) -> bool:
    return stored.ends is not None and stored.ends <= time


def _dead(stored: Stored, times: Times) -> bool:
    entry = stored.entry
    return entry is None or standing(entry.lease, entry.tags, times, Consistency.COMMITTED) is Standing.GONE


def _end(life: float | None, time: int) -> int | None:
    return None if life is None else time + int(life * 1_000_000)


def _stored(entry: Entry, life: float | None, time: int) -> Stored:
    raw = entry.encode()
    return Stored(raw, Entry.decode(raw), _end(life, time))


def arrived_late(time: int, not_after: int) -> bool:
    """Whoever sent it has given up, and may have stored something newer since."""
    return time > not_after


def stands_in_the_way(held: Held, claim: Claim) -> bool:
    """Somebody else computes: one compute at a time."""
    return held.token not in {claim.token, claim.takeover}


def entry_is_the_one_seen(entry: Entry | None, seen: Lease | None) -> bool:
    """The second look: an entry that appeared since the first is to be judged, not computed again."""
    return (entry.lease if entry is not None else None) == seen


def failure_is_the_one_spent(failure: Entry | None, spent: Lease | None) -> bool:
    """A failure that appeared since is everybody's answer, until its back-off is over."""
    return failure is None or failure.lease == spent


def entry_is_the_one_expected(entry: Entry | None, expected: object) -> bool:
    """Compare and set: what the caller decided upon is still there."""
    return (entry.lease if entry is not None else None) == expected


def is_the_tokens(held: Held | None, token: str) -> bool:
    """The lease has not ended, nor was it revoked, taken over or granted anew."""
    return held is not None and held.token == token


def revoke(leases: dict[str, Held], key: str) -> None:
    """What is being computed was begun before this, and must not be stored over it."""
    leases.pop(key, None)
