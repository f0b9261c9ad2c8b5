"""Cold bursts: processes that all ask for one missing key at the same moment, and what their waiting costs."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Any
from uuid import uuid4

from redis import Redis

from benchmarks import peers
from benchmarks.peers import OURS, AsyncOpener, Opener
from benchmarks.report import Bar, Figure, Measure

ROUNDS = 5
COMPUTE = 0.05
LONG_COMPUTE = 1.0
"""Seconds that a compute sleeps."""

AHEAD = 0.05
"""Seconds from telling the processes when to start until they do: more than the telling takes."""

THREADS = f"{OURS}, threads"
OPENERS: dict[str, AsyncOpener | Opener] = {
    "no cache": peers.nothing_async,
    **peers.ASYNC,
    "async-cache": peers.async_cache,
    "no cache, threads": peers.nothing,
    THREADS: peers.ours,
    "dogpile.cache": peers.dogpile,
}
THREADED = frozenset({"no cache, threads", THREADS, "dogpile.cache"})


@dataclass(frozen=True, slots=True)
class Round:
    """What a process is told: ask for `key` at `at` on the monotonic clock; a compute sleeps for `seconds`."""

    key: str
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What processes found: computes run, callers without the value, seconds until the last caller was answered."""

    computes: int
    errors: int
    last: float


