"""Django's own tests of caches pass on this backend, all of them but those of culling, which Redis does by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest

from tests.django_cache.suites import ASYNC, CONTRACT, MIDDLEWARE, SESSIONS
from tests.servers import RedisServer

REPOSITORY = Path(__file__).parents[2]
CULLING = ["test_cull", "test_cull_delete_when_store_empty", "test_zero_cull"]


@pytest.fixture(scope="module")
def found(django_tests: Path, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of the tests, by suite."""
    report = tmp_path_factory.mktemp("report") / "report.json"
    environment = {**os.environ, "CACHE_URL": redis_server.url, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.django_cache.suites", str(report)], cwd=django_tests,
        env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), run.stderr
    result: dict[str, Any] = json.loads(report.read_text())
    return result


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("suite", "skipped", "passing"), [
    (CONTRACT, CULLING, {(5, 2): 51, (6, 0): 51, (6, 1): 59}),
    (ASYNC, CULLING, {(5, 2): 51, (6, 0): 51, (6, 1): 51}),
    (MIDDLEWARE, [], {(5, 2): 49, (6, 0): 49, (6, 1): 63}),
    (SESSIONS, [], {(5, 2): 158, (6, 0): 158, (6, 1): 158}),
], ids=[CONTRACT, ASYNC, MIDDLEWARE, SESSIONS])
def test_djangos_own_tests_pass(
    found: dict[str, Any], suite: str, skipped: list[str], passing: dict[tuple[int, int], int]
) -> None:
    ended = found[suite]
    assert not ended["failed"], "\n".join(ended["failed"].values())
    assert sorted(ended["skipped"]) == skipped
    passed = ended["ran"] - len(ended["skipped"])
    assert passed >= passing.get(django.VERSION[:2], max(passing.values()))
