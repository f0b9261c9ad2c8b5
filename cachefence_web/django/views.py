"""`cache_view`: a view whose answers all may have to whom they are true; no setting is read before a request."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeVar, Unpack, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from cachefence_web.cache import CacheFence
from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import check_tags
from cachefence_web.django.backend import fence
from cachefence_web.django.exchange import SEEN, TaskExchange, ThreadExchange, neutral
from cachefence_web.errors import ConfigurationError
from cachefence_web.http import ResponsePolicy
from cachefence_web.responding import Rule, arespond, respond

View = TypeVar("View", bound=Callable[..., HttpResponseBase | Awaitable[HttpResponseBase]])

ViewTags = Iterable[str] | Callable[..., Iterable[str]]
"""Tags, as templates of the view's keyword arguments (`"book:{pk}"`) or a function of the request and those."""


def cache_view(
    *, tags: ViewTags = (), vary_on: Iterable[str] = (), cache: str = "default", policy: Policy | None = None,
    **options: Unpack[PolicyOptions],
) -> Callable[[View], View]:
    """Keep what a view answers to GET, and share it: one call of the view, however many ask.

    The view may be `def` or `async def`. A class-based one is wrapped as `cache_view(ttl=60)(Detail.as_view())`, or
    with `@method_decorator(cache_view(ttl=60), name="dispatch")`.

    Pages that touched the user, the session, messages, a cookie or a CSRF token are not shared among those who say
    who they are; those who do not are one visitor. What middleware, or a decorator outside such as `login_required`,
    has learnt counts as touched: if the session or the user was used before the view, or if the request has a cookie
    and attributes of the project's own. `vary_on=["Cookie"]` keeps such pages, one for each visitor. A
    TemplateResponse that is stored has been rendered before `process_template_response` middleware could see it.

    tags: what the pages depend on; more can be added from within the view with `depends_on`.
    vary_on: request headers whose values are part of the key. Name each header that the view, or what runs before
        it, reads: the use of others than Cookie is not noticed, and what one client sent is shown to the next.
    cache: an alias of CACHES, whose policy applies where this one says nothing.

    Raises:
        ConfigurationError: when the view is decorated, for what cannot work.
    """
    plan = _Plan(_checked_tags(tags), _http(vary_on), cache, policy, options)
    if not isinstance(cache, str):
        raise ConfigurationError(f"cache is an alias of CACHES, not {cache!r}")
    if policy is not None and not isinstance(policy, Policy):
        raise ConfigurationError(f"policy is a Policy, not {policy!r}: write Policy(ttl=...)")
    (policy or Policy()).but(options)

    def decorate(view: View) -> View:
        if not callable(view):
            raise ConfigurationError(f"cache_view decorates a view, not {view!r}: write @cache_view(ttl=60)")
        if isinstance(view, type):
            raise ConfigurationError(
                f'decorate {view.__name__} with @method_decorator(cache_view(...), name="dispatch")')
        plan.check(view)
        return cast("View", (_wrap_async if _is_async(view) else _wrap)(view, plan))

    return decorate


@dataclass(slots=True)
class _Plan:
    """What a `cache_view` was told, and what it amounts to under the settings of the day."""

    tags: Callable[..., Iterable[str]] | tuple[Template, ...]
    http: ResponsePolicy
    cache: str
    policy: Policy | None
    options: PolicyOptions
    _settled: tuple[CacheFence, Rule] | None = None

    def settled(self) -> tuple[CacheFence, Rule]:
        """The cache behind the alias, and the rule."""
        found, settled = fence(self.cache), self._settled
        if settled is None or settled[0] is not found:
            settled = found, Rule(policy=(self.policy or found.policy).but(self.options), http=self.http)
            self._settled = settled
        return settled

    def tags_of(self, request: HttpRequest, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """The tags of one page."""
        if isinstance(self.tags, tuple):
            return tuple([template.fill(kwargs) for template in self.tags])
        return tuple(self.tags(request, *args, **kwargs))

    def check(self, view: Callable[..., Any]) -> None:
        """Refuse tags of arguments that the view does not take, where its signature says so."""
        if not isinstance(view, FunctionType) or not isinstance(self.tags, tuple):
            return
        known = inspect.signature(view).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            return
        for template in self.tags:
            for name in template.fields:
                if name not in known:
                    raise ConfigurationError(f"{template.text!r} names {{{name}}}, but {view.__qualname__} takes"
                                             f" {', '.join(known) or 'no arguments'}")


def _wrap(view: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    name = _name_of(view)

    @functools.wraps(view)
    def cached(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            asked = neutral(_plain(request, name), name, args, kwargs)
        except DisallowedHost:
            return cast("HttpResponseBase", view(request, *args, **kwargs))
        found, rule = plan.settled()
        answer: HttpResponseBase = respond(
            found, ThreadExchange(asked, view, request, args, kwargs, plan.tags_of), rule)
        return answer

    return cached


def _wrap_async(view: Callable[..., Any], plan: _Plan) -> Callable[..., Any]:
    name = _name_of(view)

    @functools.wraps(view)
    async def cached(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            asked = neutral(_plain(request, name), name, args, kwargs)
        except DisallowedHost:
            return cast("HttpResponseBase", await view(request, *args, **kwargs))
        found, rule = plan.settled()
        return await arespond(found.aio, TaskExchange(asked, view, request, args, kwargs, plan.tags_of), rule)

    return cached


def _plain(request: object, name: str) -> HttpRequest:
    if isinstance(request, HttpRequest):
        return request
    raise ConfigurationError(
        f"{name} was called with a {type(request).__qualname__} where the HttpRequest belongs: decorate a method with"
        " @method_decorator(cache_view(...)), and a view of Django REST framework on its dispatch")


def _owner(view: Callable[..., Any]) -> Any:
    """The class-based view whose method `method_decorator` passes, bound."""
    return getattr(getattr(view, "func", None), "__self__", None) if isinstance(view, functools.partial) else None


def _is_async(view: Callable[..., Any]) -> bool:
    """Of an asynchronous class-based view even `dispatch`, which is a plain function, gives an awaitable."""
    return iscoroutinefunction(view) or bool(getattr(_owner(view), "view_is_async", False))


def _name_of(view: Callable[..., Any]) -> str:
    """Which view it is; Django leaves the same name on all functions made by `as_view()`."""
    named = getattr(view, "view_class", None)
    if named is None and (owner := _owner(view)) is not None:
        named = type(owner)
    if named is None:
        named = view if hasattr(view, "__qualname__") else type(view)
    return f"{named.__module__}.{named.__qualname__}"


def _checked_tags(tags: ViewTags) -> Callable[..., Iterable[str]] | tuple[Template, ...]:
    if isinstance(tags, str):
        raise ConfigurationError(f"tags is a list of tags, not one text: write [{tags!r}]")
    if callable(tags):
        return tags
    templates = tuple([Template(tag) for tag in tags])
    check_tags([template.text for template in templates if not template.fields])
    return templates


def _http(vary_on: Iterable[str]) -> ResponsePolicy:
    given = ResponsePolicy(vary_on=vary_on)  # type: ignore[arg-type]
    if odd := next((name for name in given.vary_on if "_" in name), None):
        raise ConfigurationError(f"vary_on names headers as they are sent, {odd.replace('_', '-')!r}, not {odd!r}")
    return ResponsePolicy(vary_on=(*given.vary_on, SEEN), cookies="ignore")
