"""One CacheFence per entry of CACHES and process, however many backend instances Django makes of it.

The namespace, which sets apart all that an alias stores, is OPTIONS["namespace"]; without one it is made of the
alias and KEY_PREFIX, so that two aliases on one server never see each other's keys, and `clear()` empties one of
them. Aliases that are to share keys are given the same namespace. For a backend that was made by hand, from what
no alias says, it is made of KEY_PREFIX alone.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import caches
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from cachefence_web.cache import CacheFence
from cachefence_web.core.policy import LONGEST, SHORTEST, Policy, seconds
from cachefence_web.django.options import told
from cachefence_web.django.raw import Raw
from cachefence_web.errors import ConfigurationError
from cachefence_web.serializers import Compressed, Serializer, serializer_from

V = TypeVar("V")

_POLICY = tuple(field.name for field in fields(Policy))
_OWN = ("namespace", "serializer", "timeout", "on_outage", "fence_life")
_DEFAULT_TTL = 300.0
_FORGETTING = frozenset({"CACHES", "SECRET_KEY", "SECRET_KEY_FALLBACKS"})


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry of CACHES amounts to.

    ttl: seconds for which a value lives where a call says nothing; None without end, 0 not at all.
    forgiving: whether what cannot be done during an outage is left undone, and logged.
    """

    fence: CacheFence
    ttl: float | None
    serializer: Serializer
    raw: Raw
    forgiving: bool


def entry_for(backend: type, location: object, params: Mapping[str, Any]) -> Entry:
    """The process's one entry for these settings, made at the first call.

    Raises:
        ConfigurationError: naming the setting, for one that cannot work; nothing is connected by then.
    """
    key = (backend, _frozen(location), _frozen(params))
    entry = _entries.get(key)
    if entry is None:
        with _lock:
            entry = _entries.get(key)
            if entry is None:
                entry = _entries[key] = _Settings(backend, location, params).entry()
    return entry


def generation() -> int:
    """Rises when settings have changed, as they do in tests: what was looked up before is to be looked up again."""
    return _generation


def life(timeout: object) -> float | None:
    """Django's timeout as seconds: None without end, 0 for what is not to be kept at all.

    Raises:
        ConfigurationError: for what is neither a number nor None.
    """
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    try:
        seconds = float(seconds)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = float("nan")
    if math.isnan(seconds):
        raise ConfigurationError(f"a timeout is a number of seconds, or None for a life without end; not {timeout!r}")
    return 0.0 if seconds < SHORTEST else min(seconds, LONGEST)


