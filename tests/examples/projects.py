"""The example projects under their real servers, each on a copy of a database that is seeded once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]


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
            form = form | token(self.visitor, edit["path"])
        answer = self.visitor.request(edit["method"], edit["path"], data=form, json=edit.get("json"))
        assert answer.status_code == (302 if form else 200)


def token(visitor: httpx.Client, path: str) -> dict[str, str]:
    """What a form of Django's has to send along, from the page with the form."""
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', visitor.get(path).raise_for_status().text)
    assert found is not None
    return {"csrfmiddlewaretoken": found[1]}


@contextmanager
def served(project: Project, data: Path, *options: str) -> Iterator[Site]:
    """The project under its real server, on a copy of its database, until the block ends."""
    shutil.copytree(project.seeded, data, dirs_exist_ok=True)
    port = free_port()
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
        process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
