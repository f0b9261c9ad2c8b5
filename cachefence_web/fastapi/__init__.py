"""What users of FastAPI import: `Depends(cached(...))` for a response or a value, `cache_view`, and the middleware."""

from __future__ import annotations

try:
    import fastapi as fastapi
except ModuleNotFoundError as missing:
    raise ImportError('cachefence_web.fastapi needs FastAPI: pip install "cachefence-web[fastapi]"') from missing

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, ParamSpec, TypeVar, Unpack, overload

from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.errors import ConfigurationError
from cachefence_web.fastapi.responses import cache_view, declare
from cachefence_web.fastapi.values import Loader
from cachefence_web.http.policy import ResponseOptions
from cachefence_web.responding import ViewOptions
from cachefence_web.starlette import CacheMiddleware, Rule, install
from cachefence_web.starlette.declaring import Cache, Declaration, Tags

P = ParamSpec("P")
V = TypeVar("V")


@overload
def cached(
    *, cache: Cache | None = None, tags: Tags = (), unkeyed: Collection[str] = (), policy: str | Policy | None = None,
    **options: Unpack[ViewOptions],
) -> Callable[..., AsyncIterator[None]]: ...
@overload
def cached(
    load: Callable[P, Awaitable[V]], *, cache: Cache | None = None, key: str | None = None, tags: Tags = (),
    unkeyed: Collection[str] = (), policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
) -> Callable[P, Awaitable[V]]: ...
@overload
def cached(
    load: Callable[P, V], *, cache: Cache | None = None, key: str | None = None, tags: Tags = (),
    unkeyed: Collection[str] = (), policy: str | Policy | None = None, **options: Unpack[PolicyOptions],
) -> Callable[P, Awaitable[V]]: ...
def cached(
    load: Callable[..., Any] | None = None, *, cache: Cache | None = None, key: str | None = None, tags: Tags = (),
    unkeyed: Collection[str] = (), policy: str | Policy | None = None, **options: Unpack[ViewOptions],
) -> Callable[..., Any]:
    """What `Depends` takes: without `load` it declares that the route's whole response is cached; with it, a value.

    A response: all dependencies run and all parameters are validated, then the lookup stands in for the endpoint's
    call. Its key holds the URL and the header fields that the route or a dependency takes as parameters. Let it be the
    first dependency: what the others read is dated when it begins. Where others come before it (an application's, a
    router's), the very first requests to the route in each process are not cached.

    A value: what `load` returns, `def` or `async def`; FastAPI resolves its parameters as if `load` stood there
    itself. Its key holds all of them.

    cache: the application's (see `install`) if it is not given.
    tags: templates of the endpoint's, or load's, arguments (`"book:{book_id}"`) or a function of them.
    options: the fields of Policy and, for a response, of ResponsePolicy.
    unkeyed: header fields, or arguments of `load`, that make no difference to the answer: a request id, a session.
    key: for a value, a template of load's arguments that is its key.

    Raises:
        ConfigurationError: at once, for what cannot work; when a request comes, for arguments that no key can be
            made of, and for tags that name what the endpoint does not take.
    """
    if load is None:
        if key is not None:
            raise ConfigurationError("a response's key is its URL and vary_on; `key` is for cached(load, key=...)")
        return declare(Declaration(cache, tags, policy, options), unkeyed)
    if of_responses := ResponseOptions.__annotations__.keys() & options.keys():
        raise ConfigurationError(f"{', '.join(sorted(of_responses))}: that is for responses; a value is keyed by load's"
                                 " own parameters")
    return Loader(load, Declaration(cache, tags, policy, options), key, unkeyed).dependency()


__all__ = ["CacheMiddleware", "Rule", "cache_view", "cached", "install"]
