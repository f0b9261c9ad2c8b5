"""`python -m benchmarks`: one command, a server of its own, a table, and which bars were met."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import bursts, commits, hits, invalidation, pages, stalls, statements
from benchmarks.report import Measure, Setting, as_json, show, show_bars, write_into
from tests.servers import RedisServer, describe_redis

FEW, MANY = 100_000, 1_000_000

Run = Callable[[str, bool], Iterator[Measure]]


def _of(*measures: Callable[[str], Measure]) -> Run:
    def run(url: str, _: bool) -> Iterator[Measure]:
        for measure in measures:
            yield measure(url)

    return run


def _four(url: str, _: bool) -> Iterator[Measure]:
    yield from bursts.four_processes(url)


def _pages(url: str, _: bool) -> Iterator[Measure]:
    yield from pages.every(url)


def _invalidation(url: str, full: bool) -> Iterator[Measure]:
    yield invalidation.one_or_many(url, MANY if full else FEW)


RUNS: dict[str, Run] = {
    "hit-sync": _of(hits.one_thread),
    "hit-async": _of(hits.one_task),
    "hit-async-100": _of(hits.hundred_tasks),
    "hit-memory": _of(hits.in_process),
    "burst-1": _of(bursts.one_process),
    "burst-4": _four,
    "invalidation": _invalidation,
    "bytes": _of(invalidation.bytes_of_an_entry),
    "commits": _of(commits.fences),
    "statements": _of(statements.analysis),
    "pages": _pages,
    "stalls": _of(stalls.event_loop),
}


def main() -> None:
    """Measure, show, and write down what was asked for."""
    asked = _arguments()
    console = Console()
    with RedisServer() as server:
        setting = Setting.here(describe_redis(server.binary), full=asked.full)
        console.print("\n".join(setting.lines()), style="dim", highlight=False)
        measures = []
        for name in asked.only or RUNS:
            for measure in RUNS[name](server.tcp_url, asked.full):
                show(console, measure)
                measures.append(measure)
    show_bars(console, measures)
    if asked.json:
        asked.json.write_text(json.dumps(as_json(setting, measures), indent=2))
    if asked.write:
        write_into(asked.write, setting, measures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=RUNS, metavar="NAME", help=f"some of: {', '.join(RUNS)}")
    parser.add_argument("--full", action="store_true", help=f"invalidate among {MANY:,} entries, not {FEW:,}")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all numbers there")
    parser.add_argument("--write", type=Path, metavar="PATH", help="put the tables between the marks of a document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
