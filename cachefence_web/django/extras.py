"""What projects know from django-redis, by its names and in its meaning, and what only a fence has.

ttl and its kin speak of the time for which a value is served; Redis itself may keep it for longer, to serve it stale.
Where there is no value they speak of the set or hash of that name, if there is one.
"""
# ruff: noqa: ASYNC109 (`timeout` is Django's word for the life of a value)

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Self

import redis
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from redis.lock import Lock

from cachefence_web.django.raw import ForgivingLock
from cachefence_web.django.structures import Structures


class Extras(Structures):
    """Lives, names and locks."""

    @property
    def client(self) -> Self:
        """The alias itself, for code that knows django-redis's client behind one."""
        return self

    def get_client(self, write: bool = True) -> redis.Redis:  # noqa: ARG002 (as django-redis has it)
        """A redis-py client for the server of this alias; its keys are no keys of the cache.

        Raises:
            ConfigurationError: on memory://.
        """
        return self._entry.raw.client()

    def ttl(self, key: Any, version: int | None = None) -> int | None:
        """Whole seconds for which there will be a value; None without end, 0 if there is none."""
        return _whole(self._left(key, version))

    async def attl(self, key: Any, version: int | None = None) -> int | None:
        """Whole seconds for which there will be a value; None without end, 0 if there is none."""
        return _whole(await self._aleft(key, version))

    def pttl(self, key: Any, version: int | None = None) -> int | None:
        """The same in milliseconds."""
        left = self._left(key, version)
        return None if left is None else int(left * 1000)

    async def apttl(self, key: Any, version: int | None = None) -> int | None:
        """The same in milliseconds."""
        left = await self._aleft(key, version)
        return None if left is None else int(left * 1000)

    def expire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Begin another life, in seconds or a timedelta; False if there is no value."""
        return self._begin_life(key, self._ttl(timeout), version)

    async def aexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Begin another life, in seconds or a timedelta; False if there is no value."""
        return await self._abegin_life(key, self._ttl(timeout), version)

    def pexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Begin another life, in milliseconds or a timedelta; False if there is no value."""
        return self._begin_life(key, self._ttl(_from_milliseconds(timeout)), version)

    async def apexpire(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Begin another life, in milliseconds or a timedelta; False if there is no value."""
        return await self._abegin_life(key, self._ttl(_from_milliseconds(timeout)), version)

    def expire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """End the life at a date, or at seconds since 1970, by this host's clock; False if there is no value."""
        return self._begin_life(key, self._ttl(_until(when, 1)), version)

    async def aexpire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """End the life at a date, or at seconds since 1970, by this host's clock; False if there is no value."""
        return await self._abegin_life(key, self._ttl(_until(when, 1)), version)

    def pexpire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """End the life at a date, or at milliseconds since 1970, by this host's clock; False if there is no value."""
        return self._begin_life(key, self._ttl(_until(when, 1000)), version)

    async def apexpire_at(self, key: Any, when: datetime | float, version: int | None = None) -> bool:
        """End the life at a date, or at milliseconds since 1970, by this host's clock; False if there is no value."""
        return await self._abegin_life(key, self._ttl(_until(when, 1000)), version)

    def persist(self, key: Any, version: int | None = None) -> bool:
        """Give the value a life without end; False if it has one, or there is no value."""
        return self._left(key, version) not in {None, 0.0} and self._begin_life(key, None, version)

    async def apersist(self, key: Any, version: int | None = None) -> bool:
        """Give the value a life without end; False if it has one, or there is no value."""
        left = await self._aleft(key, version)
        return left not in {None, 0.0} and await self._abegin_life(key, None, version)

    def keys(self, search: str, version: int | None = None) -> list[str]:
        """The keys that match a glob; walks the whole namespace, so prefer tags."""
        return list(dict.fromkeys(self.iter_keys(search, version=version)))

    async def akeys(self, search: str, version: int | None = None) -> list[str]:
        """The keys that match a glob; walks the whole namespace, so prefer tags."""
        return list(dict.fromkeys([key async for key in self.aiter_keys(search, version=version)]))

    def iter_keys(self, search: str, itersize: int | None = None, version: int | None = None) -> Iterator[str]:  # noqa: ARG002
        """The same, as they are found, perhaps one of them twice; itersize, as django-redis has it, is no matter."""
        for names in self._scan(self._pattern(search, version)):
            yield from self._keys_of(self._living(names), version)

    async def aiter_keys(
        self, search: str, itersize: int | None = None, version: int | None = None,  # noqa: ARG002
    ) -> AsyncIterator[str]:
        """The same, as they are found, perhaps one of them twice."""
        async for names in self._ascan(self._pattern(search, version)):
            for key in self._keys_of(await self.fence.aio.get_many(names), version):
                yield key

    def delete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None,  # noqa: ARG002
    ) -> int:
        """Delete the keys that match a glob; walks the whole namespace, so prefer tags. How many there were."""
        return sum(self.fence.delete_many(names) for names in self._scan(self._pattern(pattern, version, prefix)))

    async def adelete_pattern(
        self, pattern: str, version: int | None = None, prefix: str | None = None, itersize: int | None = None,  # noqa: ARG002
    ) -> int:
        """Delete the keys that match a glob; walks the whole namespace, so prefer tags. How many there were."""
        there_were = 0
        async for names in self._ascan(self._pattern(pattern, version, prefix)):
            there_were += await self.fence.aio.delete_many(names)
        return there_were

    def lock(
        self, key: Any, version: int | None = None, timeout: float | None = None, sleep: float = 0.1,
        blocking: bool = True, blocking_timeout: float | None = None, thread_local: bool = True,
    ) -> Lock:
        """redis-py's lock, by a name that no value has; without a timeout it outlives who died with it.

        Raises:
            ConfigurationError: on memory://.
        """
        made: Lock = self._entry.raw.client().lock(
            f"{self.fence.namespace}:k:{self._name(key, version)}", timeout=timeout, sleep=sleep, blocking=blocking,
            blocking_timeout=blocking_timeout, thread_local=thread_local,
            lock_class=ForgivingLock if self._entry.forgiving else Lock)
        return made

    def invalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags."""
        self.fence.invalidate_tags(*tags)

    async def ainvalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags."""
        await self.fence.aio.invalidate_tags(*tags)

    def fencing(self, *tags: str) -> AbstractContextManager[None]:
        """Around a write that no ORM hook sees: nothing stale is served after it, even if this process dies in it."""
        return self.fence.fencing(*tags)

    def afencing(self, *tags: str) -> AbstractAsyncContextManager[None]:
        """Around a write that no ORM hook sees: nothing stale is served after it, even if this process dies in it."""
        return self.fence.aio.fencing(*tags)

    def _left(self, key: Any, version: int | None) -> float | None:
        """Seconds; None without end, 0.0 for what is not there."""
        name = self._name(key, version)
        found = self.fence.peek(name, sliding=False)
        return self._structure_left(name) if found is None else found.remaining

    async def _aleft(self, key: Any, version: int | None) -> float | None:
        found = await self.fence.aio.peek(self._name(key, version), sliding=False)
        return 0.0 if found is None else found.remaining

    def _begin_life(self, key: Any, ttl: float | None, version: int | None) -> bool:
        name = self._name(key, version)
        if ttl == 0:
            return self._structure_lives(name, 0) or self.fence.delete(name)
        return self.fence.touch(name, ttl=ttl) or self._structure_lives(name, ttl)

    async def _abegin_life(self, key: Any, ttl: float | None, version: int | None) -> bool:
        name, fence = self._name(key, version), self.fence.aio
        return await (fence.delete(name) if ttl == 0 else fence.touch(name, ttl=ttl))

    def _living(self, names: list[str]) -> list[str]:
        """Those of them that a caller would find: what was cleared is still there, and seen by a scan."""
        live = self.fence.get_many(names)
        return [*live, *self._structures_of([name for name in names if name not in live])]

    def _scan(self, pattern: str) -> Iterator[list[str]]:
        for glob, is_named in self._globs(pattern):
            for names in self.fence.scan(glob):
                yield list(filter(is_named, names))

    async def _ascan(self, pattern: str) -> AsyncIterator[list[str]]:
        for glob, is_named in self._globs(pattern):
            async for names in self.fence.aio.scan(glob):
                yield list(filter(is_named, names))


def _whole(left: float | None) -> int | None:
    return None if left is None else round(left)


def _from_milliseconds(timeout: Any) -> Any:
    return timeout if timeout is DEFAULT_TIMEOUT or isinstance(timeout, timedelta) else timeout / 1000


def _until(when: datetime | float, per_second: int) -> float:
    return (when.timestamp() if isinstance(when, datetime) else when / per_second) - time.time()
