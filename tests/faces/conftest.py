"""Every promise of the faces is held over memory and over Redis, from threads and from event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cachefence_web.core import leading
from tests.faces.places import LONG_BACK_OFF, Face, Place
from tests.servers import RedisServer

KINDS = ("memory", "redis")
COLOURS = ("threads", "tasks")


@pytest.fixture(params=[f"{kind}-{colour}" for kind in KINDS for colour in COLOURS])
async def place(request: pytest.FixtureRequest, redis_server: RedisServer, namespace: str) -> AsyncIterator[Place]:
    """A store of this test's own."""
    kind, colour = request.param.split("-")
    url = redis_server.url if kind == "redis" else f"memory://{namespace}"
    made = Place(kind, colour, url, namespace)
    yield made
    await made.close()


@pytest.fixture
def face(place: Place) -> Face:
    """A cache over the place."""
    return place.face()


@pytest.fixture(autouse=True)
def long_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compute that failed is not tried again while a test lasts, unless it lets time pass."""
    monkeypatch.setattr(leading, "BACK_OFF", LONG_BACK_OFF)
