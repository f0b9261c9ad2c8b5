"""The stores over a Redis Cluster: as those over one Redis, with a link or a line to all of its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cached_property, partial
from time import monotonic
from typing import Any, TypeVar, cast

from cachefence_web.chance import chance
from cachefence_web.stores.redis.aio import AsyncRedisStore
from cachefence_web.stores.redis.cluster.commands import ClusterCommands
from cachefence_web.stores.redis.cluster.line import ClusterLine
from cachefence_web.stores.redis.cluster.link import ClusterLink, Nodes
from cachefence_web.stores.redis.cluster.opening import ClusterOpening, cluster_opening
from cachefence_web.stores.redis.cluster.slots import Node
from cachefence_web.stores.redis.commands import Commands
from cachefence_web.stores.redis.line import Talk
from cachefence_web.stores.redis.link import Link
from cachefence_web.stores.redis.listener import Listener
from cachefence_web.stores.redis.opening import Opening
from cachefence_web.stores.redis.pool import Pool
from cachefence_web.stores.redis.refusals import BROKEN, unavailable
from cachefence_web.stores.redis.scripts import Command, Steps
from cachefence_web.stores.redis.sync import RedisStore

A = TypeVar("A")


class ClusterStore(RedisStore):
    """A store for threads over a Redis Cluster.

    where: a URL `redis+cluster://host:port,host:port`, or a `RedisCluster` of redis-py's whose settings are taken over.
    Name the same nodes, in any order, wherever one process opens the cluster: by other nodes it is another store, whose
    callers wait for the same leases, but not for each other's computes in the process.
    max_connections: to each node.
    """

    _speaking = ClusterCommands

    def _way_to(self, where: Any) -> Opening:
        self._opening = cluster_opening(where, asynchronous=False)
        return self._opening.way

    def _begin(self) -> None:
        self._nodes = _nodes(self._opening, self._commands)
        self._pool = Pool(lambda _: ClusterLink(self._nodes), self._most)
        self._listener = Listener(self._commands.names, self._connect_to_listen, self._ask)

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time, node after node."""
        for node in self._on_a_link_to_all(lambda link, deadline: link.nodes(deadline)):
            cursor = 0
            while True:
                cursor, keys = self._run(partial(self._commands.scan, cursor, pattern), repeat=True, node=node)
                if keys:
                    yield keys
                if cursor == 0:
                    break

    def _run(
        self, begin: Callable[[], Steps], *, repeat: bool, within: float | None = None, node: Node | None = None
    ) -> Any:
        """Take steps to their answer; what is lost on the way is begun anew where it was lost."""
        return self._on_a_link_to_all(
            lambda link, deadline: link.run(begin(), deadline, repeat=repeat, node=node), within)

    def _on_a_link_to_all(self, act: Callable[[ClusterLink, float], A], within: float | None = None) -> A:
        deadline = monotonic() + (self._timeout if within is None else within)
        taken: ClusterLink = self._pool.take(deadline)
        try:
            return act(taken, deadline)
        except BROKEN as error:
            raise unavailable(error) from error
        finally:
            self._pool.give(taken)

    def _connect_to_listen(self) -> Link:
        return Link(_any_way(self._nodes), monotonic() + self._timeout)

    def _ask(self, command: Command) -> Any:
        return self._run(partial(self._nodes.commands.each, command), repeat=True)


class AsyncClusterStore(AsyncRedisStore):
    """A store for event loops over a Redis Cluster; where: as `ClusterStore`'s."""

    _speaking = ClusterCommands

    def _way_to(self, where: Any) -> Opening:
        self._opening = cluster_opening(where, asynchronous=True)
        return self._opening.way

    async def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time, node after node."""
        line, _ = self._here()
        try:
            nodes = await cast("ClusterLine", line).nodes()
        except TimeoutError as late:
            raise unavailable(late) from late
        for node in nodes:
            cursor = 0
            while True:
                line, _ = self._here()
                cursor, keys = await cast("ClusterLine", line).run(
                    partial(self._commands.scan, cursor, pattern), repeat=True, node=node)
                if keys:
                    yield keys
                if cursor == 0:
                    break

    @cached_property
    def _nodes(self) -> Nodes:
        return _nodes(self._opening, self._commands)

    def _line(self, loop: asyncio.AbstractEventLoop) -> Talk:
        return ClusterLine(self._nodes, self._timeout, loop)

    def _connect_to_listen(self) -> Any:
        way = _any_way(self._nodes)
        return way.kind(**way.settings)

    def _asking(self, line: Talk) -> Callable[[Command], Awaitable[Any]]:
        each = self._nodes.commands.each
        return lambda command: line.run(partial(each, command), repeat=True)


def _nodes(opening: ClusterOpening, commands: Commands) -> Nodes:
    assert isinstance(commands, ClusterCommands)
    return Nodes(opening, commands)


def _any_way(nodes: Nodes) -> Opening:
    """To any node: what is published on one is heard on all."""
    return nodes.opening.to(chance.choice(nodes.commands.slots.nodes or nodes.opening.seeds))
