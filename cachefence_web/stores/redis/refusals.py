"""What Redis refuses, or keeps silent about, as StoreUnavailable: each message says what to do about it."""

from __future__ import annotations

from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from cachefence_web.errors import StoreUnavailable

BROKEN = (RedisError, OSError)
"""What a connection raises when it cannot go on."""

_ADVICE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (NoPermissionError, "Redis refuses this user a command, key or channel that the cache needs; allow it by an ACL"),
    (AuthenticationError, "Redis does not accept this user or password; correct the URL"),
    (ReadOnlyError, "this Redis is a replica, which takes no writes; name its primary in the URL"),
    (OutOfMemoryError, "Redis is out of memory; raise maxmemory, or set a maxmemory-policy that evicts"),
    (BusyLoadingError, "Redis is loading its data set and will answer when it has done so"),
    (MaxConnectionsError, "Redis takes no more clients; raise its maxclients"),
    ((AskError, ClusterCrossSlotError),
     "this Redis is a node of a Redis Cluster; write redis+cluster:// or rediss+cluster:// in the URL"),
    (ResponseError, "Redis refused a command of the cache's; the reason follows"),
    ((RedisTimeoutError, TimeoutError), "Redis gave no answer in time; see whether it is up, or raise `timeout`"),
)


def unavailable(error: BaseException) -> StoreUnavailable:
    """The error for our callers, with the original one as its cause."""
    if isinstance(error, StoreUnavailable):
        again = StoreUnavailable(*error.args)
        again.__cause__ = error.__cause__
        return again
    advice = next((advice for kind, advice in _ADVICE if isinstance(error, kind)),
                  "Redis cannot be reached or used; see whether it is up, and the URL right")
    refused = StoreUnavailable(f"{advice}: {error}" if str(error) else advice)
    refused.__cause__ = error
    return refused


def checked(reply: Any) -> Any:
    """The reply itself.

    Raises:
        StoreUnavailable: if it is a refusal.
    """
    if isinstance(reply, Exception):
        raise unavailable(reply)
    return reply


def twin(error: Exception) -> Exception:
    """Each caller raises an exception of its own: a shared one would gather everybody's traceback."""
    other = type(error)(*error.args)
    other.__cause__ = error.__cause__
    return other
