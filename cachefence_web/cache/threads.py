"""The face for threads."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from cachefence_web.asking import OnOutage, Terms
from cachefence_web.cache.face import FENCING, Face, integer, names_of
from cachefence_web.cache.fenced import TRIES, Fenced, lasts, owed_for, stood_still
from cachefence_web.core import plans, sweeping, writing
from cachefence_web.core.effects import Clear, Expire, Filed, Invalidate, Outcome, Plan, TakeInstant
from cachefence_web.core.fencing import raise_fences
from cachefence_web.core.flight import Again, Ask, Failed, Fitness, Lead, PassBy, Served
from cachefence_web.core.journal import Owed
from cachefence_web.core.keys import check_key
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import Lease
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.bypassing import bypassed, comes_late
from cachefence_web.runtime.leading import Leading
from cachefence_web.runtime.recording import looks_past
from cachefence_web.runtime.sync import Driver
from cachefence_web.stores.memory import now_in_microseconds

if TYPE_CHECKING:
    from cachefence_web.cache.loops import AsyncCacheFence

T = TypeVar("T")
V = TypeVar("V")


class CacheFence(Face):
    """A cache for threads. Its methods raise ConfigurationError for bad arguments before doing anything."""

    def _adopt(self, terms: Terms) -> None:
        super()._adopt(terms)
        self._driver = Driver(terms.engine, terms.store, terms.sweeper)
        self._aio: AsyncCacheFence | None = None

    @property
    def aio(self) -> AsyncCacheFence:
        """The same cache for event loops: one store, one set of flights."""
        if self._aio is None:
            from cachefence_web.cache.loops import AsyncCacheFence  # each colour makes the other

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
        ask = self._terms.ask(key, self._terms.loader(load), tags, policy, options)
        if bypassed():
            return self._driver.call(load, key)
        if comes_late():
            found = self._found(ask)
            own: V = self._driver.call(load, key) if found is None else self._terms.settle(found)
            return own
        landing = self._driver.run(plans.get_or_set(ask, away=looks_past()))
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
        if bypassed():
            return self._loaded(asks, self._driver.call(partial(load_many, [ask.key for ask in asks]), "a batch"))
        found = self._driver.run(plans.get_or_set_many(asks, load_many, away=looks_past()))
        return self._collect(asks, found)

    @overload
    def get(self, key: str) -> Any: ...
    @overload
    def get(self, key: str, default: T) -> Any | T: ...
    def get(self, key: str, default: Any = None) -> Any:
        """The value if there is one that is fresh and true; computes nothing, and finds nothing during an outage."""
        try:
            return self._hit(self._driver.run(plans.get(Ask(check_key(key), self._terms.policy))), default)
        except StoreUnavailable:
            return default

    def peek(
        self, key: str, *, policy: str | Policy | None = None, fitness: Callable[[Served], Fitness] | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Served | None:
        """Like `get`, with what is known of the value: its age, its tags, the time that it stays fresh.

        fitness: judges what was found, fresh, stale or last good, as in `begin`: what SUFFICES is returned too.
        """
        ask = self._terms.ask(key, None, (), policy, options, fitness)
        found = self._found(ask)
        self._hit(found, None)
        return found

    def _found(self, ask: Ask) -> Served | None:
        try:
            return self._driver.run(plans.get(ask))
        except StoreUnavailable:
            return None

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values there are, a thousand in a round trip; a key that an outage kept from being read is left out."""
        names = names_of(keys)
        found = self._driver.run(plans.get_many([Ask(name, self._terms.policy) for name in names]))
        return self._hits(names, found)

    def set(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        since: Lease | None = None, raw: bool = False, **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value, dated now or at `since` (an earlier `instant()`); False if it was outdated by then.

        raw: the value is bytes to be stored as they are, as `finish(raw=True)` stores them.

        Raises:
            SerializationError: if it would not come back as it is.
            StoreUnavailable: with on_outage="raise".
        """
        plan = self._put(key, value, tags, policy, since, options, raw=raw)
        return self._write("set", plan, Filed.LATE, Owed(keys=(key,))) is Filed.ADMITTED

    def set_many(
        self, values: Mapping[str, object], *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        """Store many values, all dated at the call, in two round trips; more for more than a thousand."""
        plan = self._put_all(values, tags, policy, options)
        self._write("set_many", plan, None, Owed(keys=tuple(values)))

    def add(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value unless there is one already; whether it was stored."""
        return self._write("add", self._add(key, value, tags, policy, options), False)

    def replace(
        self, key: str, value: object, *, tags: Iterable[str] = (), policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> bool:
        """Store a value only where there is one already; whether it was stored."""
        plan = self._replace(key, value, tags, policy, options)
        return self._write("replace", plan, False, Owed(keys=(key,)))

    def delete(self, key: str) -> bool:
        """Remove the key, and refuse whatever is being computed for it now; whether it had a value."""
        return self._write("delete", writing.remove([check_key(key)]), 0, Owed(keys=(key,))) == 1

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove keys, hundreds in the round trip that looks at them; how many had a value."""
        names = names_of(keys)
        return self._write("delete_many", writing.remove(names), 0, Owed(keys=tuple(names)))

    def touch(self, key: str, *, policy: str | Policy | None = None, **options: Unpack[PolicyOptions]) -> bool:
        """Begin the value's life again, with the policy's `ttl`; False if there is none.

        The life is that `ttl` to the letter, for None as well. The value may be stale for as long as before, unless the
        call says another `stale_for` or `stale_if_error`.
        """
        ask = self._terms.ask(key, None, (), policy, options)
        return self._write("touch", writing.touch(ask.key, ask.policy, options), False)

    def rename(self, key: str, to: str) -> bool:
        """Give a value another key, with its tags, its dates and what is left of its life; False if there is none."""
        plan = writing.move(check_key(key), check_key(to))
        return self._write("rename", plan, False, Owed(keys=(key, to)))

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
        return self._write("incr", writing.increment(ask.key, integer(delta), ask.policy, create=create), None)

    def modify(
        self, key: str, change: Callable[[Any], V], *, initial: Any = ..., policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> V | None:
        """Make another value of the one there is, and lose no change: the new value, or None where there is none.

        The value keeps its tags and its life. `change` is called in the midst of deciding, perhaps again: it must be
        pure, and no coroutine function. initial: what it is given where there is no value; `policy` and options are
        for that one.

        Raises:
            SerializationError: if the new value would not come back as it is; whatever `change` raises.
        """
        done = self._write("modify", self._modify(key, change, initial, policy, options), None)
        return None if done is None else done.value

    def instant(self) -> Lease:
        """A date for a value that is about to be read elsewhere, for `set(..., since=...)`."""
        return self._driver.run(writing.just(TakeInstant()))

    def invalidate_tags(self, *tags: str) -> None:
        """Forbid everything that carries one of the tags; costs the same for one entry as for a million."""
        named = self._tags(tags)
        self._write("invalidate_tags", writing.just(Invalidate(named)), None, Owed(tags=named))

    def expire_tags(self, *tags: str) -> None:
        """Make everything that carries one of the tags stale: `stale_for` may serve it while one refresh runs."""
        named = self._tags(tags)
        self._write("expire_tags", writing.just(Expire(named)), None, Owed(expired=named))

    def invalidate_all(self) -> None:
        """Forbid everything in the namespace, at once."""
        self._write("invalidate_all", writing.just(Clear()), None, Owed(everything=True))

    def scan(self, pattern: str = "*") -> Iterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time; walks the whole namespace, so prefer tags.

        A key may be found twice; and until a sweep has passed, so are keys whose values are served no more.
        """
        return self._scanned(check_key(pattern), "scan")

    def _scanned(self, pattern: str, what: str, owed: Owed | None = None) -> Iterator[list[str]]:
        try:
            self._terms.engine.outage.check()
            yield from self._terms.store.scan(pattern)
        except StoreUnavailable as error:
            self._outage(what, error, owed)

    def invalidate_pattern(self, pattern: str, *, progress: Callable[[int], None] | None = None) -> int:
        """Delete the keys that match a glob pattern; walks the whole namespace, so prefer tags. How many there were."""
        removed = 0
        for keys in self._scanned(check_key(pattern), "invalidate_pattern", Owed(patterns=(pattern,))):
            removed += self.delete_many(keys)
            if progress is not None:
                progress(removed)
        return removed

    def sweep(self, *, progress: Callable[[int], None] | None = None) -> int:
        """Remove what is gone and would else lie in the store for as long as it was to live; how many entries.

        The cache does so by itself, in the background. This walks the whole namespace, for commands and schedules.
        progress: told how many were looked at so far.
        """
        removed = seen = 0
        try:
            self._terms.engine.outage.check()
            epoch = self._driver.run(sweeping.begin())
            for found in self._terms.store.scan("*"):
                for keys in sweeping.batches(found):
                    removed += self._driver.run(sweeping.sweep(keys))
                    seen += len(keys)
                    if progress is not None:
                        progress(seen)
            self._driver.run(sweeping.finish(epoch))
        except StoreUnavailable as error:
            self._outage("sweep", error)
        return removed

    def fence_tags(self, *tags: str, on_outage: OnOutage | None = None) -> Fenced:
        """Immediately before a COMMIT: date an invalidation in the future. `lift` what this gives right after it.

        on_outage: what to do for this one if the store cannot be reached; the cache's own, if it is not given.

        Raises:
            StoreUnavailable: with on_outage="refuse" or "raise". Else it goes on without a fence, as `on_outage` tells.
        """
        marked, token, life = self._tags(tags), uuid.uuid4().hex, self._terms.fence_life
        owed = owed_for(marked, life, Outcome.UNKNOWN)
        sent = now_in_microseconds()
        for _ in range(TRIES):
            self._write(FENCING, raise_fences(marked, token, life), None, owed, on_outage)
            if lasts(sent, life):
                break
            sent = now_in_microseconds()
        else:
            self._outage(FENCING, stood_still(life), owed, on_outage)
        return Fenced(marked, token, life, self._write, sent)

    @contextmanager
    def fencing(self, *tags: str) -> Iterator[None]:
        """Around a write that no ORM hook sees: nothing stale is served after it, even if this process dies in it."""
        fenced, outcome = self.fence_tags(*tags), Outcome.UNKNOWN
        try:
            yield
            outcome = Outcome.COMMITTED
        finally:
            fenced.lift(outcome)

    def begin(
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
        ask = self._terms.ask(key, None, tags, policy, options, fitness)
        if bypassed():
            return PassBy()
        if comes_late():
            found = self._found(ask)
            self._hit(found, None)
            return found or PassBy()
        begun = self._driver.run(plans.begin(ask, away=looks_past()))
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

    def _write(
        self, what: str, plan: Plan[V], otherwise: V, owed: Owed | None = None, on_outage: OnOutage | None = None
    ) -> V:
        try:
            return self._driver.run(plan)
        except StoreUnavailable as error:
            self._outage(what, error, owed, on_outage)
            return otherwise
