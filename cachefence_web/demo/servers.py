"""The example projects as child processes: each starts from its one command, and none outlives the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import redis

from cachefence_web.demo.scenario import REPOSITORY, CannotRun

READY_SECONDS = 90.0
"""How long a project may take to seed its database and answer, on a slow machine."""

STOP_SECONDS = 5.0
"""How long a server may take to end after SIGTERM, before it is killed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a project: in which folder of its own, on which store (None: without the cache)."""

    project: Path
    data: Path
    store: str | None
    workers: int
    ready: str

    def command(self, port: int) -> list[str]:
        """The one command of the project's README, with every choice made."""
        words = [sys.executable, str(self.project / "run.py"), "--port", str(port), "--data", str(self.data)]
        words += ["--workers", str(self.workers)]
        if self.store is None:
            words.append("--no-cache")
        elif not self.store.startswith("memory:"):
            words += ["--redis", self.store]
        return words


@dataclass(frozen=True, slots=True)
class Running:
    """A project that answers at `origin` and logs its slow queries."""

    origin: str
    query_log: Path

    def queries(self) -> int:
        """How many slow queries the project has begun so far, over all its processes."""
        return self.query_log.read_bytes().count(b"\n") if self.query_log.exists() else 0


@contextlib.contextmanager
def serving(launch: Launch) -> Iterator[Running]:
    """Start a project and wait until it answers; stop it, its workers included, on the way out.

    Raises:
        CannotRun: it ended or stayed silent; the message has the last lines it wrote.
    """
    port = free_port()
    kind = "uncached" if launch.store is None else "cached"
    running = Running(f"http://127.0.0.1:{port}", launch.data / f"queries-{kind}.log")
    output = launch.data / f"output-{kind}.log"
    # The children are to show the package that the demo belongs to, installed or not.
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"QUERY_LOG": str(running.query_log), "PYTHONPATH": path}
    process: subprocess.Popen[bytes] | None = None
    try:
        with output.open("wb") as log:
            process = subprocess.Popen(
                launch.command(port),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches the demo alone, which then ends server and workers.
                start_new_session=True,
            )
        _await_answer(process, running.origin + launch.ready, launch.project.name, output)
        yield running
    finally:
        if process is not None:
            _stop(process)


def _await_answer(process: subprocess.Popen[bytes], url: str, name: str, output: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(trust_env=False, timeout=READY_SECONDS) as client:
        while True:
            # The pause between two attempts is spent waiting for the one event that ends them.
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(0.05)
                raise CannotRun(f"{name}/run.py ended with status {status}. It said:\n{_tail(output)}")
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).is_success:
                    return
            if time.monotonic() > deadline:
                waited = f"gave no answer at {url} in {READY_SECONDS:g} s"
                raise CannotRun(f"{name}/run.py {waited}. It said:\n{_tail(output)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(STOP_SECONDS)
    finally:
        # After a second Ctrl-C too, and when the leader went in peace: no worker of its may stay.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(output: Path, lines: int = 12) -> str:
    return "\n".join(output.read_text(errors="replace").strip().splitlines()[-lines:]) or "(nothing)"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_store(url: str) -> None:
    """Make sure that a Redis given by URL answers, before any server is started for it.

    Raises:
        CannotRun: it does not, or the URL is none.
    """
    if url.startswith("memory:"):
        return
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3) as client:
            client.ping()
    except ValueError as error:
        raise CannotRun(f"--redis {shown(url)}: {error}. A Redis is redis://localhost:6379/0") from error
    except redis.RedisError as error:
        raise CannotRun(
            f"Redis at {shown(url)} does not answer: {error}. Start it (redis-server), or leave --redis out: "
            "the store in the process needs no Redis"
        ) from error


def shown(url: str) -> str:
    """A store's URL without the password in it."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url
