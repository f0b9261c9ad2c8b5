"""The extension object: all it does, it does to the cache of the application in hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec, TypeVar, Unpack, cast
from weakref import ReferenceType, WeakKeyDictionary, ref

from flask import Flask, current_app, has_app_context, request_started
from flask import Response as FlaskResponse

from cachefence_web import cache
from cachefence_web.asking import OnOutage
from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.flask.exchange import FlaskExchange, forget_cookies
from cachefence_web.flask.settings import configured, settled
from cachefence_web.http import ResponsePolicy
from cachefence_web.memoizing import Memoized, Tags, cached
from cachefence_web.responding import Rule, respond
from cachefence_web.serializers import Serializer

P = ParamSpec("P")
R = TypeVar("R")
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(slots=True)
class _Installed:
    """What one application has: its cache, and the functions memoized in it."""

    fence: cache.CacheFence
    memoized: dict[Callable[..., Any], Any] = field(default_factory=dict)


class CacheFence(cache.CacheFence):
    """The extension: a `CacheFence` whose every method acts on the cache of the application in hand.

    That is the one whose context is pushed; outside of any context, the one that this object was given if there
    was only ever one. Arguments are the defaults of all applications, `CACHEFENCE_*` in an application's config
    (read by `init_app`) wins: CACHEFENCE_URL, _NAMESPACE, _POLICY and _POLICIES (dicts of Policy fields will do),
    _SERIALIZER, _SECRET (for "pickle", SECRET_KEY and SECRET_KEY_FALLBACKS if not given), _TIMEOUT, _ON_OUTAGE,
    _FENCE_LIFE.

    Raises:
        ConfigurationError: by `init_app`, for a setting that is unknown or cannot work; by every other method, when
            there is no application to act on.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        url: Any = "memory://",
        namespace: str = "cachefence",
        policy: Policy | Mapping[str, Any] | None = None,
        policies: Mapping[str, Policy | Mapping[str, Any]] | None = None,
        serializer: str | Serializer = "msgpack",
        secret: str | bytes | None = None,
        timeout: float = 1.0,
        on_outage: OnOutage = "raise",
        fence_life: float = 10.0,
    ) -> None:
        self._defaults: dict[str, Any] = {
            "url": url, "namespace": namespace, "policy": policy, "policies": policies, "serializer": serializer,
            "secret": secret, "timeout": timeout, "on_outage": on_outage, "fence_life": fence_life}
        self._apps: WeakKeyDictionary[Flask, _Installed] = WeakKeyDictionary()
        self._first: ReferenceType[Flask] | None = None
        self._several = False
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give the application its cache, as its config says. Nothing is connected before it is first used.

        Raises:
            ConfigurationError: for a setting that is unknown or cannot work, and for an application that has one.
        """
        if not isinstance(app, Flask):
            raise ConfigurationError(f"init_app takes the Flask application, not {app!r:.60}")
        if "cachefence" in app.extensions:
            raise ConfigurationError(f"the application {app.name!r} has a CacheFence already: call init_app once")
        self._apps[app] = _Installed(cache.CacheFence(**settled(self._defaults | configured(app), app)))
        self._several = self._first is not None
        self._first = self._first or ref(app)
        app.extensions["cachefence"] = self
        request_started.connect(forget_cookies, app)

    def of(self, app: Flask) -> cache.CacheFence:
        """The cache of one application.

        Raises:
            ConfigurationError: if `init_app` was not called with it.
        """
        return self._installed_in(app).fence

    @property
    def aio(self) -> cache.AsyncCacheFence:
        """The same cache for event loops."""
        return self._here().fence.aio

    def cache_view(
        self,
        *,
        tags: Tags = (),
        vary_on: tuple[str, ...] = (),
        policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Callable[[View], View]:
        """Answer the requests for a view from the cache; stands under `@app.route`, or in a View's `decorators`.

        Stored is what leaves the view, `after_request` hooks run on it for hits too. Shared are answers 200 to GET,
        complete (a stream passes through), without a cookie or a function of `after_this_request`, and not
        personal. Personal is what was made with `session` or `request.cookies` looked at since the request began,
        hooks before the view included, unless the request had no cookie at all. Requests with cookies and those
        without never share. Anything else that tells visitors apart (headers, addresses, certificates) is
        not seen: name the header in `vary_on`, or do not cache the view.

        tags: templates of the view's arguments (`"post:{slug}"`), or a function of them.
        vary_on: request headers whose values get a response each.

        Raises:
            ConfigurationError: when the view is decorated, for options, templates and headers that cannot work.
        """
        Policy().but(options)
        _check_policy(policy)
        http = ResponsePolicy(vary_on=vary_on, cookies="apart")

        def decorate(view: View) -> View:
            tags_of = _tags_of(view, tags)

            @wraps(view)
            def cached_view(*args: Any, **kwargs: Any) -> FlaskResponse:
                fence = self._here().fence
                rule = Rule(policy=fence._terms.policy_of(policy, options), http=http, tags=tags_of(kwargs))
                return respond(fence, FlaskExchange(view, args, kwargs), rule)

            return cast("View", cached_view)

        return decorate

    def memoize(
        self,
        *,
        key: str | None = None,
        tags: Tags = (),
        policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Keep what a function returns, like `cachefence_web.cached`, in the cache of the application in hand."""
        _check_policy(policy)
        named: Tags = tags if callable(tags) or isinstance(tags, str) else tuple(tags)

        def decorate(function: Callable[P, R]) -> Memoized[P, R]:
            # What cannot work is to be refused now, though the cache, and what it calls its policies, come later.
            of_now = None if isinstance(policy, str) else policy
            names = cached(cache=cache.CacheFence(), key=key, tags=named, policy=of_now, **options)(function)

            def here() -> Memoized[P, R]:
                installed = self._here()
                if wrapper not in installed.memoized:
                    installed.memoized[wrapper] = cached(
                        cache=installed.fence, key=key, tags=named, policy=policy, **options)(function)
                return cast("Memoized[P, R]", installed.memoized[wrapper])

            wrapper: Any
            if inspect.iscoroutinefunction(inspect.unwrap(function)):
                @wraps(function)
                async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
                    return await cast("Any", here()(*args, **kwargs))
            else:
                @wraps(function)
                def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
                    return here()(*args, **kwargs)

            wrapper.key_of = names.key_of
            wrapper.forget = lambda *args, **kwargs: here().forget(*args, **kwargs)
            return cast("Memoized[P, R]", wrapper)

        return decorate

    def __getattr__(self, name: str) -> Any:
        # All that the inherited methods need of a cache: here it is that of the application in hand.
        if name in ("_terms", "_driver"):
            return getattr(self._here().fence, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(repr(app.name) for app in list(self._apps)) or 'no application'}>"

    def _here(self) -> _Installed:
        if has_app_context():
            return self._installed_in(cast("Any", current_app)._get_current_object())
        only = self._first() if self._first is not None and not self._several else None
        if only is None:
            raise ConfigurationError(
                "this CacheFence is used by several applications: do it within `with app.app_context():`"
                if self._several else "this CacheFence has no application: call init_app(app) first")
        return self._apps[only]

    def _installed_in(self, app: Flask) -> _Installed:
        installed = self._apps.get(app)
        if installed is None:
            raise ConfigurationError(
                f"the application {app.name!r} has no cache of this CacheFence: call init_app(app)")
        return installed


