"""Looks that may be behind go to replicas; all else, and whatever a replica cannot answer well, goes to the primary.

One that fails in any way, or does not follow its primary, is left alone for a while. What is found unusable there leads
to a claim, at the primary, which looks again: to be behind costs one more look, and no compute.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, TypeGuard, TypeVar, cast

from cachefence_web.chance import chance
from cachefence_web.core.effects import Read, StoreEffect
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.stores.opening import is_one_server
from cachefence_web.stores.redis.aio import AsyncRedisStore
from cachefence_web.stores.redis.commands import Commands
from cachefence_web.stores.redis.opening import opening
from cachefence_web.stores.redis.refusals import unavailable
from cachefence_web.stores.redis.replica import AsyncReplica, Foreign, NeedsPrimary, Replica
from cachefence_web.stores.redis.sync import RedisStore

A = TypeVar("A")


class ReplicatedStore:
    """A store for threads over a primary and its replicas.

    computes: whether the caller runs in a compute: what that reads must not be older than its date.
    """

    def __init__(
        self, primary: RedisStore, replicas: Sequence[Replica], computes: Callable[[], bool], timeout: float
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._computes = computes
        self._timeout = timeout

    @property
    def identity(self) -> str:
        """The primary's."""
        return self._primary.identity

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called whenever the primary says that there is something to sweep."""
        self._primary.on_leftovers(tell)

    def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step."""
        if type(effect) is Read and effect.eventual:
            return cast("A", self._looks([effect])[0])
        return self._primary.perform(effect)

    def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in one round trip where possible; a StoreUnavailable is an answer."""
        if not _may_be_behind(effects):
            return self._primary.perform_all(effects)
        try:
            return self._looks(effects)
        except StoreUnavailable as error:
            return [error] * len(effects)

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""
        return self._primary.scan(pattern)

    def close(self) -> None:
        """Let go of connections and threads; a later call opens them again."""
        for store in (self._primary, *self._replicas):
            store.close()

    def _looks(self, effects: Sequence[Read]) -> list[Any]:
        began, doubted = monotonic(), False
        replica = _chosen(self._replicas, began) if _may_ask(self._primary._commands, self._computes) else None
        if replica is not None:
            try:
                looks = replica.looks(effects, began)
            except NeedsPrimary:
                pass
            except StoreUnavailable as error:
                replica.condition.failed(error)
                doubted = isinstance(error, Foreign)
            else:
                replica.condition.answered()
                return looks
        primary, commands = self._primary, self._primary._commands
        if doubted:
            primary._run(commands.recognise, repeat=True, within=self._timeout - (monotonic() - began))
        answers: list[Any] = primary._run(
            partial(commands.all, effects), repeat=True, within=self._timeout - (monotonic() - began))
        return _found(answers)


class AsyncReplicatedStore:
    """The same for event loops."""

    def __init__(
        self, primary: AsyncRedisStore, replicas: Sequence[AsyncReplica], computes: Callable[[], bool], timeout: float
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._computes = computes
        self._timeout = timeout

    @property
    def identity(self) -> str:
        """The primary's."""
        return self._primary.identity

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called whenever the primary says that there is something to sweep."""
        self._primary.on_leftovers(tell)

    async def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step."""
        if type(effect) is Read and effect.eventual:
            return cast("A", (await self._looks([effect]))[0])
        return await self._primary.perform(effect)

    async def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in one round trip where possible; a StoreUnavailable is an answer."""
        if not _may_be_behind(effects):
            return await self._primary.perform_all(effects)
        try:
            return await self._looks(effects)
        except StoreUnavailable as error:
            return [error] * len(effects)

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""
        return self._primary.scan(pattern)

    async def aclose(self) -> None:
        """Let go of what belongs to the running loop; a later call opens it again."""
        for store in (self._primary, *self._replicas):
            await store.aclose()

    async def _looks(self, effects: Sequence[Read]) -> list[Any]:
        began, doubted = monotonic(), False
        replica = _chosen(self._replicas, began) if _may_ask(self._primary._commands, self._computes) else None
        if replica is not None:
            try:
                looks = await replica.looks(effects, began)
            except NeedsPrimary:
                pass
            except StoreUnavailable as error:
                replica.condition.failed(error)
                doubted = isinstance(error, Foreign)
            else:
                replica.condition.answered()
                return looks
        try:
            async with asyncio.timeout(self._timeout - (monotonic() - began)):
                if doubted:
                    line, _ = self._primary._here()
                    await line.run(self._primary._commands.recognise, repeat=True)
                return _found(await self._primary.perform_all(effects))
        except TimeoutError as late:
            raise unavailable(late) from late


def _may_be_behind(effects: Sequence[StoreEffect[Any]]) -> TypeGuard[Sequence[Read]]:
    return all(type(effect) is Read and effect.eventual for effect in effects)


def _may_ask(primary: Commands, computes: Callable[[], bool]) -> bool:
    """A compute must not take old input under its own date; and the time is learnt from the primary alone."""
    time = primary.reading.time
    return not time.is_old(time.clock()) and not computes()


def _found(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if isinstance(answer, StoreUnavailable):
            raise answer
    return answers


R = TypeVar("R", bound=Replica | AsyncReplica)


def _chosen(replicas: Sequence[R], now: float) -> R | None:
    """Any of those that are to be asked."""
    at = chance.randrange(len(replicas))
    return next((one for one in (*replicas[at:], *replicas[:at]) if one.condition.is_fit(now)), None)


def replicated(
    primaries: tuple[RedisStore, AsyncRedisStore], replicas: Sequence[Any], namespace: str, *, timeout: float,
    most: int, computes: Callable[[], bool],
) -> tuple[ReplicatedStore, AsyncReplicatedStore]:
    """The stores of both colours over a primary and its replicas.

    A replica is given half of an operation's time, so that the primary can still answer within it.

    Raises:
        ConfigurationError: for what is no replica of this primary, as far as the addresses tell.
    """
    blocking, awaited = primaries
    _, _, database = blocking.place.rpartition("/")
    for where in replicas:
        if not is_one_server(where):
            raise ConfigurationError(
                "a replica is named by its own address, redis://host:6379/0: Sentinels and clusters lead to primaries")
        place = opening(where, asynchronous=False).place
        if place == blocking.place:
            raise ConfigurationError(f"replicas names {place}, which is the primary: leave it out")
        if place.rpartition("/")[2] != database:
            raise ConfigurationError(f"the replica {place} is not asked for database {database}, as the primary is")
    patience = timeout / 2
    return (
        ReplicatedStore(
            blocking, [Replica(where, namespace, blocking, timeout=patience, most=most) for where in replicas],
            computes, timeout),
        AsyncReplicatedStore(
            awaited, [AsyncReplica(where, namespace, awaited, timeout=patience) for where in replicas],
            computes, timeout))
