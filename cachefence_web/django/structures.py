"""Sets and hashes of Redis, by django-redis's names; members are written as values are, fields are plain text.

They stand where a value of the same key would, so that deleting the key, or storing a value, ends them. They have no
tags, no leases and no stale copies, and no asynchronous half. `clear()` finds them by a register of their names; where
that was lost, by walking over all there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import redis
from redis.exceptions import ResponseError

from cachefence_web.django.alias import Alias, store_of
from cachefence_web.django.raw import AWAY, log
from cachefence_web.django.register import NO_STRUCTURE, Register
from cachefence_web.django.resigning import readable, resign, resign_all
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.memory import glob
from cachefence_web.stores.redis.names import Names

V = TypeVar("V")


class Structures(Alias):
    """Sets and hashes; each method answers as the Redis command of its name."""

    def sadd(self, key: Any, *values: Any, version: int | None = None) -> int:
        """Add members to a set; how many were new."""
        packed = self._packed(key, version, values)
        return self._change(key, version, lambda at, name: at.sadd(name, *packed), 0)

    def srem(self, key: Any, *members: Any, version: int | None = None) -> int:
        """Remove members; how many there were."""
        packed = self._packed(key, version, members)
        return self._one(key, version, lambda at, name: int(at.srem(name, *packed)), 0)

    def scard(self, key: Any, version: int | None = None) -> int:
        """How many members there are."""
        return self._one(key, version, lambda at, name: int(at.scard(name)), 0)

    def smembers(self, key: Any, version: int | None = None) -> set[Any]:
        """All members."""
        return self._one(key, version, lambda at, name: self._set(at.smembers(name)), set())

    def sismember(self, key: Any, member: Any, version: int | None = None) -> bool:
        """Whether it is a member."""
        packed = self._packed(key, version, [member])
        return self._one(key, version, lambda at, name: bool(at.sismember(name, *packed)), False)

    def smismember(self, key: Any, *members: Any, version: int | None = None) -> list[bool]:
        """Whether each is a member."""
        packed = self._packed(key, version, members)
        return self._one(
            key, version, lambda at, name: [bool(each) for each in at.smismember(name, packed)], [False] * len(members))

    def smove(self, source: Any, destination: Any, member: Any, version: int | None = None) -> bool:
        """Move a member to another set; False if the first has no such member."""
        for key in (source, destination):
            packed = self._packed(key, version, [member])
        place = self._at(source, version)
        return bool(self._change(destination, version, lambda at, name: at.smove(place, name, *packed), False))

    def spop(self, key: Any, count: int | None = None, version: int | None = None) -> Any:
        """Take a member out, or a set of so many; None from an empty set."""
        found = self._one(key, version, lambda at, name: at.spop(name, count), None)
        if isinstance(found, Iterable) and not isinstance(found, bytes):
            return self._set(found)
        while found is not None and not (members := self._loaded([found])):
            found = self._one(key, version, lambda at, name: at.spop(name), None)
        return None if found is None else members[0]

    def srandmember(self, key: Any, count: int | None = None, version: int | None = None) -> Any:
        """Any member, or a list of so many; None of an empty set."""
        found = self._one(key, version, lambda at, name: at.srandmember(name, count), None)
        if isinstance(found, list):
            return self._loaded(found)
        members = self._loaded([] if found is None else [found])
        return next(iter(members or self.smembers(key, version)), None)

    def sscan(
        self, key: Any, match: str | None = None, count: int | None = 10, version: int | None = None,
    ) -> set[Any]:
        """All members, or the texts among them that match a glob, read a batch of about `count` at a time."""
        return set(self.sscan_iter(key, match, count, version))

    def sscan_iter(
        self, key: Any, match: str | None = None, count: int | None = 10, version: int | None = None,
    ) -> Iterator[Any]:
        """The same, as they are found, perhaps one of them twice."""
        matches = None if match is None else glob(match).fullmatch
        cursor = 0
        nothing: tuple[int, list[bytes]] = (0, [])
        while True:
            cursor, batch = self._one(key, version, partial(_page, cursor, count), nothing)
            for member in self._loaded(batch):
                if matches is None or (isinstance(member, str) and matches(member)):
                    yield member
            if cursor == 0:
                return

    def sdiff(self, *keys: Any, version: int | None = None) -> set[Any]:
        """The members of the first set that no other has."""
        self._resign(keys, version)
        return self._many(keys, version, lambda at, names: self._set(at.sdiff(names)), set())

    def sinter(self, *keys: Any, version: int | None = None) -> set[Any]:
        """The members that all sets have."""
        self._resign(keys, version)
        return self._many(keys, version, lambda at, names: self._set(at.sinter(names)), set())

    def sunion(self, *keys: Any, version: int | None = None) -> set[Any]:
        """The members that any set has."""
        return self._many(keys, version, lambda at, names: self._set(at.sunion(names)), set())

    def sdiffstore(
        self, dest: Any, *keys: Any, version_dest: int | None = None, version_keys: int | None = None,
    ) -> int:
        """Make `dest` the difference; how many members it has."""
        self._resign(keys, version_keys)
        places = self._all(keys, version_keys)
        return self._change(dest, version_dest, lambda at, name: at.sdiffstore(name, places), 0)

    def sinterstore(self, dest: Any, *keys: Any, version: int | None = None) -> int:
        """Make `dest` the intersection; how many members it has."""
        self._resign(keys, version)
        places = self._all(keys, version)
        return self._change(dest, version, lambda at, name: at.sinterstore(name, places), 0)

    def sunionstore(self, destination: Any, *keys: Any, version: int | None = None) -> int:
        """Make `destination` the union; how many members it has."""
        self._resign(keys, version)
        places = self._all(keys, version)
        return self._change(destination, version, lambda at, name: at.sunionstore(name, places), 0)

    def hset(
        self, key: Any, field: str | None = None, value: Any = None, mapping: Mapping[str, Any] | None = None,
        version: int | None = None,
    ) -> int:
        """Set one field of a hash, or those of a mapping; how many were new."""
        fields = {**({} if field is None else {field: value}), **(mapping or {})}
        packed = {name: self._pack(each) for name, each in fields.items()}
        return self._change(key, version, lambda at, name: at.hset(name, mapping=packed), 0)

    def hdel(self, key: Any, field: str, version: int | None = None) -> int:
        """Remove a field; how many there were."""
        return self._one(key, version, lambda at, name: int(at.hdel(name, field)), 0)

    def hlen(self, key: Any, version: int | None = None) -> int:
        """How many fields there are."""
        return self._one(key, version, lambda at, name: int(at.hlen(name)), 0)

    def hkeys(self, key: Any, version: int | None = None) -> list[str]:
        """The fields."""
        return self._one(key, version, lambda at, name: [each.decode() for each in at.hkeys(name)], [])

    def hexists(self, key: Any, field: str, version: int | None = None) -> bool:
        """Whether there is such a field."""
        return self._one(key, version, lambda at, name: bool(at.hexists(name, field)), False)

    def _forget_structures(self) -> None:
        """Remove them all; what is added meanwhile stays, and so does its name."""
        if self._entry.raw.exists:
            self._ask(lambda at: self._register.forget(at, store_of(self.fence)), None)

    async def _aforget_structures(self) -> None:
        """The same on an event loop, through a connection for this alone: it is seldom done."""
        if not self._entry.raw.exists:
            return
        try:
            async with self._entry.raw.aclient() as at:
                is_whole = await self._register.aforget(at)
        except AWAY as error:
            self._away(error)
            return
        if not is_whole:
            await asyncio.to_thread(self._forget_structures)

    def _structures_of(self, names: list[str]) -> list[str]:
        """Those of the names that are a structure's."""
        if not names or not self._entry.raw.exists:
            return []

        def kinds(at: redis.Redis) -> list[Any]:
            pipeline = at.pipeline(transaction=False)
            for place in self._places(names):
                pipeline.type(place)
            return list(pipeline.execute())

        found = self._ask(kinds, [b"none"] * len(names))
        return [name for name, kind in zip(names, found, strict=True) if kind not in NO_STRUCTURE]

    def _structure_left(self, name: str) -> float | None:
        """Seconds that a structure will live; None without end, 0.0 if there is none."""
        left = self._of_structure(name, lambda at, place: at.pttl(place), -2)
        return None if left == -1 else max(left, 0) / 1000

    def _structure_lives(self, name: str, ttl: float | None) -> bool:
        """Give a structure another life; False if there is none."""

        def begin(at: Any, place: str) -> Any:
            return at.persist(place) if ttl is None else at.pexpire(place, int(ttl * 1000))

        return bool(self._of_structure(name, begin, False))

    def _of_structure(self, name: str, ask: Callable[[Any, str], Any], otherwise: Any) -> Any:
        if not self._structures_of([name]):
            return otherwise
        return self._ask(lambda at: ask(at, self._places([name])[0]), otherwise)

    def _places(self, names: Iterable[str]) -> list[str]:
        """Where structures stand in Redis: where the entries of values would."""
        place = Names(self.fence.namespace).entry
        return [place(name) for name in names]

    def _at(self, key: Any, version: int | None) -> str:
        return self._places([self._name(key, version)])[0]

    def _all(self, keys: Iterable[Any], version: int | None) -> list[str]:
        return self._places([self._name(key, version) for key in keys])

    @property
    def _register(self) -> Register:
        return Register(self.fence.namespace)

    def _change(self, key: Any, version: int | None, ask: Callable[[Any, str], Any], otherwise: V) -> V:
        """Ask, in one breath with the word that there may now be such a structure."""
        return self._one(key, version, lambda at, place: self._register.change(at, place, ask), otherwise)

    def _one(self, key: Any, version: int | None, ask: Callable[[Any, str], V], otherwise: V) -> V:
        return self._many([key], version, lambda at, places: ask(at, places[0]), otherwise)

    def _many(self, keys: Iterable[Any], version: int | None, ask: Callable[[Any, list[str]], V], otherwise: V) -> V:
        """Ask for what stands at these keys; a value that was cleared, and is still there, is removed first."""
        names = [self._name(key, version) for key in keys]
        try:
            return self._ask(lambda at: ask(at, self._places(names)), otherwise)
        except ResponseError as refused:
            if "WRONGTYPE" not in str(refused) or not self._swept(names):
                raise
            return self._ask(lambda at: ask(at, self._places(names)), otherwise)

    def _swept(self, names: list[str]) -> bool:
        live = self.fence.get_many(names)
        dead = [name for name in names if name not in live]
        structures = self._structures_of(dead)
        dead = [name for name in dead if name not in structures]
        self.fence.delete_many(dead)
        return bool(dead)

    def _ask(self, ask: Callable[[Any], V], otherwise: V) -> V:
        try:
            return ask(self._entry.raw.client())
        except (*AWAY, StoreUnavailable) as error:
            self._away(error)
            return otherwise

    def _away(self, error: Exception) -> None:
        if not self._entry.forgiving:
            raise StoreUnavailable(f"the server of {self.fence.namespace!r} did not answer: {error}") from error
        log.error("the server of %r did not answer: %s", self.fence.namespace, error)

    def _pack(self, member: Any) -> bytes:
        return self._entry.serializer.dumps(member)

    def _packed(self, key: Any, version: int | None, members: Iterable[Any]) -> list[bytes]:
        """Members of the set under a key as they are written; those that a former secret signed are so after this."""
        members, entry = list(members), self._entry
        if entry.former:
            place = self._at(key, version)
            self._ask(lambda at: resign(at, place, members, entry.serializer, entry.former), None)
        return [self._pack(member) for member in members]

    def _resign(self, keys: Iterable[Any], version: int | None) -> None:
        """Have sets that are to be compared written alike."""
        if self._entry.former:
            for place in self._all(keys, version):
                self._ask(partial(resign_all, place=place, present=self._entry.serializer), None)

    def _loaded(self, packed: Iterable[Any]) -> list[Any]:
        return readable(packed, self._entry.serializer)

    def _set(self, packed: Iterable[Any]) -> set[Any]:
        return set(self._loaded(packed))


def _page(cursor: int, count: int | None, at: redis.Redis, name: str) -> tuple[int, list[bytes]]:
    following, members = at.sscan(name, cursor, None, count)
    return following, [member for member in members if isinstance(member, bytes)]
