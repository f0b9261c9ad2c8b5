"""One way from a request to its cached answer, for all adapters: `http` decides, the cache shares the work.

An adapter describes one request as an `Exchange`; what is stored of an answer is what left the exchange.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.flight import Landing, Lead, PassBy, Served, Status
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Lease
from cachefence_web.http import (
    Bypass,
    Collapsed,
    Forward,
    Forwarded,
    Hit,
    Outcome,
    Reason,
    Refused,
    Request,
    Response,
    ResponsePolicy,
    Storable,
    answers_from_cache,
    pack,
    response_key,
    serve,
    storable,
    unpack,
)
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.leading import AsyncLeading, Leading

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How responses are cached: how long, for which requests, and what they depend on from the start."""

    policy: Policy
    http: ResponsePolicy = field(default_factory=ResponsePolicy)
    tags: tuple[str, ...] = ()


class _Described(Protocol[V]):
    """One request, and how its adapter's answers are taken apart and put together.

    answers: exceptions by which a view answers (a 404, a redirect): they are the asker's, never shared.
    """

    request: Request
    answers: tuple[type[BaseException], ...]

    def describe(self, answer: V) -> Response | None:
        """The complete answer in neutral form; None if it is not at hand as a whole (a stream)."""

    def personal(self, answer: V | None) -> bool:
        """Whether making it (None: failing to) touched the user, the session or anything else of the one who asked."""

    def rebuild(self, response: Response) -> V:
        """The adapter's answer for a stored response."""

    def mark(self, answer: V, outcome: Outcome) -> V:
        """The same answer, with its Cache-Status."""


class Exchange(_Described[V], Protocol[V]):
    """For threads."""

    def call(self, leading: Leading | None) -> V:
        """Run the view. Where it turns out early that the answer cannot be shared, say `leading.pass_by()`."""


class AsyncExchange(_Described[V], Protocol[V]):
    """For event loops."""

    def call(self, leading: AsyncLeading | None) -> Awaitable[V]:
        """Run the view. Where it turns out early that the answer cannot be shared, say `await leading.pass_by()`."""


def respond(fence: CacheFence, exchange: Exchange[V], rule: Rule) -> V:
    """The answer to a request: stored, shared with others who ask for it now, or made by the view."""
    asked = answers_from_cache(exchange.request, rule.http)
    if isinstance(asked, Bypass):
        return exchange.mark(exchange.call(None), Forwarded(asked.why, detail=asked.reason))
    key = response_key(exchange.request, rule.http)
    if not asked.fills:
        answer = _stored(exchange, fence.peek(key, policy=rule.policy))
        return answer if answer is not None else exchange.mark(exchange.call(None), Forwarded(Forward.MISS))
    begun = fence.begin(key, tags=rule.tags, policy=rule.policy)
    if isinstance(begun, Served):
        answer = _stored(exchange, begun)
        if answer is not None:
            return answer
        fence.delete(key)
        begun = fence.begin(key, tags=rule.tags, policy=rule.policy)
    if not isinstance(begun, Lead):
        return exchange.mark(exchange.call(None), Forwarded(Forward.MISS))
    with fence.leading(begun) as leading:
        try:
            answer = exchange.call(leading)
        except exchange.answers as error:
            if not isinstance(error, Exception) or exchange.personal(None) or not _may_stand_in(begun, error):
                leading.pass_by()
                raise
            return _instead(exchange, error, leading.fail(error), begun)
        except Exception as error:
            if exchange.personal(None):  # the asker's own failure; another's request may well succeed
                leading.pass_by()
                raise
            return _instead(exchange, error, leading.fail(error), begun)
        judged = _judge(exchange, answer, rule)
        if isinstance(judged, Storable):
            landing = leading.finish(pack(judged.response), raw=True, most=judged.max_ttl)
            return _made(exchange, judged.response, landing, begun)
        if isinstance(judged, ServerError) and _may_stand_in(begun, judged):
            return _last(exchange, judged, leading.fail(judged), begun) or answer
        if not _about_the_asker(judged):
            leading.pass_by()
        return exchange.mark(answer, Forwarded(_why(begun), detail=_reason(judged)))


async def arespond(
    fence: AsyncCacheFence, exchange: AsyncExchange[V], rule: Rule, *, since: Lease | None = None
) -> V:
    """The answer to a request: stored, shared with others who ask for it now, or made by the view.

    since: an `instant()` taken before anything was read for the answer, if that was before this call.
    """
    begun = await alook(fence, exchange, rule)
    if isinstance(begun, Forwarded):
        return exchange.mark(await exchange.call(None), begun)
    if not isinstance(begun, Lead):
        return begun
    async with fence.leading(begun, since=since) as leading:
        try:
            answer = await exchange.call(leading)
        except exchange.answers as error:
            if not isinstance(error, Exception) or exchange.personal(None) or not _may_stand_in(begun, error):
                await leading.pass_by()
                raise
            return await afail(exchange, error, leading)
        except Exception as error:
            return await afail(exchange, error, leading)
        return await asettle(exchange, answer, rule, leading)


