"""A primary, a replica and the Sentinels that watch over them, for tests; a failover begins at a word."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import redis

from tests.servers import START_SECONDS, RedisServer

SERVICE = "shop"

_SOON = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
_BUSILY = ("info-period", 200, "publish-period", 200, "ping-period", 200)
# One that stood still for two seconds, as on a busy machine, would do nothing for half a minute.
_STEADY = ("tilt-trigger", 600_000)


class SentinelServer(RedisServer):
    """One Sentinel; it writes its own configuration, so it is given a file for that."""

    def __init__(self, lines: list[str], binary: Path | None = None) -> None:
        super().__init__(binary)
        self._lines = lines

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        file = self.folder / "sentinel.conf"
        if not file.exists():
            file.write_text("\n".join([f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", *self._lines, ""]))
        return subprocess.Popen(
            [self.binary, str(file), "--sentinel"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True)

    def _answers(self) -> bool:
        with socket.socket() as connection:
            connection.settimeout(START_SECONDS)
            try:
                connection.connect(("127.0.0.1", self.port))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False


class Watched:
    """A primary, its replica and some Sentinels.

    password, their_password: what the servers, and what the Sentinels ask for.
    """

    def __init__(self, sentinels: int = 2, *, password: str | None = None, their_password: str | None = None) -> None:
        self._stack = contextlib.ExitStack()
        self._count, self._password, self._their_password = sentinels, password, their_password
        self._begun = 0
        self.servers: list[RedisServer] = []
        self.sentinels: list[SentinelServer] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop them all."""
        self._stack.close()

    def _start(self) -> None:
        primary = self._stack.enter_context(RedisServer(args=_SOON))
        replica = self._stack.enter_context(RedisServer(
            args=[*_SOON, "--replicaof", "127.0.0.1", str(primary.port)]))
        self.until(lambda: self._unlocked(replica, "INFO", "replication")["master_link_status"] == "up")
        lines = [f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1",
                 f"sentinel down-after-milliseconds {SERVICE} 600000"]  # none of them begins anything by itself
        if self._password:
            for server in (primary, replica):
                self._unlocked(server, "CONFIG", "SET", "masterauth", self._password)
                self._unlocked(server, "CONFIG", "SET", "requirepass", self._password)
            lines.append(f"sentinel auth-pass {SERVICE} {self._password}")
        if self._their_password:
            lines += [f"requirepass {self._their_password}"]
        self.servers = [primary, replica]
        for _ in range(self._count):
            self.sentinels.append(self._stack.enter_context(SentinelServer(lines)))
        self._tell_all(*_BUSILY)
        self._tell_all(*_STEADY)
        self.until(lambda: all(self._sees_all(server) for server in self.sentinels))
        # A Sentinel that hears of a failover later than after four of these periods would undo it.
        self._tell_all("publish-period", 2000)

    def _tell_all(self, *periods: Any) -> None:
        """Have them look about oftener than they would: before Redis 7 they are not to be told."""
        for server in self.sentinels:
            with contextlib.suppress(redis.ResponseError):
                self.ask(server, "SENTINEL DEBUG", *periods)

    def _sees_all(self, server: SentinelServer) -> bool:
        known = self._known_by(server)
        return int(known["num-slaves"]) == 1 and int(known["num-other-sentinels"]) == self._count - 1

    @property
    def url(self) -> str:
        """The address by its Sentinels."""
        hosts = ",".join([f"127.0.0.1:{server.port}" for server in self.sentinels])
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def client(self, server: RedisServer) -> redis.Redis:
        """A client of one server or Sentinel, to be closed."""
        password = self._their_password if server in self.sentinels else self._password
        return redis.Redis(port=server.port, password=password, decode_responses=True)

    @staticmethod
    def _unlocked(server: RedisServer, *command: Any) -> Any:
        with redis.Redis(port=server.port, decode_responses=True) as client:
            return client.execute_command(*command)

    def ask(self, server: RedisServer, *command: Any) -> Any:
        """One command, and its reply."""
        with self.client(server) as client:
            return client.execute_command(*command)

    def info(self, server: RedisServer) -> dict[str, Any]:
        """What it says of its replication."""
        with self.client(server) as client:
            found: dict[str, Any] = client.info("replication")
            return found

    def fail_over(self, *, hang_up: bool = True) -> None:
        """Make the replica the primary, as an administrator would; every Sentinel knows of it at the end.

        hang_up: whether the old primary hangs up on its clients when it becomes a replica, as a Sentinel has it do.
        """
        primary, replica = self.servers
        self._promote(replica)
        # The Sentinels would say so too, in their own time.
        self.ask(primary, "REPLICAOF", "127.0.0.1", replica.port)
        if hang_up:
            self.ask(primary, "CLIENT", "KILL", "TYPE", "normal")
        self.until(lambda: self.info(primary)["master_link_status"] == "up")
        self.servers = [replica, primary]

    def take_over(self) -> None:
        """Make the replica the primary after the primary has died."""
        dead, replica = self.servers
        self._promote(replica)
        self.servers = [replica, dead]

    def _promote(self, replica: RedisServer) -> None:
        self._begun = self.sentinels[0].log().count("-failover-abort")
        self.until(lambda: self._led_by(replica.port))

    def _led_by(self, port: int) -> bool:
        """Whether every Sentinel names this port; a failover that was given up, on a busy machine, is begun again."""
        given_up = self.sentinels[0].log().count("-failover-abort")
        if self._begun <= given_up:
            # Right behind another failover it may not know the replica yet, and refuses.
            with contextlib.suppress(redis.ResponseError):
                self.ask(self.sentinels[0], "SENTINEL FAILOVER", SERVICE)
                self._begun = given_up + 1
        return self._is_led_by(port)

    def _known_by(self, server: SentinelServer) -> dict[str, Any]:
        seen = self.ask(server, "SENTINEL MASTER", SERVICE)
        return dict(zip(seen[::2], seen[1::2], strict=True)) if isinstance(seen, list) else seen

    def _is_led_by(self, port: int) -> bool:
        """Whether every Sentinel takes it for the primary, and none for one that is down."""
        known = [self._known_by(server) for server in self.sentinels]
        return all(int(each["port"]) == port and "down" not in str(each["flags"]) for each in known)

    @staticmethod
    def until(holds: Callable[[], bool]) -> None:
        """Return once something holds; nobody tells of what another process has done."""
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            assert time.monotonic() < deadline, "it did not come to hold"
            time.sleep(0.01)
