"""One call of the application: what it sends is held, passed on or kept beside, until it is known what becomes of it.

An answer whose length is known is held until it is known whether others may have it. One that comes piece by piece
is passed on as it comes, and kept beside; its last piece goes out when the store has it. One that takes long, because
its client reads slowly or because it has no end, is its client's alone: nobody else waits for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from anyio import CancelScope
from starlette.types import Message

from cachefence_web import http
from cachefence_web.core.flight import Served
from cachefence_web.http.message import lines
from cachefence_web.responding import AsyncTalk, Call, Deliver, Done
from cachefence_web.runtime.engine import log
from cachefence_web.starlette.layers import Outer

SLOW = 1.0
"""Seconds for which others wait for an answer that is passed on piece by piece."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; body: None for one whose rest is not known, or not wanted."""

    head: http.Response
    body: bytes | None


class Asker(Protocol):
    """The request for which the application is called."""

    largest: int
    outer: Outer
    talk: AsyncTalk[Answer]

    async def send(self, message: Message) -> None:
        """To the client."""

    async def deliver(self, answer: Answer) -> None:
        """A whole answer, to the client."""

    def mark(self, answer: Answer, outcome: http.Outcome) -> Answer:
        """The same, with its Cache-Status."""

    def objection(self, head: http.Response) -> bool:
        """Whether nothing that follows this head can make the answer fit for sharing."""


