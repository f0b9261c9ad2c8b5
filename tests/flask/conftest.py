"""Applications with a cache, over both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from cachefence_web.flask import CacheFence
from tests.flask.behind import LONG, until_idle


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The URL of a store."""
    return "memory://" if request.param == "memory" else redis_url


@pytest.fixture
def fence(store: str, namespace: str) -> Iterator[CacheFence]:
    fence = CacheFence(url=store, namespace=namespace, timeout=LONG)
    yield fence
    until_idle()  # what is still made behind an answer would open the store again
    for app in list(fence._apps):
        fence.of(app).close()


@pytest.fixture
def app(fence: CacheFence) -> Flask:
    """An application with the cache, sessions and no view."""
    app = Flask("shop")
    app.secret_key = "a secret of this application"
    fence.init_app(app)
    return app


@pytest.fixture
def count() -> Callable[[], int]:
    """Says 1, 2, 3 ...: how often the view that calls it has run."""
    calls: list[Any] = []

    def counted() -> int:
        calls.append(None)
        return len(calls)

    return counted
