"""Each example project runs with its one command, asks its slow question once, and shows an edit at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.examples.projects import ROOT, Project, end, served

# Whoever comes first seeds the database, which takes a busy machine minutes.
pytestmark = pytest.mark.timeout(600)

NAMES = ("django_shop", "flask_blog", "fastapi_catalog")
VISITORS = 50
BY_HAND = re.compile(
    r"^(?!.*APIRouter).*\btags=|depends_on|invalidates\(|invalidate_(?!on_commit$|on_commit\(\w+, fence\)$)")
"""Tags, and models named to the cache; FastAPI has tags of its own."""


@pytest.fixture(scope="module", params=NAMES)
def project(request: pytest.FixtureRequest, seeded: Callable[[str], Project]) -> Project:
    return seeded(request.param)


@pytest.mark.parametrize("store", ["memory", "redis"])
def test_p1_p3_a_crowd_on_a_cold_page_costs_one_query_and_an_edit_is_seen_at_once(
    project: Project, store: str, redis_url: str, tmp_path: Path
) -> None:
    options = ["--redis", redis_url, "--workers=2"] if store == "redis" else []
    before, after = project.scenario["before"], project.scenario["after"]
    with served(project, tmp_path, *options) as site, ThreadPoolExecutor(VISITORS) as crowd:
        pages = [future.result() for future in [crowd.submit(site.page) for _ in range(VISITORS)]]
        assert all(before in page and after not in page for page in pages)
        assert site.questions() == 1
        site.edit()
        changed = site.page()
        assert after in changed
        assert before not in changed
        assert site.questions() == 2


@pytest.mark.parametrize("name", NAMES)
def test_no_example_says_by_hand_what_a_page_depends_on(name: str) -> None:
    sources = [path for path in (ROOT / "example_projects" / name).rglob("*.*") if path.suffix in {".py", ".html"}]
    assert len(sources) > 8
    assert not [(path.name, line) for path in sources for line in path.read_text().splitlines() if BY_HAND.search(line)]


def test_without_the_cache_each_visit_asks(project: Project, tmp_path: Path) -> None:
    with served(project, tmp_path, "--no-cache") as site:
        assert project.scenario["before"] in site.page()
        site.page()
        assert site.questions() == 2
        site.edit()
        assert project.scenario["after"] in site.page()
        assert site.questions() == 3


def test_sigterm_ends_the_server_and_all_its_workers(project: Project, tmp_path: Path) -> None:
    with served(project, tmp_path, "--no-cache", "--workers=2") as site:
        site.page()
        end(site.process)
        assert site.process.returncode in {0, -signal.SIGTERM}


@pytest.mark.parametrize("name", NAMES)
def test_several_workers_need_a_shared_store(name: str) -> None:
    refused = refusal(name, [], ["--workers=2"])
    assert "memory:// lives inside one process: for several workers give --redis URL" in refused


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_dependency_names_what_to_install(name: str) -> None:
    without_packages = ["-I", "-S"]
    assert 'pip install -e ".[demo]"' in refusal(name, without_packages, [])


def refusal(name: str, interpreter: list[str], options: list[str]) -> str:
    command = [sys.executable, *interpreter, str(ROOT / "example_projects" / name / "run.py"), *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode != 0
    return ended.stderr
