"""Under gunicorn and uvicorn: 500 clients cost one compute, and the next request after a save shows it."""

from __future__ import annotations

import pytest

from tests.django.serving import Site, crowd

CLIENTS = 500


@pytest.mark.parametrize(("kind", "path"), [("gunicorn", "/page/1"), ("uvicorn", "/apage/1"), ("uvicorn", "/page/1")])
async def test_p1_500_clients_of_one_process_cost_one_call_and_a_save_shows(kind: str, path: str) -> None:
    with Site(kind, workers=1, environment={}) as site:
        assert set(await crowd(site.port, path, CLIENTS)) == {"old"}
        assert site.computes == [path]
        assert await crowd(site.port, "/save/new", 1) == ["saved in served"]
        assert await crowd(site.port, path, 1) == ["new"]
        assert site.computes == [path, path]
        assert not site.log()


@pytest.mark.parametrize(("kind", "paths"), [("gunicorn", ["/page/1", "/value"]), ("uvicorn", ["/apage/1", "/value"])])
async def test_p1_500_clients_of_two_processes_cost_one_call_and_a_save_shows(
    kind: str, paths: list[str], redis_url: str, namespace: str
) -> None:
    with Site(kind, workers=2, environment={"CACHE": redis_url, "NAMESPACE": namespace}) as site:
        for path in paths:
            assert set(await crowd(site.port, path, CLIENTS)) == {"old"}
        assert len(site.computes) == len(paths)
        await crowd(site.port, "/save/new", 1)
        for path in paths:
            assert set(await crowd(site.port, path, 20)) == {"new"}
        assert len(site.computes) == 2 * len(paths)
        assert not site.log()
