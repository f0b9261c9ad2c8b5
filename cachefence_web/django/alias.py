"""What an alias of CACHES is: a view of the process's one fence for it, and the names and lives that Django gives.

A key of Django's is a name in the fence. No name begins as a cached view's key does, and none is too long for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.utils.module_loading import import_string

from cachefence_web.cache import CacheFence
from cachefence_web.core.keys import LONGEST_KEY
from cachefence_web.django.fences import Entry, entry_for, generation, life
from cachefence_web.errors import ConfigurationError

_VIEWS = "response:"


class Alias(BaseCache):
    """An alias: Django makes one of these for each thread and each asynchronous context."""

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        self._made_from = (type(self), location, params)
        self._found: Entry = entry_for(*self._made_from)
        self._generation = generation()
        super().__init__(params)
        self.default_timeout = self._found.ttl
        self._reverse = _function(params.get("REVERSE_KEY_FUNCTION"))

    @property
    def fence(self) -> CacheFence:
        """The cache behind this alias, with all that Django's API has no words for; `fence.aio` for event loops."""
        return self._entry.fence

    @property
    def _entry(self) -> Entry:
        if self._generation != generation():
            self._found, self._generation = entry_for(*self._made_from), generation()
        return self._found

    def _ttl(self, timeout: Any) -> float | None:
        return self._entry.ttl if timeout is DEFAULT_TIMEOUT else life(timeout)

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[Any, str]:
        return {key: self._name(key, version) for key in keys}

    def _name(self, key: Any, version: int | None) -> str:
        """What the key is called in the fence."""
        name = self.make_and_validate_key(key, version=version)
        if name.lstrip("=").startswith(_VIEWS):
            name = "=" + name
        if len(name) * 4 > LONGEST_KEY and len(raw := name.encode("utf-8", "surrogatepass")) > LONGEST_KEY:
            return f"{name[:200]}|#{hashlib.blake2b(raw, digest_size=20).hexdigest()}"
        return name

    def _pattern(self, search: str, version: int | None, prefix: str | None = None) -> str:
        """The glob over names that a glob over keys amounts to; what Django puts in front is no glob."""
        front = self.key_prefix if prefix is None else prefix
        number = self.version if version is None else version
        pattern: str = self.key_func(search, _literal(str(front)), _literal(str(number)))
        return pattern

    def _keys_of(self, names: Iterable[str], version: int | None) -> list[str]:
        """The keys that these names of Django's stand for.

        Raises:
            ConfigurationError: if KEY_FUNCTION puts more around a key than something in front of it.
        """
        own = [name.removeprefix("=") if name.lstrip("=").startswith(_VIEWS) else name for name in names]
        if self._reverse is not None:
            return [str(self._reverse(name)) for name in own]
        front = self.make_key("", version)
        if not all(name.startswith(front) for name in own):
            raise ConfigurationError("KEY_FUNCTION cannot be undone by itself: name the function that makes a key of"
                                     ' what it has made, as CACHES[...]["REVERSE_KEY_FUNCTION"]')
        return [name[len(front):] for name in own]

    @staticmethod
    def _is_own(name: str) -> bool:
        """Whether a name is a key of Django's, and no cached view's."""
        return not name.startswith(_VIEWS)


def _function(given: Any) -> Callable[[str], Any] | None:
    found: Callable[[str], Any] | None = import_string(given) if isinstance(given, str) else given
    return found


def _literal(text: str) -> str:
    return re.sub(r"[*?\[\]\\^]", r"\\\g<0>", text)
