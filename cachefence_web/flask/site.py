"""A whole application behind its rules: where they stand in the way of a request, and which of them counts.

A rule stands directly around the view: hooks before and after the request run for hits, too, so that whoever is kept
out by one of them stays out. Where the headers decide, the cache stands in front of the whole application instead,
hooks and session included, for what they add to a response counts then. A view with a cache of its own wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask import Response as FlaskResponse
from flask.globals import request_ctx

from cachefence_web import cache
from cachefence_web.flask.arriving import Noting
from cachefence_web.flask.exchange import FlaskExchange, outer_in, refresh_in
from cachefence_web.flask.rules import Declared, Rule
from cachefence_web.responding import Rule as Settled
from cachefence_web.responding import respond

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "_cachefence_view"
"""The attribute of a view that has a cache of its own; `functools.wraps` hands it on."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_BY_HEADERS = Declared((), None, {"freshness": "headers"})
_UNSAFE = Declared((), None, {})


class Site:
    """One application's rules.

    rules: None where the headers decide.
    blueprints: the rules for blueprints, which may become more.
    in_use: whether anything of the application's is cached, so that its unsafe methods matter.
    """

    def __init__(
        self, fence: cache.CacheFence, rules: Sequence[Rule] | None, blueprints: list[Rule],
        in_use: Callable[[], bool],
    ) -> None:
        self._fence, self._rules, self._blueprints, self._in_use = fence, rules, blueprints, in_use
        self._inner: set[str | None] = set()
        for rule in rules or ():
            rule.declared.policy(fence)

    def stand_in(self, app: Flask) -> None:
        """Put them in the way of the application's requests: on this object, no other of its class."""
        app.wsgi_app = Noting(app.wsgi_app)  # type: ignore[method-assign]
        app.dispatch_request = partial(  # type: ignore[method-assign]
            self._answer, app.dispatch_request, self._around_view)
        if self._rules is None:
            app.full_dispatch_request = partial(  # type: ignore[method-assign]
                self._answer, app.full_dispatch_request, self._in_front)

    def _answer(self, ask: Callable[[], Any], find: Callable[[Flask, Any], Settled | None]) -> Any:
        request = request_ctx.request
        rule = find(request_ctx.app, request)
        if rule is None:
            return ask()
        return answer(self._fence, ask, rule, point=(self, find.__name__), on_left=partial(
            self._inner.add, request.endpoint))

    def _around_view(self, app: Flask, request: Any) -> Settled | None:
        if request.routing_exception is not None or request.method in ("OPTIONS", "TRACE") \
                or self._has_its_own(app, request):
            return None
        for rule, arguments in self._matching(app, request):
            return rule.declared.settled(self._fence, arguments)
        # Another view may be cached under this very address: RFC 9111 section 4.4.
        affects = request.method not in _SAFE and self._rules is not None and self._in_use()
        return _UNSAFE.settled(self._fence, {}) if affects else None

    def _in_front(self, app: Flask, request: Any) -> Settled | None:
        if self._has_its_own(app, request) or next(self._matching(app, request), None) is not None:
            return None
        return _BY_HEADERS.settled(self._fence, {})

    def _matching(self, app: Flask, request: Any) -> Iterator[tuple[Rule, Any]]:
        if request.endpoint is None:
            return
        for rule in (*(self._rules or ()), *self._blueprints):
            arguments = rule.match(app, request)
            if arguments is not None:
                yield rule, arguments

    def _has_its_own(self, app: Flask, request: Any) -> bool:
        name = request.endpoint
        return name in self._inner or hasattr(app.view_functions.get(name), MARK)


def answer(
    fence: cache.CacheFence, ask: Callable[[], Any], rule: Settled, *, point: object,
    on_left: Callable[[], object] | None = None,
) -> FlaskResponse:
    """The answer to the request in hand, from the cache or the view.

    point: what is cached here, the same object for each request.
    on_left: for a rule around the view; called if the view has a cache of its own.
    """
    request = request_ctx.request
    exchange = FlaskExchange(ask, point=point, keyed=rule.http.keyed, on_left=on_left)
    refresh = refresh_in(request)
    if refresh is not None:
        if refresh.is_for(point):
            return refresh.ask(exchange)
        if not refresh.reached:
            return exchange.call(None)  # it is on its way to a view inside of this
    outer = outer_in(request) if on_left is None else None
    if outer is not None:
        outer.leave()
    return respond(fence, exchange, rule)
