"""How often Django's cache asks the server, and what: counted on the wire, between this process and a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache

from cachefence_web import CacheFence
from cachefence_web.django import fence
from cachefence_web.stores.redis.scripts import scripts
from tests.servers import RedisServer

SETTLED = 0.005
"""Seconds of silence after which what was sent was all: a pipeline is written in one piece."""

MANY = {f"key:{number}": number for number in range(30)}


class Wire:
    """A TCP address that leads to a Redis; it notes each request, a pipeline as one, until the test has ended."""

    def __init__(self, server: RedisServer) -> None:
        self.requests: list[list[str]] = []
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The address, as a LOCATION."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def close(self) -> None:
        """Hang up."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(self._server.socket_path))
            self._ends += [near, far]
            self._threads.append(threading.Thread(target=self._carry, args=(near, far), daemon=True))
            self._threads[-1].start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        request = b""
        while True:
            ready, _, _ = select.select([near, far], [], [], SETTLED if request else None)
            if not ready:
                if commands := commands_in(request):
                    self.requests.append(commands)
                far.sendall(request)
                request = b""
            for end in ready:
                data = end.recv(1 << 20)
                if end is near:
                    request += data
                elif data:
                    near.sendall(data)
                if not data:
                    with contextlib.suppress(OSError):
                        (far if end is near else near).shutdown(socket.SHUT_RDWR)
                    return


def commands_in(request: bytes) -> list[str]:
    """The names of the commands in a pipeline, scripts by their own.

    What belongs to a new connection is left out, and what asks the time, now and then.
    """
    by_digest = {script.digest: name for name, script in scripts().items()}
    names, at = [], 0
    while at < len(request):
        end = request.index(b"\r\n", at)
        count, at, words = int(request[at + 1:end]), end + 2, []
        for _ in range(count):
            end = request.index(b"\r\n", at)
            size = int(request[at + 1:end])
            words.append(request[end + 2:end + 2 + size].decode("utf-8", "replace"))
            at = end + 4 + size
        names.append(by_digest[words[1]] if words[0] == "EVALSHA" else words[0])
    return [name for name in names if name not in {"peek", "CLIENT"}]


@pytest.fixture
def wire(redis_server: RedisServer, configure: Any) -> Iterator[Wire]:
    """CACHES["default"] is at the other end of it."""
    made = Wire(redis_server)
    configure(made.url)
    fence()._terms.sweeper._at_first = 300.0  # it asks as well, a while after `clear`
    yield made
    fence().close()
    made.close()


def requests_of(wire: Wire, colour: str, method: str, *arguments: Any, **options: Any) -> list[list[str]]:
    """What a call asks, one that follows others on the same connection."""
    if colour == "sync":
        cache.get("warm")
        wire.requests.clear()
        getattr(cache, method)(*arguments, **options)
        return wire.requests

    async def call() -> list[list[str]]:
        await cache.aget("warm")
        wire.requests.clear()
        await getattr(cache, f"a{method}")(*arguments, **options)
        return wire.requests

    return asyncio.run(call())


@pytest.mark.parametrize(("method", "arguments", "requests"), [
    pytest.param("get", ["key:1"], [["MGET"]], id="get"),
    pytest.param("get", ["none"], [["MGET"]], id="get of nothing"),
    pytest.param("has_key", ["key:1"], [["MGET"]], id="has_key"),
    pytest.param("get_many", [list(MANY)], [["MGET"]], id="get_many"),
    pytest.param("get_or_set", ["key:1", 5], [["MGET"]], id="get_or_set of what is there"),
    pytest.param("set", ["key:1", 1], [["instant"], ["put"]], id="set"),
    pytest.param("set_many", [MANY], [["instant"], ["put"] * 30], id="set_many"),
    pytest.param("add", ["key:1", 1], [["MGET"]], id="add where something is"),
    pytest.param("add", ["none", 1], [["MGET"], ["instant"], ["put"]], id="add where nothing is"),
    pytest.param("touch", ["key:1", 60], [["MGET"], ["prolong", "amend", "note"]], id="touch"),
    pytest.param("incr", ["key:1"], [["MGET"], ["add", "note"]], id="incr"),
    pytest.param("delete", ["key:1"], [["MGET", "delete", "note"]], id="delete"),
    pytest.param("delete", ["none"], [["MGET", "delete", "note"]], id="delete of nothing"),
    pytest.param("delete_many", [list(MANY)], [["MGET"] + ["delete", "note"] * 30], id="delete_many"),
    pytest.param("ttl", ["key:1"], [["MGET"]], id="ttl"),
    pytest.param("clear", [], [["clear"], ["SMEMBERS", "SMEMBERS", "HGET"]], id="clear"),
])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_method_asks_no_more_than_it_must(
    wire: Wire, colour: str, method: str, arguments: list[Any], requests: list[list[str]]
) -> None:
    cache.set_many(MANY, 60)
    assert requests_of(wire, colour, method, *arguments) == requests


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_tags_that_this_process_has_not_met_cost_one_more_look(wire: Wire, colour: str, redis_url: str) -> None:
    namespace = fence().namespace
    with CacheFence(redis_url, namespace=namespace) as another:
        another.set_many({cache.make_key(key): 1 for key in MANY}, tags=["book:1", "shelf"])
    assert requests_of(wire, colour, "get_many", list(MANY)) == [["MGET"], ["MGET"]]
    assert requests_of(wire, colour, "get_many", list(MANY)) == [["MGET"]]
