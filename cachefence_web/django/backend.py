"""The backend for CACHES: Django's cache API, in both colours, over one CacheFence per alias.

Django makes a backend for each thread and each asynchronous context; all that these hold is a view of the fence,
which the process has once. Each method has its asynchronous half here: Django 6.1 would route a missing one
through the other, and through a thread.
"""
# ruff: noqa: ASYNC109 (`timeout` is Django's word for the life of a value)

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any, TypeVar, Unpack

from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cachefence_web.cache import CacheFence
from cachefence_web.core.keys import LONGEST_KEY
from cachefence_web.core.policy import PolicyOptions
from cachefence_web.django.fences import Entry, entry_for, generation, life
from cachefence_web.errors import ConfigurationError, SerializationError

V = TypeVar("V")

_MISSING = object()


class NotPicklable(SerializationError, pickle.PicklingError):
    """A value that cannot be stored: an error of ours, and the one that Django's callers expect."""


class RedisCache(BaseCache):
    """CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "redis://localhost:6379/0"}}.

    LOCATION: redis://, rediss://, unix://, memory://, or a list whose first is the primary.
    KEY_PREFIX, VERSION, KEY_FUNCTION, TIMEOUT: as in Django; fractions of a second count.
    OPTIONS: any field of Policy; `namespace`; `serializer` (signed "pickle" by default, "msgpack", "json" or an
        instance); `timeout`, seconds for each store operation; `on_outage`, "raise" or "log"; `fence_life`.

    Raises:
        ConfigurationError: when Django makes it, for a setting that cannot work.
    """

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        self._made_from = (type(self), location, params)
        self._entry: Entry = entry_for(*self._made_from)
        self._generation = generation()
        super().__init__(params)
        self.default_timeout = self._entry.ttl

    @property
    def fence(self) -> CacheFence:
        """The cache behind this alias, with all that Django's API has no words for; `fence.aio` for event loops."""
        if self._generation != generation():
            self._entry, self._generation = entry_for(*self._made_from), generation()
        return self._entry.fence

    def get(self, key: Any, default: Any | None = None, version: int | None = None) -> Any:
        """The value, or the default."""
        return self.fence.get(self._name(key, version), default)

    async def aget(self, key: Any, default: Any | None = None, version: int | None = None) -> Any:
        """The value, or the default."""
        return await self.fence.aio.get(self._name(key, version), default)

    def set(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (),
    ) -> None:
        """Store a value; a timeout of zero or less removes what was there."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        with _as_django_has_it():
            if ttl == 0:
                self.fence.delete(name)
            else:
                self.fence.set(name, value, tags=tags, ttl=ttl)

    async def aset(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (),
    ) -> None:
        """Store a value; a timeout of zero or less removes what was there."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        with _as_django_has_it():
            if ttl == 0:
                await self.fence.aio.delete(name)
            else:
                await self.fence.aio.set(name, value, tags=tags, ttl=ttl)

    def add(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store a value unless there is one already; whether there was none."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        with _as_django_has_it():
            if ttl == 0:
                return self.fence.get(name, _MISSING) is _MISSING
            return self.fence.add(name, value, tags=tags, ttl=ttl)

    async def aadd(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store a value unless there is one already; whether there was none."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        with _as_django_has_it():
            if ttl == 0:
                return await self.fence.aio.get(name, _MISSING) is _MISSING
            return await self.fence.aio.add(name, value, tags=tags, ttl=ttl)

    def get_or_set(
        self, key: Any, default: Any | None, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> Any:
        """The value, made by `default` if there is none: once, however many ask, in all processes.

        default: the value, or what makes it, `def` or `async def`; None is a value.
        """
        name, ttl, load = self._name(key, version), self._ttl(timeout), _loader(default)
        if ttl == 0:
            found = self.fence.get(name, _MISSING)
            return load() if found is _MISSING else found
        return self.fence.get_or_set(name, load, tags=tags, **_with_life(options, ttl))

    async def aget_or_set(
        self, key: Any, default: Any | None, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> Any:
        """The value, made by `default` if there is none: once, however many ask, in all processes.

        default: the value, or what makes it, `def` (run where Django runs synchronous code) or `async def`.
        """
        name, ttl, load = self._name(key, version), self._ttl(timeout), _async_loader(default)
        if ttl == 0:
            found = await self.fence.aio.get(name, _MISSING)
            return await load() if found is _MISSING else found
        return await self.fence.aio.get_or_set(name, load, tags=tags, **_with_life(options, ttl))

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove the key; whether there was one."""
        return self.fence.delete(self._name(key, version))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """Remove the key; whether there was one."""
        return await self.fence.aio.delete(self._name(key, version))

    def touch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Begin the value's life again; False if there is none."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        return self.fence.delete(name) if ttl == 0 else self.fence.touch(name, ttl=ttl)

    async def atouch(self, key: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Begin the value's life again; False if there is none."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        return await (self.fence.aio.delete(name) if ttl == 0 else self.fence.aio.touch(name, ttl=ttl))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Whether there is a value."""
        return self.fence.get(self._name(key, version), _MISSING) is not _MISSING

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """Whether there is a value."""
        return await self.fence.aio.get(self._name(key, version), _MISSING) is not _MISSING

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to an integer, atomically and without another life.

        Raises:
            ValueError: if there is none.
            TypeError: if the value or `delta` is no integer.
        """
        return _found(key, self.fence.incr(self._name(key, version), _integer(delta), create=False))

    async def aincr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to an integer, atomically and without another life; raises as `incr` does."""
        return _found(key, await self.fence.aio.incr(self._name(key, version), _integer(delta), create=False))

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values there are, in one round trip."""
        names = self._names(keys, version)
        found = self.fence.get_many(names.values())
        return {key: found[name] for key, name in names.items() if name in found}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values there are, in one round trip."""
        names = self._names(keys, version)
        found = await self.fence.aio.get_many(names.values())
        return {key: found[name] for key, name in names.items() if name in found}

    def set_many(
        self, data: Mapping[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (),
    ) -> list[Any]:
        """Store many values, two round trips in all; the keys that failed, of which there are none."""
        names, ttl = self._names(data, version), self._ttl(timeout)
        with _as_django_has_it():
            if ttl == 0:
                self.fence.delete_many(names.values())
            elif names:
                self.fence.set_many({name: data[key] for key, name in names.items()}, tags=tags, ttl=ttl)
        return []

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (),
    ) -> list[Any]:
        """Store many values, two round trips in all; the keys that failed, of which there are none."""
        names, ttl = self._names(data, version), self._ttl(timeout)
        with _as_django_has_it():
            if ttl == 0:
                await self.fence.aio.delete_many(names.values())
            elif names:
                await self.fence.aio.set_many({name: data[key] for key, name in names.items()}, tags=tags, ttl=ttl)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove keys."""
        self.fence.delete_many(self._names(keys, version).values())

    async def adelete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Remove keys."""
        await self.fence.aio.delete_many(self._names(keys, version).values())

    def clear(self) -> None:
        """Forget all that this alias stored, at once; other namespaces on the server stay."""
        self.fence.invalidate_all()

    async def aclear(self) -> None:
        """Forget all that this alias stored, at once; other namespaces on the server stay."""
        await self.fence.aio.invalidate_all()

    def invalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags."""
        self.fence.invalidate_tags(*tags)

    async def ainvalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags."""
        await self.fence.aio.invalidate_tags(*tags)

    def close(self, **kwargs: Any) -> None:
        """Nothing: Django says it after every request, and connections are for many."""

    async def aclose(self, **kwargs: Any) -> None:
        """Nothing: Django says it after every request, and connections are for many."""

    def _ttl(self, timeout: Any) -> float | None:
        return self._entry.ttl if timeout is DEFAULT_TIMEOUT else life(timeout)

    def _names(self, keys: Iterable[Any], version: int | None) -> dict[Any, str]:
        return {key: self._name(key, version) for key in keys}

    def _name(self, key: Any, version: int | None) -> str:
        """What the key is called in the fence, where it meets neither a cached view's key nor the limit of length."""
        name = self.make_and_validate_key(key, version=version)
        if name.lstrip("=").startswith("response:"):
            name = "=" + name
        if len(name) * 4 > LONGEST_KEY and len(raw := name.encode("utf-8", "surrogatepass")) > LONGEST_KEY:
            return f"{name[:200]}|#{hashlib.blake2b(raw, digest_size=20).hexdigest()}"
        return name


def fence(alias: str = "default") -> CacheFence:
    """The CacheFence behind an alias of CACHES; `fence().aio` is the same for event loops.

    Raises:
        ConfigurationError: if the alias has another backend.
    """
    backend = caches[alias]
    if not isinstance(backend, RedisCache):
        raise ConfigurationError(f'CACHES["{alias}"] is a {type(backend).__qualname__}: give it'
                                 ' "BACKEND": "cachefence_web.django.RedisCache"')
    return backend.fence


def _loader(default: Any) -> Callable[[], Any]:
    if not callable(default):
        return lambda: default
    return async_to_sync(default) if iscoroutinefunction(default) else default


def _async_loader(default: Any) -> Callable[[], Awaitable[Any]]:
    """Synchronous loaders run in Django's thread for such code, where its database connections are."""

    async def load() -> Any:
        if not callable(default):
            return default
        if iscoroutinefunction(default):
            return await default()
        value = await sync_to_async(default)()
        return await value if isawaitable(value) else value

    return load


def _with_life(options: PolicyOptions, ttl: float | None) -> PolicyOptions:
    if "ttl" in options:
        raise ConfigurationError("Django's word for ttl is timeout: give timeout= alone")
    options["ttl"] = ttl
    return options


def _found(key: Any, total: int | None) -> int:
    if total is None:
        raise ValueError(f"Key {key!r} not found")
    return total


def _integer(delta: object) -> int:
    if not isinstance(delta, int):
        raise TypeError(f"incr() and decr() add integers, not {delta!r}")
    return delta


@contextmanager
def _as_django_has_it() -> Iterator[None]:
    try:
        yield
    except SerializationError as refused:
        raise NotPicklable(str(refused)) from refused
