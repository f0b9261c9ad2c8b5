"""A cache on each kind of store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cachefence_web import AsyncCacheFence
from cachefence_web.core import leading
from cachefence_web.starlette import refreshing, turn
from tests.starlette.asgi import LONG


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses patience because the machine stands still; what tests impatience takes it away again."""
    monkeypatch.setattr(turn, "SLOW", LONG)
    monkeypatch.setattr(refreshing, "PATIENCE", LONG)


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compute that has failed is not tried again for as long as a test takes."""
    monkeypatch.setattr(leading, "BACK_OFF", LONG)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The address of a store."""
    return "memory://" if request.param == "memory" else redis_url


@pytest.fixture
async def fence(store: str, namespace: str) -> AsyncIterator[AsyncCacheFence]:
    """A cache."""
    async with AsyncCacheFence(store, namespace=namespace, timeout=LONG) as fence:
        yield fence
