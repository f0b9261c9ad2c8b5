"""`manage.py cachefence clear`: its process ends, so what it cleared is freed when it returns."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command

from cachefence_web.core.effects import Unswept
from cachefence_web.django import fence
from cachefence_web.django.management.commands import cachefence as command
from tests.django_cache.test_register import register


def test_the_command_frees_what_it_cleared_and_tells_how_far_it_has_come(
    redis_url: str, namespace: str, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(command, "progressing", lambda *_, **__: _Telling(told))
    configure(redis_url, top={"TIMEOUT": None})
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
