"""The backend for CACHES: Django's cache API, in both colours, over one CacheFence per alias.

Django makes a backend for each thread and each asynchronous context; all that these hold is a view of the fence,
which the process has once. Each method has its asynchronous half here: Django 6.1 would route a missing one
through the other, and through a thread.
"""
# ruff: noqa: ASYNC109 (`timeout` is Django's word for the life of a value)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Unpack

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT

from cachefence_web.cache import CacheFence
from cachefence_web.core.policy import PolicyOptions
from cachefence_web.django.extras import Extras
from cachefence_web.django.sorted_sets import SortedSets
from cachefence_web.django.values import (
    adding,
    as_django_has_it,
    async_loader,
    fits,
    found,
    loader,
    number,
    one_of,
    or_in_a_thread,
    with_life,
)
from cachefence_web.errors import ConfigurationError

_MISSING = object()


class RedisCache(Extras, SortedSets):
    """CACHES = {"default": {"BACKEND": "cachefence_web.django.RedisCache", "LOCATION": "redis://localhost:6379/0"}}.

    LOCATION: redis://, rediss://, unix://, memory://, or a list whose first is the primary.
    KEY_PREFIX, VERSION, KEY_FUNCTION, TIMEOUT: as in Django; fractions of a second count.
    OPTIONS: any field of Policy; `namespace`; `serializer` (signed "pickle" by default, "msgpack", "json" or an
        instance); `timeout`, seconds for each store operation; `on_outage`, "journal", "outbox", "refuse", "raise" or
        "log"; `fence_life`; and those of django-redis and of Django's RedisCache that mean something here.

    Raises:
        ConfigurationError: when Django makes it, for a setting that cannot work.
    """

    def get(self, key: Any, default: Any | None = None, version: int | None = None) -> Any:
        """The value, or the default."""
        return self.fence.get(self._name(key, version), default)

    async def aget(self, key: Any, default: Any | None = None, version: int | None = None) -> Any:
        """The value, or the default."""
        return await self.fence.aio.get(self._name(key, version), default)

    def set(  # type: ignore[override]
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        nx: bool = False, xx: bool = False, tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value; a timeout of zero or less removes what was there. Whether it was stored, or removed.

        nx: only where there is none, as `add` does; xx: only where there is one.
        """
        one_of(nx=nx, xx=xx)
        if nx:
            return self.add(key, value, timeout, version, tags=tags, **options)
        name, ttl = self._name(key, version), self._ttl(timeout)
        with as_django_has_it():
            if ttl == 0:
                return self.fence.delete(name)
            store = self.fence.replace if xx else self.fence.set
            return store(name, value, tags=tags, **with_life(options, ttl))

    async def aset(  # type: ignore[override]
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        nx: bool = False, xx: bool = False, tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value, as `set` does."""
        one_of(nx=nx, xx=xx)
        if nx:
            return await self.aadd(key, value, timeout, version, tags=tags, **options)
        name, ttl, fence = self._name(key, version), self._ttl(timeout), self.fence.aio
        if ttl == 0:
            return await fence.delete(name)
        life = with_life(options, ttl)
        store, again = (fence.replace, fence.sync.replace) if xx else (fence.set, fence.sync.set)
        return await or_in_a_thread(
            store(name, value, tags=tags, **life), lambda: again(name, value, tags=tags, **life))

    def add(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value unless there is one already; whether there was none."""
        name, ttl = self._name(key, version), self._ttl(timeout)
        with as_django_has_it():
            if ttl == 0:
                return self.fence.get(name, _MISSING) is _MISSING
            return self.fence.add(name, value, tags=tags, **with_life(options, ttl))

    async def aadd(
        self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value unless there is one already; whether there was none."""
        name, ttl, fence = self._name(key, version), self._ttl(timeout), self.fence.aio
        if ttl == 0:
            return await fence.get(name, _MISSING) is _MISSING
        life = with_life(options, ttl)
        return await or_in_a_thread(
            fence.add(name, value, tags=tags, **life), lambda: fence.sync.add(name, value, tags=tags, **life))

    def get_or_set(
        self, key: Any, default: Any | None, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> Any:
        """The value, made by `default` if there is none: once, however many ask, in all processes.

        default: the value, or what makes it, `def` or `async def`; None is a value.
        """
        name, ttl, load = self._name(key, version), self._ttl(timeout), loader(default)
        if ttl == 0:
            found = self.fence.get(name, _MISSING)
            return load() if found is _MISSING else found
        return self.fence.get_or_set(name, load, tags=tags, **with_life(options, ttl))

    async def aget_or_set(
        self, key: Any, default: Any | None, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> Any:
        """The value, made by `default` if there is none: once, however many ask, in all processes.

        default: the value, or what makes it, `def` (run where Django runs synchronous code) or `async def`.
        """
        name, ttl, load = self._name(key, version), self._ttl(timeout), async_loader(default)
        if ttl == 0:
            found = await self.fence.aio.get(name, _MISSING)
            return await load() if found is _MISSING else found
        return await self.fence.aio.get_or_set(name, load, tags=tags, **with_life(options, ttl))

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Remove the key, be it a value or a set or hash of Redis; whether there was one."""
        return self.fence.delete(self._name(key, version))

    async def adelete(self, key: Any, version: int | None = None) -> bool:
        """Remove the key, be it a value or a set or hash of Redis; whether there was one."""
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

    def incr(self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False) -> Any:
        """Add to a number, which keeps its life; `ignore_key_check` begins at `delta` where there is none.

        Raises:
            ValueError: if there is none.
            TypeError: if the value or `delta` is no number.
        """
        name, delta = self._name(key, version), number(delta)
        if fits(delta):
            with suppress(OverflowError, TypeError):
                return found(key, self.fence.incr(name, delta, create=ignore_key_check))
        with as_django_has_it():
            return found(key, self.fence.modify(name, adding(delta), initial=0 if ignore_key_check else ...))

    async def aincr(
        self, key: Any, delta: Any = 1, version: int | None = None, *, ignore_key_check: bool = False
    ) -> Any:
        """Add to a number, as `incr` does."""
        name, delta, fence = self._name(key, version), number(delta), self.fence.aio
        if fits(delta):
            with suppress(OverflowError, TypeError):
                return found(key, await fence.incr(name, delta, create=ignore_key_check))
        with as_django_has_it():
            return found(key, await fence.modify(name, adding(delta), initial=0 if ignore_key_check else ...))

    def incr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move a value to another version, with its life and its tags; the version.

        Raises:
            ValueError: if there is no value.
        """
        before = self.version if version is None else version
        name = self._name(key, before)
        found(key, self.fence.rename(name, self._name(key, before + delta)) or None)
        return before + delta

    async def aincr_version(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Move a value to another version, as `incr_version` does."""
        before, fence = self.version if version is None else version, self.fence.aio
        name = self._name(key, before)
        found(key, await fence.rename(name, self._name(key, before + delta)) or None)
        return before + delta

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values there are, a thousand in a round trip; what an outage hid is left out, and logged."""
        names = self._names(keys, version)
        found = self.fence.get_many(names.values())
        return {key: found[name] for key, name in names.items() if name in found}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values there are, a thousand in a round trip; what an outage hid is left out, and logged."""
        names = self._names(keys, version)
        found = await self.fence.aio.get_many(names.values())
        return {key: found[name] for key, name in names.items() if name in found}

    def set_many(
        self, data: Mapping[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> list[Any]:
        """Store many values, a thousand in a round trip; the keys that failed, of which there are none."""
        names, ttl = self._names(data, version), self._ttl(timeout)
        with as_django_has_it():
            if ttl == 0:
                self.fence.delete_many(names.values())
            elif names:
                self.fence.set_many(
                    {name: data[key] for key, name in names.items()}, tags=tags, **with_life(options, ttl))
        return []

    async def aset_many(
        self, data: Mapping[Any, Any], timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None, *,
        tags: Iterable[str] = (), **options: Unpack[PolicyOptions],
    ) -> list[Any]:
        """Store many values, a thousand in a round trip; the keys that failed, of which there are none."""
        names, ttl, fence = self._names(data, version), self._ttl(timeout), self.fence.aio
        if ttl == 0:
            await fence.delete_many(names.values())
        elif names:
            values, life = {name: data[key] for key, name in names.items()}, with_life(options, ttl)
            await or_in_a_thread(
                fence.set_many(values, tags=tags, **life), lambda: fence.sync.set_many(values, tags=tags, **life))
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> int | None:  # type: ignore[override]
        """Remove keys; how many there were, if any."""
        return self.fence.delete_many(self._names(keys, version).values()) or None

    async def adelete_many(  # type: ignore[override]
        self, keys: Iterable[Any], version: int | None = None
    ) -> int | None:
        """Remove keys; how many there were, if any."""
        return await self.fence.aio.delete_many(self._names(keys, version).values()) or None

    def clear(self) -> None:
        """Forget all that this alias stored, at once; other namespaces on the server stay."""
        self.fence.invalidate_all()
        self._forget_structures()

    async def aclear(self) -> None:
        """Forget all that this alias stored, at once; other namespaces on the server stay."""
        await self.fence.aio.invalidate_all()
        await self._aforget_structures()

    def close(self, **kwargs: Any) -> None:
        """Nothing: Django says it after every request, and connections are for many."""

    async def aclose(self, **kwargs: Any) -> None:
        """Nothing: Django says it after every request, and connections are for many."""


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
