"""The dates of a namespace, pure and told the time: clock, epoch, tag records, fences, `recent`."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from msgspec.structs import replace

from cachefence_web.core.effects import Outcome
from cachefence_web.core.tags import Instant, Lease, TagRecord, Times, after_invalidation, in_epoch

NewEpoch = Callable[[], int]
"""Draws 64 random bits; called only when an epoch begins."""

HORIZON = 600 * 1_000_000
"""Microseconds that `recent` remembers: longer than a compute may take whose tags have no records yet."""

MOST_RECENT = 100_000
"""How many tags `recent` remembers at most."""

MARGIN = 60 * 1_000_000
"""Microseconds by which a record outlives the entries that carry its tag."""


class Dates:
    """The metadata of one namespace, as plain tables that copy cheaply.

    last, offset: the last instant given out and what is added to the time; None while the clock is missing.
    recent, floor: the instants of recent invalidations, and the instant after which none is forgotten.
    kept: until when a record has entries to outlive (None: for ever).
    """

    __slots__ = ("epoch", "fences", "floor", "kept", "last", "offset", "recent", "records")

    def __init__(self) -> None:
        self.epoch: int | None = None
        self.last: int | None = None
        self.offset = 0
        self.records: dict[str, TagRecord] = {}
        self.kept: dict[str, int | None] = {}
        self.fences: dict[str, Mapping[str, int]] = {}
        self.recent: dict[str, int] | None = None
        self.floor = 0

    def copy(self) -> Dates:
        """A twin that goes its own way; what the tables hold is never changed in place."""
        twin = Dates.__new__(Dates)
        twin.epoch, twin.last, twin.offset, twin.floor = self.epoch, self.last, self.offset, self.floor
        twin.records, twin.kept, twin.fences = self.records.copy(), self.kept.copy(), self.fences.copy()
        twin.recent = None if self.recent is None else self.recent.copy()
        return twin

    def tick(self, time: int, new_epoch: NewEpoch) -> Instant:
        """A new instant. A missing clock begins a new epoch; a missing `recent` is born just before it."""
        if self.epoch is None or (self.last is None and lost_clock_ends_the_epoch()):
            self.begin_epoch(new_epoch)
        if self.last is None:
            self.last, self.offset = 0, 0
        self.last = now = self._now(time, self.last + 1)
        if self.recent is None:
            self.recent, self.floor = {}, floor_at_birth(now - 1)
        return Instant(now)

    def peek(self, time: int) -> Instant:
        """The clock, without taking an instant."""
        return Instant(time) if self.last is None else Instant(self._now(time, self.last))

    def _now(self, time: int, least: int) -> int:
        """The time with its offset, which is raised where the time stood still or went back: the clock goes on."""
        now = max(time + self.offset, at_least(least))
        self.offset = now - time
        return now

    def begin_epoch(self, new_epoch: NewEpoch) -> None:
        """Forget everything at once."""
        self.epoch = new_epoch()

    def times(self, tags: Iterable[str], time: int, *, settled: bool = False) -> Times:
        """The dates to judge by what carries these tags."""
        records = self.records
        epoch = None if self.last is None and lost_clock_ends_the_epoch() else self.epoch
        return Times(epoch, {tag: records.get(tag) for tag in tags}, self.peek(time), settled)

    def settle(self, tags: Iterable[str], time: int, new_epoch: NewEpoch) -> Times:
        """The same, after passed deadlines were counted; without a clock nobody knows which those are."""
        now = self.tick(time, new_epoch)
        records = {tag: self._settle(tag, now) for tag in tags}
        return Times(self.epoch, records, now, settled=True)

    def admit(
        self, lease: Lease, tags: Iterable[str], life: float | None, time: int, new_epoch: NewEpoch
    ) -> bool:
        """Whether what was computed under the lease is still true; its tags have records from here on."""
        now = self.tick(time, new_epoch)
        admitted = admitted_in_epoch(lease, self.epoch)
        for tag in tags:
            self._bear(tag, now)
            settled = self._settle(tag, now)
            self._raise_clock(self.records[tag])
            self._outlive(tag, life, time)
            if settled is None or not admitted_after(lease, settled.invalidated):
                admitted = False
        return admitted

    def keep(self, tags: Iterable[str], life: float | None, time: int) -> None:
        """Have the records outlive an entry that was given a longer life."""
        for tag in tags:
            if tag in self.records:
                self._outlive(tag, life, time)

    def invalidate(self, tags: Iterable[str], time: int, new_epoch: NewEpoch) -> Instant:
        """Date an invalidation now."""
        now = self.tick(time, new_epoch)
        for tag in tags:
            self._invalidate(tag, now, now)
        return now

    def expire(self, tags: Iterable[str], time: int, new_epoch: NewEpoch) -> Instant:
        """Make stale as of now; a tag without a record is invalidated, for it has nowhere to say it."""
        now = self.tick(time, new_epoch)
        for tag in tags:
            record = self.records.get(tag)
            if record is not None:
                self.records[tag] = replace(record, expired=now)
            # With the record its expiry would be forgotten too: what is born in its place calls older entries gone.
            self._remember(tag, now, now)
        return now

    def fence(self, tags: Iterable[str], token: str, life: float, time: int, new_epoch: NewEpoch) -> Instant:
        """Date an invalidation in the future; the record counts the fence, should it be lost."""
        now = self.tick(time, new_epoch)
        deadline = Instant(now + int(life * 1_000_000))
        for tag in tags:
            if counted_in_a_record():
                self._bear(tag, now)
                self._outlive(tag, life + HORIZON / 1_000_000, time)
            self._settle(tag, now)
            self._put_fences(tag, {**self._pending(tag), token: deadline})
        return deadline

    def lift(self, tags: Iterable[str], token: str, outcome: Outcome, time: int, new_epoch: NewEpoch) -> None:
        """End a fence as its commit ended."""
        now = self.tick(time, new_epoch)
        for tag in tags:
            self._settle(tag, now)
            if not stays_until_its_deadline(outcome):
                left = {name: date for name, date in self._pending(tag).items() if name != token}
                self._put_fences(tag, left)
            if outcome is not Outcome.ROLLED_BACK:
                self._invalidate(tag, now, now)

    def sweep(self, time: int, carried: Container[str]) -> None:
        """Free what nobody can ask for any more. carried: the tags of what is stored."""
        horizon = self.peek(time) - HORIZON
        for tag in [tag for tag, until in self.kept.items() if self._is_spare(tag, until, time, carried)]:
            self.forget(tag)
        for tag in [tag for tag, fences in self.fences.items() if max(fences.values()) < horizon]:
            del self.fences[tag]
        if self.recent is not None:
            self.recent = {tag: instant for tag, instant in self.recent.items() if instant > horizon}
            self.floor = max(self.floor, horizon)

    def _is_spare(self, tag: str, until: int | None, time: int, carried: Container[str]) -> bool:
        return until <= time if until is not None else tag not in carried and tag not in self.fences

    def forget(self, tag: str) -> None:
        """Drop a record: it counts as lost, which is always allowed."""
        self.records.pop(tag, None)
        self.kept.pop(tag, None)

    def _settle(self, tag: str, now: int) -> TagRecord | None:
        """Count the deadlines that have passed; the record to judge by.

        Fences that the record counts and the table lost are counted at the latest of their deadlines: before it, by
        the answer only, for a clock raised past a date in the record would undo the fence.
        """
        record, fences = self.records.get(tag), self._pending(tag)
        passed = [date for date in fences.values() if deadline_has_passed(date, now)]
        lost = record is not None and fences_were_lost(record, fences)
        if record is not None and lost and deadline_has_passed(record.latest, now):
            passed.append(record.latest)
            self.records[tag] = recounted(record, fences)
            lost = False
        if passed:
            self._invalidate(tag, max(passed), now)
            self._put_fences(tag, {name: date for name, date in fences.items() if date not in passed})
        record = self.records.get(tag)
        return replace(record, invalidated=max(record.invalidated, record.latest)) if record and lost else record

    def _invalidate(self, tag: str, instant: int, now: int) -> None:
        record = self.records.get(tag)
        if record is not None and instant > record.invalidated:
            self.records[tag] = replace(record, invalidated=Instant(instant))
        self._remember(tag, instant, now)

    def _remember(self, tag: str, instant: int, now: int) -> None:
        if self.recent is None:
            self.recent, self.floor = {}, floor_at_birth(now)
        instant = max(instant, self.recent.pop(tag, 0))
        self.recent[tag] = instant
        if len(self.recent) > MOST_RECENT:
            eldest = sorted(self.recent.items(), key=lambda item: item[1])[:MOST_RECENT // 10]
            self.floor = max(self.floor, eldest[-1][1])
            for name, _ in eldest:
                del self.recent[name]

    def _bear(self, tag: str, now: int) -> None:
        """A record for a tag without one, dated at all that may have been invalidated while there was none."""
        if tag not in self.records:
            date = max(remembered(self.recent or {}, tag), forgotten(self.floor), now - HORIZON)
            self.records[tag] = recounted(TagRecord(Instant(date)), fences_at_birth(self._pending(tag)))

    def _pending(self, tag: str) -> Mapping[str, int]:
        return self.fences.get(tag, {})

    def _put_fences(self, tag: str, fences: Mapping[str, int]) -> None:
        record, before = self.records.get(tag), self._pending(tag)
        if record is not None:
            lost = fences_were_lost(record, before)
            self.records[tag] = (joined(record, fences, len(fences) - len(before)) if lost
                                 else recounted(record, fences))
        if fences:
            self.fences[tag] = fences
        else:
            self.fences.pop(tag, None)

    def _raise_clock(self, record: TagRecord) -> None:
        """A date beyond now is from before the clock was lost: go on from there, or nothing is ever stored."""
        if self.last is not None:
            self.last = max(self.last, record.invalidated, record.expired)

    def _outlive(self, tag: str, life: float | None, time: int) -> None:
        kept = self.kept.get(tag, 0)
        if life is None or kept is None:
            self.kept[tag] = None
        else:
            self.kept[tag] = max(kept, time + int(life * 1_000_000) + MARGIN)


def recounted(record: TagRecord, fences: Mapping[str, int]) -> TagRecord:
    """The record, saying of its fences what the table says."""
    dates = fences.values()
    return replace(record, pending=len(fences), soonest=Instant(min(dates, default=0)),
                   latest=Instant(max(dates, default=0)))


def joined(record: TagRecord, fences: Mapping[str, int], more: int) -> TagRecord:
    """The record of a tag that lost fences, with others that came or went: the lost ones count until the latest."""
    dates = (record.soonest, record.latest, *fences.values())
    return replace(record, pending=record.pending + more, soonest=Instant(min(dates)), latest=Instant(max(dates)))


def lost_clock_ends_the_epoch() -> bool:
    """Its offset is lost with it: instants might come before those already given out."""
    return True


def at_least(instant: int) -> int:
    """An instant is never repeated, nor does one come before another that was given out earlier."""
    return instant


def admitted_in_epoch(lease: Lease, epoch: int | None) -> bool:
    """The store has not lost its memory since the compute began."""
    return in_epoch(lease, epoch)


def admitted_after(lease: Lease, invalidated: Instant) -> bool:
    """Nothing was invalidated since the compute began."""
    return after_invalidation(lease, invalidated)


def deadline_has_passed(deadline: int, now: int) -> bool:
    """The writer did not lift its fence in time: it is dead, and may have committed."""
    return deadline <= now


def counted_in_a_record() -> bool:
    """A fence that is known in one place only is lost with it."""
    return True


def fences_were_lost(record: TagRecord, fences: Mapping[str, int]) -> bool:
    """Fewer fences than the record counted: the table was evicted."""
    return len(fences) < record.pending


def stays_until_its_deadline(outcome: Outcome) -> bool:
    """A commit whose outcome is unknown may yet take effect."""
    return outcome is Outcome.UNKNOWN


def fences_at_birth(fences: Mapping[str, int]) -> Mapping[str, int]:
    """A record that is born while commits are on their way knows of them."""
    return fences


def floor_at_birth(instant: int) -> int:
    """A `recent` that was not there remembers nothing from before its birth."""
    return instant


def remembered(recent: Mapping[str, int], tag: str) -> int:
    """The invalidation of a tag that had no record then."""
    return recent.get(tag, 0)


def forgotten(floor: int) -> int:
    """What `recent` may have forgotten counts as invalidated."""
    return floor
