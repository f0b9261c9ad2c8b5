"""What a rule, a `cache_view` or a `Depends(cached(...))` says: checked where it is written, settled when asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from starlette.applications import Starlette
from starlette.types import Scope

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.keys import Template
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.responding import Rule, ViewOptions, split

Cache = AsyncCacheFence | CacheFence
Tags = Iterable[str] | Callable[..., Iterable[str]]
"""Tags, as templates of the request's values (`"book:{book_id}"`) or a function of them."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Declaration:
    """How something is cached, but for the cache itself, which may be known only when a request comes.

    Raises:
        ConfigurationError: for options, tags or a cache that cannot work.
    """

    def __init__(
        self, cache: Cache | None, tags: Tags, policy: str | Policy | None, options: ViewOptions
    ) -> None:
        self.http, self._options = split(options)
        self._fence = None if cache is None else fence_of(cache)
        self._policy = policy
        self._make = tags if callable(tags) else None
        if isinstance(tags, str):
            raise ConfigurationError(f"tags is a list of tags, not one text: write [{tags!r}]")
        self._templates = () if callable(tags) else tuple([_template(tag) for tag in tags])
        self._settled: tuple[AsyncCacheFence, Rule] | None = None
        if self._fence is not None:
            self.policy(self._fence)

    def check_fields(self, known: Collection[str], of: str) -> None:
        """Refuse tags that name what there is not.

        Raises:
            ConfigurationError: naming what there is.
        """
        for template in self._templates:
            for field in template.fields:
                if field not in known:
                    raise ConfigurationError(
                        f"the tag {template.text!r} names {{{field}}}, but {of} has {', '.join(known) or 'no values'}")

    def fence(self, scope: Scope) -> AsyncCacheFence:
        """The cache that was named, or else the application's."""
        return self._fence or installed(scope)

    def policy(self, fence: AsyncCacheFence) -> Policy:
        """What applies to this cache's entries."""
        return fence._terms.policy_of(self._policy, self._options)

    def tags(self, values: Mapping[str, Any], beside: Mapping[str, Any] = _NOTHING) -> tuple[str, ...]:
        """The tags for a request with these values; templates may name what stands `beside` them, too."""
        if self._make is not None:
            return check_tags(self._make(**values))
        return tuple([template.fill({**beside, **values}) for template in self._templates])

    def rule(
        self, fence: AsyncCacheFence, values: Mapping[str, Any], beside: Mapping[str, Any] = _NOTHING, *,
        added: tuple[str, ...] = (),
    ) -> Rule:
        """All of it, for a request with these values; `added` are the tags of what is declared around it."""
        if self._settled is not None and self._settled[0] is fence and not added:
            return self._settled[1]
        rule = Rule(policy=self.policy(fence), http=self.http, tags=(*self.tags(values, beside), *added),
                    debug_header=fence._terms.debug_header)
        if not added and self._make is None and not any(template.fields for template in self._templates):
            self._settled = fence, rule
        return rule


def install(app: Starlette, cache: Cache) -> None:
    """Make this the cache of all in the application that name none. A mounted application needs its own.

    Raises:
        ConfigurationError: if it is no cache.
    """
    app.state.cachefence = fence_of(cache)


def installed(scope: Scope) -> AsyncCacheFence:
    """The application's cache.

    Raises:
        ConfigurationError: if none was installed.
    """
    fence = getattr(getattr(scope.get("app"), "state", None), "cachefence", None)
    if not isinstance(fence, AsyncCacheFence):
        raise ConfigurationError("which cache? Give cache=fence where the caching is declared, or call"
                                 " install(app, fence) once for the application that answers")
    return fence


def fence_of(cache: object) -> AsyncCacheFence:
    """The face for event loops.

    Raises:
        ConfigurationError: if it is no cache.
    """
    if isinstance(cache, CacheFence):
        return cache.aio
    if not isinstance(cache, AsyncCacheFence):
        raise ConfigurationError(f"cache is an AsyncCacheFence or a CacheFence, not {cache!r}")
    return cache


def _template(tag: object) -> Template:
    if not isinstance(tag, str):
        raise ConfigurationError(f"a tag is a text such as 'book:42' or 'book:{{book_id}}', not {tag!r}")
    template = Template(tag)
    if not template.fields:
        check_tags((tag,))
    return template
