"""What a COMMIT pays for being followed: a fence right before it, a lift right after it, and no third round trip."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, cast
from uuid import uuid4

from redis import Redis

from benchmarks import peers
from benchmarks.report import Bar, Figure, Measure
from cachefence_web import CacheFence
from cachefence_web.core.effects import Outcome
from cachefence_web.following import Committing
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.scripts import scripts

ROUNDS = 1_500
ROWS = (1, 9)
"""Rows of one table that a transaction has written; their tags and the table's own are what is fenced."""

NAMESPACE = "commits"
FENCE, LIFT, FLOOR = "fence", "lift", "a bare EVALSHA"
BARE = {FENCE: "the fence's own script, bare", LIFT: "the lift's own script, bare"}


def fences(url: str) -> Measure:
    """Each step of a commit against a script that does nothing, called with as many keys and bytes."""
    figures, bars = [], []
    for rows in ROWS:
        tags = ("book", *[f"book:{row}" for row in range(rows)])
        times = _in_turns(url, tags)
        floor = median(times[FLOOR])
        figures.append(Figure(f"{FLOOR}, {_tags(tags)}", (floor * 1e6, 1)))
        for step in (FENCE, LIFT):
            ratio = median([each / bare for each, bare in zip(times[step], times[FLOOR], strict=True)])
            figures += [
                Figure(f"{name}, {_tags(tags)}", (median(times[name]) * 1e6, median(times[name]) / floor))
                for name in (step, BARE[step])]
            bars.append(Bar(f"{step} of a commit, {_tags(tags)}, × a bare EVALSHA", ratio, 1.2))
    trips = _round_trips(url)
    return Measure(
        "commits", "Fences around a commit", ("µs", "× a bare EVALSHA"), tuple(figures),
        (Bar("round trips of a commit", trips, 2), *bars),
        note=f"Medians of {ROUNDS:,} commits in turns; pages that carry the tags are stored. The floor is redis-py's"
             " `evalsha` of `return 1`, called with as many keys and bytes; *bare* is what the scripts take when"
             " redis-py calls them.")


def _in_turns(url: str, tags: tuple[str, ...]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in (FLOOR, FENCE, LIFT, *BARE.values())}
    with CacheFence(url, namespace=NAMESPACE) as cache, Redis.from_url(url) as client:
        for tag in tags:
            cache.set(f"page:{tag}", peers.VALUE, ttl=peers.TTL, tags=[tag])
        nothing = _bare(client, cast("str", client.script_load("return 1")), tags, "30000000")
        fence = _bare(client, scripts()["fence"].digest, tags, "30000000")
        lift = _bare(client, scripts()["lift"].digest, tags, "committed")
        for _ in range(ROUNDS):
            times[FLOOR].append((_timed(nothing) + _timed(nothing)) / 2)
            commit = Committing([cache], tags)
            times[FENCE].append(_timed(commit.before))
            times[LIFT].append(_timed(partial(commit.after, Outcome.COMMITTED)))
            times[BARE[FENCE]].append(_timed(fence))
            times[BARE[LIFT]].append(_timed(lift))
        assert not cache.get_many([f"page:{tag}" for tag in tags]), "the first of them has ended the pages"
        client.flushdb()
    return times


def _bare(client: Redis, digest: str, tags: tuple[str, ...], argument: str) -> Callable[[], object]:
    """The call of a script with what the fence's and the lift's are called with."""
    names = Names(NAMESPACE)
    keys = [*names.metadata, *names.pairs(tags)]
    token = uuid4().hex
    return lambda: client.evalsha(digest, len(keys), *keys, "0" * 16, token, argument)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _round_trips(url: str) -> float:
    """What one commit sends, once connected, as the server has counted it."""
    with CacheFence(url, namespace=NAMESPACE) as cache, Redis.from_url(url) as client:
        for counted in (False, True):
            if counted:
                client.config_resetstat()
            commit = Committing([cache], ("book", "book:1"))
            commit.before()
            commit.after(Outcome.COMMITTED)
        # What a script calls is counted as well, EVALSHA itself only where a client sent it.
        stats = cast("dict[str, Any]", client.info("commandstats"))
    return float(sum(stats[name]["calls"] for name in stats if name.startswith("cmdstat_eval")))


def _tags(tags: tuple[str, ...]) -> str:
    return f"{len(tags)} tags"
