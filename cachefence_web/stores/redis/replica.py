"""One replica: how it stands, and the looks that it answers by itself.

It runs no script, for scripts write. What needs one is no failure of the replica's, and is for the primary to answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from cachefence_web.core.effects import Look, Read
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.aio import AsyncRedisStore
from cachefence_web.stores.redis.commands import Commands
from cachefence_web.stores.redis.reading import Reading
from cachefence_web.stores.redis.refusals import checked
from cachefence_web.stores.redis.scripts import Command, Steps
from cachefence_web.stores.redis.sync import RedisStore

REST = 1.0
"""Seconds for which a replica that failed is left alone, and between two questions of how it stands."""

MOST_SILENT = 15
"""Seconds for which a replica may have heard nothing: unless told otherwise, its primary speaks every 10."""

log = logging.getLogger("cachefence_web")


class NeedsPrimary(Exception):
    """This look needs a script; nothing is wrong with the replica."""


class Foreign(StoreUnavailable):
    """It has another replication id than the primary had when that was last asked."""


class ReplicaReading(Reading):
    """The looks of a primary's namespace, with all that is known there of time and tags."""

    __slots__ = ()

    def __init__(self, primary: Reading) -> None:
        super().__init__(primary.names, primary.time)
        self._known = primary._known

    def _peek(self) -> Command:
        raise NeedsPrimary


class ReplicaCommands(Commands):
    """What a replica is asked: how it stands, and looks."""

    __slots__ = ("_primary",)

    def __init__(self, namespace: str, timeout: float, primary: Commands) -> None:
        super().__init__(namespace, timeout)
        self._primary = primary
        self._time = primary.reading.time
        self.reading = ReplicaReading(primary.reading)

    def greet(self) -> Steps:
        """On a new connection: whether it follows the primary; as its `server`, none."""
        (info,) = yield [("INFO", "replication")]
        told = dict(line.split(":", 1) for line in checked(info).decode().splitlines() if ":" in line)
        silent = int(told.get("master_last_io_seconds_ago", -1))
        if told["role"] != "slave":
            raise StoreUnavailable("it is no replica; name replicas as `replicas`, and the primary as the URL")
        if told["master_link_status"] != "up" or not 0 <= silent <= MOST_SILENT:
            raise StoreUnavailable("it does not follow its primary now; see its log")
        theirs, ours = told.get("master_replid", ""), self._primary.server
        if ours and theirs != ours:
            raise Foreign(
                f"it follows another primary, with the replication id {theirs}, and not the one that the URL names,"
                f" with {ours}; name a replica of that one")
        return self.server

    def looks(self, keys: Sequence[str], *, check: bool) -> Steps:
        """The looks at keys. check: whether to ask first how it stands."""
        if check:
            yield from self.greet()
        if len(keys) == 1:
            return [(yield from self.reading.one(keys[0]))]
        looks = yield from self.reading.many(keys)
        return [looks[key] for key in keys]


class Condition:
    """Whether a replica is to be asked, and if so, how it stands first."""

    __slots__ = ("_checked_at", "_failing", "_place", "_until")

    def __init__(self, place: str) -> None:
        self._place = place
        self._failing = False
        self._until = self._checked_at = float("-inf")

    def is_fit(self, now: float) -> bool:
        """Whether to ask it. Of those who come after its rest one does; the others await what that one finds."""
        if self._failing:
            if now < self._until:
                return False
            self._until = now + REST
        return True

    def is_due(self, now: float) -> bool:
        """Whether to ask first how it stands."""
        if not self._failing and now - self._checked_at < REST:
            return False
        self._checked_at = now
        return True

    def failed(self, error: StoreUnavailable) -> None:
        """Leave it alone for a while."""
        if not self._failing:
            log.warning("the replica at %s is left alone, and its primary asked, until it is well: %s",
                        self._place, error)
        self._failing, self._until = True, monotonic() + REST

    def answered(self) -> None:
        """It is well."""
        self._failing = False


class Replica(RedisStore):
    """A store that only looks; each method raises NeedsPrimary where that does not suffice."""

    def __init__(self, where: Any, namespace: str, primary: RedisStore, *, timeout: float, most: int) -> None:
        super().__init__(where, namespace, timeout=timeout, max_connections=most)
        self._commands = self._mirror = ReplicaCommands(namespace, timeout, primary._commands)
        self.condition = Condition(self._way.place)

    def looks(self, effects: Sequence[Read], now: float) -> list[Look]:
        """The looks, in one round trip."""
        keys = [effect.key for effect in effects]
        looks: list[Look] = self._run(
            partial(self._mirror.looks, keys, check=self.condition.is_due(now)), repeat=True)
        return looks


class AsyncReplica(AsyncRedisStore):
    """The same for event loops."""

    def __init__(self, where: Any, namespace: str, primary: AsyncRedisStore, *, timeout: float) -> None:
        super().__init__(where, namespace, timeout=timeout)
        self._commands = self._mirror = ReplicaCommands(namespace, timeout, primary._commands)
        self.condition = Condition(self._way.place)

    async def looks(self, effects: Sequence[Read], now: float) -> list[Look]:
        """The looks, in one round trip together with all others of this tick."""
        keys = [effect.key for effect in effects]
        line, _ = self._here()
        check = self.condition.is_due(now)
        if len(keys) == 1 and not check:
            return [await line.read(keys[0])]
        looks: list[Look] = await line.run(partial(self._mirror.looks, keys, check=check), repeat=True)
        return looks
