"""What every test may ask for: a real Redis, and a namespace of its own in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from tests import sharing
from tests.servers import RedisServer, describe_redis, redis_binaries

HERE = Path(__file__).parent

postgres_server = sharing.postgres_server

# An example may take as long as it takes: a machine that stands still for a moment is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# What a folder's tests import; without it the folder is not collected, and naming it collects nothing,
# which is an error. The rest must run where no framework is installed.
NEEDS = {
    "browser": ("django", "flask_sqlalchemy", "gunicorn", "starlette", "websockets"),
    "conformance": ("rich", "starlette"),
    "demo": ("django", "fastapi", "flask", "typer"),
    "django": ("pytest_django",),
    "django_cache": ("pytest_django",),
    "django_following": ("psycopg", "psycopg2", "pytest_django", "sqlglot"),
    "django_tools": ("pytest_django",),
    "docs": ("django", "fastapi", "flask", "typer"),
    "examples": ("django", "fastapi", "flask"),
    "fastapi": ("fastapi",),
    "flask": ("flask", "flask_sqlalchemy"),
    "following": ("sqlglot",),
    "histories": ("django", "gunicorn", "psycopg", "sqlalchemy", "sqlglot"),
    "lint": ("django", "flask", "httplint", "redbot", "starlette"),
    "sqlalchemy": ("aiosqlite", "psycopg", "sqlalchemy"),
    "sqlalchemy_following": (
        "aiosqlite", "asyncpg", "flask_sqlalchemy", "psycopg", "psycopg2", "sqlalchemy", "sqlglot", "sqlmodel"),
    "starlette": ("starlette",),
}

collect_ignore = [
    folder for folder, packages in NEEDS.items() if any(find_spec(package) is None for package in packages)
]


def pytest_configure() -> None:
    """Name Django's settings: pyproject.toml may not, since without pytest-django its options are unknown.

    A shell that starts the tests in the background has SIGINT ignored, in their children too, which some tests send it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if find_spec("pytest_django"):
        from django.conf import settings

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django.settings")
        # pytest-django finishes what the first look at a setting begins.
        assert settings.DATABASES


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The stores' contract is held against every Redis on this machine, all else against the first."""
    if "redis_server" in metafunc.fixturenames:
        binaries = redis_binaries()
        if HERE / "stores" not in metafunc.definition.path.parents:
            binaries = binaries[:1]
        ids = [describe_redis(binary) for binary in binaries]
        # With no binary at all the fixture fails with the remedy: a skipped promise is a broken one.
        metafunc.parametrize(
            "redis_server", binaries or [None], ids=ids or None, indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, which is all that redis-py speaks."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis shared by all tests: keep to your namespace, and neither flush, freeze nor kill it."""
    with RedisServer(request.param) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of the shared Redis."""
    return redis_server.url


@pytest.fixture
def new_redis() -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis for this test alone, to be flushed, frozen or killed: `new_redis(args=[...])`."""
    with ExitStack() as servers:

        def start(*, args: Sequence[str] = ()) -> RedisServer:
            return servers.enter_context(RedisServer(args=args))

        yield start


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses, nor an earlier run."""
    return f"t{uuid4().hex[:12]}"
