"""`CacheMiddleware`: a whole site's views cached by rules, or by what their responses say of themselves.

The middleware only says that a request may be answered from the cache; the view is where that happens, inside all
other middleware, wherever this one is put. Whatever they add, refuse or look at stays theirs, on hits too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any, Unpack

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch
from django.urls.resolvers import RoutePattern

from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.django.planning import Plan, ViewTags, check_fields, checked_tags, plan_of
from cachefence_web.django.routing import following
from cachefence_web.django.views import CACHED, wrapped
from cachefence_web.errors import ConfigurationError


class Rule:
    """Which pages of a site are cached, and how: `Rule("/books/<int:pk>/", ttl=60, tags=["book:{pk}"])`.

    path: as in `path()`, and the whole of it; `"/<path:rest>"` is every path but `/`.
    name: in its place, a URL pattern by its name, `"shop:book"`, with its arguments.
    tags, vary_on, browser_ttl, cache, policy and the options are those of `cache_view`.

    Raises:
        ConfigurationError: for what cannot work.
    """

    def __init__(
        self, path: str | None = None, *, name: str | None = None, tags: ViewTags = (), vary_on: Iterable[str] = (),
        browser_ttl: float | None = 0.0, cache: str = "default", policy: Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        if (path is None) is (name is None):
            raise ConfigurationError('a rule is for a path or a name: Rule("/books/<int:pk>/") or Rule(name="book")')
        self._name = name
        self._pattern = None if path is None else _pattern(path)
        self._tags = checked_tags(tags)
        if self._pattern is not None and isinstance(self._tags, tuple):
            check_fields(self._tags, self._pattern.converters, f"the path {path!r}")
        self.plan = plan_of(self._tags_of, vary_on, browser_ttl, cache, policy, options, site=True)

    def is_for(self, match: ResolverMatch, path: str) -> bool:
        """Whether it is for a request with this path that Django resolved to this."""
        if self._pattern is None:
            return match.view_name == self._name
        return self._pattern.match(path.removeprefix("/")) is not None

    def _tags_of(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Iterable[str]:
        if not isinstance(self._tags, tuple):
            return self._tags(request, *args, **kwargs)
        found = self._pattern.match(request.path_info.removeprefix("/")) if self._pattern is not None else None
        values = {**kwargs, **(found[2] if found else {})}
        return [template.fill(values) for template in self._tags]


class CacheMiddleware:
    """Answers requests from the cache, wherever among the middleware it is put.

    CACHEFENCE_RULES is a list of `Rule`; the first that is for a page counts, and all other pages pass untouched.
    Without that setting, or where it is None, the responses' own header fields decide for all pages, by RFC 9111: one
    with `Cache-Control: max-age=60` is kept so long, one that says nothing is not; CACHEFENCE_CACHE is then the
    alias of the cache. A view with a `cache_view` of its own keeps to that.

    Middleware that sets `request.urlconf` goes before this one.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._rules = _rules()
        self._views: dict[tuple[Plan, Any], Callable[..., Any]] = {}
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer_async(request)
        with following(request, self._cached):
            answer: HttpResponseBase = self._get_response(request)
            return answer

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        with following(request, self._cached):
            answer: HttpResponseBase = await self._get_response(request)
            return answer

    def _cached(self, match: ResolverMatch, path: str) -> Callable[..., Any] | None:
        """The view, cached by the first rule that is for it; it is wrapped once."""
        view = match.func
        if getattr(view, CACHED, False):
            return None
        plan = next((rule.plan for rule in self._rules if rule.is_for(match, path)), None) \
            if not isinstance(self._rules, Plan) else self._rules
        if plan is None:
            return None
        if (plan, view) not in self._views:
            self._views[plan, view] = wrapped(view, plan)
        return self._views[plan, view]


@cache
def _by_headers(alias: object) -> Plan:
    """The same plan for all handlers of a process: a page is made anew in another than the one it was made in."""
    return plan_of((), (), None, alias, None, {}, by_headers=True, site=True)


def _rules() -> tuple[Rule, ...] | Plan:
    rules = getattr(settings, "CACHEFENCE_RULES", None)
    if rules is None:
        try:
            return _by_headers(getattr(settings, "CACHEFENCE_CACHE", "default"))
        except ConfigurationError as refused:
            raise ImproperlyConfigured(f"CACHEFENCE_CACHE: {refused}") from refused
    given = tuple(rules) if isinstance(rules, list | tuple) else (rules,)
    if odd := [rule for rule in given if not isinstance(rule, Rule)]:
        raise ImproperlyConfigured(
            f'CACHEFENCE_RULES is a list of cachefence_web.django.Rule as in Rule("/books/", ttl=60), not {odd[0]!r}')
    return given


def _pattern(path: object) -> RoutePattern:
    if not isinstance(path, str):
        raise ConfigurationError(f"a rule's path is a text such as '/books/<int:pk>/', not {path!r}")
    try:
        pattern = RoutePattern(path.removeprefix("/"), is_endpoint=True)
        pattern.match("")
    except ImproperlyConfigured as broken:
        raise ConfigurationError(f"{path!r} is no path of a URL pattern: {broken}") from broken
    return pattern