def _check_policy(policy: object) -> None:
    if not isinstance(policy, str | Policy | None):
        raise ConfigurationError(f"policy is a Policy or the name of one, not {policy!r:.60}")


def _tags_of(view: Callable[..., Any], tags: Tags) -> Callable[[Mapping[str, Any]], tuple[str, ...]]:
    """How the tags of a view's answer follow from its arguments."""
    if inspect.isclass(view):
        raise ConfigurationError(f"cache_view takes a view function, not {view!r}: give a View class it as one of its"
                                 " `decorators`")
    if callable(tags):
        make = tags
        return lambda arguments: check_tags(make(**arguments))
    if isinstance(tags, str) or not isinstance(cast("object", tags), Iterable):
        raise ConfigurationError(f"tags is a list of tags, not {tags!r:.60}: write [{tags!r:.60}]")
    templates = [Template(tag) for tag in tags]
    known = inspect.signature(view).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for template in templates:
            for name in template.fields:
                if name not in known:
                    raise ConfigurationError(f"{template.text!r} names {{{name}}}, but the view takes"
                                             f" {', '.join(known) or 'no arguments'}")
    if not any(template.fields for template in templates):
        fixed = check_tags([template.fill({}) for template in templates])
        return lambda _: fixed
    return lambda arguments: check_tags([template.fill(arguments) for template in templates])
