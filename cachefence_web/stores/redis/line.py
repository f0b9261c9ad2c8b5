"""One connection that all coroutines of a loop share: what is asked within a tick goes out together.

Every job has a deadline of its own, connecting included. One that is overdue is answered and its replies are let pass;
a server that has been silent for a whole deadline is hung up on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError

from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.commands import Commands
from cachefence_web.stores.redis.opening import Opening
from cachefence_web.stores.redis.packing import pack
from cachefence_web.stores.redis.refusals import BROKEN, twin, unavailable
from cachefence_web.stores.redis.scripts import Command, Replies, Steps

MOST_AT_ONCE = 500
"""Keys that one MGET asks for: no other client of the server shall wait for longer."""

_GOODBYE = 0.2
"""Seconds for a server to answer that we leave."""

_STOOD_STILL, _TO_READ = 0.1, 0.05
"""Seconds by which a timer is late when it was the loop that held things up, and that it takes to catch up."""

MOST_UNANSWERED = 1000
"""Jobs on their way; more wait until some of them are answered."""


class Talk(Protocol):
    """What the coroutines of a loop share: a line to one server, or to all of a cluster."""

    def read(self, key: str) -> asyncio.Future[Any]:
        """Look at a key, together with all that are looked at in this tick."""

    def run(self, begin: Callable[[], Steps], *, repeat: bool) -> asyncio.Future[Any]:
        """Take steps; the future has their answer. repeat: whether they may be begun anew."""

    async def aclose(self) -> None:
        """Hang up; what is on its way is answered with StoreUnavailable."""


class Job:
    """Steps on their way.

    begin: makes the steps anew; done: is given the answer, or what is to be raised.
    """

    __slots__ = ("begin", "deadline", "done", "repeat", "retried", "sent", "steps")

    def __init__(
        self, begin: Callable[[], Steps], done: Callable[[Any], None], deadline: float, *, repeat: bool
    ) -> None:
        self.begin = begin
        self.done = done
        self.deadline = deadline
        self.repeat = repeat
        self.retried = self.sent = False
        self.steps = begin()


class Line:
    """The line of one loop; it connects when there is something to say, and again after it broke."""

    def __init__(self, way: Opening, commands: Commands, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        self._way = way
        self._commands = commands
        self._timeout = timeout
        self._loop = loop
        self._reads: dict[str, list[asyncio.Future[Any]]] = {}
        self._jobs: dict[Job, None] = {}
        self._out: list[tuple[Job, list[Command]]] = []
        self._sent: deque[tuple[Job, int, float]] = deque()
        self._due, self._room = asyncio.Event(), asyncio.Event()
        self._hung: asyncio.Future[None] | None = None
        self._session: asyncio.Task[None] | None = None
        self._cut_off = False
        self._timer: asyncio.TimerHandle | None = None
        self._watch_at = 0.0
        self._met = commands.server

    def read(self, key: str) -> asyncio.Future[Any]:
        """Look at a key, together with all that are looked at in this tick."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._reads:
            self._loop.call_soon(self._read_all)
        self._reads.setdefault(key, []).append(future)
        return future

    def run(self, begin: Callable[[], Steps], *, repeat: bool) -> asyncio.Future[Any]:
        """Take steps; the future has their answer."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._start(begin, partial(settle, future), repeat=repeat)
        return future

    async def aclose(self) -> None:
        """Hang up; what is on its way is answered with StoreUnavailable."""
        session = self._session
        if session is not None:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)

    def _read_all(self) -> None:
        asked, self._reads = self._reads, {}
        keys = list(asked)
        for at in range(0, len(keys), MOST_AT_ONCE):
            some = {key: asked[key] for key in keys[at:at + MOST_AT_ONCE]}
            self._start(partial(self._commands.reading.many, list(some)), partial(settle_all, some), repeat=True)

    def _start(self, begin: Callable[[], Steps], done: Callable[[Any], None], *, repeat: bool) -> None:
        job = Job(begin, done, self._loop.time() + self._timeout, repeat=repeat)
        self._jobs[job] = None
        if self._cut_off and self._session is None and _is_being_cancelled():
            # The loop is ending: nobody would hang up on a connection made now.
            self._end(job, StoreUnavailable("the event loop is ending, and has let go of its connection to Redis"))
            return
        self._advance(job, None)
        if self._timer is None:
            self._watch_from(self._loop.time() + self._timeout)

    def _advance(self, job: Job, replies: Replies | None) -> None:
        try:
            commands = job.steps.send(replies)  # type: ignore[arg-type]
        except StopIteration as ended:
            self._end(job, ended.value)
        except Exception as error:
            self._end(job, error)
        else:
            self._out.append((job, commands))
            self._due.set()
            if self._session is None:
                self._session = self._loop.create_task(self._serve())

    def _end(self, job: Job, answer: Any) -> None:
        del self._jobs[job]
        job.done(answer)

    def _watch(self) -> None:
        """Answer whoever has waited long enough; a loop that stood still first reads what was answered meanwhile."""
        if self._loop.time() - self._watch_at > _STOOD_STILL:
            self._timer = self._loop.call_later(_TO_READ, self._judge)
        else:
            self._judge()

    def _judge(self) -> None:
        now = self._loop.time()
        for job in list(self._jobs):
            if job.deadline > now:
                break
            self._end(job, unavailable(TimeoutError(f"nothing within {self._timeout:g} s")))
        due = [job.deadline for job in islice(self._jobs, 1)]
        if self._sent:
            silent_at = self._sent[0][2] + self._timeout
            if silent_at > now:
                due.append(silent_at)
            elif self._hung is not None and not self._hung.done():
                self._hung.set_exception(TimeoutError(f"silent for {self._timeout:g} s"))
        self._timer = None
        if due:
            self._watch_from(min(due))

    def _watch_from(self, time: float) -> None:
        self._watch_at = time
        self._timer = self._loop.call_at(time, self._watch)

    async def _serve(self) -> None:
        """Connect, greet, then write and read until it breaks; whoever asks next begins anew."""
        connection = self._way.kind(**self._way.settings)
        error: Exception = StoreUnavailable("the store was closed, or its event loop ended, before Redis had answered")
        again = False
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
                await self._greet(connection)
            broken = await self._talk(connection)
            again = not isinstance(broken, TimeoutError)
            error = unavailable(broken)
        except asyncio.CancelledError:
            self._cut_off = True
            raise
        except StoreUnavailable as refused:
            error = refused
        except BROKEN as failed:
            error = unavailable(failed)
            # Who came late to an attempt that took too long has a deadline of their own.
            again = isinstance(failed, TimeoutError)
        finally:
            self._session = None
            self._break(error, again=again)
            await hang_up(connection)

    async def _greet(self, connection: Any) -> None:
        self._met = await converse(connection, self._commands.greet())

    async def _talk(self, connection: Any) -> Exception:
        """Write and read side by side; what the first of them broke with."""
        self._hung = self._loop.create_future()
        reader = self._loop.create_task(self._read(connection))
        writer = self._loop.create_task(self._write(connection, reader))
        try:
            ended, _ = await asyncio.wait({reader, writer, self._hung}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            writer.cancel()
            self._hung.cancel()
            await asyncio.gather(reader, writer, self._hung, return_exceptions=True)
        errors = [one.exception() for one in ended if not one.cancelled()]
        return next((error for error in errors if isinstance(error, Exception)), RedisConnectionError("closed"))

    async def _write(self, connection: Any, reader: asyncio.Task[None]) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._sent and not all(job.repeat for job, _ in self._out):
                # It may have been closed while it lay idle, and only this tick brings the news.
                await asyncio.sleep(0)
                if reader.done():
                    return
            if self._met != self._commands.server:
                raise RedisConnectionError("another connection found another server in its place")
            while len(self._sent) >= MOST_UNANSWERED:
                self._room.clear()
                await self._room.wait()
            out, self._out = self._out, []
            now = self._loop.time()
            for job, commands in out:
                job.sent = True
                self._sent.append((job, len(commands), now))
            packed = pack([command for _, commands in out for command in commands])
            await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: Any) -> None:
        while True:
            first = await reply_of(connection)
            job, count, _ = self._sent[0]
            replies = [first, *[await reply_of(connection) for _ in range(count - 1)]]
            self._sent.popleft()
            self._room.set()
            if job in self._jobs:
                self._advance(job, replies)
            refused = next((reply for reply in replies if isinstance(reply, ReadOnlyError)), None)
            if refused is not None:
                raise refused

    def _break(self, error: Exception, *, again: bool) -> None:
        """Ask anew, once, for what a restart of the server has cut off, and answer the others."""
        self._sent.clear()
        self._out.clear()
        self._due.clear()
        for job in list(self._jobs):
            if again and not job.retried and (job.repeat or not job.sent):
                job.retried = True
                job.steps = job.begin()
                self._advance(job, None)
            else:
                self._end(job, twin(error))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def converse(connection: Any, steps: Steps) -> Any:
    """Take steps on a connection that nobody else talks on."""
    try:
        commands = next(steps)
        while True:
            await connection.send_packed_command(pack(commands), check_health=False)
            commands = steps.send([await reply_of(connection) for _ in commands])
    except StopIteration as done:
        return done.value


async def hang_up(connection: Any) -> None:
    """Disconnect. Over TLS that takes an answer, which the loop must not end before, nor wait for in vain."""
    with suppress(*BROKEN):
        async with asyncio.timeout(_GOODBYE):
            await connection.disconnect()


async def reply_of(connection: Any) -> Any:
    """The next reply; a refusal is one."""
    try:
        return await connection.read_response(disconnect_on_error=False)
    except ResponseError as refused:
        return refused


def settle(future: asyncio.Future[Any], answer: Any) -> None:
    """Give a coroutine its answer, unless it was cancelled, which is nobody else's business."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def settle_all(asked: dict[str, list[asyncio.Future[Any]]], answer: Any) -> None:
    """Give each coroutine the answer to its key, or what was raised instead of all of them."""
    for key, futures in asked.items():
        for future in futures:
            settle(future, twin(answer) if isinstance(answer, Exception) else answer[key])
