"""Several processes that use one cache, told what to do over pipes and released together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.runtime.worker import MARK, Burst

ROOT = Path(__file__).parents[2]

LONG = 20.0
"""Seconds after which a process that is to end has failed to."""


class Fleet:
    """Worker processes, long-lived; one that was killed is replaced for the next burst."""

    def __init__(self, url: str, namespace: str, processes: int = 4) -> None:
        self._arguments = [sys.executable, "-m", "tests.runtime.worker", url, namespace]
        self._workers = [self._start() for _ in range(processes)]

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning"})

    def run(self, burst: Burst) -> list[Counter[str]]:
        """What the callers of each process got, by text of the value or name of the error; nothing from a dead one."""
        self._workers = [worker if worker.poll() is None else self._replaced(worker) for worker in self._workers]
        for worker in self._workers:
            self._tell(worker, json.dumps(asdict(burst)))
        for worker in self._workers:
            assert self._hear(worker) == "ready\n"
        for worker in self._workers:
            self._tell(worker, "go")
        stopped = self._stopped(burst) if burst.first == "is stopped" else None
        answers = {worker.pid: self._hear(worker) for worker in self._workers if worker is not stopped}
        if stopped is not None:
            os.kill(stopped.pid, signal.SIGCONT)
            answers[stopped.pid] = self._hear(stopped)
        for worker in self._workers:
            if not answers[worker.pid]:
                worker.wait(LONG)  # its pipes are closed a moment before it is known to have ended
        return [Counter(json.loads(answers[worker.pid] or "{}")) for worker in self._workers]

    def _stopped(self, burst: Burst) -> subprocess.Popen[str]:
        """The worker that has stopped itself, once it has."""
        while True:
            pid, status = os.waitpid(-1, os.WUNTRACED)
            for worker in self._workers:
                if worker.pid == pid and os.WIFSTOPPED(status):
                    return worker

    def _replaced(self, worker: subprocess.Popen[str]) -> subprocess.Popen[str]:
        self._end(worker)
        return self._start()

    @staticmethod
    def _tell(worker: subprocess.Popen[str], line: str) -> None:
        assert worker.stdin is not None
        worker.stdin.write(line + "\n")
        worker.stdin.flush()

    @staticmethod
    def _hear(worker: subprocess.Popen[str]) -> str:
        assert worker.stdout is not None
        return worker.stdout.readline()

    @staticmethod
    def _end(worker: subprocess.Popen[str]) -> int:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.close()
        worker.stdout.close()
        return worker.wait(LONG)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if kind is not None:
                worker.kill()
            status = self._end(worker)
            assert kind is not None or status in (0, -signal.SIGKILL), f"a worker ended with status {status}"


def computes(burst: Burst) -> int:
    """How often the burst's value was computed, in all processes."""
    return Path(burst.marks).stat().st_size // len(MARK)
