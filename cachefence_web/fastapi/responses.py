"""A whole response: a dependency declares it, and the lookup stands in for the endpoint's call, after all of them.

FastAPI has no official door between the last dependency and the endpoint, so the endpoint's call is replaced on the
route's instance, here and nowhere else: when the declaring dependency first runs for a route, it puts a `StandIn`
where FastAPI will look for the function to call (`dependant.call`), and has FastAPI hand it the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from functools import partial, update_wrapper, wraps
from inspect import Parameter, Signature, signature, unwrap
from typing import Any, TypeVar, Unpack, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from fastapi import Depends
from fastapi.dependencies.utils import get_typed_return_annotation, get_typed_signature
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from cachefence_web.core.policy import Policy
from cachefence_web.errors import ConfigurationError
from cachefence_web.fastapi.dating import dated, dates_of, may_be_led
from cachefence_web.fastapi.exchange import TURN, EndpointExchange, run_turn
from cachefence_web.fastapi.routes import (
    answering,
    cookies_taken,
    headers_taken,
    is_first,
    others,
    put_first,
    shape_of,
)
from cachefence_web.http.outcome import Forward, Forwarded
from cachefence_web.responding import Rule, ViewOptions, arespond
from cachefence_web.runtime.recording import depends_on
from cachefence_web.starlette.declaring import Cache, Declaration, Tags
from cachefence_web.starlette.exchange import Refresh
from cachefence_web.starlette.layers import ENDPOINT, Reach, layered, outranked
from cachefence_web.starlette.scopes import listen, personal
from cachefence_web.starlette.views import is_async, refuse_unfit

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_REQUEST = "cachefence_request"
_DECLARED = "cachefence_declared"

_threads: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("cachefence_threads")


@dataclass(frozen=True, slots=True)
class Turn:
    """One request whose response is declared to be cached.

    given: what dependencies say about the response: FastAPI hands the same object to all of them.
    tags: of the rules around it.
    """

    declared: Declaration
    unkeyed: frozenset[str]
    given: Response
    tags: tuple[str, ...]


def declare(declared: Declaration, unkeyed: Collection[str]) -> Callable[..., AsyncIterator[None]]:
    """The dependency that has a route's responses cached.

    Where it does not run first, requests are dated by `begin`, which is put first when it first runs: only then is
    it known of which route it is a part. The requests that are on their way by then have no date: they pass by.
    """
    if isinstance(unkeyed, str):
        raise ConfigurationError(f"unkeyed is a list of header fields, not one text: write [{unkeyed!r}]")
    fields = frozenset([name.lower().replace("_", "-") for name in unkeyed])

    async def begin(connection: HTTPConnection) -> AsyncIterator[None]:
        listen(connection)
        async with dated(declared, connection.scope):
            yield

    async def cached_response(connection: HTTPConnection, response: Response) -> AsyncIterator[None]:
        scope = connection.scope
        shape = shape_of(scope) if scope["type"] == "http" else None
        stand_in = StandIn.of(shape) if shape is not None else None
        if shape is None or stand_in is None:
            yield
            return
        listen(connection)
        declared.check_fields(stand_in.names, f"the endpoint {stand_in.endpoint!r}")
        scope[TURN] = Turn(declared, fields, response, await outranked(scope))
        if is_first(shape.dependant, cached_response):
            async with dated(declared, scope, alone=not others(shape.dependant, cached_response)):
                yield
            return
        stand_in.date_by(begin)
        yield

    return cached_response


def cache_view(
    *,
    cache: Cache | None = None,
    tags: Tags = (),
    unkeyed: Collection[str] = (),
    policy: str | Policy | None = None,
    **options: Unpack[ViewOptions],
) -> Callable[[Endpoint], Endpoint]:
    """Under the route's decorator, what `dependencies=[Depends(cached(...))]` is in it.

    A `def` endpoint is better off with this: who waits for another's answer then holds no thread.
    Dependencies of the route's decorator or its routers run before it: see `cached` for what that costs.

    Raises:
        ConfigurationError: when it decorates, for what cannot work, tags that name no argument included.
    """
    declared = Declaration(cache, tags, policy, options)
    dependency = declare(declared, unkeyed)

    def decorate(endpoint: Endpoint) -> Endpoint:
        refuse_unfit(endpoint)
        names = list(signature(endpoint).parameters)
        declared.check_fields(names, f"the endpoint {endpoint.__qualname__}")
        call: Callable[..., Awaitable[Any]] = endpoint if is_async(endpoint) else partial(run_in_threadpool, endpoint)

        @wraps(endpoint)
        async def view(**values: Any) -> Any:
            values.pop(_DECLARED, None)
            return await call(**values)

        view.__signature__ = _declaring(endpoint, dependency)  # type: ignore[attr-defined]
        return view  # type: ignore[return-value]

    return decorate


def _declaring(endpoint: Callable[..., Any], dependency: Callable[..., Any]) -> Signature:
    """The endpoint's signature, its annotations read where it was written, with the dependency in front."""
    own = get_typed_signature(endpoint)
    extra = Parameter(_DECLARED, Parameter.KEYWORD_ONLY, default=Depends(dependency))
    kept = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own.parameters.values()
            if parameter.kind is not Parameter.VAR_KEYWORD]
    returns = signature(endpoint).return_annotation
    if returns is not Signature.empty:
        returns = get_typed_return_annotation(endpoint)
    return Signature([extra, *kept], return_annotation=returns)


