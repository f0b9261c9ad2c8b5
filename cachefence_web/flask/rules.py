"""Which requests of an application are cached, and how: said once, checked where it is said."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack
from weakref import ReferenceType, WeakKeyDictionary, ref

from flask import Blueprint, Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, RequestRedirect
from werkzeug.routing import Rule as Path

from cachefence_web import cache
from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.memoizing import Tags
from cachefence_web.responding import Rule as Settled
from cachefence_web.responding.exchange import ViewOptions, split


class Declared:
    """How something is cached, but for the cache itself, which is that of the application that is asked.

    Raises:
        ConfigurationError: for a policy, options or tags that cannot work.
    """

    def __init__(self, tags: Tags, policy: str | Policy | None, options: ViewOptions) -> None:
        # Flask tells what was looked at for an answer, so that visitors with cookies need not be sent away.
        self.http, core = split({"cookies": "apart", **options})
        check_policy(policy)
        if isinstance(tags, str) or not (callable(tags) or isinstance(tags, Iterable)):
            raise ConfigurationError(f"tags is a list of tags, not {tags!r:.60}: write [{tags!r:.60}]")
        self._policy, self._options = policy, core
        self._make = tags if callable(tags) else None
        self._templates = () if callable(tags) else tuple([Template(tag) for tag in tags])
        self._fixed: tuple[str, ...] | None = None
        if self._make is None and not any(template.fields for template in self._templates):
            self._fixed = check_tags([template.fill({}) for template in self._templates])
        self._policies: WeakKeyDictionary[cache.CacheFence, Policy] = WeakKeyDictionary()

    def check_fields(self, known: Iterable[str], of: str) -> None:
        """Refuse tags that name what there is not.

        Raises:
            ConfigurationError: naming what there is.
        """
        names = list(known)
        for template in self._templates:
            for name in template.fields:
                if name not in names:
                    raise ConfigurationError(
                        f"{template.text!r} names {{{name}}}, but {of} {', '.join(names) or 'no arguments'}")

    def policy(self, fence: cache.CacheFence) -> Policy:
        """What applies in one cache."""
        policy = self._policies.get(fence)
        if policy is None:
            policy = self._policies[fence] = fence._terms.policy_of(self._policy, self._options)
        return policy

    def settled(self, fence: cache.CacheFence, arguments: Mapping[str, Any]) -> Settled:
        """All of it, for one request's arguments."""
        tags = self._fixed
        if tags is None:
            made = [template.fill(arguments) for template in self._templates] if self._make is None \
                else self._make(**arguments)
            tags = check_tags(made)
        return Settled(
            policy=self.policy(fence), http=self.http, tags=tags, debug_header=fence._terms.debug_header)


