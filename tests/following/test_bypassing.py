"""Whoever has written computes for itself, in both colours, and nothing around it is stored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cachefence_web import CacheFence, cached
from cachefence_web.core.flight import PassBy
from cachefence_web.runtime.bypassing import ask_first, bypassed

_writing = False


@pytest.fixture
def writing() -> Iterator[None]:
    """The caller has written."""
    global _writing
    end = ask_first(lambda: _writing)
    _writing = True
    try:
        yield
    finally:
        _writing = False
        end()
        assert not bypassed()


@pytest.fixture
def cache(namespace: str) -> CacheFence:
    return CacheFence(f"memory://{namespace}", namespace=namespace)


def test_p3_nothing_is_looked_up_or_stored(cache: CacheFence, writing: None) -> None:
    cache.set("there", "old")
    assert cache.get_or_set("there", lambda: "own") == "own"
    assert cache.get_or_set_many(["there", "b"], lambda keys: {"there": "own"}) == {"there": "own"}
    assert isinstance(cache.begin("there"), PassBy)
    assert cached(cache=cache, key="there")(lambda: "own")() == "own"
    assert cache.get("there") == "old"
    assert cache.get("b") is None


async def test_p3_nothing_is_looked_up_or_stored_on_a_loop(cache: CacheFence, writing: None) -> None:
    face = cache.aio
    await face.set("there", "old")

    async def own() -> str:
        return "own"

    assert await face.get_or_set("there", own) == "own"
    assert await face.get_or_set("there", lambda: "own") == "own"
    assert await face.get_or_set_many(["there"], lambda keys: {"there": "own"}) == {"there": "own"}
    assert isinstance(await face.begin("there"), PassBy)
    assert await face.get("there") == "old"


def test_p3_a_compute_around_it_is_not_stored(cache: CacheFence) -> None:
    end = ask_first(lambda: _writing)

    def outer() -> str:
        global _writing
        _writing = True
        try:
            return cache.get_or_set("inner", lambda: "own")
        finally:
            _writing = False

    try:
        assert cache.get_or_set("outer", outer) == "own"
        assert cache.get_many(["outer", "inner"]) == {}
    finally:
        end()
