"""Where there is no Django, there is nothing to run here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from tests.stores.build import PATIENT

collect_ignore_glob = [] if find_spec("pytest_django") else ["*"]


@pytest.fixture(params=["memory", "redis"])
def location(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The address of a store."""
    return "memory://" if request.param == "memory" else redis_url


@pytest.fixture
def configure(settings: Any, namespace: str) -> Any:
    """Makes CACHES["default"] one that no other test shares: `configure(location, OPTION=...)`."""

    def configure(location: str, **options: Any) -> None:
        settings.CACHES = {"default": {
            "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": location,
            "OPTIONS": {"namespace": namespace, "timeout": PATIENT, **options}}}

    return configure
