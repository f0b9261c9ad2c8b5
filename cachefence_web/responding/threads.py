"""The way from a request to its answer, walked by a thread."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Any, Generic, TypeVar, assert_never, cast

from cachefence_web.cache import CacheFence
from cachefence_web.core.effects import Plan
from cachefence_web.core.recording import Recording
from cachefence_web.errors import CacheFenceError, StoreUnavailable
from cachefence_web.responding.conversation import conversation
from cachefence_web.responding.exchange import Described, Exchange, Rule
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
from cachefence_web.runtime.leading import Leading
from cachefence_web.runtime.recording import explained, recording

V = TypeVar("V")


def respond(fence: CacheFence, exchange: Exchange[V], rule: Rule) -> V:
    """The answer to a request: stored, shared with others who ask for it now, or made by the view."""
    talk = _Talk(fence, exchange, rule)
    return cast("V", talk.rest(talk.next()))


class _Talk(Generic[V]):
    """One conversation: the cache's steps are taken here, the adapter's are handed out."""

    def __init__(self, fence: CacheFence, exchange: Exchange[V], rule: Rule) -> None:
        self._fence, self._exchange = fence, exchange
        # Named, because a type checker would take `V | None`, which the plan returns, for the exchange's own V.
        described: Described[V] = exchange
        self._plan = cast("Plan[V | None]", conversation(described, rule, time.time, explained=explained()))
        self._leading: Leading | None = None
        self._recording: Recording | None = None
        self._name, self._key, self._traced = exchange.name, "", rule.debug_header

    def behind(self) -> None:
        """What is done when the answer has gone out."""
        self.rest(self.next())

    def rest(self, step: Call | Deliver | Done) -> V | None:
        """Walk to the answer."""
        with ExitStack() as held:
            if isinstance(step, Call):
                self._enter(step, held)
            while isinstance(step, Call):
                try:
                    answer = self._call(step)
                except Exception as error:
                    step = self.next(error=error)
                else:
                    step = self.next(answer)
        if isinstance(step, Deliver):
            return self._exchange.after(cast("V", step.answer), self.behind)
        return cast("V | None", step.answer)

    def _enter(self, call: Call, held: ExitStack) -> None:
        if call.lead is not None:
            self._leading = held.enter_context(self._fence.leading(call.lead))
        elif call.wanted:
            self._recording = held.enter_context(recording(()))
        if self._traced:
            trace(self._recorded())

    def _call(self, call: Call) -> V | None:
        if call.behind is None:
            return self._exchange.call(self._leading, call.conditions)
        assert self._leading is not None
        return self._exchange.again(self._leading, (*call.behind, *call.conditions))

    def next(self, value: Any = None, error: Exception | None = None) -> Call | Deliver | Done:
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
                value = self._take(step)
            except Exception as raised:
                error = raised

    def _take(self, step: Any) -> Any:
        fence = self._fence
        match step:
            case Begin(key, tags, policy, judge):
                self._key = key
                begun = fence.begin(key, tags=tags, policy=policy, fitness=judge)
                return found(self._name, key, begun)
            case Peek(key, policy, judge):
                return fence.peek(key, policy=policy, fitness=judge)
            case Date():
                try:
                    return fence.instant()
                except StoreUnavailable:
                    return None
            case Offer(key, payload, since, life, tags):
                return self._offer(key, payload, tags, since, life)
            case Forget(key):
                with suppress(StoreUnavailable):
                    fence.delete(key)
                return None
            case Told(why):
                return told_of(self._recorded(), why)
            case Invalidate(tags):
                return _invalidate(fence, tags)
        assert self._leading is not None, "what is led is ended in its block"
        match step:
            case Finish(payload, life, tags):
                self._leading.depends_on(*tags)
                return kept(self._key, self._leading.finish(payload, raw=True, policy=life))
            case Fail(failure, life):
                return self._leading.fail(failure, policy=life)
            case GiveUp():
                return self._leading.pass_by()
            case _:
                assert_never(step)

    def _recorded(self) -> Recording | None:
        return self._leading.recording if self._leading is not None else self._recording

    def _offer(self, key: str, payload: bytes, tags: tuple[str, ...], since: Any, life: Any) -> bool:
        recorded = self._recording
        if recorded is None or not recorded.storable or recorded.private or recorded.lag or bypassed():
            return False
        try:
            return self._fence.set(
                key, payload, tags=dict.fromkeys((*tags, *recorded.settled())), since=since, policy=life, raw=True)
        except CacheFenceError:
            return False


def _invalidate(fence: CacheFence, tags: tuple[str, ...]) -> None:
    try:
        fence.invalidate_tags(*tags)
    except StoreUnavailable as away:
        log.error("what a request has changed could not be invalidated: the store is away", exc_info=away)