class _Settings:
    """One entry of CACHES, being read."""

    def __init__(self, backend: type, location: object, params: Mapping[str, Any]) -> None:
        self._location = location
        self._params = params
        self._aliases = [alias for alias, setting in caches.settings.items()
                         if _says(setting, backend, location, params)]
        self._name = f'CACHES["{self._aliases[0]}"]' if self._aliases else "CACHES[...]"
        self._told = told(params.get("OPTIONS") or {}, self._option)
        self._options: Mapping[str, Any] = self._told.options

    def entry(self) -> Entry:
        for name in self._options:
            if name not in _POLICY and name not in _OWN:
                raise ConfigurationError(f"{self._option(name)} is unknown; {_remedy(name)}")
        ttl = self._ttl()
        location = self._where()
        given = {name: self._options[name] for name in ("timeout", "on_outage", "fence_life") if name in self._options}
        serializer, namespace, policy = self._serializer(), self._namespace(), self._policy(ttl)
        patience = self._naming('OPTIONS"]["timeout', lambda: seconds("timeout", given.get("timeout", 1.0)))
        raw = Raw(location, patience, self._told.connection)

        def make() -> CacheFence:
            where = raw.client() if self._told.connection and raw.exists else location
            return CacheFence(where, namespace=namespace, policy=policy, serializer=serializer, **given)

        fence = self._naming(", ".join(["LOCATION", *given]), make)
        return Entry(fence, ttl, serializer, raw, forgiving=given.get("on_outage") == "log")

    def _where(self) -> object:
        """One store; a list's first is the primary, as in Django."""
        given = self._location
        places = re.split(r"[;,]", given) if isinstance(given, str) else given
        if isinstance(places, list | tuple):
            places = list(dict.fromkeys(places))  # one server, named twice as primary and replica
        if isinstance(places, list) and len(places) > 1:
            raise ConfigurationError(f'{self._name}["LOCATION"] names {len(places)} servers: replicas come with a later'
                                     " version, name the primary alone")
        if not places or not (where := places[0] if isinstance(places, list) else places):
            raise ConfigurationError(f'{self._name}["LOCATION"] is missing: write "redis://localhost:6379/0", or'
                                     ' "memory://" for a store within the process')
        # A store in memory has a name here, so that aliases with one namespace share it as they would a server.
        return "memory://django" if where == "memory://" else where

    def _ttl(self) -> float | None:
        named = next((name for name in ("TIMEOUT", "timeout") if name in self._params), None)
        if named and "ttl" in self._options:
            raise ConfigurationError(f'{self._option("ttl")} and {self._name}["{named}"] say the same: keep {named}')
        given = self._params[named] if named else self._options.get("ttl", _DEFAULT_TTL)
        return self._naming(named or 'OPTIONS"]["ttl', lambda: life(given))

    def _policy(self, ttl: float | None) -> Policy:
        """A policy has some life: where Django's timeout is 0, the default, for what gives none of its own."""
        chosen = {name: value for name, value in self._options.items() if name in _POLICY and name != "ttl"}
        for name, value in chosen.items():
            self._naming(f'OPTIONS"]["{name}', partial(Policy.of, {name: value}))
        return self._naming("OPTIONS", lambda: Policy.of({**chosen, "ttl": _DEFAULT_TTL if ttl == 0 else ttl}))

    def _serializer(self) -> Serializer:
        plain = self._uncompressed()
        compressor: Any = self._told.compressor
        if compressor is None:
            return plain
        return self._naming('OPTIONS"]["COMPRESSOR', lambda: Compressed(plain, algorithm=compressor))

    def _uncompressed(self) -> Serializer:
        chosen = self._options.get("serializer", "pickle")
        if chosen != "pickle":
            return self._naming('OPTIONS"]["serializer', lambda: serializer_from(chosen))
        try:
            return serializer_from(chosen, secret=settings.SECRET_KEY, fallbacks=settings.SECRET_KEY_FALLBACKS)
        except ConfigurationError as refused:
            raise ConfigurationError(
                f"{self._name} signs its values with SECRET_KEY and SECRET_KEY_FALLBACKS: {refused}; or choose"
                f' {self._option("serializer")}: "msgpack"') from refused

    def _namespace(self) -> str:
        if "namespace" in self._options:
            given: str = self._options["namespace"]
            return given
        if len(self._aliases) > 1:
            names = " and ".join(f'CACHES["{alias}"]' for alias in self._aliases)
            raise ConfigurationError(f'{names} say the same, so nothing tells their keys apart: give each an OPTIONS'
                                     '["namespace"] of its own, or both the same one if they are to share')
        prefix = self._params.get("KEY_PREFIX") or ""
        return ":".join(["django", *map(_word, self._aliases), *([_word(prefix)] if prefix else [])])

    def _option(self, name: str) -> str:
        return f'{self._name}["OPTIONS"]["{name}"]'

    def _naming(self, setting: str, make: Callable[[], V]) -> V:
        try:
            return make()
        except ConfigurationError as refused:
            raise ConfigurationError(f'{self._name}["{setting}"]: {refused}') from refused


def _says(setting: Mapping[str, Any], backend: type, location: object, params: Mapping[str, Any]) -> bool:
    rest = {name: value for name, value in setting.items() if name not in ("BACKEND", "LOCATION")}
    if setting.get("LOCATION", "") != location or rest != params:
        return False
    try:
        return import_string(setting["BACKEND"]) is backend
    except ImportError:
        return False


def _remedy(name: str) -> str:
    if name.upper() in ("MAX_ENTRIES", "CULL_FREQUENCY"):
        return "Redis itself evicts, by its maxmemory and maxmemory-policy settings"
    known = [*_OWN, *_POLICY]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(known)}"


def _word(text: str) -> str:
    """A part of a namespace: the text itself where it may stand in one."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", text):
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _frozen(value: object) -> object:
    """What can be compared and hashed; what cannot is its own."""
    if isinstance(value, Mapping):
        return tuple([(name, _frozen(item)) for name, item in value.items()])
    if isinstance(value, list | tuple):
        return tuple([_frozen(item) for item in value])
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


_entries: dict[object, Entry] = {}
_lock = threading.Lock()
_generation = 0


def _forget(*, setting: str, **_: object) -> None:
    global _generation  # noqa: PLW0603 (one number of the process)
    if setting in _FORGETTING:
        with _lock:
            forgotten = list(_entries.values())
            _entries.clear()
            _generation += 1
        for entry in forgotten:
            entry.fence.close()
            entry.raw.close()


setting_changed.connect(_forget, dispatch_uid="cachefence_web.django.fences")
