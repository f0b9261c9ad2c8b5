"""What a `cache_view` or a site's rule was told, checked where it is written; no setting is read before a request."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from cachefence_web.cache import CacheFence
from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.core.tags import check_tags
from cachefence_web.django.backend import fence
from cachefence_web.django.declared import declared
from cachefence_web.django.neutral import SEEN
from cachefence_web.errors import ConfigurationError
from cachefence_web.http import ResponsePolicy
from cachefence_web.responding import Rule

Answer = HttpResponseBase | Awaitable[HttpResponseBase]

ViewTags = Iterable[str] | Callable[..., Iterable[str]]
"""Tags, as templates of the view's keyword arguments (`"book:{pk}"`) or a function of the request and those."""


@dataclass(slots=True, eq=False)
class Plan:
    """How the pages of a view are cached, and what that amounts to under the settings of the day.

    site: whether a rule of the whole site says so: a view's own word comes before it.
    """

    tags: Callable[..., Iterable[str]] | tuple[Template, ...]
    http: ResponsePolicy
    cache: str
    policy: Policy | None
    options: PolicyOptions
    site: bool = False
    _settled: tuple[CacheFence, Rule] | None = None

    def settled(self) -> tuple[CacheFence, Rule]:
        """The cache behind the alias, and the rule."""
        found, settled = fence(self.cache), self._settled
        if settled is None or settled[0] is not found:
            settled = found, Rule(policy=(self.policy or found.policy).but(self.options), http=self.http)
            self._settled = settled
        if settled[1].debug_header is not (wanted := declared().debug_header):
            settled = self._settled = found, replace(settled[1], debug_header=wanted)
        return settled

    def tags_of(self, request: HttpRequest, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """The tags of one page."""
        if isinstance(self.tags, tuple):
            return tuple([template.fill(kwargs) for template in self.tags])
        return tuple(self.tags(request, *args, **kwargs))

    def check(self, view: Callable[..., Any]) -> None:
        """Refuse tags of arguments that the view does not take, where its signature says so.

        Raises:
            ConfigurationError: naming what it takes.
        """
        if not isinstance(view, FunctionType) or not isinstance(self.tags, tuple):
            return
        known = inspect.signature(view).parameters
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
            check_fields(self.tags, known, view.__qualname__)


def plan_of(
    tags: ViewTags, vary_on: Iterable[str], browser_ttl: float | None, cache: object, policy: object,
    options: PolicyOptions, *, by_headers: bool = False, site: bool = False,
) -> Plan:
    """The plan for these words.

    Raises:
        ConfigurationError: for what cannot work.
    """
    given = ResponsePolicy(vary_on=vary_on)  # a text is refused there
    if odd := next((name for name in given.vary_on if "_" in name), None):
        raise ConfigurationError(f"vary_on names headers as they are sent, {odd.replace('_', '-')!r}, not {odd!r}")
    if not isinstance(cache, str):
        raise ConfigurationError(f"cache is an alias of CACHES, not {cache!r}")
    if policy is not None and not isinstance(policy, Policy):
        raise ConfigurationError(f"policy is a Policy, not {policy!r}: write Policy(ttl=...)")
    (policy or Policy()).but(options)
    http = ResponsePolicy(
        freshness="headers" if by_headers else "policy", vary_on=(*given.vary_on, SEEN), cookies="ignore",
        browser_ttl=browser_ttl)
    return Plan(checked_tags(tags), http, cache, policy, options, site)


def checked_tags(tags: ViewTags) -> Callable[..., Iterable[str]] | tuple[Template, ...]:
    """The tags, as templates if they are no function.

    Raises:
        ConfigurationError: for what is no list of tags.
    """
    if isinstance(tags, str):
        raise ConfigurationError(f"tags is a list of tags, not one text: write [{tags!r}]")
    if callable(tags):
        return tags
    templates = tuple([Template(tag) for tag in tags])
    check_tags([template.text for template in templates if not template.fields])
    return templates


def check_fields(templates: tuple[Template, ...], known: Iterable[str], of: str) -> None:
    """Refuse templates of what there is not.

    Raises:
        ConfigurationError: naming what there is.
    """
    names = list(known)
    for template in templates:
        for name in template.fields:
            if name not in names:
                raise ConfigurationError(
                    f"{template.text!r} names {{{name}}}, but {of} takes {', '.join(names) or 'no arguments'}")
