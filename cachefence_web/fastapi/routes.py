"""What a route of FastAPI's tells: which of the request reaches its endpoint, and how it makes a Response."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security.api_key import APIKeyCookie, APIKeyHeader
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

Handler = Callable[[Request], Awaitable[Response]]

# Their presence passes the store by; to make them part of every key would store what is private.
_CREDENTIALS = frozenset({"authorization", "cookie"})


def shape_of(scope: Scope) -> Any:
    """What FastAPI answers the request with: the route, or what including its router has made of it; None for others.

    Either has the attributes of an APIRoute.
    """
    route = scope.get("route")
    if not isinstance(route, APIRoute):
        return None
    included = scope.get("fastapi")
    context = included.get("effective_route_context") if isinstance(included, dict) else None
    return context if getattr(context, "original_route", None) is route else route


def answering(shape: Any, endpoint: Callable[[Request, Response], Awaitable[Any]]) -> Handler:
    """FastAPI's own way from what an endpoint returns to a Response, with no dependencies before it."""
    bare = copy.copy(getattr(shape, "original_route", shape))
    bare.__dict__.update(vars(shape))
    # A partial, so that an error report does not show this function as the user's endpoint.
    bare.dependant = Dependant(call=partial(endpoint), path=shape.dependant.path, request_param_name="request",
                               response_param_name="response")
    bare.body_field = None
    bare.dependency_overrides_provider = None
    # Not the user's subclass: its handler is around this one already.
    return APIRoute.get_route_handler(bare)


def cookies_taken(dependant: Any) -> bool:
    """Whether the endpoint or a dependency takes a cookie as a parameter."""
    return any(each.cookie_params or isinstance(each.call, APIKeyCookie) for each in _tree(dependant))


def headers_taken(dependant: Any) -> frozenset[str]:
    """The header fields that the endpoint or a dependency takes as parameters, but for credentials."""
    return frozenset([name for each in _tree(dependant) for name in _headers(each)]) - _CREDENTIALS


def others(dependant: Any, call: object) -> bool:
    """Whether the route has any dependency but this one."""
    return any(each.call is not call for each in _tree(dependant) if each is not dependant)


def is_first(dependant: Any, call: object) -> bool:
    """Whether this is what runs first of all its dependencies: they run from left to right, each after its own."""
    while dependant.dependencies:
        dependant = dependant.dependencies[0]
    return dependant.call is call


def put_first(dependant: Any, call: Callable[..., Any]) -> None:
    """Have it run first, from the next request on, with the connection as its one parameter `connection`."""
    added = Dependant(call=call, path=dependant.path, http_connection_param_name="connection")
    # A new list: a request may be on its way through the old one.
    dependant.dependencies = [added, *dependant.dependencies]


def _tree(dependant: Any) -> Iterator[Any]:
    yield dependant
    for each in dependant.dependencies:
        yield from _tree(each)


def _headers(dependant: Any) -> Iterator[str]:
    """The fields that reach one function: its own parameters, the fields of a model of them, an API key."""
    if isinstance(dependant.call, APIKeyHeader):
        yield dependant.call.model.name.lower()
    for field in dependant.header_params:
        kind = getattr(field.field_info, "annotation", None)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, inner in kind.model_fields.items():
                yield (inner.alias or name).lower().replace("_", "-")
        else:
            yield field.alias.lower()
