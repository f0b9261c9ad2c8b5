"""Let processes write and read through the cache while all goes wrong around them, then judge what they saw.

    python -m tests.histories --reads 200000 --seed 7   until so many reads were made; prints a table

    --most N        seconds, however few they are by then (600)
    --least N       seconds, however many they are by then (0)
    --evil N        seconds between the deeds of the nemesis, on average; 0: none
    --mortal N      how often a process kills itself at its worst moment, out of 1
    --mute EFFECT   never tell the store of this: Fence, Lift (may be given twice); then violations are to be found
    --life N        seconds of a fence's life
    --pace N        seconds between the writes of one writer, on average
    --postgres DIR  the folder of the socket of a PostgreSQL that runs already
    --folder DIR    where the history is written down; by default a new one, that is gone if all was right
    --json          print the numbers as JSON

Status 1: violations were found, and the history is kept; 2: a player broke down, and nothing is proven.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import msgspec

from tests.histories.checking import Judged, check
from tests.histories.history import Outcome
from tests.histories.place import Place
from tests.histories.playing import Run, forget, new_folder, new_name, play
from tests.postgres import PostgresServer
from tests.servers import RedisServer

SHOWN = 10


def main() -> int:
    """Play, judge, tell."""
    options = _options()
    folder, name = Path(options.folder) if options.folder else new_folder(), new_name()
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        host = options.postgres or str(stack.enter_context(PostgresServer()).folder)
        place = Place(
            redis=redis.url, host=host, database=name, namespace=name, folder=str(folder), seed=options.seed,
            life=options.life, pace=options.pace, mortal=options.mortal, mute=tuple(options.mute))
        run = play(place, redis, reads=options.reads, least=options.least, most=options.most, evil=options.evil)
    begun = time.monotonic()
    judged = check(run.history)
    numbers = _numbers(run, judged, options.seed, time.monotonic() - begun)
    if options.json:
        say(json.dumps(numbers))
    else:
        for what, value in numbers.items():
            say(f"{what:>36}  {value}")
    if run.broken:
        say(f"broken: {run.broken}; see {folder}", sys.stderr)
        return 2
    if judged.violations:
        _keep(run, judged, folder)
        return 1
    if not options.folder:
        forget(folder)
    return 0


def say(line: str, where: TextIO = sys.stdout) -> None:
    """Print."""
    where.write(f"{line}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    for name, kind, default in (("--reads", int, 200_000), ("--seed", int, 1), ("--most", float, 600.0),
                                ("--evil", float, 0.7), ("--mortal", float, 0.002), ("--life", float, 1.5),
                                ("--pace", float, 0.1), ("--least", float, 0.0), ("--postgres", str, None),
                                ("--folder", str, None)):
        parser.add_argument(name, type=kind, default=default, help=argparse.SUPPRESS)
    parser.add_argument("--mute", action="append", default=[], choices=("Fence", "Lift"), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _numbers(run: Run, judged: Judged, seed: int, checking: float) -> dict[str, Any]:
    history = run.history
    outcomes = Counter(each.outcome for each in history.told)
    hits = sum(read.hit for read in history.reads)
    return {
        "seed": seed, "seconds": round(run.seconds, 1), "seconds of checking": round(checking, 1),
        "reads checked": judged.reads, "hits": hits, "computes and others": judged.reads - hits,
        "readers": len({read.reader for read in history.reads}),
        "rows committed": len(history.committed), "commits returned": outcomes[Outcome.COMMITTED],
        "rolled back": outcomes[Outcome.ROLLED_BACK], "refused (serialization, deadlock)": outcomes[Outcome.FAILED],
        "outcome unknown": outcomes[Outcome.UNKNOWN], "journaled": sum(each.journaled for each in history.told),
        "orphaned rows, due at the deadline": judged.orphans, "of them excused beside a loss": judged.excused,
        **dict(sorted(run.done.items())),
        "violations": len(judged.violations), **Counter(str(each.kind) for each in judged.violations)}


def _keep(run: Run, judged: Judged, folder: Path) -> None:
    (folder / "history.msgpack").write_bytes(msgspec.msgpack.encode(run.history))
    say(f"the history is kept in {folder}; the first violations:", sys.stderr)
    for each in judged.violations[:SHOWN]:
        say(f"  {each}", sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
