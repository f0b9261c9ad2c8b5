"""Django takes psycopg2 where psycopg is not installed: it is followed as well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TOLD = ("at_the_fence", "rollback", "own_writes", "dies_before", "known_to_have_failed", "snapshot", "found",
        "by_itself", "rows_that_are_locked")


def test_p3_commits_of_psycopg2_are_followed() -> None:
    chosen = f"postgresql and ({' or '.join(TOLD)})"
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.django_following.older_driver",
         "-k", chosen, "tests/django_following/test_commits.py", "tests/django_following/test_recording.py"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
