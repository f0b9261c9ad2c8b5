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
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from cachefence_web.asking import check_connections, check_on_outage
from cachefence_web.cache import CacheFence
from cachefence_web.core.keys import check_namespace
from cachefence_web.core.policy import LONGEST, SHORTEST, Policy, seconds
from cachefence_web.django.options import said_in, told, watched
from cachefence_web.django.raw import Raw
from cachefence_web.errors import ConfigurationError
from cachefence_web.serializers import Compressed, Serializer, serializer_from

V = TypeVar("V")

_POLICY = tuple(field.name for field in fields(Policy))
_OWN = ("namespace", "serializer", "timeout", "on_outage", "fence_life", "max_connections")
_CHECKS: dict[str, Callable[[Any], object]] = {
    "timeout": partial(seconds, "timeout"), "on_outage": check_on_outage, "fence_life": partial(seconds, "fence_life"),
    "max_connections": check_connections}
_DEFAULT_TTL = 300.0
_FORGETTING = frozenset({"CACHES", "SECRET_KEY", "SECRET_KEY_FALLBACKS"})


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry of CACHES amounts to.

    ttl: seconds for which a value lives where a call says nothing; None without end, 0 not at all.
    former: what wrote values under the secrets of SECRET_KEY_FALLBACKS.
    forgiving: whether locks, sets and hashes of Redis, which no journal makes good, are left undone during an outage,
        and logged. That is to be said: by default they raise.
    """

    fence: CacheFence
    ttl: float | None
    serializer: Serializer
    former: tuple[Serializer, ...]
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
                entry = _entries[key] = _made(backend, location, params)
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


def _made(backend: type, location: object, params: Mapping[str, Any]) -> Entry:
    settings = _Settings(backend, location, params)
    try:
        return settings.entry()
    except (ConfigurationError, ImproperlyConfigured):
        raise
    except Exception as broken:  # of a type that nobody thought of; Django's own check would stop with its trace
        raise ConfigurationError(
            f"{settings.name} cannot be read: {type(broken).__name__}: {broken}") from broken


class _Settings:
    """One entry of CACHES, being read."""

    def __init__(self, backend: type, location: object, params: Mapping[str, Any]) -> None:
        self._location = location
        self._params = params
        self._aliases = [alias for alias, setting in caches.settings.items()
                         if says(setting, backend, location, params)]
        self.name = f'CACHES["{self._aliases[0]}"]' if self._aliases else "CACHES[...]"

    def entry(self) -> Entry:
        self._told = told(self._params.get("OPTIONS") or {}, self._option)
        self._options: dict[str, Any] = dict(self._told.options)
        for name in self._options:
            if name not in _POLICY and name not in _OWN:
                raise ConfigurationError(f"{self._option(name)} is unknown; {_remedy(name)}")
        ttl = self._ttl()
        location, *replicas = self._where()
        if (patience := said_in(location)) is not None:
            self._options.setdefault("timeout", patience)
        given = self._of_the_fence()
        serializer, namespace, policy = self._serializer(), self._namespace(), self._policy(ttl)
        raw = Raw(location, given.get("timeout", 1.0), self._told.connection)

        def make() -> CacheFence:
            return CacheFence(
                raw.way_to(location), namespace=namespace, policy=policy, serializer=serializer,
                replicas=[raw.way_to(replica) for replica in replicas], **given)

        fence = self._naming(self._deciding(location), make)
        if given.get("on_outage") == "outbox":
            from cachefence_web.django.draining import look_before_reading  # it asks for all entries, this among them

            self._naming('OPTIONS"]["on_outage', partial(look_before_reading, fence))
        return Entry(fence, ttl, serializer, self._former(), raw, forgiving=given.get("on_outage", "raise") != "raise")

    def _of_the_fence(self) -> dict[str, Any]:
        """What the fence is told beside its address; each is checked under its own name."""
        for name, check in _CHECKS.items():
            if name in self._options:
                self._naming(f'OPTIONS"]["{name}', partial(check, self._options[name]))
        return {name: self._options[name] for name in _CHECKS if name in self._options}

    def _deciding(self, location: object) -> str:
        """The setting that is wrong, if no store can be made: the address, unless that could do without OPTIONS."""
        if not self._told.connection:
            return "LOCATION"
        try:
            CacheFence(location)
        except ConfigurationError:
            return "LOCATION"
        given = self._params["OPTIONS"]
        named = next((name for name in ("CONNECTION_POOL_KWARGS", "REDIS_CLIENT_KWARGS") if name in given), None)
        return "OPTIONS" if named is None else f'OPTIONS"]["{named}'

    def _where(self) -> list[object]:
        """The primary, then its replicas, as in Django; what Sentinels or nodes lead to is one place."""
        given = self._location
        if isinstance(given, str):
            # In a URL of Sentinels or of nodes a comma stands between those; in a password it may stand in any.
            between = "[;,]" if "+" not in given.partition(":")[0] else ";"
            places: list[object] = [*re.split(rf"{between}\s*(?=[\w+]+://|$)", given)]
        else:
            places = [*given] if isinstance(given, list | tuple) else [given]
        places = list(dict.fromkeys(places))  # one server, named twice as primary and replica
        if not places or not all(places):
            raise ConfigurationError(f'{self.name}["LOCATION"] is missing: write "redis://localhost:6379/0", or'
                                     ' "memory://" for a store within the process')
        sentinels = self._told.sentinels
        if sentinels is not None:
            return [self._naming("LOCATION", lambda: watched(places, sentinels))]
        # A store in memory has a name here, so that aliases with one namespace share it as they would a server.
        return ["memory://django" if where == "memory://" else where for where in places]

    def _ttl(self) -> float | None:
        named = next((name for name in ("TIMEOUT", "timeout") if name in self._params), None)
        if named and "ttl" in self._options:
            raise ConfigurationError(f'{self._option("ttl")} and {self.name}["{named}"] say the same: keep {named}')
        given = self._params[named] if named else self._options.get("ttl", _DEFAULT_TTL)
        return self._naming(named or 'OPTIONS"]["ttl', lambda: life(given))

    def _policy(self, ttl: float | None) -> Policy:
        """A policy has some life: where Django's timeout is 0, the default, for what gives none of its own."""
        chosen = {name: value for name, value in self._options.items() if name in _POLICY and name != "ttl"}
        for name, value in chosen.items():
            self._naming(f'OPTIONS"]["{name}', partial(Policy.of, {name: value}))
        return self._naming("OPTIONS", lambda: Policy.of({**chosen, "ttl": _DEFAULT_TTL if ttl == 0 else ttl}))

    def _serializer(self) -> Serializer:
        return self._packing(self._uncompressed())

    def _former(self) -> tuple[Serializer, ...]:
        """What wrote values under former secrets, each as it would write them now."""
        if self._options.get("serializer", "pickle") != "pickle":
            return ()
        return tuple([self._packing(serializer_from("pickle", secret=each)) for each in settings.SECRET_KEY_FALLBACKS])

    def _packing(self, plain: Serializer) -> Serializer:
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
                f"{self.name} signs its values with SECRET_KEY and SECRET_KEY_FALLBACKS: {refused}; or choose"
                f' {self._option("serializer")}: "msgpack"') from refused

    def _namespace(self) -> str:
        if "namespace" in self._options:
            return self._naming('OPTIONS"]["namespace', partial(check_namespace, self._options["namespace"]))
        if len(self._aliases) > 1:
            names = " and ".join(f'CACHES["{alias}"]' for alias in self._aliases)
            raise ConfigurationError(f'{names} say the same, so nothing tells their keys apart: give each an OPTIONS'
                                     '["namespace"] of its own, or both the same one if they are to share')
        prefix = str(self._params.get("KEY_PREFIX") or "")
        return ":".join(["django", *map(_word, self._aliases), *([_word(prefix)] if prefix else [])])

    def _option(self, name: str) -> str:
        return f'{self.name}["OPTIONS"]["{name}"]'

    def _naming(self, setting: str, make: Callable[[], V]) -> V:
        try:
            return make()
        except ConfigurationError as refused:
            raise ConfigurationError(f'{self.name}["{setting}"]: {refused}') from refused


def says(setting: Mapping[str, Any], backend: type, location: object, params: Mapping[str, Any]) -> bool:
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
    if name.startswith("ssl") or name in ("client_name", "credential_provider"):
        return 'say how to connect in "CONNECTION_POOL_KWARGS", or in the query of LOCATION'
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


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 (a forked child has none of the threads that may have held it)
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
setting_changed.connect(_forget, dispatch_uid="cachefence_web.django.fences")
