"""django-redis's own tests pass on this backend where they use what a project uses; docs/django.md has the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import RedisServer

REPOSITORY = Path(__file__).parents[2]
FILES = ("test_backend.py", "test_backend_sorted_sets.py", "test_cache_options.py", "test_session.py")

INSIDE = frozenset({
    "test_close_client",
    "test_close_with_signal_parameter",
    "test_custom_key_function",
    "test_delete_pattern_with_custom_count",
    "test_delete_pattern_with_settings_default_scan_count",
    "test_get_django_omit_exceptions",
    "test_get_django_omit_exceptions_many_returns_default_arg",
    "test_get_django_omit_exceptions_priority_1",
    "test_get_django_omit_exceptions_priority_2",
    "test_hash_key_structure_in_redis",
    "test_intenum",
    "test_primary_replica_switching",
    "test_primary_replica_switching_with_index",
    "test_save_dict",
    "test_set_call_empty_pipeline",
    "test_sscan_iter_with_match",
    "test_sscan_with_match",
})
"""Tests of its inside: they replace its client, or ask it for attributes that begin with an underscore."""

DIFFERENT = frozenset({"test_lock", "test_lock_not_blocking"})
"""Tests of what is otherwise here, as the document says."""


@pytest.mark.timeout(900)
def test_a_project_on_django_redis_changes_its_backend_and_nothing_else(
    django_redis: Path, redis_server: RedisServer, tmp_path: Path
) -> None:
    tests, report = tmp_path / "theirs", tmp_path / "report.json"
    shutil.copytree(django_redis / "tests", tests, ignore=shutil.ignore_patterns("conftest.py"))
    (tests / "__init__.py").unlink()
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, django_redis, tests))), "REPORT": str(report),
        "CACHE_URL": redis_server.url.replace("db=0", "db=9"), "THEIR_SETTINGS": "sqlite"}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:django", "-p", "no:cacheprovider", "-p", "tests.django_cache.theirs",
         "-q", "--timeout=120", "-c", os.devnull, "--rootdir", str(tests), *FILES],
        cwd=tests, env=environment, capture_output=True, text=True, check=False)
    assert report.exists(), run.stdout + run.stderr
    ended: dict[str, str] = json.loads(report.read_text())
    public = {test: end for test, end in ended.items() if test.rpartition("::")[2] not in INSIDE}
    failed = {test.rpartition("::")[2] for test, end in public.items() if end != "passed"}
    assert failed <= DIFFERENT, run.stdout
    assert len(public) >= 149
    assert len(failed) <= 0.1 * len(public)


def test_what_is_otherwise_here_is_documented() -> None:
    document = (REPOSITORY / "docs" / "django.md").read_text()
    assert [name for name in sorted(INSIDE | DIFFERENT) if f"`{name}`" not in document] == []
