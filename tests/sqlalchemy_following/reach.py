"""A Redis that is not to be reached, without a deadline that a busy machine could miss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

from tests.servers import RedisServer


@contextmanager
def out_of_reach(server: RedisServer) -> Iterator[None]:
    """It keeps what it has, hangs up on everybody, and whoever comes to its socket is refused at once."""
    hidden = server.socket_path.with_name("hidden.sock")
    server.socket_path.rename(hidden)
    with Redis.from_url(server.tcp_url) as administrator:
        for kind in ("normal", "pubsub"):
            administrator.client_kill_filter(_type=kind, skipme=True)
    yield
    hidden.rename(server.socket_path)
