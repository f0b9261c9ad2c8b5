"""The extension object: all it does, it does to the cache of the application in hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, Unpack, cast
from weakref import ReferenceType, WeakKeyDictionary, ref

from flask import Blueprint, Flask, current_app, has_app_context, request_started
from flask import Response as FlaskResponse

from cachefence_web import cache
from cachefence_web.asking import OnOutage
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.errors import ConfigurationError
from cachefence_web.flask.rules import Declared, Rule, check_policy, check_view, checked
from cachefence_web.flask.settings import configured, settled
from cachefence_web.flask.site import MARK, Site, answer
from cachefence_web.flask.watching import watch_from_now
from cachefence_web.memoizing import Memoized, Tags, cached
from cachefence_web.responding.exchange import ViewOptions
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
    _FENCE_LIFE, _RULES, _DEBUG_HEADER.

    rules: which requests of the whole application are cached, as a list of `Rule`; the first that matches counts.
        None puts a cache in front of it that obeys the headers of its responses (RFC 9111) and asks it, hooks
        included, only if it has none that will do.

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
        on_outage: OnOutage = "journal",
        fence_life: float = 10.0,
        rules: Iterable[Rule] | None = (),
        debug_header: bool = False,
    ) -> None:
        self._defaults: dict[str, Any] = {
            "url": url, "namespace": namespace, "policy": policy, "policies": policies, "serializer": serializer,
            "secret": secret, "timeout": timeout, "on_outage": on_outage, "fence_life": fence_life, "rules": rules,
            "debug_header": debug_header}
        self._blueprints: list[Rule] = []
        self._caches_views = False
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
        settings = settled(self._defaults | configured(app), app)
        rules = checked(settings.pop("rules"))
        fence = cache.CacheFence(**settings)
        site = Site(fence, rules, self._blueprints, lambda: self._caches_views or bool(rules or self._blueprints))
        self._apps[app] = _Installed(fence)
        site.stand_in(app)
        self._several = self._first is not None
        self._first = self._first or ref(app)
        app.extensions["cachefence"] = self
        request_started.connect(watch_from_now, app)

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
        policy: str | Policy | None = None,
        **options: Unpack[ViewOptions],
    ) -> Callable[[View], View]:
        """Answer the requests for a view from the cache; stands under `@app.route`, or in a View's `decorators`.

        Stored is what leaves the view, `after_request` hooks run on it for hits too. Shared are answers 200 to GET,
        complete (a stream passes through), without a cookie or a function of `after_this_request`, and not
        personal. Personal is what was made with `session` or the cookies looked at since the request began, hooks
        before the view included, unless the request had no cookie at all; who goes through all of
        `request.headers` or `request.environ` has looked at the cookies. Requests with cookies and those without
        never share. Credentials, those that only the server knows (REMOTE_USER, certificates) included, are not
        answered from the cache unless `vary_on` names their field ("Remote-User" for these). Anything else that
        tells visitors apart (other headers, addresses) is not seen: name the header in `vary_on`, or do not cache
        the view.

        tags: templates of the view's arguments (`"post:{slug}"`), or a function of them.
        options: fields of Policy (ttl, stale_for ...) and of ResponsePolicy (vary_on: request headers whose values
            get a response each; cookies, browser_ttl, ignored_query ...).

        Raises:
            ConfigurationError: when the view is decorated, for options, templates and headers that cannot work.
        """
        declared = Declared(tags, policy, options)

        def decorate(view: View) -> View:
            check_view(view, declared)

            @wraps(view)
            def cached_view(*args: Any, **kwargs: Any) -> FlaskResponse:
                fence = self._here().fence
                return answer(fence, partial(current_app.ensure_sync(view), *args, **kwargs),
                              declared.settled(fence, kwargs), point=cached_view)

            setattr(cached_view, MARK, True)
            self._caches_views = True
            return cast("View", cached_view)

        return decorate

    def cache_blueprint(
        self,
        blueprint: Blueprint,
        *,
        tags: Tags = (),
        policy: str | Policy | None = None,
        **options: Unpack[ViewOptions],
    ) -> None:
        """Cache all views of a blueprint and of those within it, wherever it is registered, as a `Rule` would.

        Raises:
            ConfigurationError: for what cannot work.
        """
        if not isinstance(blueprint, Blueprint):
            raise ConfigurationError(f"cache_blueprint takes the Blueprint, not {blueprint!r:.60}")
        self._blueprints.append(Rule.of_blueprint(blueprint, Declared(tags, policy, options)))

    def memoize(
        self,
        *,
        key: str | None = None,
        tags: Tags = (),
        policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Keep what a function returns, like `cachefence_web.cached`, in the cache of the application in hand."""
        check_policy(policy)
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
