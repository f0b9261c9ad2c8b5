"""The faces: `CacheFence` for threads, `AsyncCacheFence` for event loops, the same names over the same plans."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar, Unpack, overload

from cachefence_web.asking import Counters, OnOutage, Terms, terms_for
from cachefence_web.core import plans
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
from cachefence_web.core.flight import Again, Ask, Computed, Failed, Lead, PassBy, Served
from cachefence_web.core.keys import check_key
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import Lease, check_tags
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.runtime.aio import AsyncDriver
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.leading import AsyncLeading, Leading
from cachefence_web.runtime.recording import inherit
from cachefence_web.runtime.sync import Driver
from cachefence_web.serializers import Serializer

T = TypeVar("T")
V = TypeVar("V")


class _Face:
    """What both colours check and decide alike."""

    def __init__(
        self,
        url: Any = "memory://",
        *,
        namespace: str = "cachefence",
        policy: Policy | None = None,
        policies: Mapping[str, Policy] | None = None,
        serializer: str | Serializer = "msgpack",
        secret: str | bytes | None = None,
        timeout: float = 1.0,
        on_outage: OnOutage = "raise",
        fence_life: float = 10.0,
    ) -> None:
        """A cache. Nothing is connected before it is first used.

        url: redis://host:6379/0, rediss://, unix:///path, memory:// (a store within the process; memory://name is
            shared by name), or a redis-py client, whose connection settings are then used.
        namespace: what sets this cache's keys apart from others on the same server.
        policy: what applies where a call says nothing; policies: the same by name, for `policy="name"`.
        serializer: "msgpack", "json", "pickle" (needs `secret`), or a Serializer.
        timeout: seconds, the deadline of each store operation, connecting included.
        on_outage: what a write or an invalidation does when the store cannot be reached: "raise" StoreUnavailable
            or "log" it. Reads compute instead, always.
        fence_life: seconds after which a writer under `fencing` that has not come back counts as dead.

        Raises:
            ConfigurationError: for any argument that cannot work.
        """
        self._adopt(terms_for(
            url, namespace=namespace, policy=policy, policies=policies, serializer=serializer, secret=secret,
            timeout=timeout, on_outage=on_outage, fence_life=fence_life))

    @classmethod
    def _of(cls, terms: Terms) -> Self:
        face = cls.__new__(cls)
        face._adopt(terms)
        return face

    def _adopt(self, terms: Terms) -> None:
        self._terms = terms

    @property
    def namespace(self) -> str:
        """What sets this cache's keys apart."""
        return self._terms.namespace

    @property
    def policy(self) -> Policy:
        """What applies where a call says nothing."""
        return self._terms.policy

    def stats(self) -> Counters:
        """How this process's callers were answered so far."""
        return replace(self._terms.engine.counters)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._terms.namespace!r} on {self._terms.store.identity}>"

    def _put(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, since: Lease | None,
        options: Mapping[str, Any],
    ) -> Plan[Filed]:
        if since is not None and not isinstance(since, Lease):
            raise ConfigurationError(f"since is what instant() has given, not {since!r:.60}")
        payload, kind, ask = self._payload(key, value, tags, policy, options)
        return plans.put(ask.key, Computed(value, payload, ask.tags, kind=kind), ask.policy, since)

    def _add(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any]
    ) -> Plan[bool]:
        payload, kind, ask = self._payload(key, value, tags, policy, options)
        return plans.add(ask.key, Computed(value, payload, ask.tags, kind=kind), ask.policy)

    def _payload(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any]
    ) -> tuple[bytes, Any, Ask]:
        ask = self._terms.ask(key, None, tags, policy, options)
        payload, kind = self._terms.engine.encode(value)
        return payload, kind, ask

    def _asks(
        self, keys: Iterable[str], tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any],
        load_many: Callable[[list[str]], Any],
    ) -> list[Ask]:
        if not callable(load_many):
            raise ConfigurationError(
                f"get_or_set_many takes the function that loads the values, not {load_many!r:.60}: lambda keys: ...")
        shared = check_tags(tags)
        return [self._terms.ask(key, _one_of(load_many, key), shared, policy, options)
                for key in dict.fromkeys(_names(keys))]

    def _collect(self, asks: list[Ask], landings: list[Served | Failed | Again]) -> dict[str, Any]:
        values = {}
        for ask, landing in zip(asks, landings, strict=True):
            left_out = isinstance(landing, Again) and isinstance(landing.because, _Omitted | None)
            if not left_out:
                values[ask.key] = self._terms.settle(landing)
        return values

    def _hit(self, served: Served | None, default: T) -> Any | T:
        if served is None:
            return default
        inherit(served)
        self._terms.engine.counters.count(served)
        return served.value

    def _hits(self, keys: list[str], found: list[Served | None]) -> dict[str, Any]:
        return {key: self._hit(served, None) for key, served in zip(keys, found, strict=True) if served is not None}

    def _outage(self, what: str, error: StoreUnavailable) -> None:
        if self._terms.on_outage == "raise":
            raise error
        log.error("%s did not reach the store of %r: %s", what, self._terms.namespace, error)

    def _tags(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        if not tags:
            raise ConfigurationError("name at least one tag, such as 'book:42'; invalidate_all() drops everything")
        return check_tags(tags)


class _Omitted(BaseException):
    """A batch function was asked for one key and left it out: no failure, and nobody else's answer."""


def _names(keys: Iterable[str]) -> list[str]:
    if isinstance(keys, str):
        raise ConfigurationError(f"keys is a list of keys, not one text: write [{keys!r}]")
    return [check_key(key) for key in keys]


def _integer(delta: object) -> int:
    if isinstance(delta, bool) or not isinstance(delta, int) or not -(2**63) <= delta < 2**63:
        raise ConfigurationError(f"incr() adds an integer of 64 bits, not {delta!r}")
    return delta


def _one_of(load_many: Callable[[list[str]], Any], key: str) -> Callable[[], Any]:
    """The batch function as the compute of one key, of whichever colour it is."""

    def pick(values: Any) -> Any:
        if key not in values:
            raise _Omitted(key)
        return values[key]

    if asyncio.iscoroutinefunction(load_many):
        async def load_async() -> Any:
            return pick(await load_many([key]))

        return load_async
    return lambda: pick(load_many([key]))


class CacheFence(_Face):
    """A cache for threads. Its methods raise ConfigurationError for bad arguments before doing anything."""

    def _adopt(self, terms: Terms) -> None:
        super()._adopt(terms)
        self._driver = Driver(terms.engine, terms.store)
        self._aio: AsyncCacheFence | None = None

    @property
    def aio(self) -> AsyncCacheFence:
        """The same cache for event loops: one store, one set of flights."""
        if self._aio is None:
            self._aio = AsyncCacheFence._of(self._terms)
        return self._aio

    def get_or_set(
        self, key: str, load: Callable[[], V], *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> V:
        """The value under the key; `load` makes it if there is none, once however many ask.

        Raises:
            LeaseTimeout, ComputeFailed, and whatever `load` raises.
        """
        landing = self._driver.run(plans.get_or_set(
            self._terms.ask(key, self._terms.loader(load), tags, policy, options)))
        value: V = self._terms.settle(landing)
        return value

    def get_or_set_many(
        self, keys: Iterable[str], load_many: Callable[[list[str]], Mapping[str, V]], *, tags: Iterable[str] = (),
        policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
    ) -> dict[str, V]:
        """The values of many keys; one call of `load_many` makes all that are missing.

        A key that its answer leaves out is left out here too, and nothing is stored for it.
        """
        asks = self._asks(keys, tags, policy, options, load_many)
        return self._collect(asks, self._driver.run(plans.get_or_set_many(asks, load_many)))

    @overload
    def get(self, key: str) -> Any: ...
    @overload
    def get(self, key: str, default: T) -> Any | T: ...
    def get(self, key: str, default: Any = None) -> Any:
        """The value if there is one that is fresh and true; computes nothing, and finds nothing during an outage."""
        try:
            return self._hit(self._driver.run(plans.get(check_key(key), self._terms.policy)), default)
        except StoreUnavailable:
            return default

    def peek(self, key: str, *, policy: str | Policy | None = None, **options: Unpack[PolicyOptions]) -> Served | None:
        """Like `get`, with what is known of the value: its age, its tags, the time that it stays fresh."""
        ask = self._terms.ask(key, None, (), policy, options)
        try:
            found = self._driver.run(plans.get(ask.key, ask.policy))
        except StoreUnavailable:
            return None
        self._hit(found, None)
        return found

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values there are, in one round trip."""
        names = _names(keys)
        try:
            found = self._driver.run(plans.lockstep([plans.get(name, self._terms.policy) for name in names]))
        except StoreUnavailable:
            return {}
        return self._hits(names, found)

    def set(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        since: Lease | None = None, **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value, dated now or at `since` (an earlier `instant()`); False if it was outdated by then.

        Raises:
            SerializationError: if it would not come back as it is.
            StoreUnavailable: unless on_outage="log".
        """
        plan = self._put(key, value, tags, policy, since, options)
        return self._write("set", plan, Filed.LATE) is Filed.ADMITTED

    def set_many(
        self, values: Mapping[str, object], *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        """Store many values, two round trips in all."""
        shared = check_tags(tags)
        puts = [self._put(key, value, shared, policy, None, options) for key, value in values.items()]
        self._write("set_many", plans.lockstep(puts), None)

    def add(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value unless there is one already; whether it was stored."""
        return self._write("add", self._add(key, value, tags, policy, options), False)

    def delete(self, key: str) -> bool:
        """Remove the key, and refuse whatever is being computed for it now; whether there was one."""
        return self._write("delete", plans.just(Delete(check_key(key))), False)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove keys; how many there were."""
        removals = [plans.just(Delete(key)) for key in _names(keys)]
        return sum(self._write("delete_many", plans.lockstep(removals), []))

    def touch(self, key: str, *, policy: str | Policy | None = None, **options: Unpack[PolicyOptions]) -> bool:
        """Begin the value's life again, with the policy's `ttl`; False if there is none."""
        ask = self._terms.ask(key, None, (), policy, options)
        return self._write("touch", plans.touch(ask.key, ask.policy), False)

    def incr(
        self, key: str, delta: int = 1, *, create: bool = True, policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> int | None:
        """Add to an integer, atomically; a missing one begins at `delta`, or stays missing (None) with create=False.

        Raises:
            TypeError: if the value is no integer.
            OverflowError: if the sum does not fit 64 bits.
        """
        ask = self._terms.ask(key, None, (), policy, options)
        return self._write("incr", plans.increment(ask.key, _integer(delta), ask.policy, create=create), None)

    def instant(self) -> Lease:
        """A date for a value that is about to be read elsewhere, for `set(..., since=...)`."""
        return self._driver.run(plans.just(TakeInstant()))

    def invalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags; costs the same for one entry as for a million."""
        self._write("invalidate_tags", plans.just(Invalidate(self._tags(tags))), None)

    def expire_tags(self, *tags: str) -> None:
        """Make everything that carries one of the tags stale: `stale_for` may serve it while one refresh runs."""
        self._write("expire_tags", plans.just(Expire(self._tags(tags))), None)

    def invalidate_all(self) -> None:
        """Forbid everything in the namespace, at once."""
        self._write("invalidate_all", plans.just(Clear()), None)

    def invalidate_pattern(self, pattern: str, *, progress: Callable[[int], None] | None = None) -> int:
        """Delete the keys that match a glob pattern; walks the whole namespace, so prefer tags. How many there were."""
        removed = 0
        check_key(pattern)
        try:
            for keys in self._terms.store.scan(pattern):
                removed += self.delete_many(keys)
                if progress is not None:
                    progress(removed)
        except StoreUnavailable as error:
            self._outage("invalidate_pattern", error)
        return removed

    @contextmanager
    def fencing(self, *tags: str) -> Iterator[None]:
        """Around a write that no ORM hook sees: nothing stale is served after it, even if this process dies in it."""
        named, token = self._tags(tags), uuid.uuid4().hex
        self._write("fencing", plans.just(Fence(named, token, self._terms.fence_life)), None)
        outcome = Outcome.UNKNOWN
        try:
            yield
            outcome = Outcome.COMMITTED
        finally:
            self._write("lifting a fence", plans.just(Lift(named, token, outcome)), None)

    def begin(
        self, key: str, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Served | Lead | PassBy:
        """For a compute that is no function: a value, the right to compute it (see `leading`), or the word to pass by.

        Raises:
            What another's compute of it, which this caller waited for, has raised.
        """
        begun = self._driver.run(plans.begin(self._terms.ask(key, None, tags, policy, options)))
        match begun:
            case Served():
                self._terms.settle(begun)
            case Failed():
                self._terms.settle(begun)
        assert not isinstance(begun, Failed | Again)
        return begun

    def leading(self, lead: Lead, *, since: Lease | None = None) -> Leading:
        """The block in which what was begun is computed: call `finish(value)` or `pass_by()` in it.

        since: an `instant()` taken before anything was read for the value, if that was before `begin`.
        """
        return Leading(self._driver, lead, since)

    def close(self) -> None:
        """Let go of connections and threads; a later call opens them again."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, what: str, plan: Plan[V], otherwise: V) -> V:
        try:
            return self._driver.run(plan)
        except StoreUnavailable as error:
            self._outage(what, error)
            return otherwise


class AsyncCacheFence(_Face):
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
            return self._hit(await self._driver.run(plans.get(check_key(key), self._terms.policy)), default)
        except StoreUnavailable:
            return default

    async def peek(
        self, key: str, *, policy: str | Policy | None = None, **options: Unpack[PolicyOptions]
    ) -> Served | None:
        """Like `get`, with what is known of the value: its age, its tags, the time that it stays fresh."""
        ask = self._terms.ask(key, None, (), policy, options)
        try:
            found = await self._driver.run(plans.get(ask.key, ask.policy))
        except StoreUnavailable:
            return None
        self._hit(found, None)
        return found

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values there are, in one round trip."""
        names = _names(keys)
        try:
            found = await self._driver.run(plans.lockstep([plans.get(name, self._terms.policy) for name in names]))
        except StoreUnavailable:
            return {}
        return self._hits(names, found)

    async def set(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        since: Lease | None = None, **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value, dated now or at `since` (an earlier `instant()`); False if it was outdated by then."""
        plan = self._put(key, value, tags, policy, since, options)
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
        return await self._write("delete", plans.just(Delete(check_key(key))), False)

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove keys; how many there were."""
        removals = [plans.just(Delete(key)) for key in _names(keys)]
        return sum(await self._write("delete_many", plans.lockstep(removals), []))

    async def touch(self, key: str, *, policy: str | Policy | None = None, **options: Unpack[PolicyOptions]) -> bool:
        """Begin the value's life again, with the policy's `ttl`; False if there is none."""
        ask = self._terms.ask(key, None, (), policy, options)
        return await self._write("touch", plans.touch(ask.key, ask.policy), False)

    async def incr(
        self, key: str, delta: int = 1, *, create: bool = True, policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> int | None:
        """Add to an integer, atomically; a missing one begins at `delta`, or stays missing (None) with create=False."""
        ask = self._terms.ask(key, None, (), policy, options)
        return await self._write("incr", plans.increment(ask.key, _integer(delta), ask.policy, create=create), None)

    async def instant(self) -> Lease:
        """A date for a value that is about to be read elsewhere, for `set(..., since=...)`."""
        return await self._driver.run(plans.just(TakeInstant()))

    async def invalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags; costs the same for one entry as for a million."""
        await self._write("invalidate_tags", plans.just(Invalidate(self._tags(tags))), None)

    async def expire_tags(self, *tags: str) -> None:
        """Make everything that carries one of the tags stale: `stale_for` may serve it while one refresh runs."""
        await self._write("expire_tags", plans.just(Expire(self._tags(tags))), None)

    async def invalidate_all(self) -> None:
        """Forbid everything in the namespace, at once."""
        await self._write("invalidate_all", plans.just(Clear()), None)

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
        await self._write("fencing", plans.just(Fence(named, token, self._terms.fence_life)), None)
        outcome = Outcome.UNKNOWN
        try:
            yield
            outcome = Outcome.COMMITTED
        finally:
            await asyncio.shield(self._write("lifting a fence", plans.just(Lift(named, token, outcome)), None))

    async def begin(
        self, key: str, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Served | Lead | PassBy:
        """For a compute that is no function: a value, the right to compute it, or the word to pass by."""
        begun = await self._driver.run(plans.begin(self._terms.ask(key, None, tags, policy, options)))
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
