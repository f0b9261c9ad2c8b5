"""No server outlives the tests: a process of its own ends what its parent left, however the parent died."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from typing import IO

# Reads "+PID FOLDER" and "-PID" lines; the end of the input is the parent's death, SIGKILL included.
_PROGRAM = """
import os, shutil, signal, sys, time
alive = {}
for line in sys.stdin:
    pid, _, folder = line[1:].rstrip("\\n").partition(" ")
    alive[int(pid)] = folder
    if line[0] == "-":
        del alive[int(pid)]
for pid, folder in alive.items():
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
for folder in alive.values():
    for _ in range(100):  # one that is dying may still be making a file
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            break
        time.sleep(0.05)
"""


class Guardian:
    """Knows the running servers of one test process; starts its helper with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def watch(self, pid: int, folder: str) -> None:
        """From now on the process group `pid` and its `folder` die with this process."""
        with self._lock:
            print(f"+{pid} {folder}", file=self._input(), flush=True)

    def forget(self, pid: int) -> None:
        """The process group has ended and was reaped: its number may belong to another by now."""
        with self._lock:
            print(f"-{pid}", file=self._input(), flush=True)

    def _input(self) -> IO[str]:
        if self._process is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            atexit.register(self._close, self._process, self._owner)
        assert self._process.stdin is not None
        return self._process.stdin

    @staticmethod
    def _close(process: subprocess.Popen[str], owner: int) -> None:
        if os.getpid() == owner:
            process.communicate()


guardian = Guardian()
