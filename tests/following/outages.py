"""A server that a commit cannot reach, and what its cache does about it afterwards."""

from __future__ import annotations

import time

from cachefence_web import AsyncCacheFence, CacheFence
from tests.servers import RedisServer

LONG = 30.0
"""Seconds after which what a test waits for will not come."""

SHORT = 0.3
"""Seconds for a request of a server that is frozen."""


def another_process(server: RedisServer, namespace: str) -> CacheFence:
    """A cache on the same data that shares no journal with the others, as one in another process would not."""
    return CacheFence(server.url.replace("/redis.sock", "/./redis.sock"), namespace=namespace, timeout=LONG)


def settled(fence: CacheFence | AsyncCacheFence) -> None:
    """Return once the store was told all that had waited."""
    end = time.monotonic() + LONG
    while fence.stats().journaled:
        assert time.monotonic() < end, "the store was not told"
        time.sleep(0.005)
