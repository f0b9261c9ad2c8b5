"""What the tests of the example projects share: seeding takes seconds, and is done once for each project."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from tests.examples.projects import ROOT, Project, served


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Gives a project by its name."""

    @cache
    def seed(name: str) -> Project:
        folder = ROOT / "example_projects" / name
        scenario = json.loads((folder / "scenario.json").read_text())
        fresh = Project(folder / "run.py", tmp_path_factory.mktemp("empty"), scenario)
        data = tmp_path_factory.mktemp(name)
        with served(fresh, data):
            pass
        return Project(fresh.run, data, scenario)

    return seed
