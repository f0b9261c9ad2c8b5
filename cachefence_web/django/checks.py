"""What `manage.py check` says of the settings: each message has an id that can be silenced, and a hint.

No check raises, and none waits for a Redis that is away longer than the alias's own `timeout` allows. Errors are what
cannot work; warnings are what works, and not as one would think.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 (Django's own name for it)
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from cachefence_web.core.policy import PolicyOptions
from cachefence_web.django.alias import entry_of, store_of
from cachefence_web.django.backend import RedisCache
from cachefence_web.django.declared import declared
from cachefence_web.django.middleware import CacheMiddleware, _rules
from cachefence_web.django.serverchecks import judged_eviction, judged_version, server_info
from cachefence_web.errors import ConfigurationError
from cachefence_web.serializers import Serializer, serializer_from

TAG = "cachefence"
"""What `manage.py check --tag` calls them."""

_DJANGOS_MIDDLEWARE = (
    "django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware",
    "django.middleware.cache.CacheMiddleware")
_SERVERLESS = frozenset((*PolicyOptions.__annotations__, "namespace", "serializer", "on_outage", "fence_life"))
"""Options that say nothing of how a server is reached."""
_SAMPLE = ["a value that is long enough to be compressed"] * 100
_PER_PROCESS = "django.core.cache.backends.locmem.LocMemCache"
_CHOOSE_URLS = ("django_hosts.", "django_tenants.", "subdomains.", "tenant_schemas.")
"""Packages whose middleware sets `request.urlconf`."""


def register_checks() -> None:
    """Have Django run them."""
    for check in (check_aliases, check_namespaces, check_servers, check_middleware):
        register(check, Tags.caches, TAG)
    for check in (check_eviction, check_processes, check_debug_header):
        register(check, Tags.caches, TAG, deploy=True)


def check_aliases(**_: Any) -> list[CheckMessage]:
    """E001: values are pickled, and there is no secret to sign them with. E002: settings that cannot work."""
    found: dict[str, CheckMessage] = {}
    for alias, outcome in _outcomes():
        if isinstance(outcome, RedisCache):
            continue
        says = str(outcome)
        if _refused_secret(outcome):
            found[alias] = Error(
                says if says.startswith("CACHES[") else f'CACHES["{alias}"] signs the values it pickles: {says}',
                id="cachefence.E001",
                hint='Set SECRET_KEY to at least 16 random characters, or OPTIONS["serializer"] to "msgpack".')
        else:
            found[alias] = Error(
                says if says.startswith("CACHES[") else f'CACHES["{alias}"]: {says}', id="cachefence.E002",
                hint=f'Correct CACHES["{alias}"]; every use of it raises this until then.')
    return list(found.values())


def check_debug_header(**_: Any) -> list[CheckMessage]:
    """W008: visitors are shown SQL."""
    try:
        if not declared().debug_header:
            return []
    except ConfigurationError:
        return []  # with such settings nothing starts: they were changed since
    return [Warning('settings.CACHEFENCE["debug_header"] shows tables and SQL to every visitor', id="cachefence.W008",
                    hint="Leave it to development; `manage.py cachefence explain URL` tells the same.")]


def check_namespaces(**_: Any) -> list[CheckMessage]:
    """E003, W003: two aliases share a namespace of one server; an error if they do not write alike."""
    sharing = defaultdict(list)
    for alias, backend in _backends():
        sharing[_place(backend)].append((alias, backend))
    found: list[CheckMessage] = []
    for shared in sharing.values():
        if len(shared) == 1:
            continue
        names = " and ".join(f'CACHES["{alias}"]' for alias, _ in shared)
        namespace = shared[0][1].fence.namespace
        if not _read_each_other([entry_of(backend).serializer for _, backend in shared]):
            found.append(Error(
                f"{names} share the namespace {namespace!r} of one server, and write their values differently: what"
                " one has stored the other takes for nothing, and replaces.", id="cachefence.E003",
                hint='Give each an OPTIONS["namespace"] of its own, or all the same serializer.'))
        else:
            found.append(Warning(
                f"{names} share the namespace {namespace!r} of one server: clear() of one empties all of them.",
                id="cachefence.W003",
                hint='Give each an OPTIONS["namespace"] of its own; or, if they are to share, silence this.'))
    return found


def check_servers(**_: Any) -> list[CheckMessage]:
    """E004: a Redis that is too old. One that is away is asked nothing, and said nothing of."""
    return [message for name, info in _servers() if isinstance(info, dict) for message in judged_version(name, info)]


def check_eviction(**_: Any) -> list[CheckMessage]:
    """W001: what a full Redis throws away first. W004: a Redis that could not be asked."""
    found: list[CheckMessage] = []
    for name, info in _servers():
        if isinstance(info, dict):
            found += judged_eviction(name, info)
        else:
            found.append(Warning(
                f"{name} could not be asked how it is set up: {_brief(info)}", id="cachefence.W004",
                hint="Check LOCATION, and that this host may connect and send INFO. While Redis is away every page is"
                     " computed, by each process for itself."))
    return found


def check_processes(**_: Any) -> list[CheckMessage]:
    """W002: a cache that each process has for itself, in production."""
    found: list[CheckMessage] = []
    if not (ours := dict(_backends())):
        return found
    for alias, entry in caches.settings.items():
        if entry.get("BACKEND") == _PER_PROCESS:
            what = "is django.core.cache.backends.locmem"
        elif alias in ours and not entry_of(ours[alias]).raw.exists:
            what = "is memory://"
        else:
            continue
        found.append(Warning(
            f'CACHES["{alias}"] {what}: each process has one of its own, so what one invalidates the others go on'
            " serving.", id="cachefence.W002",
            hint=f'Give CACHES["{alias}"] a LOCATION such as "redis://localhost:6379/0", with'
                 ' "BACKEND": "cachefence_web.django.RedisCache".'))
    return found


def check_middleware(**_: Any) -> list[CheckMessage]:
    """E005, E006, W005, W006, W007: what stands in MIDDLEWARE around CacheMiddleware, and its rules."""
    names = list(settings.MIDDLEWARE or ())
    ours = [at for at, name in enumerate(names) if _is_ours(name)]
    return [*_placed(names, ours), *_ruled(bool(ours))]


def _placed(names: list[str], ours: list[int]) -> Iterator[CheckMessage]:
    if len(ours) > 1:
        yield Error(f"MIDDLEWARE names {names[ours[0]]} {len(ours)} times.", id="cachefence.E005",
                    hint="Keep the first; the others would ask for the page that it is waiting for.")
    if not ours:
        return
    for late in [name for name in names[ours[0] + 1:] if name.startswith(_CHOOSE_URLS)]:
        yield Warning(
            f"{late} stands after {names[ours[0]]}: it chooses the URLconf when the rules have been put around"
            " another, so its sites are not cached.", id="cachefence.W005",
            hint=f"Move {late} before {names[ours[0]]}.")
    for other in [name for name in names if name in _DJANGOS_MIDDLEWARE]:
        yield Warning(
            f"{other} caches whole pages beside {names[ours[0]]}: it knows no tags, and serves what an invalidation"
            " has made untrue until it expires.", id="cachefence.W006",
            hint=f"Take {other} out of MIDDLEWARE.")


def _ruled(placed: bool) -> Iterator[CheckMessage]:
    if getattr(settings, "CACHEFENCE_RULES", None) is None:
        return
    if not placed:
        yield Warning("CACHEFENCE_RULES is set, and nothing in MIDDLEWARE reads it.", id="cachefence.W007",
                      hint='Add "cachefence_web.django.CacheMiddleware" to MIDDLEWARE.')
    try:
        _rules()
    except ImproperlyConfigured as refused:
        yield Error(str(refused), id="cachefence.E006", hint="Correct CACHEFENCE_RULES; no page is served until then.")


def _outcomes() -> Iterator[tuple[str, RedisCache | Exception]]:
    """Each alias of this backend, or what Django gets when it asks for it; that of others is none of ours."""
    for alias, entry in caches.settings.items():
        try:
            kind = import_string(entry["BACKEND"])
        except (ImportError, KeyError, AttributeError):
            continue
        if not (isinstance(kind, type) and issubclass(kind, RedisCache)):
            continue
        try:
            backend = caches[alias]
            assert isinstance(backend, RedisCache)
            entry_of(backend)
            yield alias, backend
        except Exception as refused:
            yield alias, refused


def _backends() -> Iterator[tuple[str, RedisCache]]:
    for alias, outcome in _outcomes():
        if isinstance(outcome, RedisCache):
            yield alias, outcome


def _servers() -> Iterator[tuple[str, dict[str, Any] | Exception]]:
    """Each server behind an alias, once, by the alias that names it first; where there are several, the primary."""
    asked = set()
    for alias, backend in _backends():
        raw, said = entry_of(backend).raw, caches.settings[alias]
        connecting = {name: value for name, value in (said.get("OPTIONS") or {}).items() if name not in _SERVERLESS}
        where = (str(said.get("LOCATION")), str(connecting))
        if raw.exists and where not in asked:
            asked.add(where)
            yield f'The server of CACHES["{alias}"]', server_info(raw)


def _brief(error: Exception) -> str:
    """What it says, without the clients that redis-py shows as they are in memory."""
    return str(error).split(" : <", 1)[0]


def _refused_secret(error: Exception | RedisCache) -> bool:
    try:
        serializer_from("pickle", secret=settings.SECRET_KEY, fallbacks=settings.SECRET_KEY_FALLBACKS)
    except (ConfigurationError, ImproperlyConfigured):
        return "SECRET_KEY" in str(error)
    return False


def _read_each_other(serializers: list[Serializer]) -> bool:
    """Whether what any of them writes, every other reads: one that compresses and one that does not may."""
    try:
        return all(reader.loads(writer.dumps(_SAMPLE)) == _SAMPLE for reader, writer in permutations(serializers, 2))
    except Exception:  # whatever a project's own serializer raises, it says no
        return False


def _place(backend: RedisCache) -> str:
    """What is the same for two aliases whose keys meet."""
    return store_of(backend.fence).identity.replace("localhost", "127.0.0.1")


def _is_ours(name: str) -> bool:
    try:
        found = import_string(name)
    except (ImportError, AttributeError):
        return False
    return isinstance(found, type) and issubclass(found, CacheMiddleware)
