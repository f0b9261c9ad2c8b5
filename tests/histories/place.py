"""Where a run takes place, as each of its processes is told; and Django, set up for it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

ROWS = tuple(range(1, 13))
SHELVES = (1, 2)
TRIGGERS = {f"histories_{table}": ["histories_log"] for table in ("shelf", "register", "note")}
"""As they are declared: what the database writes by itself when these are written."""

VARIABLE = "HISTORIES"
HOST = "histories.example"


class Place(Struct, frozen=True):
    """What all processes of a run are told.

    host: the folder of PostgreSQL's socket.
    folder: of the files of the history.
    life: seconds of a fence's life; lease: of the right to compute.
    mortal: how often a process kills itself at its worst moment, out of 1.
    mute: effects that the store is never told of: "Fence", "Lift".
    pace: seconds between the writes of one writer, on average.
    """

    redis: str
    host: str
    database: str
    namespace: str
    folder: str
    seed: int
    life: float = 1.5
    lease: float = 1.0
    mortal: float = 0.0
    mute: tuple[str, ...] = ()
    pace: float = 0.1

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)

    def alchemy(self, driver: str) -> str:
        """The database as SQLAlchemy takes it."""
        return f"postgresql+{driver}://postgres@/{self.database}?host={self.host}"

    def environment(self) -> dict[str, str]:
        """What tells a process that is not forked."""
        return {VARIABLE: msgspec.json.encode(self).decode()}


def told() -> Place:
    """Where this process is."""
    return msgspec.json.decode(os.environ[VARIABLE], type=Place)


def set_up(place: Place) -> None:
    """Have Django know its settings; nothing is connected."""
    import django
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        CACHES={"default": {
            "BACKEND": "cachefence_web.django.RedisCache", "LOCATION": place.redis,
            "OPTIONS": {"namespace": place.namespace, "fence_life": place.life, "on_outage": "journal",
                        "timeout": 5.0, "lease": place.lease},
        }},
        CACHEFENCE={"triggers": TRIGGERS},
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "NAME": place.database, "USER": "postgres", "HOST": place.host,
            "CONN_MAX_AGE": None}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["cachefence_web.django", "tests.histories"],
        LOGGING={"version": 1, "disable_existing_loggers": False,
                 "handlers": {"none": {"class": "logging.NullHandler"}},
                 "loggers": {"django.request": {"handlers": ["none"], "propagate": False}}},
        MIDDLEWARE=[],
        ROOT_URLCONF="tests.histories.pages",
        SECRET_KEY="not a secret: the tests sign with it",
        USE_TZ=True,
    )
    django.setup()