class Team:
    """Processes of one contender, waiting to be told when to ask."""

    def __init__(self, who: str, url: str, processes: int, callers: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._members = []
        for _ in range(processes):
            ours, theirs = spawn.Pipe()
            member = spawn.Process(target=_member, args=(theirs, who, url, callers), daemon=True)
            member.start()
            theirs.close()
            self._members.append((member, ours))

    def ready(self) -> None:
        """Return once every process has imported, connected and asked for a first key."""
        for _, pipe in self._members:
            pipe.recv()

    def burst(self, seconds: float) -> Tally:
        """All ask for a new key at once."""
        told = Round(uuid4().hex, time.monotonic() + AHEAD, seconds)
        for _, pipe in self._members:
            pipe.send(told)
        tallies: list[Tally] = [pipe.recv() for _, pipe in self._members]
        return Tally(sum(tally.computes for tally in tallies), sum(tally.errors for tally in tallies),
                     max(tally.last for tally in tallies))

    def close(self) -> None:
        """Let the processes end."""
        for member, pipe in self._members:
            pipe.close()
            member.join(10)
            if member.is_alive():
                member.kill()
                member.join()


@contextmanager
def teams(url: str, processes: int, callers: int) -> Iterator[dict[str, Team]]:
    """A team of every contender, all waiting: they take turns, so that none is measured at a better hour."""
    with ExitStack() as held:
        standing = {}
        for who in OPENERS:
            standing[who] = Team(who, url, processes, callers)
            held.callback(standing[who].close)
            standing[who].ready()
        yield standing


def one_process(url: str) -> Measure:
    """500 callers of a cold key in one process."""
    with teams(url, 1, 500) as standing:
        tallies = _rounds(standing)
    return _measure("burst-1", "500 cold callers in one process, 50 ms compute", tallies, limit=60)


def four_processes(url: str) -> tuple[Measure, Measure]:
    """4 processes of 125 callers each, and the Redis commands while they wait for a long compute."""
    with teams(url, 4, 125) as standing:
        tallies = _rounds(standing)
        spent = {who: _commands(url, team) for who, team in standing.items() if who in WITH_REDIS}
    burst = _measure("burst-4", "4 processes of 125 cold callers, 50 ms compute", tallies, limit=65)
    figures = tuple(Figure(who, (float(calls), float(computes))) for who, (calls, computes) in spent.items())
    waiting = Measure(
        "commands", "Redis commands of those 500 callers, 1 s compute", ("commands", "computes"), figures,
        (Bar("commands of 500 waiters in 4 processes, 1 s compute", spent[OURS][0], 99),),
        note="All commands that INFO commandstats counts, those that scripts call included.")
    return burst, waiting


WITH_REDIS = tuple(who for who in OPENERS if who not in ("no cache", "no cache, threads", "async-cache"))


def _rounds(standing: Mapping[str, Team]) -> dict[str, list[Tally]]:
    tallies: dict[str, list[Tally]] = {who: [] for who in standing}
    for _ in range(ROUNDS):
        for who, team in standing.items():
            tallies[who].append(team.burst(COMPUTE))
    return tallies


def _measure(name: str, title: str, tallies: Mapping[str, list[Tally]], *, limit: float) -> Measure:
    figures = tuple(
        Figure(who, (max(tally.computes for tally in found), median([tally.last for tally in found]) * 1000,
                     sum(tally.errors for tally in found)))
        for who, found in tallies.items())
    of = {figure.who: figure.numbers for figure in figures}
    return Measure(
        name, title, ("most computes", "last caller, ms", "errors"), figures,
        (Bar(f"{title}: computes", of[OURS][0], 1), Bar(f"{title}: last caller, ms", of[OURS][1], limit),
         Bar(f"{title}, threads: computes", of[THREADS][0], 1)),
        note=f"{ROUNDS} bursts each, in turns. `no cache` shows what so many callers of the bare compute take.")


def _commands(url: str, team: Team) -> tuple[int, int]:
    with Redis.from_url(url) as client:
        before = _calls(client)
        tally = team.burst(LONG_COMPUTE)
        return _calls(client) - before - 1, tally.computes


def _calls(client: Redis) -> int:
    stats: Any = client.info("commandstats")
    return sum(stat["calls"] for stat in stats.values())


def _member(pipe: Connection, who: str, url: str, callers: int) -> None:
    opener: Any = OPENERS[who]
    if who in THREADED:
        _threads(pipe, opener, url, callers)
    else:
        asyncio.run(_tasks(pipe, opener, url, callers))


def _rounds_told(pipe: Connection) -> Iterator[Round]:
    """Say that this process is ready, then what it is told, until the other end is closed."""
    pipe.send(None)
    try:
        while True:
            yield pipe.recv()
    except EOFError:
        return


async def _tasks(pipe: Connection, opener: AsyncOpener, url: str, callers: int) -> None:
    count, seconds = 0, 0.0

    async def load(_: str) -> Any:
        nonlocal count
        count += 1
        await asyncio.sleep(seconds)
        return peers.VALUE

    async with opener(url, load, callers) as ask:
        await asyncio.gather(*[ask(f"warm-{uuid4().hex}") for _ in range(callers)])
        rounds = _rounds_told(pipe)
        while (told := await asyncio.to_thread(next, rounds, None)) is not None:
            count, seconds = 0, told.seconds
            await asyncio.sleep(told.at - time.monotonic())
            answers = await asyncio.gather(*[ask(told.key) for _ in range(callers)], return_exceptions=True)
            pipe.send(_tally(count, answers, told))


def _threads(pipe: Connection, opener: Opener, url: str, callers: int) -> None:
    count, seconds = 0, 0.0

    def load(_: str) -> Any:
        nonlocal count
        count += 1
        time.sleep(seconds)
        return peers.VALUE

    def caught(ask: Callable[[str], Any], key: str) -> Any:
        try:
            return ask(key)
        except Exception as error:
            return error

    with opener(url, load, callers) as ask, ThreadPoolExecutor(callers) as pool:
        list(pool.map(partial(caught, ask), [f"warm-{uuid4().hex}" for _ in range(callers)]))
        for told in _rounds_told(pipe):
            count, seconds = 0, told.seconds
            time.sleep(max(0.0, told.at - time.monotonic()))
            answers = list(pool.map(partial(caught, ask), [told.key] * callers))
            pipe.send(_tally(count, answers, told))


def _tally(computes: int, answers: list[Any], told: Round) -> Tally:
    last = time.monotonic() - told.at
    return Tally(computes, sum(answer != peers.VALUE for answer in answers), last)
