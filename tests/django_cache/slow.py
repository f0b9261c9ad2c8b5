"""Time for a busy machine: of Django's tests of pages, some leave one second for all that lies between two looks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from cachefence_web.django import RedisCache

SECONDS = 3
"""How many a second of theirs takes, in lives and in sleep alike."""

LONGEST = 10
"""A life that is longer is long enough."""


class Slow(RedisCache):
    """Short lives last longer."""

    def _ttl(self, timeout: Any) -> float | None:
        life = super()._ttl(timeout)
        return life * SECONDS if life is not None and life <= LONGEST else life


@contextmanager
def slowly() -> Iterator[None]:
    """And who waits for their end waits longer."""
    sleep = time.sleep
    with mock.patch("time.sleep", lambda seconds: sleep(seconds * SECONDS)):
        yield
