"""A cache on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cachefence_web import AsyncCacheFence


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The address of a store."""
    return "memory://" if request.param == "memory" else redis_url


@pytest.fixture
async def fence(store: str, namespace: str) -> AsyncIterator[AsyncCacheFence]:
    """A cache."""
    async with AsyncCacheFence(store, namespace=namespace) as fence:
        yield fence
