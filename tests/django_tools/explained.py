"""A SQLite file with the rows of `tests.django_following`, for the tests of what pages depend on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.django_following.conftest import standing_in

_migrated: list[Path] = []


def _place(file: Path) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file), "OPTIONS": {"timeout": 20}}


@pytest.fixture
def database(
    tmp_path_factory: pytest.TempPathFactory, settings: Any, configure: Any, django_db_blocker: Any
) -> Iterator[None]:
    """The database under the alias `default`, behind a cache of this test's own."""
    from tests.django_following.rows import refill  # not before the settings are configured

    folder = tmp_path_factory.mktemp("explained")
    settings.ROOT_URLCONF = "tests.django_following.site"
    configure("memory://")
    with django_db_blocker.unblock():
        if not _migrated:
            with standing_in(default=_place(folder / "migrated.db")):
                call_command("migrate", run_syncdb=True, verbosity=0)
                refill()
            _migrated.append(folder / "migrated.db")
        shutil.copy(_migrated[0], folder / "shop.db")
        with standing_in(default=_place(folder / "shop.db")):
            yield
