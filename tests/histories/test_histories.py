"""P3, P4, P5 as a whole, over PostgreSQL and Redis: a short run of what `python -m tests.histories` plays for longer,
and the proof that it would find what is to be found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.histories.checking import Kind
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
LONGEST = "45"
"""Seconds for the reads of a machine that is slow; others are done with them sooner."""


def run(postgres: PostgresServer, folder: Path, reads: int, least: int, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.histories", "--json", f"--postgres={postgres.folder}",
         f"--folder={folder}", f"--reads={reads}", f"--least={least}", f"--most={LONGEST}", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in (0, 1), done.stderr
    numbers: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (numbers["violations"] > 0), done.stderr
    return numbers


def test_p3_p4_p5_no_read_is_stale_whatever_dies_freezes_or_is_lost(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    numbers = run(postgres_server, tmp_path, 5_000, 6, "--seed=11", "--evil=0.5", "--mortal=0.01", "--life=1.5")
    assert numbers["violations"] == 0, numbers
    for happened in ("hits", "computes and others", "commits returned", "deaths by SIGKILL, all in all"):
        assert numbers[happened], numbers


def test_without_the_fences_commits_of_dead_writers_are_lost(postgres_server: PostgresServer, tmp_path: Path) -> None:
    numbers = run(postgres_server, tmp_path, 4_000, 7, "--evil=0", "--mute=Fence", "--mortal=0.2", "--life=0.1",
                  "--pace=0.15")
    assert numbers.get(Kind.LOST), numbers


def test_with_nobody_told_of_any_commit_reads_are_stale(postgres_server: PostgresServer, tmp_path: Path) -> None:
    numbers = run(postgres_server, tmp_path, 1_000, 0, "--evil=0", "--mute=Fence", "--mute=Lift", "--mortal=0")
    assert numbers.get(Kind.STALE), numbers
