"""Under uvicorn: 500 clients cost one compute, and the next request after a save shows it."""

from __future__ import annotations

import pytest

from tests.starlette.asgi import Uvicorn, crowd

CLIENTS = 500


@pytest.mark.parametrize("path", ["/page", "/view"])
async def test_p1_500_clients_of_one_process_cost_one_compute_and_a_save_shows(path: str) -> None:
    with Uvicorn("tests.starlette.served:app", workers=1, environment={}) as server:
        assert set(await crowd(server.port, path, CLIENTS)) == {"old"}
        assert server.computes == [path]
        assert await crowd(server.port, "/save/new", 1, method="POST") == ["saved"]
        assert await crowd(server.port, path, 1) == ["new"]
        assert server.computes == [path, path]
        assert not server.log()


async def test_p1_500_clients_of_two_processes_cost_one_compute_and_a_save_shows(
    redis_url: str, namespace: str
) -> None:
    environment = {"CACHE": redis_url, "NAMESPACE": namespace}
    with Uvicorn("tests.starlette.served:app", workers=2, environment=environment) as server:
        assert set(await crowd(server.port, "/page", CLIENTS)) == {"old"}
        assert server.computes == ["/page"]
        assert await crowd(server.port, "/save/new", 1, method="POST") == ["saved"]
        assert set(await crowd(server.port, "/page", 20)) == {"new"}
        assert len(server.computes) == 2
        assert not server.log()
