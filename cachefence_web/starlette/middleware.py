"""The middleware: which requests are answered from the cache, and by which rule; `responder.py` answers them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cachefence_web.cache import AsyncCacheFence
from cachefence_web.core.policy import Policy
from cachefence_web.errors import ConfigurationError
from cachefence_web.responding import Rule as Settled
from cachefence_web.responding import ViewOptions
from cachefence_web.starlette.declaring import Cache, Declaration, Tags, fence_of, installed
from cachefence_web.starlette.exchange import REFRESH
from cachefence_web.starlette.layers import OUTER, Outer
from cachefence_web.starlette.responder import Responder
from cachefence_web.starlette.scopes import route_path

MIB = 1024 * 1024

MOST_REMEMBERED = 4096
"""Paths of which a middleware remembers that something nearer to the endpoint answers them."""


class Rule:
    """Which paths are cached, and how: `Rule("/books/{book_id:int}", ttl=60, tags=["book:{book_id}"])`.

    path: as routes are written, below the root path; `"/{rest:path}"` is every path.
    tags: templates of the path's parameters, or a function of them.
    options: the fields of Policy and of ResponsePolicy; with `freshness="headers"` the responses say how long they
        live.

    Raises:
        ConfigurationError: for what cannot work.
    """

    def __init__(
        self,
        path: str,
        *,
        tags: Tags = (),
        policy: str | Policy | None = None,
        **options: Unpack[ViewOptions],
    ) -> None:
        self.path = path
        if not str(path).startswith("/"):
            raise ConfigurationError(f"a rule's path begins with a slash, as in '/books/{{book_id}}', not {path!r}")
        try:
            self._pattern, _, self._convertors = compile_path(path)
        except (AssertionError, TypeError, ValueError) as broken:
            raise ConfigurationError(f"{path!r} is no path of a route: {broken}") from None
        self.declared = Declaration(None, tags, policy, options)
        self.declared.check_fields(list(self._convertors), f"the path {path!r}")
        # CORSMiddleware inside says nothing to requests without an Origin, not even that others would hear more.
        self._from_elsewhere = replace(self.declared.http, vary_on=(*self.declared.http.vary_on, "origin"))

    def match(self, scope: Scope, path: str, fence: AsyncCacheFence) -> Settled | None:
        """What applies to a request, if this rule does.

        path: below the root path.
        """
        found = self._pattern.match(path)
        if found is None:
            return None
        around = scope.get(OUTER)
        values = {name: self._convertors[name].convert(text) for name, text in found.groupdict().items()}
        settled = self.declared.rule(fence, values, added=around.tags if around is not None else ())
        if any(name == b"origin" for name, _ in scope["headers"]):
            return replace(settled, http=self._from_elsewhere)
        return settled


class CacheMiddleware:
    """Answers what its rules name from the cache; the first rule that matches counts, all else passes untouched.

    What is declared nearer to an endpoint (its own, its router's, a mount's) counts instead; the rule's tags do, too.

    rules: None is one rule for every path, under which the responses' own header fields decide, by RFC 9111.
    cache: a cache, or the URL of one, which is then closed when the application shuts down; the application's
        (see `install`) if it is not given.
    largest: bytes; a longer body is passed on, not stored.
    """

    def __init__(
        self, app: ASGIApp, cache: Cache | str | None = None, *, rules: Iterable[Rule] | None, largest: int = MIB
    ) -> None:
        self.app = app
        self._own = AsyncCacheFence(cache) if isinstance(cache, str) else None
        self._fence = self._own or (None if cache is None else fence_of(cache))
        self._rules = (Rule("/{rest:path}", freshness="headers"),) if rules is None else _checked(rules)
        if self._fence is not None:
            for rule in self._rules:
                rule.declared.policy(self._fence)
        self._largest = _size(largest)
        self._nearer: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._respond(scope, receive, send)
        elif scope["type"] == "lifespan" and self._own is not None:
            await self._live(self._own, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        fence = self._fence or installed(scope)
        found = None if REFRESH in scope else self._rule(scope, fence)
        if found is None:
            await self.app(scope, receive, send)
            return
        name, rule = found
        around = scope.get(OUTER)
        if around is not None:
            await around.give_way()
        outer = Outer(rule.tags, 0 if around is None else around.depth + 1)
        safe = scope["method"] in ("GET", "HEAD")
        if safe and scope["path"] in self._nearer:
            with outer.around(scope):
                await self.app(scope, receive, send)
        else:
            await Responder(self.app, scope, receive, send, rule, self._largest, outer, name).respond(fence)
        if safe:
            self._remember(scope["path"], nearer=outer.gave_way)

    def _rule(self, scope: Scope, fence: AsyncCacheFence) -> tuple[str, Settled] | None:
        path = route_path(scope)
        for rule in self._rules:
            if (settled := rule.match(scope, path, fence)) is not None:
                return rule.path, settled
        return None

    def _remember(self, path: str, *, nearer: bool) -> None:
        """Whether something nearer answers: then there is no need to look here first."""
        if not nearer:
            self._nearer.discard(path)
        elif len(self._nearer) < MOST_REMEMBERED:
            self._nearer.add(path)

    async def _live(self, fence: AsyncCacheFence, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            # The server may end the loop as soon as it has heard this.
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await fence.aclose()
            await send(message)

        await self.app(scope, receive, closing)


def _size(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ConfigurationError(f"largest is a number of bytes, not {given!r}")
    return given


def _checked(rules: object) -> tuple[Rule, ...]:
    given = tuple(rules) if isinstance(rules, Iterable) else ()
    if not given or not all(isinstance(rule, Rule) for rule in given):
        raise ConfigurationError(f"rules is a list of Rule(path, ttl=...), at least one, or None to obey the responses'"
                                 f" own header fields, not {rules!r}")
    return given
