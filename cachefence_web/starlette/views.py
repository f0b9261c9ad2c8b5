"""An endpoint's answers, shared: what is stored of a Response is what the endpoint made, before it is sent."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from functools import partial, wraps
from typing import Any, TypeVar, Unpack

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Scope

from cachefence_web import http
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.errors import ConfigurationError
from cachefence_web.http.outcome import Forward, Forwarded, Reason
from cachefence_web.http.policy import CookieRule
from cachefence_web.responding import arespond
from cachefence_web.runtime.leading import AsyncLeading
from cachefence_web.runtime.recording import depends_on
from cachefence_web.starlette.declaring import Cache, Declaration, Tags
from cachefence_web.starlette.scopes import personal, request_of, unconditional

PERSONAL = Forwarded(Forward.BYPASS, detail=Reason.PERSONAL)

LED = "cachefence_web.led"
"""Set in the scope of a request whose whole answer is being made for a store: no part of it is stored again."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class ResponseExchange:
    """One request to something that makes a Response.

    answers: all exceptions for which the application has a handler: what the handler makes of them is the answer.
    """

    def __init__(self, scope: Scope, make: Callable[[], Awaitable[Response]]) -> None:
        self.request = request_of(scope)
        self.answers = handled(scope)
        self.made: Response | None = None
        self._scope = scope
        self._make = make

    async def call(self, leading: AsyncLeading | None) -> Response:
        """Have the Response made; it is remembered for the background tasks that it carries."""
        with unconditional(self._scope) if leading is not None else nullcontext():
            self.made = await self._make()
        return self.made

    async def pass_by(self) -> Response:
        """The Response for somebody who is known: what is stored was made for those who are not."""
        return self.mark(await self.call(None), PERSONAL)

    def describe(self, answer: Response) -> http.Response | None:
        """The Response as a value, unless its body is made while it is sent."""
        body = getattr(answer, "body", None)
        if not isinstance(body, bytes | memoryview) or isinstance(answer, StreamingResponse | FileResponse):
            return None
        return http.Response(answer.status_code, tuple(answer.raw_headers), bytes(body))

    def personal(self, answer: Response | None) -> bool:  # noqa: ARG002
        """Whether a session or a user is involved."""
        return personal(self._scope)

    def rebuild(self, response: http.Response) -> Response:
        """A Response that sends exactly this."""
        answer = Response(response.body, response.status, background=self.made.background if self.made else None)
        answer.raw_headers = list(response.headers)
        return answer

    def mark(self, answer: Response, outcome: http.Outcome) -> Response:
        """A copy, for an endpoint may return the same Response to everybody."""
        marked = copy.copy(answer)
        marked.__dict__.pop("_headers", None)
        marked.raw_headers = [*answer.raw_headers, (b"cache-status", http.cache_status(outcome))]
        return marked


def cache_view(
    *,
    cache: Cache | None = None,
    tags: Tags = (),
    vary_on: Iterable[str] = (),
    cookies: CookieRule = "bypass",
    policy: str | Policy | None = None,
    **options: Unpack[PolicyOptions],
) -> Callable[[Endpoint], Endpoint]:
    """Share an endpoint's responses: a function of the request, `def` or `async def`, or an HTTPEndpoint's `get`.

    cache: the application's (see `install`) if it is not given.
    tags: templates of the path's parameters (`"book:{book_id}"`) or a function of them.
    vary_on, cookies: see ResponsePolicy.

    Raises:
        ConfigurationError: when it decorates, for what cannot work.
    """
    declared = Declaration(cache, tags, policy, options, vary_on=vary_on, cookies=cookies)

    def decorate(endpoint: Endpoint) -> Endpoint:
        refuse_unfit(endpoint)
        call = endpoint if is_async(endpoint) else partial(run_in_threadpool, endpoint)

        @wraps(endpoint)
        async def view(*args: Any, **kwargs: Any) -> Response:
            request = next((given for given in (*args, *kwargs.values()) if isinstance(given, Request)), None)
            if request is None:
                raise ConfigurationError(f"{endpoint!r} was called without a request: cache_view goes on endpoints")
            exchange = ResponseExchange(request.scope, partial(call, *args, **kwargs))
            fence = declared.fence(request.scope)
            rule = declared.rule(fence, request.path_params)
            if request.scope.get(LED):
                depends_on(*rule.tags)
                return await exchange.call(None)
            if personal(request.scope):
                return await exchange.pass_by()
            return await arespond(fence, exchange, rule)

        return view  # type: ignore[return-value]

    return decorate


def refuse_unfit(endpoint: object) -> None:
    """Only functions can be wrapped.

    Raises:
        ConfigurationError: for classes and generators.
    """
    if inspect.isclass(endpoint) or not callable(endpoint):
        raise ConfigurationError(f"cache_view goes on a function, not on {endpoint!r}: decorate the class's `get`")
    if inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint):
        raise ConfigurationError(f"{endpoint!r} is a generator, and what it yields can be read once only:"
                                 " return the whole answer, or leave it uncached")


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None))  # noqa: B004


def handled(scope: Scope) -> tuple[type[BaseException], ...]:
    """The exceptions by which the application answers: those that it has a handler for, by kind."""
    kinds, _ = scope.get("starlette.exception_handlers", ({}, {}))
    return (HTTPException, *[kind for kind in kinds if isinstance(kind, type) and kind is not Exception])
