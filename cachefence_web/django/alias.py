"""What an alias of CACHES is: a view of the process's one fence for it, and the names and lives that Django gives.

A key of Django's is a name in the fence. No name begins as a cached view's key does, and none is too long for it.
Settings that cannot work are told when the alias is first used, not when it is made: Django's own check of CACHES makes
every alias, and would stop `manage.py` with a traceback before the check that has an id and a hint could speak.

Whoever holds one, as a module does with `sessions = caches["sessions"]`, holds the alias: when settings change, as they
do in tests, it goes on with what they say of that alias then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from cachefence_web.cache import CacheFence
from cachefence_web.core.entry import Entry as Stored
from cachefence_web.core.keys import LONGEST_KEY
from cachefence_web.django.fences import Entry, entry_for, generation, life, says
from cachefence_web.errors import ConfigurationError
from cachefence_web.stores.base import Store

VIEWS = "response:"
"""How the names of cached views begin."""

_SHORTENED = re.compile(r"\|#[0-9a-f]{40}\Z")


class Alias(BaseCache):
    """An alias: Django makes one of these for each thread and each asynchronous context."""

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        self._alias = next((alias for alias, setting in caches.settings.items()
                            if says(setting, type(self), location, params)), "")
        self._generation = generation()
        self._begin(location, params)

    def _begin(self, location: Any, params: dict[str, Any]) -> None:
        self._made_from = (type(self), location, params)
        self._found: Entry | None = None
        self._reverse: Callable[[str], Any] | None = None
        self._unread: str | None = None
        self._take(params)
        with suppress(ConfigurationError):
            self.default_timeout = self._entry.ttl

    @property
    def fence(self) -> CacheFence:
        """The cache behind this alias, with all that Django's API has no words for; `fence.aio` for event loops."""
        return self._entry.fence

    @property
    def _entry(self) -> Entry:
        """What the settings of this alias amount to.

        Raises:
            ConfigurationError: naming the setting that cannot work, at each use, until it is corrected.
        """
        self._follow_settings()
        found = self._found
        if found is None:
            found = self._found = self._read()
        return found

    def _follow_settings(self) -> None:
        """Begin anew with what the settings say of this alias now, if they have changed."""
        now = generation()
        if self._generation == now:
            return
        self._generation = now
        _, location, params = self._made_from
        setting = caches.settings.get(self._alias)
        if setting is not None and _is_made(setting, type(self)):
            params = {name: value for name, value in setting.items() if name not in ("BACKEND", "LOCATION")}
            location = setting.get("LOCATION", "")
        self._begin(location, params)

    def _read(self) -> Entry:
        if self._unread is not None:
            raise ConfigurationError(self._unread)
        try:
            return entry_for(*self._made_from)
        except ImproperlyConfigured as refused:  # Django's word for a setting that is missing, as SECRET_KEY may be
            raise ConfigurationError(str(refused)) from refused

    def _take(self, params: dict[str, Any]) -> None:
        """Have Django read its own part of the settings; where it cannot, remember why."""
        try:
            super().__init__(params)
            self._reverse = _function(params.get("REVERSE_KEY_FUNCTION"))
        except ImportError as absent:
            self._unread = f"KEY_FUNCTION or REVERSE_KEY_FUNCTION cannot be imported: {absent}"
        except AttributeError:
            self._unread = f"OPTIONS is a dict, not {params.get('OPTIONS')!r:.60}"
        if self._unread is not None:
            super().__init__({})

    def _ttl(self, timeout: Any) -> float | None:
        return self._entry.ttl if timeout is DEFAULT_TIMEOUT else life(timeout)

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[Any, str]:
        return {key: self._name(key, version) for key in keys}

    def _name(self, key: Any, version: int | None) -> str:
        """What the key is called in the fence."""
        self._follow_settings()
        name = self.make_and_validate_key(key, version=version)
        if _is_escaped(name):
            name = "=" + name
        raw = name.encode("utf-8", "surrogatepass") if len(name) * 4 > LONGEST_KEY or "|#" in name else b""
        if len(raw) > LONGEST_KEY or (raw and _SHORTENED.search(name)):  # which no other key may be called
            return f"{name[:200]}|#{hashlib.blake2b(raw, digest_size=20).hexdigest()}"
        return name

    def _pattern(self, search: str, version: int | None, prefix: str | None = None) -> str:
        """The glob over names that a glob over keys amounts to; what Django puts in front is no glob."""
        self._follow_settings()
        front = self.key_prefix if prefix is None else prefix
        number = self.version if version is None else version
        pattern: str = self.key_func(search, _literal(str(front)), _literal(str(number)))
        return pattern

    def _keys_of(self, names: Iterable[str], version: int | None) -> list[str]:
        """The keys that these names of Django's stand for.

        Raises:
            ConfigurationError: if KEY_FUNCTION puts more around a key than something in front of it.
        """
        own = [name.removeprefix("=") if _is_escaped(name) else name for name in names]
        if self._reverse is not None:
            return [str(self._reverse(name)) for name in own]
        front = self.make_key("", version)
        if not all(name.startswith(front) for name in own):
            raise ConfigurationError("KEY_FUNCTION cannot be undone by itself: name the function that makes a key of"
                                     ' what it has made, as CACHES[...]["REVERSE_KEY_FUNCTION"]')
        return [name[len(front):] for name in own]

    @staticmethod
    def _globs(pattern: str) -> Iterator[tuple[str, Callable[[str], bool]]]:
        """Where the names of Django's keys are found that match a glob, and what tells them from others found there."""
        yield pattern, lambda name: not _is_escaped(name)
        front = re.split(r"[*?\[\\]", pattern, maxsplit=1)[0].lstrip("=")
        if front.startswith(VIEWS) or VIEWS.startswith(front):
            yield f"={pattern}", _is_escaped


def entry_of(alias: Alias) -> Entry:
    """What the settings of an alias amount to: its fence, its serializer, the server behind it.

    Raises:
        ConfigurationError: naming the setting that cannot work.
    """
    return alias._entry


def store_of(fence: CacheFence) -> Store:
    """The store behind a cache, for whoever looks at it as it is."""
    return fence._terms.store


def decoded_by(fence: CacheFence, entry: Stored) -> tuple[Any] | None:
    """The value of a stored entry, in a tuple; None if its bytes are no value of this cache's."""
    return fence._terms.engine.decode(entry)


def name_of(alias: Alias, key: Any, version: int | None = None) -> str:
    """What a key of Django's is called in the fence, and so in the store."""
    return alias._name(key, version)


def _is_made(setting: Mapping[str, Any], kind: type) -> bool:
    """Whether Django makes this kind of backend of these settings."""
    try:
        return import_string(setting["BACKEND"]) is kind
    except (ImportError, KeyError):
        return False


def _is_escaped(name: str) -> bool:
    """Whether it begins as the name of a cached view does, which a key of Django's has a sign before."""
    return name.lstrip("=").startswith(VIEWS)


def _function(given: Any) -> Callable[[str], Any] | None:
    found: Callable[[str], Any] | None = import_string(given) if isinstance(given, str) else given
    return found


def _literal(text: str) -> str:
    return re.sub(r"[*?\[\]\\^]", r"\\\g<0>", text)
