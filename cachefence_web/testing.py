"""For the tests of those who use the package: a pytest plugin, which pytest finds by itself, and what it is made of.

Each test has a namespace that no other has, so nothing is flushed and tests may run side by side on one server. Where
it is, `--cachefence-url` says, or `cachefence_url` among pytest's settings, or for one test or module the mark
`cachefence`, as in `pytestmark = pytest.mark.cachefence("memory://")`; without any of these it is `memory://`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

import pytest

from cachefence_web.cache import CacheFence
from cachefence_web.errors import ConfigurationError
from cachefence_web.runtime.observing import ComputeBegun, observing
from cachefence_web.stores.memory import forget_memory

__all__ = ["Computes", "assert_computes", "isolated_caches", "isolated_fence", "new_namespace"]

_NAME = "cachefence_url"
_ISOLATE = "cachefence_isolate"


@dataclass(slots=True, eq=False)
class Computes:
    """The computes that have begun in a block.

    keys: what they are for, in their order; the same one again if it was computed again.
    """

    pattern: str = "*"
    keys: list[str] = field(default_factory=list)

    def __call__(self, begun: ComputeBegun) -> None:
        """Note one, if it is for a key that counts."""
        if fnmatchcase(begun.key, self.pattern):
            self.keys.append(begun.key)


@contextmanager
def assert_computes(count: int, key: str = "*") -> Iterator[Computes]:
    """A block in which the caches of this process compute so many values, pages and fragments.

    Whatever begins while the block lasts counts: in any thread and event loop, behind a caller's back, and though it
    fails; of blocks inside one another each counts all of it. Other processes have counts of their own. What is kept
    from nobody, and so made by each for himself, is no compute of a cache.

    key: counts only those whose key matches this glob.

    Raises:
        AssertionError: if it were more or fewer, naming them.
    """
    block = Computes(key)
    with observing(block):
        yield block
    if len(block.keys) != count:
        raise AssertionError(f"{count} to be computed, and there {'was' if len(block.keys) == 1 else 'were'}"
                             f" {len(block.keys)}: {', '.join(map(repr, block.keys)) or 'none'}")


def new_namespace() -> str:
    """A namespace that nobody else has."""
    return f"test.{uuid.uuid4().hex}"


@contextmanager
def isolated_fence(url: str = "memory://", **settings: Any) -> Iterator[CacheFence]:
    """A cache in a namespace of its own, of which nothing is left behind; the settings are those of CacheFence."""
    namespace = new_namespace()
    fence = CacheFence(url, namespace=namespace, **settings)
    try:
        yield fence
    finally:
        fence.close()
        _sweep(url, namespace)


@contextmanager
def isolated_caches(url: str | None = None) -> Iterator[None]:
    """A block in which each alias of Django's CACHES that is ours has a namespace of its own.

    url: where they all are meanwhile; None leaves each where it is.
    """
    from django.conf import settings
    from django.core.cache import caches
    from django.test.utils import override_settings

    namespace = new_namespace()
    own: dict[str, Any] = {
        alias: _moved(entry, f"{namespace}.{number}", url) if _is_ours(entry) else entry
        for number, (alias, entry) in enumerate(settings.CACHES.items())
    }
    with override_settings(CACHES=own):
        try:
            yield
        finally:
            servers = {str(entry.get("LOCATION")): alias for alias, entry in own.items() if _is_ours(entry)}
            for alias in servers.values():
                _sweep_alias(alias, f"{namespace}.")
            for alias in own:
                # Django puts others in their place, but its context goes on holding these.
                with suppress(AttributeError):
                    del caches[alias]
    forget_memory(namespace)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest's hook: the settings."""
    parser.getgroup("cachefence").addoption(
        "--cachefence-url", default=None, metavar="URL", help="where the tests cache: redis://..., or memory://")
    parser.addini(_NAME, "where the tests cache: redis://..., or memory://", default="")
    parser.addini(_ISOLATE, "give Django's caches a namespace of their own in each test", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Pytest's hook: the mark."""
    config.addinivalue_line("markers", "cachefence(url): where this test caches, as in --cachefence-url")


@pytest.fixture
def cachefence_url(request: pytest.FixtureRequest) -> str:
    """Where this test caches."""
    return _url_for(request) or "memory://"


@pytest.fixture
def cachefence(cachefence_url: str) -> Iterator[CacheFence]:
    """A cache for this test; `cachefence.aio` is the same for event loops."""
    with isolated_fence(cachefence_url) as fence:
        yield fence


@pytest.fixture
def cachefence_caches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Django's caches, those of this backend, in a namespace of their own; where they are, unless a URL is said."""
    with isolated_caches(_url_for(request)):
        yield


@pytest.fixture(autouse=True)
def _cachefence_isolation(request: pytest.FixtureRequest) -> None:
    if request.config.getini(_ISOLATE) and _has_django():
        request.getfixturevalue("cachefence_caches")


def _url_for(request: pytest.FixtureRequest) -> str | None:
    """The mark's, the command line's, or the settings'; None if nothing is said."""
    mark = request.node.get_closest_marker("cachefence")
    if mark is not None:
        if len(mark.args) != 1 or mark.kwargs or not isinstance(mark.args[0], str):
            raise pytest.UsageError('the mark takes a URL: pytest.mark.cachefence("memory://")')
        return mark.args[0]
    return request.config.getoption("--cachefence-url") or request.config.getini(_NAME) or None


def _has_django() -> bool:
    """Whether there is a Django with settings; asking for them where there are none would raise."""
    if find_spec("django") is None:
        return False
    from django.conf import ENVIRONMENT_VARIABLE, settings

    return settings.configured or bool(os.environ.get(ENVIRONMENT_VARIABLE))


def _is_ours(entry: Mapping[str, Any]) -> bool:
    """By its own name, or by whatever a project has made of it."""
    from django.utils.module_loading import import_string

    if str(entry.get("BACKEND", "")).startswith("cachefence_web.django."):
        return True
    try:
        kind = import_string(entry["BACKEND"])
    except (ImportError, KeyError, AttributeError):
        return False
    return any(each.__module__.startswith("cachefence_web.django.") for each in getattr(kind, "__mro__", ()))


def _moved(entry: Mapping[str, Any], namespace: str, url: str | None) -> dict[str, Any]:
    options = {**(entry.get("OPTIONS") or {}), "namespace": namespace}
    return {**entry, "OPTIONS": options, **({"LOCATION": url} if url else {})}


def _sweep(url: str, namespace: str) -> None:
    """Take from the server what has no TTL, and all the rest; one that is away keeps it."""
    if url.startswith("memory://"):
        forget_memory(namespace)
        return
    import redis

    with suppress(redis.RedisError, OSError, ValueError), redis.Redis.from_url(url, socket_timeout=5) as client:
        _unlink(client, namespace)


def _sweep_alias(alias: str, namespace: str) -> None:
    """The same for an alias of Django's, wherever its settings say that it is."""
    import redis
    from django.core.cache import caches

    backend: Any = caches[alias]
    with suppress(redis.RedisError, OSError, ConfigurationError):  # the last, for one in memory
        _unlink(backend.get_client(), namespace)


def _unlink(client: Any, namespace: str) -> None:
    for key in client.scan_iter(match=f"*{namespace}*", count=1000):
        client.unlink(key)

