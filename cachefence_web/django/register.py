"""Which structures there are: a set of their names beside the metadata, so that `clear()` can find them.

Whoever changes one writes its name down; whoever writes down a new one strikes off some that are there no more, so the
register grows no more than they do. It is given a mark when it is known to name all of them. One that was evicted has
lost the mark, and so has one that somebody put another type in the place of: then all names of the namespace are walked
over, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

import redis
from redis.exceptions import ResponseError

from cachefence_web.django.raw import AWAY
from cachefence_web.stores.base import Store
from cachefence_web.stores.redis.names import Names

V = TypeVar("V")

NO_STRUCTURE = frozenset({b"none", b"string"})
"""What TYPE says of what is none."""

_MARK = b""
_USED = "structures"
"""A field of the clock: there may be structures, even where there is no register."""

_LOOKED_AT = 3
"""For each new one: more than one, so that those that ended are struck off faster than new ones come."""

_AT_ONCE = 500


class Register:
    """The register of a namespace; its methods are given redis-py's client for the server."""

    __slots__ = ("_clock", "_doubted", "_names", "_place")

    def __init__(self, namespace: str) -> None:
        self._names = Names(namespace)
        self._clock = self._names.metadata[0]
        self._place = f"{{{namespace}}}:structures"
        self._doubted = f"{{{namespace}}}:doubted"

    def change(self, at: redis.Redis, structure: str, ask: Callable[[Any, str], Any]) -> Any:
        """Ask for a change of a structure, and write its name down.

        That twice, lest it be struck off, for not being there yet, between the first time and the change.
        """
        pipeline = at.pipeline(transaction=False)
        pipeline.sadd(self._place, structure)
        ask(pipeline, structure)
        pipeline.sadd(self._place, structure)
        pipeline.hsetnx(self._clock, _USED, "1")
        pipeline.srandmember(self._place, _LOOKED_AT)
        new, answer, _, _, some = pipeline.execute(raise_on_error=False)
        if isinstance(new, ResponseError):
            self._write_down(at, structure)
        elif new:
            self._strike_off(at, [each for each in some if each not in {_MARK, structure.encode()}])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self, at: redis.Redis, store: Store) -> None:
        """Remove all structures; what is added meanwhile stays, and so does its name."""
        structures, is_whole = _read(self._inquire(at.pipeline(transaction=False)).execute(False))
        for some in _batches(structures):
            self._remove(at.pipeline(transaction=False), some).execute()
        if not is_whole:
            self._walk(at, store)

    async def aforget(self, at: Any) -> bool:
        """The same of those that the register names; whether these are all."""
        structures, is_whole = _read(await self._inquire(at.pipeline(transaction=False)).execute(False))
        for some in _batches(structures):
            await self._remove(at.pipeline(transaction=False), some).execute()
        return is_whole

    def _walk(self, at: redis.Redis, store: Store) -> None:
        if at.type(self._place) != b"set":
            at.delete(self._place)
        for keys in store.scan("*"):
            places = [self._names.entry(key).encode("utf-8", "surrogatepass") for key in keys]
            pipeline = at.pipeline(transaction=False)
            for place in places:
                pipeline.type(place)
            kinds = zip(places, pipeline.execute(), strict=True)
            for some in _batches([place for place, kind in kinds if kind not in NO_STRUCTURE]):
                self._remove(at.pipeline(transaction=False), some).execute()
        self._write_down(at, _MARK)

    def _inquire(self, pipeline: Any) -> Any:
        pipeline.smembers(self._place)
        pipeline.smembers(self._doubted)
        pipeline.hget(self._clock, _USED)
        return pipeline

    def _remove(self, pipeline: Any, structures: list[bytes]) -> Any:
        for structure in structures:
            # Not `unlink()`: of redis-py's pipelines for clusters, the asynchronous one makes a coroutine of it.
            pipeline.execute_command("UNLINK", structure)
        for names in (self._place, self._doubted):
            pipeline.srem(names, *structures)
        return pipeline

    def _write_down(self, at: redis.Redis, name: str | bytes) -> None:
        try:
            at.sadd(self._place, name)
        except ResponseError:  # another type: nobody but us has business there
            at.delete(self._place)
            at.sadd(self._place, name)

    def _strike_off(self, at: redis.Redis, structures: list[bytes]) -> None:
        """Of some, those that are there no more.

        Until a second look has shown it they are known as doubted, and found by `forget`; one that came meanwhile goes
        back. Nothing depends on its being done.
        """
        with suppress(*AWAY, ResponseError):
            doubted = _gone(at.pipeline(transaction=False), structures)
            self._move(at.pipeline(transaction=False), self._place, self._doubted, doubted)
            gone = _gone(at.pipeline(transaction=False), doubted)
            back = [structure for structure in doubted if structure not in gone]
            self._move(at.pipeline(transaction=False), self._doubted, self._place, back)
            if gone:
                at.srem(self._doubted, *gone)

    def _move(self, pipeline: Any, source: str, destination: str, structures: list[bytes]) -> None:
        if structures:
            pipeline.sadd(destination, *structures)  # first: between the two it is known twice, and not nowhere
            pipeline.srem(source, *structures)
            pipeline.execute()


def _read(replies: Sequence[Any]) -> tuple[list[bytes], bool]:
    """What the register names, and whether that is all there is.

    A namespace without register and without the word that there ever was a structure has none.
    """
    known, doubted, used = replies
    if isinstance(known, ResponseError) or isinstance(doubted, ResponseError):
        return [], False
    members = frozenset(known)
    return sorted((members | frozenset(doubted)) - {_MARK}), _MARK in members or not (members or used)


def _gone(pipeline: Any, structures: list[bytes]) -> list[bytes]:
    for structure in structures:
        pipeline.exists(structure)
    there = pipeline.execute() if structures else []
    return [structure for structure, found in zip(structures, there, strict=True) if not found]


def _batches(names: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(names)
    while some := list(islice(left, _AT_ONCE)):
        yield some
