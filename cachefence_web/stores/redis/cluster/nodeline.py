"""For event loops: the line to one node of a Cluster, which is met before anything else is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.cluster.link import cause_of
from cachefence_web.stores.redis.cluster.routing import Lost
from cachefence_web.stores.redis.cluster.slots import Node
from cachefence_web.stores.redis.commands import Commands
from cachefence_web.stores.redis.line import Line
from cachefence_web.stores.redis.opening import Opening
from cachefence_web.stores.redis.scripts import Replies


class _Unsent(StoreUnavailable):
    """It was never told."""


class Meeting(NamedTuple):
    """A node that is being met, and the connection on which alone it may be told anything until it was."""

    node: Node
    connection: Any


class NodeLine(Line):
    """A line that knows of what broke with it whether the node was told it.

    meet: greets the node on a new connection.
    """

    def __init__(
        self, meet: Callable[[Any], Awaitable[None]], way: Opening, commands: Commands, timeout: float
    ) -> None:
        super().__init__(way, commands, timeout, asyncio.get_running_loop())
        self._meet = meet

    async def _greet(self, connection: Any) -> None:
        await self._meet(connection)

    def _break(self, error: Exception, *, again: bool) -> None:
        if not again:
            for job in [job for job in self._jobs if not job.sent]:
                unsent = _Unsent(*error.args)
                unsent.__cause__ = error.__cause__
                self._end(job, unsent)
        super()._break(error, again=again)


def or_lost(answer: Replies | BaseException) -> Replies | Lost:
    """What a node line's job came to, as what the node answered."""
    if isinstance(answer, StoreUnavailable):
        return Lost(cause_of(answer), sent=not isinstance(answer, _Unsent))
    if isinstance(answer, BaseException):
        raise answer
    return answer
