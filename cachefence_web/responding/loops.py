"""The way from a request to its answer, walked by an event loop."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar, assert_never, cast

from cachefence_web.cache import AsyncCacheFence
from cachefence_web.core.effects import Plan
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import Lease
from cachefence_web.errors import CacheFenceError, StoreUnavailable
from cachefence_web.responding.conversation import conversation
from cachefence_web.responding.exchange import AsyncExchange, Described, Rule
from cachefence_web.responding.steps import (
    Begin,
    Call,
    Date,
    Deliver,
    Done,
    Fail,
    Finish,
    Forget,
    GiveUp,
    Invalidate,
    Offer,
    Peek,
    Told,
)
from cachefence_web.responding.telling import found, kept, told_of, trace
from cachefence_web.runtime.bypassing import bypassed
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.leading import AsyncLeading
from cachefence_web.runtime.recording import explained, recording

V = TypeVar("V")


async def arespond(
    fence: AsyncCacheFence, exchange: AsyncExchange[V], rule: Rule, *, since: Lease | None = None
) -> V:
    """The answer to a request: stored, shared with others who ask for it now, or made by the view.

    since: an `instant()` taken before anything was read for the answer, if that was before this call.
    """
    talk = AsyncTalk(fence, exchange, rule, since=since)

    async def rest(step: Call | Deliver | Done) -> V | None:
        async with talk.led(step):
            while isinstance(step, Call):
                try:
                    answer = await _call(exchange, talk, step)
                except Exception as error:
                    step = await talk.next(error=error)
                else:
                    step = await talk.next(answer)
        if isinstance(step, Deliver):
            return exchange.after(cast("V", step.answer), behind)
        return cast("V | None", step.answer)

    async def behind() -> None:
        await rest(await talk.next())

    return cast("V", await rest(await talk.next()))


async def _call(exchange: AsyncExchange[V], talk: AsyncTalk[V], call: Call) -> V | None:
    if call.behind is None:
        return await exchange.call(talk.leading, call.conditions)
    assert talk.leading is not None
    return await exchange.again(talk.leading, (*call.behind, *call.conditions))


class AsyncTalk(Generic[V]):
    """One conversation: the cache's steps are taken here, the adapter's are handed out by `next`.

    leading: while the application answers for everybody.
    """

    def __init__(
        self, fence: AsyncCacheFence, exchange: Described[V], rule: Rule, *, since: Lease | None = None
    ) -> None:
        self.leading: AsyncLeading | None = None
        self._fence, self._since = fence, since
        # Named, because a type checker would take `V | None`, which the plan returns, for the exchange's own V.
        described: Described[V] = exchange
        self._plan = cast("Plan[V | None]", conversation(described, rule, time.time, explained=explained()))
        self._recording: Recording | None = None
        self._name, self._key, self._traced = exchange.name, "", rule.debug_header

    @asynccontextmanager
    async def led(self, step: Call | Deliver | Done) -> AsyncIterator[None]:
        """The block in which the application answers; who leaves it without an end of what is led has given it up."""
        if isinstance(step, Call) and step.lead is not None:
            async with self._fence.leading(step.lead, since=self._since) as self.leading:
                self._trace()
                yield
        elif isinstance(step, Call) and step.wanted:
            with recording(()) as self._recording:
                self._trace()
                yield
        else:
            yield

    async def next(self, value: Any = None, error: Exception | None = None) -> Call | Deliver | Done:
        """Go on to what the adapter is asked for."""
        while True:
            try:
                step = self._plan.send(value) if error is None else self._plan.throw(error)
            except StopIteration as ended:
                return Done(ended.value)
            if isinstance(step, Call | Deliver):
                return step
            error = None
            try:
                value = await self._take(step)
            except Exception as raised:
                error = raised

    async def _take(self, step: Any) -> Any:
        fence = self._fence
        match step:
            case Begin(key, tags, policy, judge):
                self._key = key
                begun = await fence.begin(key, tags=tags, policy=policy, fitness=judge)
                return found(self._name, key, begun)
            case Peek(key, policy, judge):
                return await fence.peek(key, policy=policy, fitness=judge)
            case Date():
                try:
                    return await fence.instant()
                except StoreUnavailable:
                    return None
            case Offer(key, payload, since, life, tags):
                return await self._offer(key, payload, tags, self._since or since, life)
            case Forget(key):
                with suppress(StoreUnavailable):
                    await fence.delete(key)
                return None
            case Told(why):
                return told_of(self._recorded(), why)
            case Invalidate(tags):
                return await _invalidate(fence, tags)
        assert self.leading is not None, "what is led is ended in its block"
        match step:
            case Finish(payload, life, tags):
                self.leading.depends_on(*tags)
                return kept(self._key, await self.leading.finish(payload, raw=True, policy=life))
            case Fail(failure, life):
                return await self.leading.fail(failure, policy=life)
            case GiveUp():
                return await self.leading.pass_by()
            case _:
                assert_never(step)

    def _trace(self) -> None:
        if self._traced:
            trace(self._recorded())

    def _recorded(self) -> Recording | None:
        return self.leading.recording if self.leading is not None else self._recording

    async def _offer(self, key: str, payload: bytes, tags: tuple[str, ...], since: Any, life: Any) -> bool:
        recorded = self._recording
        if recorded is None or not recorded.storable or recorded.private or recorded.lag or bypassed():
            return False
        try:
            return await self._fence.set(
                key, payload, tags=dict.fromkeys((*tags, *recorded.settled())), since=since, policy=life, raw=True)
        except CacheFenceError:
            return False


async def _invalidate(fence: AsyncCacheFence, tags: tuple[str, ...]) -> None:
    try:
        await fence.invalidate_tags(*tags)
    except StoreUnavailable as away:
        log.error("what a request has changed could not be invalidated: the store is away", exc_info=away)
