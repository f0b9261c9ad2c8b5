"""A server that a commit cannot reach, and what its cache does about it afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

from cachefence_web import AsyncCacheFence, CacheFence
from tests.servers import RedisServer

LONG = 30.0
"""Seconds after which what a test waits for will not come."""

SHORT = 0.3
"""Seconds for a request of a server that is frozen."""


@contextmanager
def out_of_reach(server: RedisServer) -> Iterator[None]:
    """It keeps what it has, hangs up on everybody, and refuses at once who comes to its socket: there is no deadline
    that a busy machine could miss.
    """
    hidden = server.socket_path.with_name("hidden.sock")
    server.socket_path.rename(hidden)
    with Redis.from_url(server.tcp_url) as administrator:
        for kind in ("normal", "pubsub"):
            administrator.client_kill_filter(_type=kind, skipme=True)
    yield
    hidden.rename(server.socket_path)


def another_process(server: RedisServer, namespace: str) -> CacheFence:
    """A cache on the same data that shares no journal with the others, as one in another process would not."""
    return CacheFence(server.url.replace("/redis.sock", "/./redis.sock"), namespace=namespace, timeout=LONG)


def settled(fence: CacheFence | AsyncCacheFence) -> None:
    """Return once the store was told all that had waited."""
    end = time.monotonic() + LONG
    while fence.stats().journaled:
        assert time.monotonic() < end, "the store was not told"
        time.sleep(0.005)
