"""The state of `random` is the application's: jitter draws from elsewhere."""

from __future__ import annotations

import random

from cachefence_web.runtime.breaker import Breaker
from cachefence_web.runtime.journal import pause_after
from cachefence_web.stores.redis.waiting import pause


def test_waiting_and_resting_leave_the_application_s_random_as_it_was() -> None:
    before = random.getstate()
    pause(listening=True)
    pause(listening=False)
    pause_after(3)
    Breaker()._chance()
    assert random.getstate() == before
