"""What is run: the example projects of this repository, and the page and edit that each of them names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from cachefence_web.errors import CacheFenceError

REPOSITORY = Path(__file__).resolve().parents[2]
"""The clone this module lies in; after an install from a wheel, the folder of packages instead."""


class CannotRun(CacheFenceError):
    """The demo found out nothing about the promises; the message says what to do about it."""


class Framework(StrEnum):
    """The frameworks with an example project."""

    DJANGO = "django"
    FLASK = "flask"
    FASTAPI = "fastapi"


@dataclass(frozen=True, slots=True)
class Example:
    """An example project: how it is called, where it lies, and which server its `run.py` becomes."""

    label: str
    folder: str
    server: str


EXAMPLES: Mapping[Framework, Example] = {
    Framework.DJANGO: Example("Django", "django_shop", "gunicorn"),
    Framework.FLASK: Example("Flask", "flask_blog", "gunicorn"),
    Framework.FASTAPI: Example("FastAPI", "fastapi_catalog", "uvicorn"),
}


@dataclass(frozen=True, slots=True)
class Edit:
    """One save over HTTP; `csrf`: the form must be loaded first, and its hidden fields sent back."""

    method: str
    path: str
    form: dict[str, str] | None = None
    json: dict[str, Any] | None = None
    csrf: bool = False

    def __post_init__(self) -> None:
        if (self.form is None) == (self.json is None):
            raise ValueError('an edit has either "form" or "json"')

    def restoring(self, before: str, after: str) -> Edit:
        """The same save with the old text in place of the new one."""

        def old(fields: dict[str, Any] | None) -> dict[str, Any] | None:
            if fields is None:
                return None
            return {name: _replaced(value, after, before) for name, value in fields.items()}

        return replace(self, form=old(self.form), json=old(self.json))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A project's `scenario.json`: its slow page, the edit, and the texts that tell old from new."""

    title: str
    page: str
    edit: Edit
    before: str
    after: str
    ready: str

    @property
    def undo(self) -> Edit:
        """The save that brings the page back to `before`."""
        return self.edit.restoring(self.before, self.after)


def find_project(framework: Framework, repository: Path) -> Path:
    """The folder of a framework's example project.

    Raises:
        CannotRun: it is not there, as in an installation from a wheel.
    """
    folder = repository / "example_projects" / EXAMPLES[framework].folder
    if not (folder / "run.py").is_file():
        raise CannotRun(
            f"there is no example project {folder}: examples come with the source, not with the wheel. "
            'Clone the repository, and in it run: pip install -e ".[demo]" && cachefence-web demo'
        )
    return folder


def read_scenario(project: Path) -> Scenario:
    """The scenario of the project in this folder.

    Raises:
        CannotRun: its `scenario.json` is missing or not what a scenario looks like.
    """
    path = project / "scenario.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scenario)
    except (OSError, msgspec.DecodeError) as error:
        raise CannotRun(f"{path} is no scenario: {error}. Restore it: git checkout -- {path.name}") from error


def _replaced(value: object, old: str, new: str) -> object:
    return value.replace(old, new) if isinstance(value, str) else value
