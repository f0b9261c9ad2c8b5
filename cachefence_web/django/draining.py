"""What waits in the outboxes of a project's databases is told to its caches: by a thread of the process, or on demand.

Each look has a connection of its own, which is closed afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.db import DatabaseError, InterfaceError, connections

from cachefence_web.cache import CacheFence
from cachefence_web.django.audience import audience
from cachefence_web.django.declared import declared
from cachefence_web.django.outbox import Looking, is_alone, may_hold
from cachefence_web.errors import ConfigurationError
from cachefence_web.following.outbox import attach, drained, stores_of
from cachefence_web.runtime.outboxes import Busy
from cachefence_web.stores.base import Store

_NAME = "django"


def look_before_reading(fence: CacheFence) -> None:
    """Have a process look into the outboxes before it reads from this cache.

    Raises:
        ConfigurationError: nothing would be written there.
    """
    if not apps.is_installed("cachefence_web.django"):
        raise ConfigurationError('"outbox" is a table of an app: add "cachefence_web.django" to INSTALLED_APPS, and run'
                                 ' "manage.py migrate"')
    attach(fence, _NAME, lambda: sum(drain(fence).values()))


def drain(fence: CacheFence) -> dict[str, int]:
    """Tell a cache, and whatever else has its namespace, what waits for it: how many commits, by database.

    Raises:
        StoreUnavailable: the store is away; what is left is told later.
        DatabaseError: a database could not be looked into.
    """
    stores = stores_of([*audience(), fence], fence.namespace)
    told: dict[str, int] = {}
    kept: Exception | None = None
    for alias in _aliases():
        try:
            told[alias] = _drained(alias, fence.namespace, stores)
        except (DatabaseError, InterfaceError, Busy) as error:  # which keeps nobody from another's rows
            kept = kept or error
    if kept is not None:
        raise kept
    return told


def _aliases() -> list[str]:
    """The databases that may have the table: neither replicas nor those that a router keeps it from."""
    return [alias for alias, settings in connections.settings.items()
            if alias not in declared().replicas and settings.get("ENGINE") != "django.db.backends.dummy"
            and may_hold(alias)]


def _drained(alias: str, namespace: str, stores: Sequence[Store]) -> int:
    connection: Any = connections.create_connection(alias)
    if is_alone(connection):
        return 0
    try:
        if not _connects(connection):
            return 0
        looking = Looking(connection)
        try:
            with connection.wrap_database_errors:
                return drained(looking, namespace, stores)
        except DatabaseError:  # there is no such table, or nothing may be written here, as on a standby
            connection.rollback()
            with connection.wrap_database_errors:
                if looking.exists() and looking.any(namespace):
                    raise
            return 0
    finally:
        connection.close()


def _connects(connection: Any) -> bool:
    """False in a test of pytest-django's that may use no database, and so has written nothing there."""
    try:
        with connection.wrap_database_errors:
            connection.connect()
    except RuntimeError:
        if "pytest_django" not in sys.modules:
            raise
        return False
    return True
