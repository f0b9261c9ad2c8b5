"""What pip installs is whole, and drags in nothing that was not asked for."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import cachefence_web

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cachefence_web"

FRAMEWORKS = ("django", "fastapi", "flask", "sqlalchemy", "starlette")
OUTER = ("cli", "dashboard", "demo", *FRAMEWORKS)
"""The modules that may need more than the core dependencies; each bears the name of its extra."""

# Runs in a fresh interpreter; anything imported besides the standard library can be told from its answer.
PROBE = """
import importlib, json, sys
blocked = set(json.loads(sys.argv[2]))
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def loaded_by(modules: list[str], *, blocked: tuple[str, ...] = ()) -> set[str]:
    """The top-level names that a fresh interpreter holds after importing `modules`, with some blocked."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE, json.dumps(modules), json.dumps(blocked)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def inner_modules() -> list[str]:
    """Every module of ours that must work with the core dependencies alone."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in PACKAGE.rglob("*.py")]
    names = [path.parts[:-1] if path.name == "__init__" else path.parts for path in paths]
    return sorted(".".join(name) for name in names if len(name) == 1 or name[1] not in OUTER)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built from this tree without a network."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    answer = subprocess.run(build, check=False, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture(scope="session")
def wheel_files(built: Path) -> dict[str, bytes]:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="session")
def metadata(wheel_files: Mapping[str, bytes]) -> Message:
    (text,) = (content for name, content in wheel_files.items() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(text.decode())


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel_files: Mapping[str, bytes]) -> None:
    ours = {name for name in wheel_files if ".dist-info/" not in name}
    tree = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    assert ours == {name for name in tree if "__pycache__" not in name}
    assert "cachefence_web/py.typed" in ours


def test_the_wheel_holds_every_lua_script(wheel_files: Mapping[str, bytes]) -> None:
    scripts = list(PACKAGE.rglob("*.lua"))
    assert scripts
    for script in scripts:
        assert wheel_files[script.relative_to(ROOT).as_posix()] == script.read_bytes()


def test_the_sdist_can_be_tested_and_carries_no_leftovers(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "tox.ini",
        "tests/conftest.py",
        "cachefence_web/py.typed",
    }
    assert expected <= names
    assert not [name for name in names if re.search(r"__pycache__|\.py[co]$|/\.data/|^\.tox|sqlite3$", name)]


def test_the_command_is_installed(wheel_files: Mapping[str, bytes]) -> None:
    (text,) = (content for name, content in wheel_files.items() if name.endswith("entry_points.txt"))
    entry_points = configparser.ConfigParser()
    entry_points.read_string(text.decode())
    assert dict(entry_points["console_scripts"]) == {"cachefence-web": "cachefence_web.cli:main"}


def test_each_framework_is_an_extra_and_none_is_required(metadata: Message) -> None:
    extras = set(metadata.get_all("Provides-Extra", []))
    assert {*FRAMEWORKS, "zstd", "cli", "demo", "test", "bench", "docs"} <= extras
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = sorted(re.split(r"[<>=\[ ;]", line)[0] for line in required)
    assert names == ["cachebox", "hiredis", "http-sf", "msgspec", "redis"]


def test_import_loads_no_framework_and_no_redis() -> None:
    assert not loaded_by(["cachefence_web"]) & {*FRAMEWORKS, "redis"}


def test_all_but_the_adapters_works_with_no_framework_installed() -> None:
    modules = inner_modules()
    assert "cachefence_web.core" in modules
    assert "cachefence_web" in loaded_by(modules, blocked=(*FRAMEWORKS, "anyio", "rich", "typer"))


def test_the_pure_packages_need_no_redis() -> None:
    pure = [name for name in inner_modules() if name.split(".")[1:2] in (["core"], ["http"], ["sql"])]
    assert "cachefence_web" in loaded_by(pure, blocked=(*FRAMEWORKS, "redis", "anyio"))


def test_the_lowest_versions_that_are_promised_are_those_that_are_tested() -> None:
    tox = (ROOT / "tox.ini").read_text()
    promised = [*project()["dependencies"]]
    for name in ("flask", "sql", "sqlalchemy", "starlette", "fastapi"):
        named = project()["optional-dependencies"][name]
        promised += [requirement for requirement in named if not requirement.startswith("cachefence-web[")]
    for requirement in promised:
        name, lowest = requirement.partition(",")[0].split(">=")
        assert re.search(rf"oldest: {name}=={re.escape(lowest)}(\.\*)?$", tox, re.MULTILINE), requirement


@pytest.mark.parametrize("adapter", ["django", "sqlalchemy"])
def test_who_follows_statements_has_the_parser_and_is_told_where_it_is_missing(adapter: str) -> None:
    assert "cachefence-web[sql]" in project()["optional-dependencies"][adapter]
    pytest.importorskip(adapter)
    module = "cachefence_web.django.door" if adapter == "django" else "cachefence_web.sqlalchemy"
    said = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([module]), json.dumps(["sqlglot"])],
        cwd=ROOT, check=False, capture_output=True, text=True)
    assert said.stderr.splitlines()[-1].startswith("ImportError: ")
    assert "cachefence-web[sql]" in said.stderr.splitlines()[-1]


def test_the_version_is_said_the_same_everywhere() -> None:
    assert cachefence_web.__version__ == project()["version"]
