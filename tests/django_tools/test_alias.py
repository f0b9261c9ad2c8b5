"""An alias whose settings cannot work can be made, and says at each use what is wrong with it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache, caches

from cachefence_web.django import RedisCache, fence
from cachefence_web.errors import ConfigurationError

# What Django calls at the end of each request, and what asks nothing of a store.
PURE = frozenset((
    "close", "aclose", "client", "make_key", "make_and_validate_key", "validate_key", "get_backend_timeout",
    "fence"))

ARGUMENTS: dict[str, Any] = {
    "key": "key", "keys": ["key"], "value": 1, "data": {"key": 1}, "default": None, "tags": ["tag"], "timeout": 60,
    "mapping": {"a": 1}, "search": "*", "pattern": "*", "when": 0, "delta": 1,
}
METHODS = sorted(name for name in dir(RedisCache) if not name.startswith("_") and name not in PURE)


@pytest.fixture(autouse=True)
def wrong(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "nowhere"}}


def call(method: Callable[..., Any]) -> Any:
    """Call it with as much as it cannot do without, and use what it gives."""
    given: list[Any] = []
    for name, each in inspect.signature(method).parameters.items():
        if each.kind is each.VAR_POSITIONAL:
            given.append("tag")
        elif each.kind is each.POSITIONAL_OR_KEYWORD and each.default is each.empty:
            given.append(ARGUMENTS.get(name, "x"))
    answer = method(*given)
    if inspect.isawaitable(answer) or hasattr(answer, "__aenter__") or hasattr(answer, "__aiter__"):
        return asyncio.run(used(answer))
    if hasattr(answer, "__enter__"):
        return answer.__enter__()
    return list(answer) if inspect.isgenerator(answer) else answer


async def used(answer: Any) -> Any:
    if hasattr(answer, "__aiter__"):
        return [each async for each in answer]
    return await (answer.__aenter__() if hasattr(answer, "__aenter__") else answer)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_says_what_is_wrong(name: str) -> None:
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r'CACHES\["default"\]\["LOCATION"\]: .*nowhere'):
            call(getattr(caches["default"], name))


def test_so_do_operators_and_the_fence_behind_it() -> None:
    for use in (lambda: "key" in cache, fence, lambda: caches["default"].fence):
        with pytest.raises(ConfigurationError, match="nowhere"):
            use()


def test_a_request_can_end() -> None:
    cache.close()
    asyncio.run(cache.aclose())


def test_settings_that_have_been_corrected_work_at_once(settings: Any) -> None:
    made = caches["default"]
    settings.CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://"}}
    cache.set("key", 1)
    assert (cache.get("key"), made.get("key")) == (1, 1)


def test_a_backend_that_a_module_holds_follows_the_settings_of_its_alias(settings: Any, namespace: str) -> None:
    def say(number: int, **more: Any) -> None:
        settings.CACHES = {alias: {
            "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://",
            "OPTIONS": {"namespace": f"{namespace}.{alias}.{number}"}, **more} for alias in ("default", "held")}

    say(1)
    held = caches["held"]
    held.set("key", 1)
    say(2, KEY_PREFIX="other", TIMEOUT=7, VERSION=3)
    assert held.get("key") is None
    assert held.make_key("key") == "other:3:key"
    assert held.default_timeout == 7
    held.set("key", 2)
    assert (held.fence.namespace, caches["held"].get("key")) == (f"{namespace}.held.2", 2)
    say(1)
    assert (held.get("key"), caches["held"].get("key"), caches["default"].get("key")) == (1, 1, None)


def test_a_backend_whose_alias_is_of_another_kind_now_goes_on_by_itself(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://"}}
    held = caches["default"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    held.set("key", 1)
    assert held.get("key") == 1
