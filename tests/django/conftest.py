"""The site's cache on each kind of store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stores.build import PATIENT


@pytest.fixture(params=["memory", "redis"])
def location(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The address of a store."""
    return "memory://" if request.param == "memory" else redis_url


@pytest.fixture
def entry(location: str, namespace: str) -> dict[str, Any]:
    """An entry of CACHES that no other test shares."""
    return {
        "BACKEND": "cachefence_web.django.RedisCache",
        "LOCATION": location,
        "OPTIONS": {"namespace": namespace, "timeout": PATIENT},
    }


@pytest.fixture
def on_store(settings: Any, entry: dict[str, Any]) -> None:
    """CACHES["default"] is that entry."""
    settings.CACHES = {"default": entry}
