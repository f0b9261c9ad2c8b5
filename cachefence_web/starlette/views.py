"""An endpoint's answers, shared: what is stored of a Response is what the endpoint made, before it is sent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar, Unpack

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from cachefence_web.core.policy import Policy
from cachefence_web.errors import ConfigurationError
from cachefence_web.responding import ViewOptions, arespond
from cachefence_web.starlette.declaring import Cache, Declaration, Tags
from cachefence_web.starlette.exchange import Refresh, ResponseExchange
from cachefence_web.starlette.layers import ENDPOINT, Reach, layered, outranked
from cachefence_web.starlette.scopes import listen, personal

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def cache_view(
    *,
    cache: Cache | None = None,
    tags: Tags = (),
    policy: str | Policy | None = None,
    **options: Unpack[ViewOptions],
) -> Callable[[Endpoint], Endpoint]:
    """Share an endpoint's responses: a function of the request, `def` or `async def`, or an HTTPEndpoint's `get`.

    cache: the application's (see `install`) if it is not given.
    tags: templates of the path's parameters (`"book:{book_id}"`) or a function of them.
    options: the fields of Policy and of ResponsePolicy.

    Raises:
        ConfigurationError: when it decorates, for what cannot work.
    """
    declared = Declaration(cache, tags, policy, options)

    def decorate(endpoint: Endpoint) -> Endpoint:
        refuse_unfit(endpoint)
        reach = Reach()
        call = endpoint if is_async(endpoint) else partial(run_in_threadpool, endpoint)

        @wraps(endpoint)
        async def view(*args: Any, **kwargs: Any) -> Response:
            request = next((given for given in (*args, *kwargs.values()) if isinstance(given, Request)), None)
            if request is None:
                raise ConfigurationError(f"{endpoint!r} was called without a request: cache_view goes on endpoints")
            listen(request)
            exchange = ResponseExchange(request.scope, partial(call, *args, **kwargs), reach)
            tags = await outranked(request.scope)
            if (refresh := Refresh.of(request.scope, exchange.request)) is not None:
                return await refresh.led(exchange)
            if personal(request.scope) and request.method in ("GET", "HEAD"):
                return await exchange.pass_by()
            fence = declared.fence(request.scope)
            rule = declared.rule(fence, request.path_params, added=tags)
            return await arespond(layered(fence, ENDPOINT, foreground=reach.lost), exchange, rule)

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
