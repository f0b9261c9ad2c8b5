"""One request through the middleware: an exchange whose answers are ASGI messages; `turn.py` hears the application."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cachefence_web import http
from cachefence_web.cache import AsyncCacheFence
from cachefence_web.responding import AsyncTalk, Call, Deliver, Done, Rule
from cachefence_web.runtime.engine import log
from cachefence_web.starlette.exchange import PERSONAL
from cachefence_web.starlette.layers import OUTER, Outer, layered
from cachefence_web.starlette.refreshing import anew, ask
from cachefence_web.starlette.scopes import listening, personal, request_of, unconditional
from cachefence_web.starlette.turn import Answer, Turn, head_of, without_length


class Responder:
    """One request, and what becomes of it."""

    answers: tuple[type[BaseException], ...] = ()
    revalidates = True

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, rule: Rule, largest: int, outer: Outer,
        name: str,
    ) -> None:
        self.request = request_of(scope)
        self.name = name
        self.largest = largest
        self.rule = rule
        self.outer = outer
        self._send = send
        self._gone: Exception | None = None
        self._app, self._scope, self._receive = app, scope, receive
        self._judged_by = scope

    async def respond(self, fence: AsyncCacheFence) -> None:
        """Answer it: from the store, with another's answer, or with the application's own."""
        if self.request.method in ("GET", "HEAD") and personal(self._scope):
            await self._app(self._scope, self._receive, self._marking)
            return
        self.talk: AsyncTalk[Answer] = AsyncTalk(layered(fence, self.outer.place), self, self.rule)
        step = await self.talk.next()
        if isinstance(step, Deliver):
            step = await self._delivered(step)
        if isinstance(step, Call):
            async with self.talk.led(step):
                step = await self._run(step)
        if self._gone is not None:
            raise self._gone
        if isinstance(step, Done) and step.answer is not None:
            await self.deliver(step.answer)

    async def _delivered(self, step: Deliver) -> Call | Deliver | Done:
        """Send what there is; what is to be done then. A client that is gone by now leaves it to another's."""
        try:
            await self.deliver(step.answer)
        except BaseException:
            async with self.talk.led(await self.talk.next()):
                pass
            raise
        return await self.talk.next()

    async def send(self, message: Message) -> None:
        """To the client, as long as it is there."""
        try:
            await self._send(message)
        except Exception as gone:
            self._gone = gone
            raise

    async def _run(self, call: Call) -> Call | Deliver | Done:
        """Have the application answer; what comes next, without an answer if it has gone out already."""
        turn = Turn(self, call)
        try:
            return await self._heard(turn, call)
        except BaseException:
            await turn.cut()
            raise
        finally:
            await turn.stop()

    async def _heard(self, turn: Turn, call: Call) -> Call | Deliver | Done:
        try:
            with self._asking(call) as scope:
                if call.behind is not None:
                    await ask(self._app, scope, turn.hear, needless=lambda: turn.needless)
                elif call.wanted:
                    await self._app(scope, listening(self._scope, self._receive), turn.hear)
                else:
                    await self._app(scope, self._receive, turn.hear)
        except Exception as error:
            if self._gone is not None and not turn.settled:
                # Nobody's failure but the connection's: an answer cut short, and somebody else leads.
                return Done(None)
            if not (turn.settled or turn.begun):
                return await self.talk.next(error=error)
            if call.behind is None:
                raise
            log.warning("a page was refreshed, and what came after its answer failed", exc_info=error)
        return await turn.end()

    @contextmanager
    def _asking(self, call: Call) -> Iterator[Scope]:
        """The scope to ask with. What is made for others must be whole, and what is declared within may take over."""
        self.outer.leading = self.talk.leading
        if call.behind is not None:
            self._judged_by = anew(self._scope, (*call.behind, *call.conditions), {OUTER: self.outer})
            yield self._judged_by
            return
        with self.outer.around(self._scope):
            if call.lead is None:
                yield self._scope
                return
            with unconditional(self._scope, call.conditions):
                yield self._scope

    async def deliver(self, answer: Answer) -> None:
        """Send a whole answer."""
        await self.send({
            "type": "http.response.start", "status": answer.head.status, "headers": list(answer.head.headers)})
        await self.send({"type": "http.response.body", "body": answer.body or b"", "more_body": False})

    async def _marking(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            marked = self.mark(Answer(head_of(message), None), PERSONAL)
            message = {**message, "headers": list(marked.head.headers)}
        await self.send(message)

    def head(self, answer: Answer) -> http.Response:
        """Its status and fields."""
        return answer.head

    def describe(self, answer: Answer) -> http.Response | None:
        """The whole answer; of one that is let go its head, for the reason, unless the head was not the reason."""
        if answer.body is not None:
            return replace(answer.head, body=answer.body)
        return without_length(answer.head) if self.objection(answer.head) else None

    def objection(self, head: http.Response) -> bool:
        """Whether nothing that follows this head can make the answer fit for sharing."""
        judged = http.storable(self.request, without_length(head), self.rule.http, personal=self.personal(None),
                               life=self.rule.policy, now=time.time())
        return isinstance(judged, http.Refused)

    def personal(self, answer: Answer | None) -> bool:  # noqa: ARG002
        """Whether a session or a user is involved."""
        return personal(self._judged_by)

    def rebuild(self, response: http.Response) -> Answer:
        """The messages of a stored response."""
        return Answer(response, response.body)

    def mark(self, answer: Answer, outcome: http.Outcome, told: http.Headers = ()) -> Answer:
        """The same, with its Cache-Status, unless another says what became of it."""
        if self.outer.gave_way:
            return answer
        head = answer.head
        return replace(answer, head=replace(
            head, headers=(*head.headers, (b"cache-status", http.cache_status(outcome)), *told)))
