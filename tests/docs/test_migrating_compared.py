"""What the page on Django's RedisCache says of both backends is so: the same calls, one on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from redis import Redis

from tests.servers import RedisServer

THEIRS, OURS = "django.core.cache.backends.redis.RedisCache", "cachefence_web.django.RedisCache"

PATIENT: dict[str, dict[str, Any]] = {THEIRS: {}, OURS: {"OPTIONS": {"timeout": 30.0}}}
"""Ours gives up after a second, unless told otherwise, and a slow machine may need more."""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis that may be flushed."""
    with RedisServer() as started:
        yield started


def deleted_while_computed(cache: Any, _other: Any, _raw: Redis) -> object:
    def compute() -> str:
        cache.delete("key")
        return "old"

    cache.get_or_set("key", compute, 60)
    return cache.get("key")


def half_a_second(cache: Any, _other: Any, _raw: Redis) -> object:
    # Ours tells whether it was stored; whether it is still there half a second from now is nobody's promise.
    return cache.set("key", 1, 0.5) or cache.get("key")


def another_alias(cache: Any, other: Any, _raw: Redis) -> object:
    cache.set("key", 1)
    return other.get("key")


def cleared(cache: Any, _other: Any, raw: Redis) -> object:
    raw.set("somebody", "else's")
    cache.clear()
    return raw.get("somebody")


@pytest.mark.parametrize(("what", "theirs", "ours"), [
    (deleted_while_computed, "old", None),
    (half_a_second, None, True),
    (another_alias, 1, None),
    (cleared, None, b"else's"),
], ids=lambda given: given.__name__ if callable(given) else "")
def test_what_is_said_of_both_is_so(
    settings: Any, server: RedisServer, what: Callable[[Any, Any, Redis], object], theirs: object, ours: object
) -> None:
    for backend, expected in ((THEIRS, theirs), (OURS, ours)):
        entry = {"BACKEND": backend, "LOCATION": server.tcp_url, **PATIENT[backend]}
        settings.CACHES = {"default": entry, "other": {**entry, "TIMEOUT": 60}}
        with Redis.from_url(server.tcp_url) as raw:
            raw.flushall()
            found = what(caches["default"], caches["other"], raw)
        assert found == expected, backend
