"""`cache_view`: a view whose answers all may have to whom they are true; no setting is read before a request."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, Unpack, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.django.afterwards import settle
from cachefence_web.django.asked import Asked
from cachefence_web.django.exchange import TaskExchange, ThreadExchange, stand_back
from cachefence_web.django.neutral import neutral, seen
from cachefence_web.django.planning import Answer, Plan, ViewTags, plan_of
from cachefence_web.django.refreshing import refresh_in
from cachefence_web.errors import ConfigurationError
from cachefence_web.responding import arespond, respond

View = TypeVar("View", bound=Callable[..., Answer])

CACHED = "cachefence_view"
"""What a cached view is known by, through decorators outside that keep its attributes, as Django's do."""


def cache_view(
    *, tags: ViewTags = (), vary_on: Iterable[str] = (), browser_ttl: float | None = 0.0, cache: str = "default",
    policy: Policy | None = None, **options: Unpack[PolicyOptions],
) -> Callable[[View], View]:
    """Keep what a view answers to GET, and share it: one call of the view, however many ask.

    The view may be `def` or `async def`. A class-based one is wrapped as `cache_view(ttl=60)(Detail.as_view())`, or
    with `@method_decorator(cache_view(ttl=60), name="dispatch")`; so are those of Django REST framework, where
    single methods and actions may be, too, and functions outside `@api_view`. An operation of django-ninja is
    wrapped with its `@decorate_view(cache_view(ttl=60))`. A POST, PUT or DELETE, or any other method that is not
    known to be safe, forgets the page at its URL when it has succeeded.

    Pages that touched the user, the session, messages, a cookie or a CSRF token are not shared among those who say
    who they are; those who do not are one visitor. What middleware, or a decorator outside such as `login_required`,
    has learnt counts as touched: if the session or the user was used before the view, or if the request has a cookie
    and attributes of the project's own. `vary_on=["Cookie"]` keeps such pages, one for each visitor. A
    TemplateResponse that is stored has been rendered before `process_template_response` middleware could see it.
    Pages are told apart by the other header fields that the view reads, and a Vary that names them says so. One that
    reads the client's address is not shared.

    Whom the server has logged in (REMOTE_USER) or knows by a certificate (SSL_CLIENT_*) is never answered from the
    cache, unless `vary_on=["Remote-User"]` keeps a page for each.

    What is not noticed: middleware that keeps what it has learnt of a visitor elsewhere than on the request, as in a
    context variable or a thread's locals (the tenant or the currency of a cookie or of an address), for the view to
    find there. Name the header that it goes by in `vary_on`.

    tags: what the pages depend on; more can be added from within the view with `depends_on`.
    vary_on: request headers whose values are part of the key. Name those that are read before the view: by
        middleware, which nobody watches.
    browser_ttl: seconds for which a browser may show the page without asking again, unless the view has said so.
    cache: an alias of CACHES, whose policy applies where this one says nothing.

    Raises:
        ConfigurationError: when the view is decorated, for what cannot work.
    """
    plan = plan_of(tags, vary_on, browser_ttl, cache, policy, options)

    def decorate(view: View) -> View:
        if not callable(view):
            raise ConfigurationError(f"cache_view decorates a view, not {view!r}: write @cache_view(ttl=60)")
        if isinstance(view, type):
            raise ConfigurationError(
                f'decorate {view.__name__} with @method_decorator(cache_view(...), name="dispatch")')
        plan.check(view)
        return cast("View", wrapped(view, plan))

    return decorate


def wrapped(view: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    """The view, cached as planned."""
    made = (_wrap_async if _is_async(view) else _wrap)(view, plan)
    setattr(made, CACHED, True)
    return made


def _wrap(view: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    name = _name_of(view)

    @functools.wraps(view)
    def cached(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        asked = _asked(view, name, plan, request, args, kwargs)
        exchange = _exchange(ThreadExchange, asked, name)
        if exchange is None:
            return cast("HttpResponseBase", asked.run())
        if (refresh := refresh_in(asked.request)) is not None:
            return cast("HttpResponseBase", exchange.answer_for(refresh) if refresh.is_for(exchange) else asked.run())
        settle()
        found, rule = plan.settled()
        answer: HttpResponseBase = respond(found, exchange, rule)
        return answer

    return cached


def _wrap_async(view: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    name = _name_of(view)

    @functools.wraps(view)
    async def cached(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        asked = _asked(view, name, plan, request, args, kwargs)
        exchange = _exchange(TaskExchange, asked, name)
        if exchange is None:
            return cast("HttpResponseBase", await asked.run())
        if (refresh := refresh_in(asked.request)) is not None:
            own = exchange.answer_for(refresh) if refresh.is_for(exchange) else asked.run()
            return cast("HttpResponseBase", await own)
        found, rule = plan.settled()
        return await arespond(found.aio, exchange, rule)

    return cached


E = TypeVar("E", ThreadExchange, TaskExchange)


def _exchange(kind: type[E], asked: Asked, name: str) -> E | None:
    """None for a host that Django does not accept: it is no part of a key."""
    request, more = asked.request, []
    if request.encoding:
        more.append(f"encoding {request.encoding}")  # the query is decoded by it
    if asked.given is not request:
        more.append(f"renders {getattr(asked.given, 'accepted_media_type', None)}")
        more.append(f"version {getattr(asked.given, 'version', None)}")
    told = seen(request, name, asked.args, asked.kwargs, *more)
    try:
        return kind(neutral(request, told), told, asked)
    except DisallowedHost:
        return None


def _asked(
    view: Callable[..., Any], name: str, plan: Plan, given: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Asked:
    """What the view is asked.

    Raises:
        ConfigurationError: if it is no request.
    """
    # Django REST framework wraps the request before it calls a view's method.
    request = given if isinstance(given, HttpRequest) else getattr(given, "_request", None)
    if not isinstance(request, HttpRequest):
        raise ConfigurationError(
            f"{name} was called with a {type(given).__qualname__} where the HttpRequest belongs: decorate a method with"
            " @method_decorator(cache_view(...))")
    if not plan.site:
        stand_back(request)
    return Asked(view, request, given, args, kwargs, plan.tags_of, plan.http, plan, plan.site)


def _owner(view: Callable[..., Any]) -> Any:
    """The class-based view whose method `method_decorator` passes, bound."""
    return getattr(getattr(view, "func", None), "__self__", None) if isinstance(view, functools.partial) else None


def _is_async(view: Callable[..., Any]) -> bool:
    """Of an asynchronous class-based view even `dispatch`, which is a plain function, gives an awaitable."""
    return iscoroutinefunction(view) or bool(getattr(_owner(view), "view_is_async", False))


def _name_of(view: Callable[..., Any]) -> str:
    """Which view it is; Django leaves the same name on all functions made by `as_view()`."""
    named = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if named is None and (owner := _owner(view)) is not None:
        named, method = type(owner), getattr(view, "__name__", "dispatch")
        return f"{named.__module__}.{named.__qualname__}.{method}"
    if named is None:
        named = view if hasattr(view, "__qualname__") else type(view)
    # One that is cached twice is asked by itself, and must not wait for itself.
    return f"{named.__module__}.{named.__qualname__}" + ("+" if hasattr(view, CACHED) else "")
