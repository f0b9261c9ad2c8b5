"""Where there is no Django, there is nothing to run here; where the index cannot be reached, the reason is said."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.django_cache.sdist import NotDownloaded, unpacked
from tests.stores.build import PATIENT

collect_ignore_glob = [] if find_spec("django") else ["*"]


@pytest.fixture(params=["memory", "redis"])
def location(request: pytest.FixtureRequest, redis_url: str) -> str:
    """The address of a store."""
    return "memory://" if request.param == "memory" else redis_url


@pytest.fixture
def configure(settings: Any, namespace: str) -> Any:
    """Makes CACHES["default"] one that no other test shares: `configure(location, top={"TIMEOUT": ...}, OPTION=...)`.

    patient: a busy machine is no outage; the tests of how long an operation may take say False.
    """

    def configure(
        location: str, *, top: dict[str, Any] | None = None, patient: bool = True, **options: Any
    ) -> None:
        timeout = {"timeout": PATIENT} if patient else {}
        settings.CACHES = {"default": {
            "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": location, **(top or {}),
            "OPTIONS": {"namespace": namespace, **timeout, **options}}}

    return configure


@pytest.fixture(scope="session")
def django_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the installed Django's own tests."""
    import django

    try:
        yield unpacked("django", django.__version__, tmp_path_factory.mktemp("django")) / "tests"
    except NotDownloaded as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def django_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of django-redis, its package and its tests."""
    try:
        yield unpacked("django-redis", "7.0.0", tmp_path_factory.mktemp("django-redis"))
    except NotDownloaded as reason:
        pytest.skip(str(reason))
