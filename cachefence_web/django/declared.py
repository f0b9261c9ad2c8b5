"""`settings.CACHEFENCE`: what nobody can see of the databases, and the project knows.

    CACHEFENCE = {
        "replicas": {"replica1": 2.0},          # an alias of DATABASES, and the seconds by which it may be behind
        "spaces": {"archive": "archive."},      # an alias that shares no rows with the others
        "views": {"sales": ["shop_order"]},     # database views and parents of partitions: the tables they stand for
        "triggers": {"shop_order": ["audit"]},  # tables that the database writes when this one is written
        "routines": {"close_month": {"reads": [], "writes": ["shop_order"]}},
        "debug_header": DEBUG,                  # pages say what they depend on, in X-CacheFence-Depends: shows SQL
    }

A replica whose lag is None, because nobody knows it, is read as always, and nothing that depends on it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from cachefence_web.asking import check_flag
from cachefence_web.core.policy import seconds
from cachefence_web.errors import ConfigurationError
from cachefence_web.following.declaring import mapping_in, routines_in, space_in, tables_in
from cachefence_web.sql import Routine

_PARTS = ("replicas", "spaces", "views", "triggers", "routines")
_KNOWN = (*_PARTS, "debug_header")


@dataclass(frozen=True, slots=True)
class Declared:
    """The setting, checked."""

    replicas: Mapping[str, float | None] = field(default_factory=dict)
    spaces: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    triggers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routines: Mapping[str, Routine] = field(default_factory=dict)
    debug_header: bool = False


def declared() -> Declared:
    """What the project has declared.

    Raises:
        ConfigurationError: naming the part of the setting that cannot work.
    """
    global _declared  # noqa: PLW0603 (the settings are the process's)
    found = _declared
    if found is None:
        found = _declared = _read(getattr(settings, "CACHEFENCE", {}))
    return found


def edition() -> int:
    """Rises when what was made of settings is to be made anew, as in tests."""
    return _edition


def _read(given: object) -> Declared:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"settings.CACHEFENCE is a dict, not {given!r:.60}")
    for name in given:
        if name not in _KNOWN:
            raise ConfigurationError(f"settings.CACHEFENCE[{name!r}] is unknown; it may have {', '.join(_KNOWN)}")
    part = {name: mapping_in(f'settings.CACHEFENCE["{name}"]', given.get(name, {})) for name in _PARTS}
    replicas = {alias: _lag(alias, lag) for alias, lag in part["replicas"].items()}
    spaces = {alias: space_in(f'settings.CACHEFENCE["spaces"]["{alias}"]', space)
              for alias, space in part["spaces"].items()}
    for alias in (*replicas, *spaces):
        if alias not in settings.DATABASES:
            raise ConfigurationError(f"settings.CACHEFENCE speaks of {alias!r}, which is no alias of DATABASES")
    return Declared(
        replicas,
        spaces,
        tables_in('settings.CACHEFENCE["views"]', part["views"]),
        tables_in('settings.CACHEFENCE["triggers"]', part["triggers"]),
        routines_in('settings.CACHEFENCE["routines"]', part["routines"]),
        check_flag('settings.CACHEFENCE["debug_header"]', given.get("debug_header", False)))


def _lag(alias: str, lag: Any) -> float | None:
    if lag is None:
        return None
    return 0.0 if lag == 0 else seconds(f'CACHEFENCE["replicas"]["{alias}"]', lag)


_declared: Declared | None = None
_edition = 0


def _forget(*, setting: str, **_: object) -> None:
    global _declared, _edition
    if setting in ("CACHEFENCE", "DATABASES", "INSTALLED_APPS"):
        _declared, _edition = None, _edition + 1


setting_changed.connect(_forget, dispatch_uid="cachefence_web.django.declared")
