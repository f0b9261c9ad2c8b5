"""Each example project runs with its one command, asks its slow question once, and shows an edit at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("django_shop", "flask_blog", "fastapi_catalog")
VISITORS = 50


@dataclass(frozen=True, slots=True)
class Project:
    """An example project, and a folder with its database as it was seeded."""

    run: Path
    seeded: Path
    scenario: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """A project that is being served, by the process group of `process`."""

    process: subprocess.Popen[str]
    visitor: httpx.Client
    log: Path
    scenario: dict[str, Any]

    def page(self) -> str:
        return self.visitor.get(self.scenario["page"]).raise_for_status().text

    def questions(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def edit(self) -> None:
        edit = self.scenario["edit"]
        form = edit.get("form")
        if edit.get("csrf"):
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.visitor.get(edit["path"]).text)
            assert token is not None
            form = form | {"csrfmiddlewaretoken": token[1]}
        answer = self.visitor.request(edit["method"], edit["path"], data=form, json=edit.get("json"))
        assert answer.status_code == (302 if form else 200)


@contextmanager
def served(project: Project, data: Path, *options: str) -> Iterator[Site]:
    """The project under its real server, on a copy of its database, until the block ends."""
    shutil.copytree(project.seeded, data, dirs_exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = data / "questions.log"
    command = [sys.executable, str(project.run), f"--port={port}", f"--data={data}", *options]
    environment = os.environ | {"QUERY_LOG": str(log), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        assert process.stdout is not None
        assert any(address in line for line in process.stdout), "it ended before it named its address"
        # The transport tries again while nobody listens yet.
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(base_url=address, transport=transport, timeout=30) as visitor:
            visitor.get(project.scenario["ready"]).raise_for_status()
            yield Site(process, visitor, log, project.scenario)
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask the server to stop, and wait for the last of its processes: the pipe ends when none holds it."""
    process.terminate()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


@pytest.fixture(scope="module", params=NAMES)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = ROOT / "example_projects" / request.param
    fresh = Project(
        folder / "run.py",
        tmp_path_factory.mktemp("empty"),
        json.loads((folder / "scenario.json").read_text()),
    )
    seeded = tmp_path_factory.mktemp(request.param)
    with served(fresh, seeded):
        pass
    return Project(fresh.run, seeded, fresh.scenario)


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
