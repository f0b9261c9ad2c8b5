"""What a sweeper asks of the store, and what it makes of the answers."""

from __future__ import annotations

import pytest

from cachefence_web.core import sweeping
from cachefence_web.core.effects import (
    Claim,
    Glance,
    Glanced,
    Keep,
    Release,
    Renew,
    Settle,
    Sweep,
    Swept,
    TakeInstant,
    Unswept,
)
from cachefence_web.core.flight import Together
from cachefence_web.core.tags import Instant, Lease, TagRecord, Times
from cachefence_web.errors import StoreUnavailable
from tests.core.transcripts import AWAY, LATER, NOW, L, entry, granted, held, look, play

ENDED = entry(lease=Lease(L.instant, 6))
INVALIDATED = TagRecord(Instant(NOW))
DUE = TagRecord(Instant(1), pending=1, soonest=Instant(NOW - 1), latest=Instant(NOW - 1))
LOOK = Together((Glance("a"),))
REMOVED = Together((Sweep("a", L),)), (True,)


def seen(found: Glanced | StoreUnavailable) -> tuple[Together, tuple[Glanced | StoreUnavailable]]:
    """One key was looked at."""
    return LOOK, (found,)


@pytest.mark.parametrize(("exchanges", "removed"), [
    pytest.param([seen(Glanced(look(ENDED), True)), (Together((Sweep("a", ENDED.lease),)), (True,))], 1,
                 id="of an ended epoch"),
    pytest.param([seen(Glanced(look(ENDED), True)), (Together((Sweep("a", ENDED.lease),)), (False,))], 0,
                 id="replaced since"),
    pytest.param([seen(Glanced(look(entry(), INVALIDATED), True)), REMOVED], 1, id="invalidated"),
    pytest.param([seen(Glanced(look(entry(), None), False)), REMOVED], 1, id="its record was lost"),
    pytest.param([seen(Glanced(look(entry()), True)), (Keep(("a",)), None)], 0, id="endless, and it stands"),
    pytest.param([seen(Glanced(look(entry()), False))], 0, id="it stands, and will end"),
    pytest.param([seen(Glanced(look(entry(-5.0)), False))], 0, id="stale"),
    pytest.param([seen(Glanced(look(None), True))], 0, id="no entry of ours"),
    pytest.param([seen(Glanced(look(entry(), DUE), False)),
                  (Settle(("a",)), Times(7, {"a": INVALIDATED}, Instant(NOW), settled=True)), REMOVED], 1,
                 id="its writer died"),
])
def test_what_is_gone_is_removed_and_what_is_endless_keeps_its_records(
    exchanges: list[tuple[object, object]], removed: int
) -> None:
    assert play(sweeping.sweep(["a"]), *exchanges) == removed


def test_a_sweep_that_does_not_know_what_it_saw_or_did_breaks_off() -> None:
    with pytest.raises(StoreUnavailable):
        play(sweeping.sweep(["a"]), seen(AWAY))
    with pytest.raises(StoreUnavailable):
        play(sweeping.sweep(["a"]), seen(Glanced(look(ENDED), True)), (Together((Sweep("a", ENDED.lease),)), (AWAY,)))


def test_a_walk_ends_in_the_epoch_in_which_it_began() -> None:
    assert play(sweeping.is_wanted(), (Unswept(), 7)) is True
    assert play(sweeping.is_wanted(), (Unswept(), None)) is False
    assert play(sweeping.begin(), (TakeInstant(), LATER)) == LATER.epoch
    assert play(sweeping.finish(7), (Swept(7), None)) is None


def test_one_is_elected_for_as_long_as_it_is_heard_of() -> None:
    claim = Claim(sweeping.SWEEPER, "t", sweeping.LIFE)
    renew = Renew(sweeping.SWEEPER, "t", sweeping.LIFE)
    assert play(sweeping.elect("t"), (claim, granted())) == LATER.epoch
    assert play(sweeping.elect("t"), (claim, held())) is None
    swept = (renew, True), seen(Glanced(look(entry(), INVALIDATED), True)), REMOVED
    assert play(sweeping.sweep_elected(["a"], "t"), *swept) == 1
    assert play(sweeping.sweep_elected(["a"], "t"), (renew, False)) is None
    assert play(sweeping.resign("t"), (Release(sweeping.SWEEPER, "t"), None)) is None
