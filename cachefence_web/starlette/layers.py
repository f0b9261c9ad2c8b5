"""Where several declarations apply to a request, the one nearest to its endpoint counts; each has keys of its own.

A rule cannot know what is declared within: it hands an `Outer` in, and whatever is declared nearer has it give way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

from msgspec.structs import replace
from starlette.types import Scope

from cachefence_web.cache import AsyncCacheFence
from cachefence_web.core.flight import Fitness, Lead, PassBy, Served
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Lease
from cachefence_web.runtime.leading import AsyncLeading

OUTER = "cachefence_web.outer"
"""Where a scope holds the innermost rule that applies to it so far."""

ENDPOINT = "endpoint"
"""The place of what is declared at an endpoint, in front of its keys."""

UNREACHED_FOR = 60.0
"""Seconds for which an endpoint that a refresh did not come to is refreshed by its visitors."""


@dataclass(slots=True)
class Outer:
    """A rule around whatever else may be declared.

    tags: hold for what is declared within, too.
    depth: how many rules are around this one.
    leading: while an answer is made under this rule for everybody.
    """

    tags: tuple[str, ...]
    depth: int = 0
    leading: AsyncLeading | None = None
    gave_way: bool = False

    @property
    def place(self) -> str:
        """In front of the keys of this rule; nothing for the outermost."""
        return f"inner{self.depth}" if self.depth else ""

    @contextmanager
    def around(self, scope: Scope) -> Iterator[None]:
        """Run a block in which the scope says that this rule is around."""
        before = scope.get(OUTER)
        scope[OUTER] = self
        try:
            yield
        finally:
            if before is None:
                scope.pop(OUTER, None)
            else:
                scope[OUTER] = before

    async def give_way(self) -> None:
        """Something nearer answers: whoever waits for this rule's answer is to ask for it there."""
        self.gave_way = True
        if self.leading is not None:
            await self.leading.pass_by()


async def outranked(scope: Scope) -> tuple[str, ...]:
    """Have the rules around give way to what is declared here; the tags that they add."""
    outer = scope.get(OUTER)
    if not isinstance(outer, Outer):
        return ()
    await outer.give_way()
    return outer.tags


class Reach:
    """Whether requests of nobody in particular come to an endpoint, learnt from those that did not."""

    def __init__(self) -> None:
        self._missed_until = 0.0

    def missed(self) -> None:
        """One did not: credentials that only visitors have may be asked for on the way."""
        self._missed_until = time.monotonic() + UNREACHED_FOR

    @property
    def lost(self) -> bool:
        """Whether it would be in vain to try again so soon."""
        return time.monotonic() < self._missed_until


class Conversing(Protocol):
    """What conversations ask of a cache: each step of `responding.steps` that is the cache's is one of these."""

    async def begin(
        self, key: str, *, tags: Iterable[str], policy: Policy, fitness: Callable[[Served], Fitness]
    ) -> Served | Lead | PassBy:
        """`AsyncCacheFence.begin`."""

    async def peek(self, key: str, *, policy: Policy, fitness: Callable[[Served], Fitness]) -> Served | None:
        """`AsyncCacheFence.peek`."""

    async def set(
        self, key: str, value: object, *, tags: Iterable[str], policy: Policy, since: Lease, raw: bool
    ) -> bool:
        """`AsyncCacheFence.set`."""

    async def delete(self, key: str, /) -> bool:
        """`AsyncCacheFence.delete`."""

    async def instant(self) -> Lease:
        """`AsyncCacheFence.instant`."""

    async def invalidate_tags(self, *tags: str) -> object:
        """`AsyncCacheFence.invalidate_tags`."""

    def leading(self, lead: Lead, *, since: Lease | None) -> AbstractAsyncContextManager[AsyncLeading]:
        """`AsyncCacheFence.leading`."""


class Layered:
    """A cache as seen from one place: its keys are told from those that another place has for the same request.

    foreground: what is stale is made anew by the visitor who leads, and shown to the others meanwhile.
    """

    def __init__(self, fence: AsyncCacheFence, place: str, *, foreground: bool = False) -> None:
        self._fence, self._place, self._foreground = fence, place + ":", foreground
        self.instant = fence.instant
        self.leading = fence.leading
        self.invalidate_tags = fence.invalidate_tags

    async def begin(
        self, key: str, *, tags: Iterable[str], policy: Policy, fitness: Callable[[Served], Fitness]
    ) -> Served | Lead | PassBy:
        """`AsyncCacheFence.begin`."""
        begun = await self._fence.begin(self._place + key, tags=tags, policy=policy, fitness=fitness)
        if self._foreground and isinstance(begun, Lead):
            return replace(begun, stale=None)
        return begun

    async def peek(self, key: str, *, policy: Policy, fitness: Callable[[Served], Fitness]) -> Served | None:
        """`AsyncCacheFence.peek`."""
        return await self._fence.peek(self._place + key, policy=policy, fitness=fitness)

    async def set(
        self, key: str, value: object, *, tags: Iterable[str], policy: Policy, since: Lease, raw: bool
    ) -> bool:
        """`AsyncCacheFence.set`."""
        return await self._fence.set(self._place + key, value, tags=tags, since=since, policy=policy, raw=raw)

    async def delete(self, key: str, /) -> bool:
        """`AsyncCacheFence.delete`; the key of a lead that was begun here names the place already."""
        return await self._fence.delete(key if key.startswith(self._place) else self._place + key)


def layered(fence: AsyncCacheFence, place: str, *, foreground: bool = False) -> AsyncCacheFence:
    """The cache as seen from a place: itself where there are no others."""
    if not place:
        return fence
    seen: Conversing = Layered(fence, place, foreground=foreground)
    return cast("AsyncCacheFence", seen)
