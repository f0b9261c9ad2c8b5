"""Which caches hear of a commit: every alias of CACHES that is one of ours, each namespace once."""

from __future__ import annotations

from django.core.cache import caches
from django.utils.module_loading import import_string

from cachefence_web.cache import CacheFence
from cachefence_web.django.alias import Alias, store_of
from cachefence_web.django.fences import generation
from cachefence_web.runtime.engine import log


def audience() -> tuple[CacheFence, ...]:
    """The caches; one that the settings cannot make has stored nothing, and is told of where it is used."""
    global _found  # noqa: PLW0603 (the settings are the process's)
    known = _found
    if known is None or known[0] != generation():
        known = _found = generation(), _caches()
    return known[1]


def _caches() -> tuple[CacheFence, ...]:
    found: dict[tuple[str, str], CacheFence] = {}
    for alias, setting in caches.settings.items():
        try:
            backend = import_string(setting.get("BACKEND", ""))
            if not (isinstance(backend, type) and issubclass(backend, Alias)):
                continue
            made = caches[alias]
            assert isinstance(made, Alias)
            found.setdefault((store_of(made.fence).identity, made.fence.namespace), made.fence)
        except Exception as wrong:
            log.debug("CACHES[%r] hears of no commit: %s", alias, wrong)
    return tuple(found.values())


_found: tuple[int, tuple[CacheFence, ...]] | None = None
