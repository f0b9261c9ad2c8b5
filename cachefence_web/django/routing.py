"""Where a site's rules are put around its views: what Django resolves for a request is the view, cached.

A middleware's `process_view` could answer in the view's place, but not without taking the turn of those after it, the
transaction around the view and the exception middleware. So the root resolver, which tells Django the view and its
arguments, is followed: for a request that has come through `CacheMiddleware`, and for its own path only, unpacking what
it found yields the cached view. The match itself still tells everybody the view that the URLconf names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import ResolverMatch, URLResolver, get_resolver

Choose = Callable[[ResolverMatch, str], Callable[..., Any] | None]
"""The cached view for a match and a path, None if no rule is for it."""


class _Match(ResolverMatch):
    """A match whose view is cached."""

    _cached: Callable[..., Any]

    def __getitem__(self, index: Any) -> Any:
        return (self._cached, self.args, self.kwargs)[index]


@contextmanager
def following(request: HttpRequest, choose: Choose) -> Iterator[None]:
    """A block in which the view of this request is resolved."""
    _follow(get_resolver(getattr(request, "urlconf", None)))
    token = _current.set((request, choose))
    try:
        yield
    finally:
        _current.reset(token)


_current: ContextVar[tuple[HttpRequest, Choose] | None] = ContextVar("cachefence_site", default=None)
_lock = threading.Lock()


def _follow(resolver: URLResolver) -> None:
    if "resolve" not in vars(resolver):
        with _lock:
            if "resolve" not in vars(resolver):
                resolver.resolve = partial(_resolve, resolver.resolve)  # type: ignore[method-assign]


def _resolve(resolve: Callable[[str], ResolverMatch], path: str) -> ResolverMatch:
    found = resolve(path)
    current = _current.get()
    if current is None or str(path) != current[0].path_info:
        return found
    cached = current[1](found, str(path))
    if cached is None:
        return found
    match: _Match = object.__new__(_Match)  # a match refuses to be copied
    vars(match).update(vars(found))
    match._cached = cached
    return match