class StandIn:
    """What is called in an endpoint's place: by FastAPI, in the event loop, or in a thread if the endpoint is `def`."""

    def __init__(self, shape: Any) -> None:
        dependant = shape.dependant
        self.endpoint: Callable[..., Any] = dependant.call
        self.names = frozenset([*signature(self.endpoint).parameters, *shape.param_convertors])
        self.takes_cookies = cookies_taken(dependant)
        self.headers = headers_taken(dependant)
        self._adds_request = dependant.request_param_name is None
        self._request = dependant.request_param_name or _REQUEST
        self._answer = answering(shape, run_turn)
        self._dependant = dependant
        self._dated_by: set[Callable[..., Any]] = set()
        self._reach = Reach()

    @classmethod
    def of(cls, shape: Any) -> StandIn | None:
        """The stand-in of a route's endpoint, put in its place at first use; None for what yields its answer."""
        dependant = shape.dependant
        placed = getattr(getattr(dependant.call, "func", None), "__self__", None)
        if isinstance(placed, cls):
            return placed
        try:
            refuse_unfit(dependant.call)
        except ConfigurationError:
            return None
        stand_in = cls(shape)
        dependant.request_param_name = stand_in._request
        dependant.call = stand_in.call()
        return stand_in

    def date_by(self, begin: Callable[..., Any]) -> None:
        """From the next request on, have this run before all dependencies."""
        if begin not in self._dated_by:
            self._dated_by.add(begin)
            put_first(self._dependant, begin)

    def call(self) -> Callable[..., Any]:
        """What FastAPI is to call, of the endpoint's own colour, which some of its versions look at again.

        A partial, because what it wraps is not taken for the user's code by error reports; and without
        `__wrapped__`, which would lead to functions of another colour.
        """
        asynchronous = is_async(self.endpoint) or is_async(unwrap(self.endpoint))
        call: Any = partial(self._awaited if asynchronous else self._threaded)
        update_wrapper(call, self.endpoint, updated=())
        del call.__wrapped__
        return cast("Callable[..., Any]", call)

    async def _awaited(self, **values: Any) -> Any:
        request, turn = self._taken(values)
        if turn is None:
            return await self.endpoint(**values)
        return await self._respond(turn, request, values, self.endpoint)

    def _threaded(self, **values: Any) -> Any:
        request, turn = self._taken(values)
        if turn is None:
            return self.endpoint(**values)
        # Whoever waits here holds one of FastAPI's threads, so the endpoint itself must not need another of them.
        return anyio.from_thread.run(self._respond, turn, request, values, partial(_in_thread, self.endpoint))

    def _taken(self, values: dict[str, Any]) -> tuple[Request, Turn | None]:
        """The request, out of the values if the endpoint does not know it, and what was declared for it."""
        request: Request = values.pop(self._request) if self._adds_request else values[self._request]
        return request, request.scope.pop(TURN, None)

    async def _respond(
        self, turn: Turn, request: Request, values: dict[str, Any], call: Callable[..., Awaitable[Any]]
    ) -> Any:
        fence = turn.declared.fence(request.scope)
        taken = {name: value for name, value in values.items() if name != _DECLARED}
        rule = self._rule(turn, turn.declared.rule(fence, taken, beside=request.path_params, added=turn.tags))
        if turn.given.status_code not in (None, 200):
            depends_on(*rule.tags)
            return await call(**values)
        exchange = EndpointExchange(request, turn.given, rule, partial(call, **values), self._answer, self._reach)
        if (refresh := Refresh.of(request.scope, exchange.request)) is not None:
            return await refresh.led(exchange)
        if personal(request.scope) and request.method in ("GET", "HEAD"):
            return await exchange.pass_by()
        since = dates_of(request.scope).since
        if fence not in since and may_be_led(request.scope, rule.http):
            return exchange.mark(await exchange.call(None), Forwarded(Forward.BYPASS))
        place = layered(fence, ENDPOINT, foreground=self._reach.lost)
        return await arespond(place, exchange, rule, since=since.get(fence))

    def _rule(self, turn: Turn, rule: Rule) -> Rule:
        """The rule, told what else of the request reaches the endpoint."""
        asked = rule.http
        cookies = "bypass" if self.takes_cookies else asked.cookies
        taken = self.headers - turn.unkeyed
        if taken.issubset(asked.vary_on) and cookies == asked.cookies:
            return rule
        return replace(rule, http=replace(asked, vary_on=(*asked.vary_on, *taken), cookies=cookies))


async def _in_thread(function: Callable[..., Any], /, **values: Any) -> Any:
    """Run it in a thread of our own pool, which is as large as FastAPI's."""
    try:
        limiter = _threads.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(anyio.to_thread.current_default_thread_limiter().total_tokens)
        _threads.set(limiter)
    return await anyio.to_thread.run_sync(partial(function, **values), limiter=limiter)
