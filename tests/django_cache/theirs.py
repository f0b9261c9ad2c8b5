"""A pytest plugin under which django-redis's own tests run here: their settings, with BACKEND and LOCATION changed.

It stands in for their conftest.py, which would run each test on twelve settings, most of them for Redis servers of
other addresses.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ended: dict[str, str] = {}


def pytest_configure() -> None:
    """What their tests import and do not use here need not be installed."""
    for name in ("msgpack",):
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
    os.environ["DJANGO_SETTINGS_MODULE"] = "switched"
    theirs: Any = importlib.import_module(f"settings.{os.environ['THEIR_SETTINGS']}")
    ours = types.ModuleType("switched")
    vars(ours).update({name: value for name, value in vars(theirs).items() if name.isupper()})
    for alias, entry in vars(ours)["CACHES"].items():
        entry["BACKEND"] = "cachefence_web.django.RedisCache"
        entry.setdefault("OPTIONS", {})["timeout"] = 30.0  # a busy machine is no outage
        if alias in {"default", "with_prefix"}:
            entry["LOCATION"] = [os.environ["CACHE_URL"]] * 2
    sys.modules["switched"] = ours
    import django

    django.setup()


@pytest.fixture
def settings() -> Iterator[Any]:
    """Theirs: settings whose changes end with the test."""
    wrapper = importlib.import_module("settings_wrapper").SettingsWrapper()
    yield wrapper
    wrapper.finalize()


@pytest.fixture
def cache() -> Iterator[Any]:
    """The default cache, cleared afterwards, and its locks with it, which are no keys of ours."""
    from django.core.cache import cache as default

    yield default
    default.clear()
    for name in default.get_client().scan_iter("django:default:k:*"):
        default.get_client().unlink(name)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst that was said of a test."""
    name = report.nodeid
    if report.outcome != "passed" or report.when == "call":
        _ended[name] = "failed" if "failed" in (report.outcome, _ended.get(name)) else report.outcome


def pytest_sessionfinish() -> None:
    """Tell what became of them."""
    Path(os.environ["REPORT"]).write_text(json.dumps(_ended))
