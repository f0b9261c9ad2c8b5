"""Every store behind one face: the memory, Redis on every server here and a stand-in for it, in both colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from cachefence_web.stores.memory import AsyncMemoryStore, MemoryStore
from cachefence_web.stores.redis import open_async_store, open_store
from tests.servers import RedisCluster, RedisServer, describe_redis, redis_binaries
from tests.stores.build import PATIENT, Blocking

APART = ("memory", "async memory", "fake", "async fake")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The contract is held against each of them."""
    if "store" in metafunc.fixturenames:
        kinds: list[Any] = [(name, None) for name in APART]
        kinds += [(name, binary) for binary in redis_binaries() for name in ("redis", "async redis")]
        kinds += [(name, binary) for binary in redis_binaries()[:1] for name in ("cluster", "async cluster")]
        ids = [name if binary is None else f"{name}@{describe_redis(binary)}" for name, binary in kinds]
        metafunc.parametrize("store", kinds, ids=[name.replace(" ", "-") for name in ids], indirect=True)


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[Path], RedisServer]]:
    """The server of a binary, started when it is first asked for."""
    with ExitStack() as stack:
        started: dict[Path, RedisServer] = {}

        def server(binary: Path) -> RedisServer:
            if binary not in started:
                started[binary] = stack.enter_context(RedisServer(binary))
            return started[binary]

        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[RedisCluster]:
    """A Cluster shared by all tests: keep to your namespace, and neither flush, freeze nor kill it, nor move a slot."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def store(request: pytest.FixtureRequest, namespace: str) -> Iterator[Any]:
    """A store of one kind, with blocking steps."""
    name, binary = request.param
    server_of: Callable[[Path], RedisServer] = request.getfixturevalue("server_of")
    match name:
        case "memory":
            opened: Any = MemoryStore(f"memory:{namespace}")
        case "async memory":
            opened = Blocking(AsyncMemoryStore(MemoryStore(f"memory:{namespace}")))
        case "fake":
            opened = open_store(fakeredis.FakeRedis(), namespace, timeout=PATIENT)
        case "async fake":
            opened = Blocking(open_async_store(fakeredis.FakeAsyncRedis(), namespace, timeout=PATIENT))
        case "redis":
            opened = open_store(server_of(binary).url, namespace, timeout=PATIENT)
        case "cluster":
            opened = open_store(request.getfixturevalue("cluster").url, namespace, timeout=PATIENT)
        case "async cluster":
            url = request.getfixturevalue("cluster").url
            opened = Blocking(open_async_store(url, namespace, timeout=PATIENT))
        case _:
            opened = Blocking(open_async_store(server_of(binary).tcp_url, namespace, timeout=PATIENT))
    yield opened
    opened.close()


@pytest.fixture
def redis_store(redis_url: str, namespace: str) -> Iterator[Any]:
    """A store for threads over a real Redis."""
    opened = open_store(redis_url, namespace, timeout=PATIENT)
    yield opened
    opened.close()
