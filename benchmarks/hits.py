"""What a hit costs: every contender in turns, round after round, so that a busy machine is busy for all of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from statistics import median
from typing import Any

from redis import Redis

from benchmarks import peers
from benchmarks.peers import OURS, Ask, AsyncAsk, AsyncOpener, Opener
from benchmarks.report import Bar, Figure, Measure

ROUNDS = 9
SLICE = 0.12
"""Seconds that each contender has in each round."""

FLOOR = "redis-py GET"
FLOOR_ASYNC = "redis.asyncio GET"


def one_thread(url: str) -> Measure:
    """A thread that reads from Redis, one key after the other."""
    rates = _in_turns(url, {FLOOR: peers.bare_get, **peers.SYNC})
    return _against_floor(
        "hit-sync", "A hit in Redis, one thread", FLOOR, rates,
        Bar("hit in Redis, one thread, two tags, × a bare GET", _ratio(rates, OURS, FLOOR), 0.9, at_least=True),
        note="Ours judges two tags at each hit; dogpile.cache has none, and the floor decodes nothing.")


def one_task(url: str) -> Measure:
    """A coroutine that reads from Redis, one key after the other."""
    rates = asyncio.run(_in_turns_async(url, {FLOOR_ASYNC: peers.bare_get_async, **_readers()}, tasks=1))
    return _against_floor("hit-async", "A hit in Redis, one coroutine", FLOOR_ASYNC, rates)


def hundred_tasks(url: str) -> Measure:
    """A hundred coroutines that read from Redis, each its own key."""
    rates = asyncio.run(_in_turns_async(url, {FLOOR_ASYNC: peers.bare_get_async, **_readers()}, tasks=100))
    return _against_floor(
        "hit-async-100", "Hits in Redis, 100 coroutines, each its own key", FLOOR_ASYNC, rates,
        Bar("hits in Redis, 100 coroutines, × bare redis.asyncio", _ratio(rates, OURS, FLOOR_ASYNC), 8, at_least=True))


def in_process(url: str) -> Measure:
    """No Redis: the store within the process, which is no in-process tier yet."""
    rates = _in_turns(url, {
        f"{OURS} memory://": peers.in_memory(peers.ours), "dogpile.cache memory": peers.dogpile_memory})
    rates |= asyncio.run(_in_turns_async(url, {
        f"{OURS} memory://, async": peers.in_memory(peers.ours_async), "async-cache": peers.async_cache}, tasks=1))
    figures = tuple(Figure(who, (1e6 / median(rate), median(rate))) for who, rate in rates.items())
    return Measure(
        "hit-memory", "A hit within the process, for orientation", ("µs a hit", "hits/s"), figures,
        note="`memory://` is the whole store without a server, bytes and dates included; an in-process tier of decoded"
             " values comes with a later version, and its bar with it.")


def _readers() -> dict[str, AsyncOpener]:
    return {**peers.ASYNC, "cashews": peers.cashews_unlocked}


def _against_floor(
    name: str, title: str, floor: str, rates: Mapping[str, Sequence[float]], *bars: Bar, note: str = ""
) -> Measure:
    figures = tuple(Figure(who, (median(rate), _ratio(rates, who, floor))) for who, rate in rates.items())
    return Measure(name, title, ("hits/s", f"× {floor}"), figures, bars, note)


def _ratio(rates: Mapping[str, Sequence[float]], who: str, floor: str) -> float:
    """The median over the rounds, each compared with the floor of its own round."""
    return median([mine / bare for mine, bare in zip(rates[who], rates[floor], strict=True)])


def _in_turns(url: str, openers: Mapping[str, Opener]) -> dict[str, list[float]]:
    with ExitStack() as opened:
        asks = {who: opened.enter_context(opener(url, _load, 1)) for who, opener in openers.items()}
        laps: dict[str, Callable[[int], float]] = {}
        for who, ask in asks.items():
            _lay_out(url, ["book:0"], bare=who == FLOOR)
            assert ask("book:0") is not None
            laps[who] = _lap(ask, "book:0")
        counts = {who: _count(lap(200), 200) for who, lap in laps.items()}
        rates: dict[str, list[float]] = {who: [] for who in laps}
        for _ in range(ROUNDS):
            for who, lap in laps.items():
                rates[who].append(counts[who] / lap(counts[who]))
    return rates


def _lap(ask: Ask, key: str) -> Callable[[int], float]:
    def lap(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            ask(key)
        return time.perf_counter() - began

    return lap


async def _in_turns_async(url: str, openers: Mapping[str, AsyncOpener], *, tasks: int) -> dict[str, list[float]]:
    async with AsyncExitStack() as opened:
        asks = {who: await opened.enter_async_context(opener(url, _load_async, tasks))
                for who, opener in openers.items()}
        laps: dict[str, Callable[[int], Awaitable[float]]] = {}
        for who, ask in asks.items():
            keys = [f"book:{index}" for index in range(tasks)]
            _lay_out(url, keys, bare=who == FLOOR_ASYNC)
            assert None not in await asyncio.gather(*[ask(key) for key in keys])
            laps[who] = _lap_async(ask, keys)
        counts = {who: _count(await lap(20 * tasks), 20 * tasks) for who, lap in laps.items()}
        rates: dict[str, list[float]] = {who: [] for who in laps}
        for _ in range(ROUNDS):
            for who, lap in laps.items():
                each = max(1, counts[who] // tasks)
                rates[who].append(each * tasks / await lap(each * tasks))
    return rates


def _lap_async(ask: AsyncAsk, keys: Sequence[str]) -> Callable[[int], Awaitable[float]]:
    async def reader(key: str, count: int) -> None:
        for _ in range(count):
            await ask(key)

    async def lap(count: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(*[reader(key, count // len(keys)) for key in keys])
        return time.perf_counter() - began

    return lap


def _count(seconds: float, count: int) -> int:
    """How many hits fill a slice, from how long the first ones took."""
    return max(1, int(count * SLICE / seconds))


def _lay_out(url: str, keys: Sequence[str], *, bare: bool) -> None:
    """The floor reads what it finds: bytes as long as the others'."""
    if bare:
        with Redis.from_url(url) as client:
            client.mset(dict.fromkeys(keys, json.dumps(peers.VALUE)))


def _load(_: str) -> Any:
    return peers.VALUE


async def _load_async(_: str) -> Any:
    return peers.VALUE
