"""A redis-py client for what is no cache: locks, sets and hashes, and whatever a project asks of Redis itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.lock import Lock
from redis.retry import Retry

from cachefence_web.errors import ConfigurationError

log = logging.getLogger("cachefence_web")

AWAY = (RedisConnectionError, RedisTimeoutError, OSError)
"""What redis-py raises when the server cannot be reached, or is silent."""


class Raw:
    """One client for an alias and process, made when it is first asked for; redis-py's own pool outlives a fork."""

    def __init__(self, location: object, timeout: float, connection: Mapping[str, Any]) -> None:
        self._location = location
        self._settings = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": 2,
                          "retry": Retry(NoBackoff(), 1), **connection}
        self._client: redis.Redis | None = None
        self._lock = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether there is a Redis behind the alias at all."""
        return not str(self._location).startswith("memory://")

    def client(self) -> redis.Redis:
        """The client.

        Raises:
            ConfigurationError: if the store is within the process.
        """
        if not self.exists:
            raise ConfigurationError(f"behind {self._location} is no Redis: this needs a LOCATION such as"
                                     ' "redis://localhost:6379/0"')
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = redis.Redis.from_url(str(self._location), **self._settings)
        return self._client

    def aclient(self) -> redis.asyncio.Redis:
        """A client for one block on an event loop, at whose end it is closed."""
        return redis.asyncio.Redis.from_url(
            str(self._location), **{name: value for name, value in self._settings.items() if name != "retry"})

    def close(self) -> None:
        """Let go of its connections; a later call opens them again."""
        if self._client is not None:
            self._client.connection_pool.disconnect()


class ForgivingLock(Lock):
    """redis-py's lock where an outage is no error: it is not acquired then, and nothing is left to release."""

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Whether it was acquired; as redis-py's."""
        try:
            return bool(super().acquire(*args, **kwargs))
        except AWAY as error:
            log.error("the lock %r was not acquired: %s", self.name, error)  # noqa: TRY400 - the text says it all
            return False

    def release(self) -> None:
        """Give it up; as redis-py's."""
        try:
            super().release()
        except AWAY as error:
            log.error("the lock %r was not released: %s", self.name, error)  # noqa: TRY400 - the text says it all
