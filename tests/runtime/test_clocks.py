"""P9: no date of the protocol is a process's own, and no wall clock is read."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from cachefence_web import CacheFence
from tests.faces.places import Compute
from tests.servers import RedisServer

AN_HOUR = 3600.0

PROGRAM = """
import sys, time
from cachefence_web import CacheFence
shift = float(sys.argv[3])
wall, wall_ns = time.time, time.time_ns
time.time = lambda: wall() + shift
time.time_ns = lambda: wall_ns() + int(shift * 1e9)
with CacheFence(sys.argv[1], namespace=sys.argv[2], timeout=5.0) as fence:
    for line in sys.stdin:
        command, key = line.split()
        if command == "compute":
            print(fence.get_or_set(key, lambda: f"computed {shift:g}", ttl=60, tags=["row:1"]), flush=True)
        elif command == "invalidate":
            print(fence.invalidate_tags(key), flush=True)
        else:
            peeked = fence.peek(key)
            print("nothing" if peeked is None else f"{peeked.value} {55 < peeked.remaining <= 60}", flush=True)
"""


class Host:
    """A process whose wall clock is wrong by so many seconds."""

    def __init__(self, url: str, namespace: str, shift: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url, namespace, str(shift)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, command: str, key: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command} {key}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def test_p9_hosts_an_hour_apart_behave_the_same(redis_server: RedisServer, namespace: str) -> None:
    ahead, behind = Host(redis_server.url, namespace, AN_HOUR), Host(redis_server.url, namespace, -AN_HOUR)
    assert ahead("compute", "book") == "computed 3600"
    assert behind("compute", "book") == "computed 3600"
    assert behind("peek", "book") == ahead("peek", "book") == "computed 3600 True"
    behind("invalidate", "row:1")
    assert ahead("peek", "book") == "nothing"
    assert behind("compute", "book") == "computed -3600"
    ahead("invalidate", "row:1")
    assert behind("peek", "book") == "nothing"
    ahead.close()
    behind.close()


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_p9_no_wall_clock_is_read(
    kind: str, redis_server: RedisServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lies(*_: object) -> float:
        raise AssertionError("a wall clock was read")

    url = redis_server.url if kind == "redis" else "memory://"
    with CacheFence(url, namespace=namespace, timeout=5.0) as fence:
        fence.set("warm", 1)
        for name in ("time", "time_ns", "gmtime", "localtime"):
            monkeypatch.setattr(time, name, lies)
        monkeypatch.setattr(dt, "datetime", None)
        for work in _everything(fence):
            work()
        monkeypatch.undo()


def _everything(fence: CacheFence) -> list[Callable[[], object]]:
    return [
        lambda: fence.get_or_set("book", Compute("value"), ttl=60, stale_for=60, tags=["row:1"]),
        lambda: fence.get_or_set("book", Compute("value"), ttl=60),
        lambda: fence.set("other", 1, ttl=60),
        lambda: fence.incr("hits"),
        lambda: fence.touch("other"),
        lambda: fence.expire_tags("row:1"),
        lambda: fence.get_or_set("book", Compute("value"), ttl=60),
        lambda: fence.invalidate_tags("row:1"),
        lambda: fence.delete("other"),
        lambda: fence.get_many(["book", "other"]),
    ]
