"""For event loops: one line to each node of a Cluster; what is asked within a tick goes out together, node by node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, cast

from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.cluster import link
from cachefence_web.stores.redis.cluster.commands import Met
from cachefence_web.stores.redis.cluster.link import Nodes, cause_of, left_by, slots_asked
from cachefence_web.stores.redis.cluster.nodeline import Meeting, NodeLine, or_lost
from cachefence_web.stores.redis.cluster.routing import Learn, Lost, Pause, Send, Sent, route
from cachefence_web.stores.redis.cluster.slots import Node, share_of
from cachefence_web.stores.redis.line import MOST_AT_ONCE, converse, hang_up, settle, settle_all
from cachefence_web.stores.redis.refusals import BROKEN, unavailable
from cachefence_web.stores.redis.scripts import Command, Replies, Steps

_SHARE = 0.5
"""Of the time that an operation has, what it may take to meet the nodes that were just heard of."""


_GRACE = 0.1
"""Seconds past the deadline, which ends the wait for each node, until what the others answered is dropped too."""


class ClusterLine:
    """As a `Line`, but to all nodes."""

    def __init__(self, nodes: Nodes, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        self._nodes = nodes
        self._timeout = timeout
        self._loop = loop
        self._lines: dict[Node, NodeLine] = {}
        self._reads: dict[str, list[asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told_at: dict[Node, float] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._greetings = 0
        self._learning: asyncio.Task[bool] | None = None

    def read(self, key: str) -> asyncio.Future[Any]:
        """Look at a key, together with all that are looked at in this tick."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._reads:
            self._loop.call_soon(self._read_all)
        self._reads.setdefault(key, []).append(future)
        return future

    def run(
        self, begin: Callable[[], Steps], *, repeat: bool, node: Node | None = None
    ) -> asyncio.Future[Any]:
        """Take steps; the future has their answer. node: who is to be told all of them."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._start(begin, partial(settle, future), repeat=repeat, node=node)
        return future

    async def nodes(self) -> tuple[Node, ...]:
        """The primaries."""
        slots = self._nodes.commands.slots
        if slots.outdated():
            async with asyncio.timeout(self._timeout):
                await self._learn(Learn(frozenset()))
        if not slots.nodes:
            raise unavailable(slots.unserved(slots.home))
        return slots.nodes

    async def aclose(self) -> None:
        """Hang up; what is on its way is answered with StoreUnavailable."""
        tasks = [*self._tasks, *self._retiring, *([self._learning] if self._learning is not None else [])]
        for task in tasks:
            task.cancel()
        lines, self._lines = self._lines, {}
        await asyncio.gather(*tasks, *[line.aclose() for line in lines.values()], return_exceptions=True)

    async def meet(self, node: Node, connection: Any) -> None:
        """Greet a node on a new connection; the namespace is told if it is another than was last met there."""
        nodes, commands = self._nodes, self._nodes.commands
        # Who asks around meets whom nobody has met, and would wait for this one.
        nodes.seen.add(node)
        met: Met = await converse(connection, commands.greet_node(node))
        if not nodes.is_adopted(met):
            await self._drive(commands.adopt(met), repeat=True, meeting=Meeting(node, connection))
            nodes.adopted[met.identity] = met.replication
        self._greetings += 1

    def _read_all(self) -> None:
        """Each node's keys by themselves: who asks for those of one need not wait for another."""
        asked, self._reads = self._reads, {}
        commands = self._nodes.commands
        slots, names = commands.slots, commands.names
        there: dict[Node | None, list[str]] = {}
        for key in asked:
            there.setdefault(slots.owner(slots.slot(names.entry(key))), []).append(key)
        for keys in there.values():
            for at in range(0, len(keys), MOST_AT_ONCE):
                some = {key: asked[key] for key in keys[at:at + MOST_AT_ONCE]}
                self._start(
                    partial(commands.reading.many, list(some)), partial(settle_all, some), repeat=True, node=None)

    def _start(
        self, begin: Callable[[], Steps], done: Callable[[Any], None], *, repeat: bool, node: Node | None
    ) -> None:
        # Nobody's task: a caller that is cancelled leaves the steps to go on.
        task = self._loop.create_task(self._run(begin, done, repeat=repeat, node=node))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, begin: Callable[[], Steps], done: Callable[[Any], None], *, repeat: bool, node: Node | None
    ) -> None:
        answer: Any = StoreUnavailable("the store was closed, or its event loop ended, before Redis had answered")
        try:
            async with asyncio.timeout(self._timeout + _GRACE):
                answer = await self._drive(begin(), repeat=repeat, node=node)
        except TimeoutError:
            answer = unavailable(TimeoutError(f"nothing within {self._timeout:g} s"))
        except BROKEN as error:
            answer = unavailable(error)
        except Exception as error:
            answer = error
        finally:
            done(answer)

    async def _drive(
        self, steps: Steps, *, repeat: bool, node: Node | None = None, meeting: Meeting | None = None
    ) -> Any:
        """Take the steps to their answer.

        node: who is to be told all of them; meeting: what they are part of.
        """
        deadline = self._loop.time() + self._timeout
        try:
            commands = next(steps)
            while True:
                commands = steps.send(
                    await self._exchange(commands, deadline, repeat=repeat, meeting=meeting) if node is None
                    else await self._tell(node, commands, repeat=repeat))
        except StopIteration as ended:
            return ended.value

    async def _exchange(
        self, commands: list[Command], deadline: float, *, repeat: bool, meeting: Meeting | None
    ) -> Replies:
        routing = route(commands, self._nodes.commands.slots, repeat=repeat)
        answer: Any = None
        try:
            while True:
                match routing.send(answer):
                    case Send(pipelines) if meeting is not None and meeting.node in pipelines:
                        replies = await converse(meeting.connection, _as_they_are(pipelines[meeting.node]))
                        answer = Sent({meeting.node: replies}, self._greetings, self._greetings)
                    case Send(pipelines):
                        answer = await self._tell_all(pipelines, repeat=repeat)
                    case Learn() as learn:
                        answer = self._loop.time() < deadline and await (
                            self._learn(learn) if meeting is None else self._learn_in_a_meeting(learn))
                    case Pause(seconds):
                        answer = self._loop.time() + seconds < deadline
                        if answer:
                            await asyncio.sleep(seconds)
        except StopIteration as ended:
            answer = ended.value
            return cast("Replies", answer)

    async def _tell(self, node: Node, commands: list[Command], *, repeat: bool) -> Replies:
        answer = (await self._tell_all({node: commands}, repeat=repeat)).answers[node]
        if isinstance(answer, Lost):
            self._nodes.commands.slots.lost(node)
            raise answer.error
        return answer

    async def _tell_all(self, pipelines: Mapping[Node, list[Command]], *, repeat: bool) -> Sent:
        now = self._loop.time()
        for node in pipelines:
            if now - self._told_at.get(node, now) > link.IDLE:
                self._retire(node)
            self._told_at[node] = now
        greetings = self._greetings
        told = [self._line(node).run(partial(_as_they_are, commands), repeat=repeat)
                for node, commands in pipelines.items()]
        try:
            answers = await asyncio.gather(*told, return_exceptions=True)
        except asyncio.CancelledError:
            for node, one in zip(pipelines, told, strict=True):
                if one.cancelled():
                    self._nodes.commands.slots.lost(node)
            raise
        heard = {node: or_lost(answer) for node, answer in zip(pipelines, answers, strict=True)}
        for node in left_by(heard):
            self._retire(node)
        return Sent(heard, greetings, self._greetings)

    def _retire(self, node: Node) -> None:
        """Talk to a node on a new line from now on, and let the old one come to the end of what it was told."""
        line = self._lines.pop(node, None)
        if line is not None:
            task = self._loop.create_task(_close_later(line, self._timeout))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _line(self, node: Node) -> NodeLine:
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = NodeLine(
                partial(self.meet, node), self._nodes.opening.to(node), self._nodes.commands, self._timeout)
        return line

    async def _learn(self, learn: Learn) -> bool:
        """Ask who serves what, once for all who want to know."""
        if self._learning is None:
            self._learning = self._loop.create_task(self._learn_and_meet(learn))
        return await asyncio.shield(self._learning)

    async def _learn_in_a_meeting(self, learn: Learn) -> bool:
        """Ask who serves what if the metadata's node is away, and leave it to others to meet whom nobody met."""
        if not learn.lost:
            return False
        self._nodes.commands.slots.stale = True
        return await self._ask_around(learn)

    async def _learn_and_meet(self, learn: Learn) -> bool:
        nodes, slots = self._nodes, self._nodes.commands.slots
        try:
            if not await self._ask_around(learn):
                return False
            unseen = nodes.unseen()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout * _SHARE):
                    await self._tell_all({node: [("PING",)] for node in unseen}, repeat=True)
            slots.stale = False
            return True
        finally:
            self._learning = None

    async def _ask_around(self, learn: Learn) -> bool:
        deadline = self._loop.time() + self._timeout
        candidates = self._nodes.candidates(learn)
        errors: list[Exception] = []
        for asked, node in enumerate(candidates):
            left = deadline - self._loop.time()
            if left <= 0:
                break
            try:
                await self._ask(node, share_of(left, len(candidates) - asked))
            except (StoreUnavailable, *BROKEN) as error:
                errors.append(cause_of(error))
                self._nodes.commands.slots.suspect(node)
            else:
                return True
        self._nodes.commands.slots.untold(errors)
        return False

    async def _ask(self, node: Node, seconds: float) -> None:
        way = self._nodes.opening.to(node)
        connection = way.kind(**way.settings)
        try:
            async with asyncio.timeout(seconds):
                await connection.connect()
                self._nodes.commands.slots.learn(await converse(connection, slots_asked()), node)
        finally:
            await hang_up(connection)


async def _close_later(line: NodeLine, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        await line.aclose()


def _as_they_are(commands: list[Command]) -> Generator[list[Command], Replies, Replies]:
    return (yield commands)
