"""The public HTTP caching suite (npm: http-cache-tests) as a function from an origin's address to outcomes.

The suite is installed where it is run, never kept here. How an outcome follows from a result is the suite's own way.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.kinds import KINDS, Kind, Outcome

HERE = Path(__file__).parent
PACKAGE = "http-cache-tests@0.4.5"
CLIENT = "node-fetch@2"
"""What the suite's command line asks with; the rest of its dependencies only draw its pages."""

PARALLEL = 24
"""Tests at a time: most of their time they pause, and more would only let them wait for each other."""

NOT_OURS = frozenset({"surrogate-control"})
"""Suites that count apart: Surrogate-Control is a note of 2001 for surrogates, which the suite itself has given up."""


class SuiteUnavailable(Exception):
    """The suite cannot be run on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Test:
    """A test that was run; trace: what was asked and answered, if that was wanted."""

    __test__ = False

    id: str
    suite: str
    name: str
    kind: Kind
    outcome: Outcome
    detail: str
    trace: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED


def install(folder: Path) -> Path:
    """Bring the suite into a folder and return its own; one that is there already is taken.

    Raises:
        SuiteUnavailable: node or npm is missing, or the registry is out of reach.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise SuiteUnavailable(f"{program} is not installed: apt-get install nodejs npm")
    suite = folder / "package"
    if not (suite / "node_modules" / "node-fetch").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        archive = _npm(folder, "pack", "--silent", PACKAGE).split()[-1]
        shutil.unpack_archive(folder / archive, folder, filter="data")
        # Next to the suite's own package.json npm would install all that it names, an npm among it.
        (suite / "package.json").write_text('{"private": true, "type": "module"}')
        _npm(suite, "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", CLIENT)
    return suite


def shared_folder() -> Path:
    """Where runs by hand keep the suite, so that only the first one installs it."""
    return Path(tempfile.gettempdir()) / f"cachefence-{PACKAGE.replace('@', '-')}-{os.getuid()}"


def run(
    suite: Path, base: str, *, ids: Sequence[str] | None = None, extra: Sequence[Mapping[str, Any]] = (),
    trace: bool = False, parallel: int = PARALLEL,
) -> list[Test]:
    """Run all tests, or those named, against an origin; with names, what a test depends on is not looked at.

    Raises:
        SuiteUnavailable: the suite's client broke down.
    """
    order = {"suite": str(suite), "base": base, "ids": ids, "extra": extra, "parallel": parallel, "trace": trace}
    ran = subprocess.run(
        ["node", "--no-warnings", HERE / "runner.mjs"], input=json.dumps(order), capture_output=True, text=True,
        check=False, timeout=300)
    if ran.returncode != 0:
        raise SuiteUnavailable(f"the suite's client ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
    results = {result["id"]: result for result in json.loads(ran.stdout)}
    return [_test(result, results, alone=ids is not None) for result in results.values()]


def counted(tests: Collection[Test]) -> list[Test]:
    """Those of the public suite that count."""
    return [test for test in tests if not apart(test)]


def apart(test: Test) -> bool:
    """Whether a test counts apart: it is ours, or about what nobody does any more."""
    return test.suite in NOT_OURS or test.suite.startswith("extra-")


def counts(tests: Collection[Test]) -> dict[Kind, Counter[Outcome]]:
    """How many tests of each kind had each outcome."""
    return {kind: Counter(test.outcome for test in tests if test.kind == kind) for kind in KINDS}


def _test(result: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], *, alone: bool) -> Test:
    given = result["result"]
    detail = "" if given in (True, None) else f"{given[0]}: {given[1]}"
    trace = {name: result[name] for name in ("steps", "exchanges", "seen")}
    return Test(result["id"], result["suite"], result["name"], result["kind"],
                _outcome(result, {} if alone else results), detail, trace)


def _outcome(result: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Outcome:
    given = result["result"]
    if given is None:
        return Outcome.UNTESTED
    needed = [results[name] for name in result["depends_on"] if name in results]
    if any(_outcome(each, results) is not Outcome.PASSED for each in needed):
        return Outcome.DEPENDENCY_FAILED
    if given is True:
        return Outcome.PASSED
    if given[0] == "Setup":
        return Outcome.RETRIED if given[1] == "retry" else Outcome.SETUP_FAILED
    return Outcome.FAILED


def _npm(folder: Path, *words: str) -> str:
    ran = subprocess.run(["npm", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    if ran.returncode != 0:
        raise SuiteUnavailable(f"npm {words[0]} failed: {ran.stderr.strip()[-500:]}")
    return ran.stdout
