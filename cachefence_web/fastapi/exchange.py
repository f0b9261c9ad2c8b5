"""One request to an endpoint of FastAPI's, between what its dependencies say and what it says itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

from anyio import CancelScope
from starlette.requests import Request
from starlette.responses import Response

from cachefence_web import http
from cachefence_web.fastapi.dating import dates_of, hand_on
from cachefence_web.fastapi.routes import Handler
from cachefence_web.http.policy import CREDENTIALS
from cachefence_web.http.variants import vary_names
from cachefence_web.responding import Rule
from cachefence_web.runtime.leading import AsyncLeading
from cachefence_web.runtime.recording import current
from cachefence_web.starlette.exchange import Followed, ResponseExchange, ended
from cachefence_web.starlette.layers import Reach
from cachefence_web.starlette.scopes import request_of

TURN = "cachefence_web.turn"
"""Where a scope holds what is declared for it, and then who answers it."""

# No name of a header field begins with a colon, so this line of a stored response is ours alone.
_AS_IT_IS = (b":as-it-is", b"")

# What dependencies say is asked for objections; how long an answer lives, the endpoint may be the only one to say.
_PERMITTING = ((b"cache-control", b"public, max-age=60"),)

# Closed when the route has ended, its dependencies included. Before FastAPI 0.118 they end before the answer goes out.
_STACK = "fastapi_middleware_astack"


async def _nothing() -> None: ...


async def _in_any_case(run: Callable[[], Awaitable[None]]) -> None:
    with CancelScope(shield=True):
        await run()


class EndpointExchange(ResponseExchange):
    """One request to an endpoint: its answer is what FastAPI makes of what it returns.

    What dependencies have said about the response is this request's own: it is not stored, and said of a stored
    response too. FastAPI says it of all but an endpoint's own Response, so whether it was one is stored.
    """

    def __init__(
        self, request: Request, given: Response, rule: Rule, run: Callable[[], Awaitable[Any]], answer: Handler,
        reach: Reach,
    ) -> None:
        super().__init__(request.scope, partial(self._ask, request, answer), reach)
        self._given = given
        self._before = tuple(given.raw_headers)
        self._rule = rule
        self._run = run
        self._as_it_is = False

    async def call(self, leading: AsyncLeading | None, conditions: http.Headers = ()) -> Response:
        """Have the Response made; it depends on what the dependencies do, too."""
        recorded = leading.recording if leading is not None else around.recording if (around := current()) else None
        if recorded is not None:
            for told in dates_of(self._scope).told:
                hand_on(told, recorded)
        return await super().call(leading, conditions)

    def after(self, answer: Response, run: Callable[[], Awaitable[None]]) -> Response:
        """Also after what dependencies do when the answer has gone out: a commit, or giving a connection back."""
        stack = self._scope.get(_STACK)
        if not isinstance(stack, AsyncExitStack):
            return super().after(answer, run)
        if self.request.method not in ("GET", "HEAD"):
            stack.push_async_callback(_in_any_case, run)
            return answer
        followed = Followed(answer, _nothing, self._drop)

        async def end() -> None:
            if not followed.sent:
                self._drop()
            await ended(run)

        stack.push_async_callback(end)
        return followed

    def _become(self, other: Self) -> None:
        super()._become(other)
        self._given, self._before, self._as_it_is = other._given, other._before, other._as_it_is

    async def _ask(self, request: Request, answer: Handler) -> Response:
        request.scope[TURN] = self
        return await answer(request)

    async def run(self, response: Response) -> Any:
        """What the endpoint returns, with all that it and the dependencies say about the response."""
        value = await self._run()
        self._as_it_is = isinstance(value, Response)
        if not self._as_it_is:
            response.status_code = self._given.status_code
            response.raw_headers.extend(self._given.raw_headers)
        return value

    def describe(self, answer: Response) -> http.Response | None:
        """The answer without what is this request's own."""
        whole = super().describe(answer)
        if whole is None:
            return None
        if self._as_it_is:
            return replace(whole, headers=(*whole.headers, _AS_IT_IS))
        said = self._given.raw_headers
        kept = whole.headers[:len(whole.headers) - len(said)]
        return replace(whole, headers=(*kept, *[line for line in said if line not in self._before]))

    def personal(self, answer: Response | None) -> bool:
        """Whether a session or a user is involved, or dependencies have said what forbids sharing."""
        if super().personal(answer):
            return True
        said = http.Response(200, () if self._as_it_is else (*self._before, *_PERMITTING), b"")
        judged = http.storable(request_of(self._scope), said, self._rule.http, personal=False, life=self._rule.policy,
                               now=time.time())
        # What dependencies say is not stored, so nobody could tell by it which variant an answer is.
        varied = vary_names(said.headers)
        settled = {b"host", *CREDENTIALS, *self._rule.http.keyed}
        return isinstance(judged, http.Refused) or varied is None or not settled.issuperset(varied)

    def rebuild(self, response: http.Response) -> Response:
        """The stored answer, with what the dependencies say now."""
        own = () if _AS_IT_IS in response.headers else self._before
        kept = [line for line in response.headers if line != _AS_IT_IS]
        return super().rebuild(replace(response, headers=(*kept, *own)))


async def run_turn(request: Request, response: Response) -> Any:
    exchange: EndpointExchange = request.scope.pop(TURN)
    return await exchange.run(response)
