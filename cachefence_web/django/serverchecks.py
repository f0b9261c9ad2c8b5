"""What a Redis says of itself with INFO, and whether a cache of ours is well kept there.

INFO, since CONFIG is refused by most of those that are rented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 (Django's own name for it)
from redis import RedisCluster

from cachefence_web.django.raw import Raw

OLDEST = (6, 2)
"""The oldest Redis that has what the scripts ask of it."""

_ALL_KEYS = (
    "a full server may then throw away the clock and the epoch of a namespace, which have no TTL, and with them all"
    " that it holds is forgotten at once; nothing untrue is served, it is computed again")
_AT_RANDOM = (
    "a full server then throws away the record of a tag as readily as a value, and with one record all values that"
    " carry the tag are forgotten; nothing untrue is served, it is computed again")
_NOTHING = "a full server then refuses all that is written: nothing is stored, locks are not taken, invalidations fail"
_WHY = {
    "allkeys-lru": _ALL_KEYS, "allkeys-lfu": _ALL_KEYS, "allkeys-random": _ALL_KEYS, "allkeys-lrm": _ALL_KEYS,
    "volatile-random": _AT_RANDOM, "noeviction": _NOTHING,
}
# Under volatile-lru, -lfu and -lrm a record is read with every value that it guards, so it is the younger; under
# volatile-ttl it goes after them, for it is kept for longer than any. Clock and epoch have no TTL and always stay.


def server_info(raw: Raw) -> dict[str, Any] | Exception:
    """What INFO answers, or why it does not; of a cluster, the answer of one of its primaries."""
    try:
        client: Any = raw.client()
        one = {"target_nodes": client.DEFAULT_NODE} if isinstance(client, RedisCluster) else {}
        return {name: value for section in ("server", "memory", "stats")
                for name, value in client.info(section, **one).items()}
    except Exception as away:
        return away


def judged_version(name: str, info: Mapping[str, Any]) -> list[CheckMessage]:
    """E004, for a server older than 6.2; one that does not say is taken to be young enough."""
    version = version_of(info)
    if version is None or version >= OLDEST:
        return []
    return [Error(f"{name} is Redis {info['redis_version']}, and 6.2 is the oldest that works.", id="cachefence.E004",
                  hint="Upgrade to Redis 6.2 or later, or to any Valkey.")]


def judged_eviction(name: str, info: Mapping[str, Any]) -> list[CheckMessage]:
    """W001, where what is lost first is worth more than a value; without a maxmemory nothing is ever thrown away."""
    policy = str(info.get("maxmemory_policy", ""))
    if not info.get("maxmemory") or policy not in _WHY:
        return []
    return [Warning(
        f"{name} has maxmemory-policy {policy}: {_WHY[policy]}.",
        id="cachefence.W001",
        hint="Set maxmemory-policy to volatile-lru, volatile-lfu or volatile-ttl, and give every value a TIMEOUT.")]


def version_of(info: Mapping[str, Any]) -> tuple[int, int] | None:
    """The first two numbers of the version; of a Valkey, those of the Redis that it stands for."""
    parts = str(info.get("redis_version", "")).split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])
