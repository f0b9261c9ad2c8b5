"""Sorted sets of Redis, by django-redis's names; members are written as values are."""
# ruff: noqa: A002 (`min` and `max` are Redis's words)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cachefence_web.django.structures import Structures

Score = float | str
"""A number, or "-inf", "+inf", "(5": Redis's way to say all, and to leave the bound itself out."""

_NONE: float | None = None


class SortedSets(Structures):
    """Each method answers as the Redis command of its name."""

    def zadd(
        self, key: Any, mapping: Mapping[Any, float], *, nx: bool = False, xx: bool = False, ch: bool = False,
        incr: bool = False, gt: bool = False, lt: bool = False, version: int | None = None,
    ) -> Any:
        """Add members with their scores; how many were new, or with `ch` how many are not as they were."""
        packed = dict(zip(self._packed(key, version, mapping), mapping.values(), strict=True))
        return self._change(key, version, lambda at, name: at.zadd(
            name, packed, nx=nx, xx=xx, ch=ch, incr=incr, gt=gt, lt=lt), 0)

    def zrem(self, key: Any, *values: Any, version: int | None = None) -> int:
        """Remove members; how many there were."""
        packed = self._packed(key, version, values)
        return self._one(key, version, lambda at, name: int(at.zrem(name, *packed)), 0)

    def zremrangebyscore(self, key: Any, min: Score, max: Score, version: int | None = None) -> int:
        """Remove the members whose score is in the range; how many there were."""
        return self._one(key, version, lambda at, name: int(at.zremrangebyscore(name, min, max)), 0)

    def zincrby(self, key: Any, amount: float, value: Any, version: int | None = None) -> float | None:
        """Add to the score of a member, which is made if there is none; the sum."""
        packed = self._packed(key, version, [value])
        return self._change(key, version, lambda at, name: at.zincrby(name, amount, *packed), _NONE)

    def zcard(self, key: Any, version: int | None = None) -> int:
        """How many members there are."""
        return self._one(key, version, lambda at, name: int(at.zcard(name)), 0)

    def zcount(self, key: Any, min: Score, max: Score, version: int | None = None) -> int:
        """How many members have a score in the range."""
        return self._one(key, version, lambda at, name: int(at.zcount(name, min, max)), 0)

    def zscore(self, key: Any, value: Any, version: int | None = None) -> float | None:
        """The score of a member; None if there is no such member."""
        packed = self._packed(key, version, [value])
        return self._one(key, version, lambda at, name: at.zscore(name, *packed), _NONE)

    def zrank(self, key: Any, value: Any, *, withscore: bool = False, version: int | None = None) -> Any:
        """The place of a member, the lowest score being 0; None if there is no such member."""
        packed = self._packed(key, version, [value])
        return self._one(key, version, lambda at, name: at.zrank(name, *packed, withscore=withscore), None)

    def zpopmax(self, key: Any, count: int | None = None, version: int | None = None) -> Any:
        """Take out the member of the highest score, with it; a list if a count is given."""
        return self._popped(key, version, count, lambda at, name: at.zpopmax(name, count))

    def zpopmin(self, key: Any, count: int | None = None, version: int | None = None) -> Any:
        """Take out the member of the lowest score, with it; a list if a count is given."""
        return self._popped(key, version, count, lambda at, name: at.zpopmin(name, count))

    def zrange(
        self, key: Any, start: int, end: int, *, desc: bool = False, withscores: bool = False,
        score_cast_func: Callable[[float], Any] = float, version: int | None = None,
    ) -> list[Any]:
        """The members at these places, both included, in the order of their scores."""
        return self._ranged(key, version, score_cast_func if withscores else None, lambda at, name: at.zrange(
            name, start, end, desc=desc, withscores=withscores))

    def zrevrange(
        self, key: Any, start: int, end: int, *, withscores: bool = False,
        score_cast_func: Callable[[float], Any] = float, version: int | None = None,
    ) -> list[Any]:
        """The same from the highest score down."""
        return self.zrange(key, start, end, desc=True, withscores=withscores, score_cast_func=score_cast_func,
                           version=version)

    def zrangebyscore(
        self, key: Any, min: Score, max: Score, *, start: int | None = None, num: int | None = None,
        withscores: bool = False, score_cast_func: Callable[[float], Any] = float, version: int | None = None,
    ) -> list[Any]:
        """The members whose score is in the range, or `num` of them from the place `start` in it."""
        return self._ranged(key, version, score_cast_func if withscores else None, lambda at, name: at.zrangebyscore(
            name, min, max, start=start, num=num, withscores=withscores))

    def zrevrangebyscore(
        self, key: Any, max: Score, min: Score, *, start: int | None = None, num: int | None = None,
        withscores: bool = False, score_cast_func: Callable[[float], Any] = float, version: int | None = None,
    ) -> list[Any]:
        """The same from the highest score down."""
        return self._ranged(key, version, score_cast_func if withscores else None, lambda at, name: at.zrevrangebyscore(
            name, max, min, start=start, num=num, withscores=withscores))

    def _popped(
        self, key: Any, version: int | None, count: int | None, ask: Callable[[Any, str], Iterable[Any]]
    ) -> Any:
        pairs = self._ranged(key, version, float, ask)
        return pairs if count is not None else next(iter(pairs), None)

    def _ranged(
        self, key: Any, version: int | None, cast: Callable[[float], Any] | None,
        ask: Callable[[Any, str], Iterable[Any]],
    ) -> list[Any]:
        """The members, or with `cast` pairs of a member and its score."""
        nothing: Iterable[Any] = []
        found = self._one(key, version, ask, nothing)
        if cast is None:
            return self._loaded(found)
        return [(member, cast(float(score))) for packed, score in found for member in self._loaded([packed])]
