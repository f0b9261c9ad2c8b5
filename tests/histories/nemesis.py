"""What goes wrong: processes die or freeze, connections are cut, what the cache keeps is lost; by a seed, at any time.

Records and fences of tags are not taken away within a moment of each other, for nothing promises to outlive that; the
loss of everything at once is written down, so that the judge knows it.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import redis

from tests.histories.checking import WHILE
from tests.histories.place import Place
from tests.servers import RedisServer


class Nemesis:
    """All evil of one run.

    losses, pauses: when, as the history has them.
    done: what, and how often.
    """

    def __init__(
        self, place: Place, server: RedisServer, writers: Callable[[], list[int]], readers: Callable[[], list[int]],
        servers: Callable[[], list[int]],
    ) -> None:
        self.losses: list[tuple[int, int]] = []
        self.pauses: list[int] = []
        self.done: Counter[str] = Counter()
        self._chance = random.Random(f"{place.seed} nemesis")
        self._place = place
        self._writers, self._readers, self._servers = writers, readers, servers
        self._server = server
        self._redis = redis.Redis.from_url(place.redis)
        self._frozen: list[tuple[float, int]] = []
        self._taken: tuple[str, float] = ("", 0.0)
        self._evils: list[tuple[int, Callable[[], str]]] = [
            (16, self._kill_writer), (5, self._kill_reader), (2, self._kill_server), (8, self._freeze),
            (10, self._evict), (8, self._end_backend), (1, self._flush), (1, self._cut_off), (1, self._snapshot),
            (1, self._restart)]

    def act(self) -> None:
        """Do one more thing; no connection is left that those who are forked later would share."""
        weights = [weight for weight, _ in self._evils]
        _, evil = self._chance.choices(self._evils, weights)[0]
        self.done[evil()] += 1
        self._redis.close()

    def rest(self, mean: float) -> float:
        """Seconds until the next."""
        return self._chance.expovariate(1 / mean)

    def thaw(self, *, all_of_them: bool = False) -> None:
        """Let those go on that were frozen for long enough."""
        now = time.monotonic()
        for until, pid in self._frozen:
            if all_of_them or until <= now:
                self.pauses.append(time.monotonic_ns())
                _send(pid, signal.SIGCONT)
        self._frozen = [] if all_of_them else [each for each in self._frozen if each[0] > now]

    def close(self) -> None:
        """Nothing more."""
        self.thaw(all_of_them=True)
        self._redis.close()

    def _kill_writer(self) -> str:
        return self._kill(self._writers(), "writers killed")

    def _kill_reader(self) -> str:
        return self._kill(self._readers(), "readers killed")

    def _kill_server(self) -> str:
        return self._kill(self._servers(), "gunicorn workers killed")

    def _kill(self, pids: list[int], what: str) -> str:
        if not pids:
            return "nobody to kill"
        _send(self._chance.choice(pids), signal.SIGKILL)
        return what

    def _freeze(self) -> str:
        """A reader, for longer than its lease: another takes over meanwhile, and it goes on none the wiser."""
        pid = self._chance.choice(self._readers())
        self.pauses.append(time.monotonic_ns())
        _send(pid, signal.SIGSTOP)
        self._frozen.append((time.monotonic() + self._place.lease * self._chance.uniform(0.1, 2.5), pid))
        return "readers frozen"

    def _evict(self) -> str:
        """One key of the cache's own."""
        metadata = f"{{{self._place.namespace}}}"
        kinds = {"records": f"{metadata}:t:*", "fences": f"{metadata}:f:*", "recent": f"{metadata}:recent",
                 "clock": f"{metadata}:clock", "epoch": f"{metadata}:epoch", "entries": f"{self._place.namespace}:e:*",
                 "leases": f"{self._place.namespace}:l:*"}
        kind = self._chance.choice(list(kinds))
        last, when = self._taken
        if kind != last and time.monotonic() - when < WHILE / 1e9:
            return "keys spared"
        found = sorted(self._redis.scan_iter(_literal(kinds[kind]), count=1000))
        if not found:
            return "keys spared"
        self._taken = kind, time.monotonic()
        self._redis.delete(self._chance.choice(found))
        return f"evicted: {kind}"

    def _flush(self) -> str:
        with self._losing():
            self._redis.flushall()
        return "FLUSHALL"

    def _cut_off(self) -> str:
        with self._losing():
            self._redis.client_kill_filter(_type="normal", skipme=True)
        return "CLIENT KILL"

    def _snapshot(self) -> str:
        self._redis.save()
        return "snapshots of Redis"

    def _restart(self) -> str:
        """Redis crashes, and comes back with what its last snapshot has, if there is one."""
        with self._losing():
            self._server.kill()
            self._server.start()
        return "crashes of Redis"

    @contextmanager
    def _losing(self) -> Iterator[None]:
        begun = time.monotonic_ns()
        yield
        self.losses.append((begun, time.monotonic_ns()))

    def _end_backend(self) -> str:
        """Of PostgreSQL's: perhaps in the midst of a COMMIT, whose outcome nobody learns."""
        place = self._place
        with psycopg.connect(host=place.host, user="postgres", dbname="postgres", autocommit=True) as database:
            backends = sorted(database.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
                [place.database]))
            if not backends:
                return "nobody to kill"
            database.execute("SELECT pg_terminate_backend(%s)", self._chance.choice(backends))
        return "database connections ended"


def children_of(pid: int) -> list[int]:
    """The processes that one has started."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _send(pid: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, what)


def _literal(pattern: str) -> str:
    return pattern.replace("[", "\\[")
