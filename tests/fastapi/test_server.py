"""Under uvicorn: 500 clients cost one compute, and the next request after a save shows it."""

from __future__ import annotations

import pytest

from tests.starlette.asgi import Uvicorn, crowd

CLIENTS = 500
SHAPES = ["/async", "/sync", "/view", "/value"]


async def test_p1_500_clients_of_one_process_cost_one_compute_and_a_save_shows() -> None:
    with Uvicorn("tests.fastapi.served:app", workers=1, environment={}) as server:
        for path in SHAPES:
            assert set(await crowd(server.port, path, CLIENTS)) == {"old"}
        assert server.computes == SHAPES
        assert await crowd(server.port, "/save/new", 1, method="POST") == ["saved"]
        for path in SHAPES:
            assert await crowd(server.port, path, 1) == ["new"]
        assert server.computes == SHAPES * 2
        assert not server.log()


@pytest.mark.parametrize("path", SHAPES)
async def test_p1_500_clients_of_two_processes_cost_one_compute_and_a_save_shows(
    redis_url: str, namespace: str, path: str
) -> None:
    environment = {"CACHE": redis_url, "NAMESPACE": namespace}
    with Uvicorn("tests.fastapi.served:app", workers=2, environment=environment) as server:
        assert set(await crowd(server.port, path, CLIENTS)) == {"old"}
        assert server.computes == [path]
        assert await crowd(server.port, "/save/new", 1, method="POST") == ["saved"]
        assert set(await crowd(server.port, path, 20)) == {"new"}
        assert server.computes == [path, path]
        assert not server.log()
