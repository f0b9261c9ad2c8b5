"""What the demo's tests share: a repository of stand-in projects that can be told to misbehave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cachefence_web.demo import servers
from cachefence_web.demo.scenario import EXAMPLES
from tests.servers import free_port

STANDIN = Path(__file__).with_name("standin.py")
SCENARIO = {
    "title": "A stand-in",
    "page": "/",
    "edit": {"method": "POST", "path": "/edit", "csrf": True, "form": {"title": "New Title"}},
    "before": "Old Title",
    "after": "New Title",
    "ready": "/health",
}


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark by which the slowest tests are chosen or left out."""
    config.addinivalue_line("markers", "end_to_end: the demo on a real example project, under its real server")


@pytest.fixture(autouse=True)
def ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the demo's servers take ports that nobody else who tests here is given before they listen."""
    monkeypatch.setattr(servers, "free_port", free_port)


@pytest.fixture
def standins(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a repository whose example projects are all in the given mood."""

    def make(mood: str) -> Path:
        for example in EXAMPLES.values():
            folder = tmp_path / "example_projects" / example.folder
            folder.mkdir(parents=True)
            shutil.copy(STANDIN, folder / "run.py")
            (folder / "mood.txt").write_text(mood)
            (folder / "scenario.json").write_text(json.dumps(SCENARIO))
        return tmp_path

    return make
