"""`manage.py cachefence clear`: its process ends, so what it cleared is freed when it returns."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command

from cachefence_web.core.effects import Unswept
from cachefence_web.django import fence
from cachefence_web.django.management.commands import cachefence as command
from tests.django_cache.test_register import register
from tests.servers import RedisServer

LONG = 300.0


def test_the_command_frees_what_it_cleared_and_tells_how_far_it_has_come(
    new_redis: Callable[..., RedisServer], namespace: str, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server of its own: a walk over one that has many keys of others may meet a key twice."""
    told: list[int] = []
    monkeypatch.setattr(command, "progressing", lambda *_, **__: _Telling(told))
    configure(new_redis().url, top={"TIMEOUT": None})
    fence()._terms.sweeper._at_first = LONG  # or it takes some of them itself, if this is slow
    client = cache.get_client()
    cache.set_many({f"key:{number}": number for number in range(300)})
    cache.sadd("set", 1)
    output = StringIO()
    call_command("cachefence", "clear", stdout=output)
    assert list(client.scan_iter(f"{namespace}:e:*", count=1000)) == []
    assert fence()._terms.store.perform(Unswept()) is None
    assert (max(told), output.getvalue()) == (300, f"Cleared the namespace {namespace}.\n")
    assert client.smembers(register(namespace)) == {b""}


class _Telling:
    def __init__(self, told: list[int]) -> None:
        self._told = told

    def __enter__(self) -> Any:
        return self._told.append

    def __exit__(self, *_: object) -> None:
        pass