async def alook(fence: AsyncCacheFence, exchange: _Described[V], rule: Rule) -> V | Forwarded | Lead:
    """The first half of `arespond`, for views that answer before they end: ASGI applications, with their background.

    Forwarded: ask the view, for this asker only. Lead: ask it for everybody, in `fence.leading(lead)`, and `asettle`.
    """
    asked = answers_from_cache(exchange.request, rule.http)
    if isinstance(asked, Bypass):
        return Forwarded(asked.why, detail=asked.reason)
    key = response_key(exchange.request, rule.http)
    if not asked.fills:
        answer = _stored(exchange, await fence.peek(key, policy=rule.policy))
        return answer if answer is not None else Forwarded(Forward.MISS)
    begun = await fence.begin(key, tags=rule.tags, policy=rule.policy)
    if isinstance(begun, Served):
        answer = _stored(exchange, begun)
        if answer is not None:
            return answer
        await fence.delete(key)
        begun = await fence.begin(key, tags=rule.tags, policy=rule.policy)
    return begun if isinstance(begun, Lead) else Forwarded(Forward.MISS)


async def asettle(exchange: _Described[V], answer: V, rule: Rule, leading: AsyncLeading) -> V:
    """The second half: store the answer if it may be shared, else let everybody ask the view; what to send of it."""
    judged = _judge(exchange, answer, rule)
    if isinstance(judged, Storable):
        landing = await leading.finish(pack(judged.response), raw=True, most=judged.max_ttl)
        return _made(exchange, judged.response, landing, leading.lead)
    if isinstance(judged, ServerError) and _may_stand_in(leading.lead, judged):
        return _last(exchange, judged, await leading.fail(judged), leading.lead) or answer
    if not _about_the_asker(judged):
        await leading.pass_by()
    return exchange.mark(answer, Forwarded(_why(leading.lead), detail=_reason(judged)))


async def afail(exchange: _Described[V], error: Exception, leading: AsyncLeading) -> V:
    """The other second half, for a view that raised before it answered: what may be shown instead, or the error."""
    if exchange.personal(None):  # the asker's own failure; another's request may well succeed
        await leading.pass_by()
        raise error
    return _instead(exchange, error, await leading.fail(error), leading.lead)


def _stored(exchange: _Described[V], served: Served | PassBy | None) -> V | None:
    """The answer from what was found; None if nothing was, or if its bytes are no response."""
    if not isinstance(served, Served) or not isinstance(served.value, bytes):
        return None
    response = unpack(served.value)
    if response is None:
        return None
    outcome: Outcome
    if served.status in (Status.STORED, Status.UNSTORED):
        outcome = Collapsed(served.age)
    else:
        outcome = Hit(served.age, -served.late if served.status is Status.STALE else served.remaining)
    return exchange.rebuild(serve(exchange.request, response, outcome))


def _instead(exchange: _Described[V], error: Exception, landing: Landing, lead: Lead) -> V:
    """What may be shown although the view has raised; the error, if there is nothing."""
    shown = _last(exchange, error, landing, lead)
    if shown is None:
        raise error
    return shown


def _last(exchange: _Described[V], error: Exception, landing: Landing, lead: Lead) -> V | None:
    """A last good answer, or the one that was to be refreshed."""
    for served in (landing, lead.last_good):
        shown = _stored(exchange, served) if isinstance(served, Served) else None
        if shown is not None:
            log.error("a view has failed; its visitor was shown what it last answered", exc_info=error)
            return shown
    return None


class ServerError(Exception):
    """A view has answered with a status that RFC 5861 section 4 counts as an error."""


def _judge(exchange: _Described[V], answer: V, rule: Rule) -> Storable | Refused | ServerError | None:
    response = exchange.describe(answer)
    if response is None:
        return None
    if response.status in _ERRORS and not exchange.personal(answer):
        return ServerError(f"the view answered {response.status}")
    return storable(exchange.request, response, rule.http, personal=exchange.personal(answer))


_ERRORS = (500, 502, 503, 504)


def _may_stand_in(lead: Lead, error: Exception) -> bool:
    """There is a last good answer, and the error is one that it may stand in for: a 404 is an answer of its own."""
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    return lead.last_good is not None and (isinstance(error, ServerError) or status in _ERRORS)


def _reason(judged: Refused | ServerError | None) -> Reason | None:
    if isinstance(judged, ServerError):
        return Reason.STATUS
    return judged.reason if judged is not None else None


def _about_the_asker(judged: Refused | ServerError | None) -> bool:
    """The view answered a condition of this request's (RFC 9110 section 13): another's answer may well be shared."""
    return isinstance(judged, Refused) and judged.reason is Reason.NOT_MODIFIED


def _made(exchange: _Described[V], response: Response, landing: Any, lead: Lead) -> V:
    stored = isinstance(landing, Served) and landing.status is Status.STORED
    return exchange.rebuild(serve(exchange.request, response, Forwarded(_why(lead), stored=stored)))


def _why(lead: Lead) -> Forward:
    return Forward.MISS if lead.stale is None else Forward.STALE
