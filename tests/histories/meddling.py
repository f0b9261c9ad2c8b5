"""Deaths at the worst moments, and what is kept from the store: the steps of a process are tampered with, its class's.

A process that kills itself does so at random, as the nemesis does from outside, but only where it hurts: right before
or right after a fence is raised or lifted, and between the reading of a row and the storing of a page.
"""

from __future__ import annotations

import functools
import os
import random
import signal
from typing import Any

from cachefence_web.core.effects import Fence, Lift
from cachefence_web.stores.redis.aio import AsyncRedisStore
from cachefence_web.stores.redis.sync import RedisStore
from tests.histories.place import Place

RARELY = 0.1
"""For those who compute: they do so more often than writers commit, and all wait for a dead one's lease to end."""

_chance = random.Random()
_mortal = 0.0


def meddle(place: Place, seed: str) -> None:
    """From now on, in this process."""
    global _mortal
    _chance.seed(seed)
    _mortal = place.mortal
    kinds: Any = (RedisStore, AsyncRedisStore)
    sync, asynchronous = kinds
    sync.perform = _sync(sync.perform, place.mute)
    asynchronous.perform = _async(asynchronous.perform, place.mute)


def may_die(weight: float = 1.0) -> None:
    """Here it would hurt."""
    if _mortal and _chance.random() < _mortal * weight:
        os.kill(os.getpid(), signal.SIGKILL)


def _sync(perform: Any, mute: tuple[str, ...]) -> Any:
    @functools.wraps(perform)
    def meddled(self: Any, effect: Any) -> Any:
        if not isinstance(effect, Fence | Lift):
            return perform(self, effect)
        may_die()
        answer = None if type(effect).__name__ in mute else perform(self, effect)
        may_die()
        return answer

    return meddled


def _async(perform: Any, mute: tuple[str, ...]) -> Any:
    @functools.wraps(perform)
    async def meddled(self: Any, effect: Any) -> Any:
        if not isinstance(effect, Fence | Lift):
            return await perform(self, effect)
        may_die()
        answer = None if type(effect).__name__ in mute else await perform(self, effect)
        may_die()
        return answer

    return meddled
