"""The face for event loops: the methods of the one for threads, awaited."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, Unpack, overload

from cachefence_web.asking import Terms
from cachefence_web.cache.face import Face, integer, names_of
from cachefence_web.cache.threads import CacheFence
from cachefence_web.core import plans, writing
from cachefence_web.core.effects import (
    Clear,
    Delete,
    Expire,
    Fence,
    Filed,
    Invalidate,
    Lift,
    Outcome,
    Plan,
    TakeInstant,
)
from cachefence_web.core.flight import Again, Ask, Failed, Fitness, Lead, PassBy, Served
from cachefence_web.core.keys import check_key
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import Lease, check_tags
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.aio import AsyncDriver
from cachefence_web.runtime.leading import AsyncLeading

T = TypeVar("T")
V = TypeVar("V")


class AsyncCacheFence(Face):
    """A cache for event loops: the methods of `CacheFence`, awaited. A synchronous `load` runs in a thread."""

    def _adopt(self, terms: Terms) -> None:
        super()._adopt(terms)
        self._driver = AsyncDriver(terms.engine, terms.async_store)
        self._sync: CacheFence | None = None

    @property
    def sync(self) -> CacheFence:
        """The same cache for threads: one store, one set of flights."""
        if self._sync is None:
            self._sync = CacheFence._of(self._terms)
        return self._sync

    @overload
    async def get_or_set(
        self, key: str, load: Callable[[], Awaitable[V]], *, tags: Iterable[str] = (),
        policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
    ) -> V: ...
    @overload
    async def get_or_set(
        self, key: str, load: Callable[[], V], *, tags: Iterable[str] = (),
        policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
    ) -> V: ...
    async def get_or_set(
        self, key: str, load: Callable[[], Any], *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Any:
        """The value under the key; `load`, of either colour, makes it if there is none, once however many ask.

        Raises:
            LeaseTimeout, ComputeFailed, and whatever `load` raises.
        """
        landing = await self._driver.run(plans.get_or_set(
            self._terms.ask(key, self._terms.loader(load), tags, policy, options)))
        return self._terms.settle(landing)

    @overload
    async def get_or_set_many(
        self, keys: Iterable[str], load_many: Callable[[list[str]], Awaitable[Mapping[str, V]]], *,
        tags: Iterable[str] = (), policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
    ) -> dict[str, V]: ...
    @overload
    async def get_or_set_many(
        self, keys: Iterable[str], load_many: Callable[[list[str]], Mapping[str, V]], *,
        tags: Iterable[str] = (), policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
    ) -> dict[str, V]: ...
    async def get_or_set_many(
        self, keys: Iterable[str], load_many: Callable[[list[str]], Any], *, tags: Iterable[str] = (),
        policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
    ) -> dict[str, Any]:
        """The values of many keys; one call of `load_many` makes all that are missing."""
        asks = self._asks(keys, tags, policy, options, load_many)
        return self._collect(asks, await self._driver.run(plans.get_or_set_many(asks, load_many)))

    @overload
    async def get(self, key: str) -> Any: ...
    @overload
    async def get(self, key: str, default: T) -> Any | T: ...
    async def get(self, key: str, default: Any = None) -> Any:
        """The value if there is one that is fresh and true; computes nothing, and finds nothing during an outage."""
        try:
            return self._hit(await self._driver.run(plans.get(Ask(check_key(key), self._terms.policy))), default)
        except StoreUnavailable:
            return default

    async def peek(
        self, key: str, *, policy: str | Policy | None = None, fitness: Callable[[Served], Fitness] | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Served | None:
        """Like `get`, with what is known of the value: its age, its tags, the time that it stays fresh.

        fitness: judges what was found, fresh, stale or last good, as in `begin`: what SUFFICES is returned too.
        """
        ask = self._terms.ask(key, None, (), policy, options, fitness)
        try:
            found = await self._driver.run(plans.get(ask))
        except StoreUnavailable:
            return None
        self._hit(found, None)
        return found

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values there are, in one round trip."""
        names = names_of(keys)
        try:
            found = await self._driver.run(plans.lockstep([plans.get(Ask(name, self._terms.policy)) for name in names]))
        except StoreUnavailable:
            return {}
        return self._hits(names, found)

    async def set(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        since: Lease | None = None, raw: bool = False, **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value, dated now or at `since` (an earlier `instant()`); False if it was outdated by then.

        raw: the value is bytes to be stored as they are, as `finish(raw=True)` stores them.
        """
        plan = self._put(key, value, tags, policy, since, options, raw=raw)
        return await self._write("set", plan, Filed.LATE) is Filed.ADMITTED

    async def set_many(
        self, values: Mapping[str, object], *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        """Store many values, two round trips in all."""
        shared = check_tags(tags)
        puts = [self._put(key, value, shared, policy, None, options) for key, value in values.items()]
        await self._write("set_many", plans.lockstep(puts), None)

    async def add(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value unless there is one already; whether it was stored."""
        return await self._write("add", self._add(key, value, tags, policy, options), False)

    async def delete(self, key: str) -> bool:
        """Remove the key, and refuse whatever is being computed for it now; whether there was one."""
        return await self._write("delete", writing.just(Delete(check_key(key))), False)

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove keys; how many there were."""
        removals = [writing.just(Delete(key)) for key in names_of(keys)]
        return sum(await self._write("delete_many", plans.lockstep(removals), []))

    async def touch(self, key: str, *, policy: str | Policy | None = None, **options: Unpack[PolicyOptions]) -> bool:
        """Begin the value's life again, with the policy's `ttl`; False if there is none."""
        ask = self._terms.ask(key, None, (), policy, options)
        return await self._write("touch", writing.touch(ask.key, ask.policy), False)

    async def incr(
        self, key: str, delta: int = 1, *, create: bool = True, policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> int | None:
        """Add to an integer, atomically; a missing one begins at `delta`, or stays missing (None) with create=False."""
        ask = self._terms.ask(key, None, (), policy, options)
        return await self._write("incr", writing.increment(ask.key, integer(delta), ask.policy, create=create), None)

    async def instant(self) -> Lease:
        """A date for a value that is about to be read elsewhere, for `set(..., since=...)`."""
        return await self._driver.run(writing.just(TakeInstant()))

    async def invalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags; costs the same for one entry as for a million."""
        await self._write("invalidate_tags", writing.just(Invalidate(self._tags(tags))), None)

    async def expire_tags(self, *tags: str) -> None:
        """Make everything that carries one of the tags stale: `stale_for` may serve it while one refresh runs."""
        await self._write("expire_tags", writing.just(Expire(self._tags(tags))), None)

    async def invalidate_all(self) -> None:
        """Forbid everything in the namespace, at once."""
        await self._write("invalidate_all", writing.just(Clear()), None)

    async def invalidate_pattern(self, pattern: str, *, progress: Callable[[int], None] | None = None) -> int:
        """Delete the keys that match a glob pattern; walks the whole namespace, so prefer tags. How many there were."""
        removed = 0
        check_key(pattern)
        try:
            async for keys in self._terms.async_store.scan(pattern):
                removed += await self.delete_many(keys)
                if progress is not None:
                    progress(removed)
        except StoreUnavailable as error:
            self._outage("invalidate_pattern", error)
        return removed

    @asynccontextmanager
    async def fencing(self, *tags: str) -> AsyncIterator[None]:
        """Around a write that no ORM hook sees: nothing stale is served after it, even if this process dies in it."""
        named, token = self._tags(tags), uuid.uuid4().hex
        await self._write("fencing", writing.just(Fence(named, token, self._terms.fence_life)), None)
        outcome = Outcome.UNKNOWN
        try:
            yield
            outcome = Outcome.COMMITTED
        finally:
            await asyncio.shield(self._write("lifting a fence", writing.just(Lift(named, token, outcome)), None))

    async def begin(
        self, key: str, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        fitness: Callable[[Served], Fitness] | None = None, **options: Unpack[PolicyOptions],
    ) -> Served | Lead | PassBy:
        """For a compute that is no function: a value, the right to compute it (see `leading`), or the word to pass by.

        fitness: judges the value that is found, fresh, stale or last good, where the policy alone cannot. It is called
            in the midst of deciding, perhaps again, so it must be pure: no waiting, no cache, no side effect. What is
            stored after this call, and what a flight brings that it joins, needs no judging.

        Raises:
            What another's compute of it, which this caller waited for, has raised.
        """
        begun = await self._driver.run(plans.begin(self._terms.ask(key, None, tags, policy, options, fitness)))
        match begun:
            case Served():
                self._terms.settle(begun)
            case Failed():
                self._terms.settle(begun)
        assert not isinstance(begun, Failed | Again)
        return begun

    def leading(self, lead: Lead, *, since: Lease | None = None) -> AsyncLeading:
        """The block in which what was begun is computed: await `finish(value)` or `pass_by()` in it.

        since: an `instant()` taken before anything was read for the value, if that was before `begin`.
        """
        return AsyncLeading(self._driver, lead, since)

    async def aclose(self) -> None:
        """Let go of what belongs to the running loop, and of the `sync` twin; a later call opens it again."""
        await self._driver.aclose()
        if self._sync is not None:
            await asyncio.to_thread(self._sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _write(self, what: str, plan: Plan[V], otherwise: V) -> V:
        try:
            return await self._driver.run(plan)
        except StoreUnavailable as error:
            self._outage(what, error)
            return otherwise
