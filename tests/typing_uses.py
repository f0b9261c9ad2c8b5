"""Typed uses of the public faces: checked by mypy, never run."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from cachefence_web import AsyncCacheFence, CacheFence, Policy, cached, depends_on
from cachefence_web.errors import CacheFenceError, ConfigurationError, StoreUnavailable

fence = CacheFence("redis://localhost:6379/0", namespace="shop", policies={"catalog": Policy(ttl=300)})
async_fence = AsyncCacheFence("memory://", namespace="shop")


def load_name() -> str:
    depends_on("user:42")
    return "Ada"


async def fetch_name() -> str:
    return "Ada"


def load_many(keys: list[str]) -> dict[str, int]:
    return {key: len(key) for key in keys}


def a_value_has_the_type_of_its_loader() -> None:
    assert_type(fence.get_or_set("user:42", load_name, ttl=60, tags=["user:42"]), str)
    assert_type(fence.get_or_set("user:42", load_name, ttl=timedelta(minutes=1), stale_for=300), str)


async def a_sync_and_an_async_loader_give_the_same_type() -> None:
    assert_type(await async_fence.get_or_set("user:42", load_name, ttl=60), str)
    assert_type(await async_fence.get_or_set("user:42", fetch_name, ttl=60), str)


def many_values_have_the_type_of_their_loader() -> None:
    assert_type(fence.get_or_set_many(["a", "b"], load_many, ttl=60), dict[str, int])


@cached(ttl=60, key="user:{user_id}", tags=["user:{user_id}"], cache=fence)
def user(user_id: int) -> str:
    return str(user_id)


@cached(ttl=60, key="user:{user_id}", cache=async_fence)
async def async_user(user_id: int) -> str:
    return str(user_id)


def a_cached_function_keeps_its_signature() -> None:
    assert_type(user(42), str)
    assert_type(user(user_id=42), str)
    user("42")  # type: ignore[arg-type]


async def a_cached_coroutine_function_keeps_its_signature() -> None:
    assert_type(await async_user(42), str)


def writes_take_any_value_and_name_tags() -> None:
    fence.set("user:42", {"name": "Ada"}, ttl=60, tags=["user:42"])
    fence.invalidate_tags("user:42", "user")
    with fence.fencing("user:42"):
        fence.delete("user:42")
    fence.close()


def one_root_catches_every_error() -> None:
    errors: list[type[CacheFenceError]] = [ConfigurationError, StoreUnavailable]
    del errors
