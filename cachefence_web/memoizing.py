"""`@cached`: a function whose results are kept, of either colour, keyed by its arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, cast

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.calls import Call
from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.errors import ConfigurationError

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Cache = CacheFence | AsyncCacheFence | Callable[[], CacheFence | AsyncCacheFence]
"""A cache, or a function that names the one to use at each call, such as `cachefence_web.django.fence`."""

Tags = Iterable[str] | Callable[..., Iterable[str]]
"""Tags, as templates of the arguments (`"user:{user_id}"`) or a function of them."""


class Memoized(Protocol[P, R_co]):
    """A function wrapped by `cached`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., R_co]: ...

    def key_of(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of a call with these arguments."""

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Delete the value of a call with these arguments; to be awaited if the function is."""


def cached(
    *,
    cache: Cache,
    key: str | None = None,
    tags: Tags = (),
    policy: str | Policy | None = None,
    **options: Unpack[PolicyOptions],
) -> Callable[[Callable[P, R_co]], Memoized[P, R_co]]:
    """Keep what a function returns: `def` or `async def`, methods too.

    cache: one, or a function that names one at each call: then the cache may be made, or replaced, later.
    key: a template such as `"user:{user_id}"`; without one the function's name and all its arguments are the key,
        so that `f(7)`, `f(x=7)` and defaults meet, and 1, True, 1.0 and "1" do not.

    Raises:
        ConfigurationError: when the function is decorated, for a template that names no argument, options that
            cannot work, generators, and functions whose calls have no name (lambdas, closures) without a key.
    """
    found = _Found(cache, policy, options)

    def decorate(function: Callable[P, R_co]) -> Memoized[P, R_co]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError("a generator can be read once only: cache a function that returns a list")
        names = _Names(function, key, tags)
        wrap = _wrap_async if inspect.iscoroutinefunction(inspect.unwrap(function)) else _wrap
        wrapper = wrap(function, names, found)
        wrapper.key_of = lambda *args, **kwargs: names.key(names.call.arguments(args, kwargs))
        return cast("Memoized[P, R_co]", wrapper)

    return decorate


class _Found:
    """The cache of a call, in the colour that is wanted, and the policy that it is asked with."""

    def __init__(self, cache: Cache, policy: str | Policy | None, options: PolicyOptions) -> None:
        given: object = cache
        self._cache, self.policy, self.options = cache, policy, options
        if isinstance(cache, CacheFence | AsyncCacheFence):
            self.policy, self.options = cache._terms.policy_of(policy, options), PolicyOptions()
        elif callable(given):
            Policy().but(options)
        else:
            raise ConfigurationError(
                f"cache is a CacheFence or an AsyncCacheFence, or a function that returns one, not {cache!r}")

    def now(self) -> CacheFence:
        """For a function that does not wait."""
        face = self._face()
        return face if isinstance(face, CacheFence) else face.sync

    def on_loop(self) -> AsyncCacheFence:
        """For one that does."""
        face = self._face()
        return face if isinstance(face, AsyncCacheFence) else face.aio

    def _face(self) -> CacheFence | AsyncCacheFence:
        if isinstance(self._cache, CacheFence | AsyncCacheFence):
            return self._cache
        found: object = self._cache()
        if not isinstance(found, CacheFence | AsyncCacheFence):
            raise ConfigurationError(f"{self._cache!r} was to return a CacheFence, not {found!r}")
        return found


class _Names:
    """What a call is stored under, and what it carries."""

    def __init__(self, function: Callable[..., Any], key: str | None, tags: Tags) -> None:
        self.call = Call(function, named=key is not None)
        self._template = self._checked(key) if key is not None else None
        if isinstance(tags, str):
            raise ConfigurationError(f"tags is a list of tags, not one text: write [{tags!r}]")
        self._make = tags if callable(tags) else None
        self._templates = () if callable(tags) else tuple(self._checked(tag) for tag in tags)

    def key(self, arguments: Mapping[str, Any]) -> str:
        return self.call.key(arguments) if self._template is None else self._template.fill(arguments)

    def tags(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        if self._make is not None:
            return tuple(self._make(**arguments))
        return tuple([template.fill(arguments) for template in self._templates])

    def _checked(self, text: str) -> Template:
        template = Template(text)
        known = self.call.signature.parameters
        for field in template.fields:
            if field not in known:
                raise ConfigurationError(f"{text!r} names {{{field}}}, but {self.call.name} takes"
                                         f" {', '.join(known) or 'no arguments'}")
        return template


def _wrap(function: Callable[..., Any], names: _Names, found: _Found) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        arguments = names.call.arguments(args, kwargs)
        return found.now().get_or_set(
            names.key(arguments), functools.partial(function, *args, **kwargs), tags=names.tags(arguments),
            policy=found.policy, **found.options)

    def forget(*args: Any, **kwargs: Any) -> bool:
        return found.now().delete(names.key(names.call.arguments(args, kwargs)))

    wrapper.forget = forget  # type: ignore[attr-defined]
    return wrapper


def _wrap_async(function: Callable[..., Any], names: _Names, found: _Found) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        arguments = names.call.arguments(args, kwargs)
        return await found.on_loop().get_or_set(
            names.key(arguments), functools.partial(function, *args, **kwargs), tags=names.tags(arguments),
            policy=found.policy, **found.options)

    async def forget(*args: Any, **kwargs: Any) -> bool:
        return await found.on_loop().delete(names.key(names.call.arguments(args, kwargs)))

    wrapper.forget = forget  # type: ignore[attr-defined]
    return wrapper