class Turn:
    """One call of the application.

    settled: it is known what becomes of the answer; what the application still says is passed on, or dropped.
    begun: some of the answer has gone out.
    needless: the rest of the answer is of no use to anybody.
    """

    def __init__(self, responder: Asker, call: Call) -> None:
        self._responder, self._call = responder, call
        self._step: Call | Deliver | Done | None = None
        self._start: Message | None = None
        self._held: list[bytes] = []
        self._size = 0
        self._passing = False
        self.begun = False
        self.needless = False
        # Held by whoever tells the conversation what has come: the application's turn, or the timer's.
        self._telling = asyncio.Lock()
        self._timer: asyncio.Task[None] | None = None

    @property
    def settled(self) -> bool:
        return self._step is not None

    async def hear(self, message: Message) -> None:
        """What the application sends."""
        kind = message["type"]
        if self.settled:
            if self._passing:
                await self._responder.send(message)
        elif kind == "http.response.start" and self._start is None:
            self._start = message
            if self._call.wanted and self._responder.outer.gave_way:
                await self._give_way(message)
            elif not self._call.wanted or self._is_hopeless(message):
                await self._let_go()
        elif self._start is None:  # such as early hints
            await self._pass(message)
        elif kind != "http.response.body":  # a file by its path, trailers, or what is yet to be invented
            await self._let_go()
            await self._pass(message)
        else:
            await self._keep(message)

    async def _give_way(self, start: Message) -> None:
        """Something nearer to the endpoint has answered, and keeps what there is to be kept."""
        self._step, self._passing = Done(None), self._call.behind is None
        await self._pass(start)

    async def _keep(self, message: Message) -> None:
        body = message.get("body", b"")
        self._size += len(body)
        if self._size > self._responder.largest:
            await self._let_go()
            await self._pass(message)
            return
        self._held.append(bytes(body))
        if not message.get("more_body", False):
            await self._settle(b"".join(self._held), message)
        elif self.begun:
            await self._responder.send(message)
        elif self._comes_piece_by_piece():
            await self._begin()

    async def _settle(self, body: bytes, last: Message) -> None:
        """The answer is whole: its last piece goes out when the store has it."""
        assert self._start is not None
        async with self._telling:
            if not self.settled:
                self._step = await self._responder.talk.next(Answer(head_of(self._start), body))
        if self.begun:
            self._step = Done(None)
            await self._responder.send(last)
        elif isinstance(self._step, Done) and self._step.answer is not None and self._call.behind is None:
            answer, self._step = self._step.answer, Done(None)
            await self._responder.deliver(answer)

    def _is_hopeless(self, start: Message) -> bool:
        """Whether nothing that follows can make it fit for sharing."""
        head = head_of(start)
        too_long = any(length > self._responder.largest for length in _lengths(head))
        return too_long or start.get("trailers", False) or self._responder.objection(head)

    def _comes_piece_by_piece(self) -> bool:
        """Whether nobody knows how long it will take: the client is not to wait for the whole of it.

        Unless something else could be shown, should it break off.
        """
        assert self._start is not None
        if self._call.behind is not None:
            return False
        lead = self._call.lead
        return lead is None or not (_may_stand_in(lead.last_good) or _lengths(head_of(self._start)))

    async def _begin(self) -> None:
        """Pass on what has come, before it is known what becomes of it."""
        assert self._start is not None
        self.begun = True
        if self._call.lead is not None:
            self._timer = asyncio.create_task(self._lose_patience())
        marked = self._responder.mark(Answer(head_of(self._start), None), http.Forwarded(self._call.why))
        await self._send_from(marked.head)

    async def _lose_patience(self) -> None:
        """Let all who wait ask for themselves if it takes too long, while it goes on as it is."""
        assert self._start is not None
        await asyncio.sleep(SLOW)
        async with self._telling:
            if self.settled:
                return
            self._passing, self._held = True, []
            self._step = Done(None)
            try:
                await self._responder.talk.next(Answer(head_of(self._start), None))
            except Exception as error:
                log.warning("who waits for a slow stream could not be told to ask for it anew", exc_info=error)

    async def stop(self) -> None:
        """The application is through, or gone: nothing of this turn is to run on."""
        if self._timer is not None:
            with CancelScope(shield=True):
                async with self._telling:
                    self._timer.cancel()
                await asyncio.wait([self._timer])

    async def _let_go(self) -> None:
        """It cannot be shared as it is: say so, send what is held, and from now on whatever comes."""
        assert self._start is not None
        async with self._telling:
            if self.settled:
                return
            self._step = step = await self._responder.talk.next(Answer(head_of(self._start), None))
        if self._call.behind is not None or isinstance(step, Call):
            self.needless = self._call.behind is not None
            return
        self._passing = True
        if self.begun or step.answer is None:
            return
        answer, self._step = step.answer, Done(None) if isinstance(step, Done) else step
        if answer.body is None:
            await self._send_from(answer.head)
        else:  # what is stored has been confirmed, and is the answer
            self._passing = False
            await self._responder.deliver(answer)

    async def _send_from(self, head: http.Response) -> None:
        assert self._start is not None
        await self._responder.send({**self._start, "headers": list(head.headers)})
        held, self._held = (self._held, self._held) if not self.settled else (self._held, [])
        for body in held:
            await self._responder.send({"type": "http.response.body", "body": body, "more_body": True})

    async def _pass(self, message: Message) -> None:
        if self._call.behind is None:
            await self._responder.send(message)

    async def end(self) -> Call | Deliver | Done:
        """The application has returned; if its answer is not whole, it was cut short: somebody else leads."""
        if self._step is None:
            if self._start is not None and not self.begun and self._call.behind is None:
                await self._send_from(head_of(self._start))
            return Done(None)
        if isinstance(self._step, Deliver):  # it has gone out; what is left is to be done behind it
            return await self._responder.talk.next()
        return self._step

    async def cut(self) -> None:
        """The application has failed after its answer, or is gone: what is to be done behind it is done even so."""
        if isinstance(self._step, Deliver):
            with CancelScope(shield=True):
                await self._responder.talk.next()


def head_of(start: Message) -> http.Response:
    """The status and fields of an answer that begins with this message."""
    return http.Response(start["status"], tuple([(name, value) for name, value in start.get("headers", ())]), b"")


def _may_stand_in(old: Served | None) -> bool:
    """Whether this may be shown in place of an answer that fails."""
    stored = http.unpack(old.value) if old is not None and isinstance(old.value, bytes) else None
    return old is not None and stored is not None and old.late < stored.excuses


def _lengths(head: http.Response) -> list[int]:
    return [int(line) for line in lines(head.headers, b"content-length") if line.isdigit()]


def without_length(head: http.Response) -> http.Response:
    return replace(head, headers=tuple([line for line in head.headers if line[0].lower() != b"content-length"]))
