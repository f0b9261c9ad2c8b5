"""Decisions about what nobody is served any more: somebody must remove it.

A new epoch makes everything older unreadable at once, whatever there is of it, and an invalidated tag all that carries
it; what was to live for ever would then lie there for ever. One process of the fleet walks over the keys, far behind
everybody's back. That there is something to sweep stands in the store, where no process can forget it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cachefence_web.core.effects import (
    Claim,
    Effect,
    Glance,
    Glanced,
    Keep,
    Plan,
    Release,
    Renew,
    Sweep,
    Swept,
    TakeInstant,
    Unswept,
)
from cachefence_web.core.flight import Together
from cachefence_web.core.judging import judge
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Standing
from cachefence_web.errors import StoreUnavailable

SWEEPER = "\0sweeper"
"""The key whose lease the sweeper holds. Should a user's be called so too, the two only take turns."""

LIFE = 30.0
"""Seconds after which a sweeper that was not heard of counts as dead."""

BATCH = 250
"""Keys looked at in one round trip."""

_MOST_KEPT = 1000
"""Tags whose records are kept in one step."""


def is_wanted() -> Plan[bool]:
    """Whether anything is left to sweep."""
    return (yield from Unswept()) is not None


def begin() -> Plan[int]:
    """The epoch in which a walk begins; to be given to `finish`."""
    return (yield from TakeInstant()).epoch


def elect(token: str) -> Plan[int | None]:
    """Become the one who sweeps the namespace: the epoch that it is; None if another does."""
    claimed = yield from Claim(SWEEPER, token, LIFE)
    return None if claimed.lease is None else claimed.lease.epoch


def batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many keys at a time as one look is for."""
    for at in range(0, len(keys), BATCH):
        yield keys[at:at + BATCH]


def sweep(keys: Sequence[str]) -> Plan[int]:
    """Remove those of the keys whose entry is gone for good; how many. The others' records outlive them."""
    gone: list[Effect[Any]] = []
    kept: dict[str, None] = {}
    for key, glanced in zip(keys, (yield from _all([Glance(key) for key in keys])), strict=True):
        assert isinstance(glanced, Glanced)
        look = glanced.look
        if look.entry is None:
            continue
        stands, _ = yield from judge(look.entry, look.times, Consistency.COMMITTED)
        if stands is Standing.GONE:
            gone.append(Sweep(key, look.entry.lease))
        elif glanced.endless:
            kept.update(dict.fromkeys(look.entry.tags))
    tags = list(kept)
    for at in range(0, len(tags), _MOST_KEPT):
        yield from Keep(tuple(tags[at:at + _MOST_KEPT]))
    return sum((yield from _all(gone)))


def sweep_elected(keys: Sequence[str], token: str) -> Plan[int | None]:
    """The same by the one who was elected, and stays so; None if another was elected since."""
    if not (yield from Renew(SWEEPER, token, LIFE)):
        return None
    return (yield from sweep(keys))


def finish(epoch: int) -> Plan[None]:
    """All keys were walked over; the next walk is for another epoch, or another day."""
    yield from Swept(epoch)


def resign(token: str) -> Plan[None]:
    """Leave it to the next."""
    yield from Release(SWEEPER, token)


def _all(effects: Sequence[Effect[Any]]) -> Plan[Sequence[Any]]:
    if not effects:
        return ()
    answers = yield from Together(tuple(effects))
    for answer in answers:
        if isinstance(answer, StoreUnavailable):
            raise answer
    return answers