class Rule:
    """Which requests are cached, and how: `Rule("/books/<int:book_id>", ttl=60, tags=["book:{book_id}"])`.

    path: as routes are written, below the application's root.
    endpoint: instead of a path, the name of an endpoint; `"blog.*"` names all of a blueprint, `"*"` all there are.
    tags: templates of the arguments of the path, or of the view; or a function of them.
    options: fields of Policy (ttl, stale_for ...) and of ResponsePolicy (vary_on, cookies, browser_ttl ...).

    Raises:
        ConfigurationError: for what cannot work; for a converter that the application does not have, when it is asked.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        endpoint: str | None = None,
        tags: Tags = (),
        policy: str | Policy | None = None,
        **options: Unpack[ViewOptions],
    ) -> None:
        self.declared = Declared(tags, policy, options)
        self.match: Callable[[Flask, Any], Mapping[str, Any] | None]
        if (path is None) == (endpoint is None):
            raise ConfigurationError(
                "a rule has a path or an endpoint: Rule('/books/<int:book_id>', ...) or Rule(endpoint='blog.*', ...)")
        if endpoint is None:
            self.match = _Paths(path, self.declared).match
        else:
            self.match = _Endpoints(endpoint).match

    @classmethod
    def of_blueprint(cls, blueprint: Blueprint, declared: Declared) -> Rule:
        """The rule for all that goes to a blueprint."""
        rule = cls.__new__(cls)
        rule.declared, rule.match = declared, _InBlueprint(blueprint).match
        return rule


class _Paths:
    """All requests whose path is like this, whatever route they take."""

    def __init__(self, path: object, declared: Declared) -> None:
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigurationError(f"a rule's path begins with a slash, as in '/books/<int:book_id>', not {path!r};"
                                     " for the name of an endpoint write Rule(endpoint=...)")
        self._path, self._beginning = path, path.partition("<")[0].rstrip("/")
        self._maps: WeakKeyDictionary[Flask, MapAdapter] = WeakKeyDictionary()
        try:
            self._bind({})
        except LookupError:
            return  # a converter of the application's own: `match` will see
        except ValueError as broken:
            raise ConfigurationError(f"{path!r} is no path of a route: {broken}") from None
        declared.check_fields(sorted(self._rule.arguments), f"the path {path!r} has")

    def match(self, app: Flask, request: Any) -> Mapping[str, Any] | None:
        """The arguments in the request's path, if it is like this."""
        if not request.path.startswith(self._beginning):
            return None
        adapter = self._maps.get(app)
        if adapter is None:
            try:
                adapter = self._maps[app] = self._bind(app.url_map.converters)
            except LookupError as missing:
                raise ConfigurationError(f"a rule's path {self._path!r}: {missing}") from None
        try:
            return adapter.match(request.path, method="GET")[1]
        except (HTTPException, RequestRedirect):
            return None

    def _bind(self, converters: Mapping[str, Any]) -> MapAdapter:
        self._rule = Path(self._path, endpoint="", strict_slashes=False, merge_slashes=False)
        return Map([self._rule], converters=converters).bind("")


class _Endpoints:
    """All requests that go to an endpoint of this name, or of names that begin like this."""

    def __init__(self, endpoint: object) -> None:
        if not isinstance(endpoint, str) or not endpoint or "*" in endpoint.removesuffix("*") \
                or (endpoint.endswith("*") and not endpoint.endswith((".*", "*")[len(endpoint) == 1])):
            raise ConfigurationError(f"endpoint is the name of an endpoint, 'blog.*' or '*', not {endpoint!r}")
        self._name = endpoint
        self._beginning = endpoint.removesuffix("*") if endpoint.endswith("*") else None

    def match(self, app: Flask, request: Any) -> Mapping[str, Any] | None:
        """The view's arguments, if the request goes there."""
        del app
        name = request.endpoint
        if name == self._name or (self._beginning is not None and name.startswith(self._beginning)):
            return request.view_args or {}
        return None


class _InBlueprint:
    """All requests to the views of a blueprint and of those within it, under whatever name it is registered."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint: ReferenceType[Blueprint] = ref(blueprint)

    def match(self, app: Flask, request: Any) -> Mapping[str, Any] | None:
        """The view's arguments, if the request goes there."""
        blueprint = self._blueprint()
        inside = blueprint is not None and any(app.blueprints.get(name) is blueprint for name in request.blueprints)
        return (request.view_args or {}) if inside else None


def checked(rules: object) -> tuple[Rule, ...] | None:
    """The rules of an application; None if the headers of its responses are to be its rules.

    Raises:
        ConfigurationError: for anything else than a list of rules, or None.
    """
    if rules is None:
        return None
    given = tuple(rules) if isinstance(rules, Iterable) and not isinstance(rules, str) else (rules,)
    if not all(isinstance(rule, Rule) for rule in given):
        raise ConfigurationError(f"rules is a list of Rule(path, ttl=...), or None to obey the headers of the"
                                 f" responses, not {rules!r:.60}")
    return given


def check_policy(policy: object) -> None:
    """Refuse what is neither a policy nor the name of one."""
    if not isinstance(policy, str | Policy | None):
        raise ConfigurationError(f"policy is a Policy or the name of one, not {policy!r:.60}")


def check_view(view: Callable[..., Any], declared: Declared) -> None:
    """Refuse what is no view function, and tags that name no argument of it."""
    if inspect.isclass(view):
        raise ConfigurationError(f"cache_view takes a view function, not {view!r}: give a View class it as one of its"
                                 " `decorators`")
    known = inspect.signature(view).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        declared.check_fields(known, "the view takes")
