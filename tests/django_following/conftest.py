"""Real databases under the alias `default`: a SQLite file and a PostgreSQL, with the same rows before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import SyncToAsync
from django.core.management import call_command
from django.db import connections
from django.test import Client

from tests import sharing
from tests.postgres import PostgresServer

postgres_server = sharing.postgres_server

VENDORS = ("sqlite", "postgresql")

LONG = 30.0
"""Seconds to answer for a Redis that is there: on a busy machine no answer comes at once."""


@contextmanager
def standing_in(**databases: dict[str, Any]) -> Iterator[None]:
    """These databases, under their aliases, in place of those of the settings."""
    before = dict(connections.settings)
    connections["default"].close()
    given = connections.configure_settings({"default": before["default"], **databases})
    connections.settings.clear()
    connections.settings.update(given)
    _forget_everywhere(before)
    try:
        yield
    finally:
        for alias in given:
            connections[alias].close()
        _forget_everywhere(given)
        connections.settings.clear()
        connections.settings.update(before)


def _forget_everywhere(aliases: Any) -> None:
    """Here, and in the thread that Django runs synchronous code of event loops in, which outlives all tests."""
    _forget(aliases)
    SyncToAsync.single_thread_executor.submit(_forget, aliases).result()


def _forget(aliases: Any) -> None:
    for alias in aliases:
        if hasattr(connections._connections, alias):  # type: ignore[attr-defined]
            connections[alias].close()
            del connections[alias]


@pytest.fixture(scope="session")
def places(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Entries of DATABASES."""
    folder: Path = tmp_path_factory.mktemp("sqlite")
    return {
        "sqlite": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "shop.db"), "OPTIONS": {"timeout": 20}},
        "postgresql": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres",
                       "HOST": str(postgres_server.folder)},
    }


_made: set[str] = set()


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    """Which database."""
    vendor: str = request.param
    return vendor


@pytest.fixture
def database(
    vendor: str, places: dict[str, dict[str, Any]], settings: Any, namespace: str, django_db_blocker: Any
) -> Iterator[Callable[[], None]]:
    """The database with its rows, behind a cache of this test's own; what it gives begins anew with fresh rows."""
    from tests.django_following.rows import refill  # not before the settings are configured

    settings.ROOT_URLCONF = "tests.django_following.site"
    settings.CACHES = {"default": {
        "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "memory://", "OPTIONS": {"namespace": namespace}}}
    with django_db_blocker.unblock(), standing_in(default=places[vendor]):
        if vendor not in _made:
            call_command("migrate", run_syncdb=True, verbosity=0)
            _made.add(vendor)
        refill()
        yield refill


@pytest.fixture
def on_redis(settings: Any, namespace: str, redis_url: str, database: Any) -> str:
    """The same on Redis."""
    settings.CACHES = {"default": {
        "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": redis_url,
        "OPTIONS": {"namespace": namespace, "timeout": LONG}}}
    return redis_url


@pytest.fixture
def client() -> Client:
    """A browser."""
    return Client(headers={"host": "shop.example"})
