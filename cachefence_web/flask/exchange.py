"""One request to a view: how it came in over WSGI, what the view made of it, and what was looked at meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from flask import Response as FlaskResponse
from flask.ctx import RequestContext
from flask.globals import request_ctx
from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.exceptions import HTTPException

from cachefence_web.flask.arriving import OUTER, REFRESH, WHO, Arrival, own, variable, who
from cachefence_web.flask.watching import Watched, has_looked, unwatched, watch
from cachefence_web.http import Headers as Fields
from cachefence_web.http import Outcome, Request, Response, cache_status, wire_path
from cachefence_web.http.variants import vary_names
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.leading import Leading

# Before 3.1.3 Flask did not notice `"user" in session` and its like.
_SEES_EVERY_ACCESS = isinstance(getattr(RequestContext, "session", None), property)

_CONDITIONS = {
    "HTTP_IF_NONE_MATCH": "if_none_match", "HTTP_IF_MODIFIED_SINCE": "if_modified_since", "HTTP_IF_RANGE": "if_range",
    "HTTP_RANGE": "range",
}
"""Where a request has what is about this client alone, and by which names werkzeug remembers what it says."""


class FlaskExchange:
    """A view about to be asked, or to be spared.

    view: takes nothing and answers as views do.
    point: what is cached here; the same for each request.
    keyed: the header fields by which its answers are told apart.
    on_left: given for a rule around the view; called if the view has a cache of its own, which then counts.
    """

    revalidates = True

    def __init__(
        self,
        view: Callable[[], Any],
        *,
        point: object,
        keyed: tuple[bytes, ...] = (),
        on_left: Callable[[], object] | None = None,
    ) -> None:
        self._view, self._point, self._keyed, self._on_left = view, point, keyed, on_left
        self._context = request_ctx._get_current_object()  # type: ignore[attr-defined]
        self._arrival = Arrival.of(self._context.app, unwatched(self._context.request.environ))
        self._leading: Leading | None = None
        self._made: FlaskResponse | None = None
        self._whole, self._left = True, False
        self._refreshed: Refresh | None = None
        self.request = _as_received(self._context.request)
        self.answers: tuple[type[BaseException], ...] = (HTTPException,)

    def call(self, leading: Leading | None, conditions: Fields = ()) -> FlaskResponse:
        # Whether the answer can be shared is known only when it is there.
        self._leading = leading
        if leading is None and not conditions:
            return self._ask()
        with _conditions(self._context.request, conditions):
            return self._ask()

    def _ask(self) -> FlaskResponse:
        app, hooks, request = self._context.app, self._context._after_request_functions, self._context.request
        environ = unwatched(request.environ)
        self.answers = _answers(app, request)
        if not isinstance(request.environ, Watched):
            watch(request)
        before = len(hooks)
        if self._on_left is not None:
            environ[OUTER] = self
        try:
            self._made = app.make_response(app.ensure_sync(self._view)())
        finally:
            if self._on_left is not None:
                environ.pop(OUTER, None)
        # What `after_this_request` adds would be missing from a hit.
        self._whole = len(hooks) == before
        return self._made

    def leave(self) -> None:
        """Let the cache of the view itself have this request."""
        self._left = True
        if self._on_left is not None:
            self._on_left()
        if self._leading is not None:
            self._leading.pass_by()

    def again(self, leading: Leading, headers: Fields = ()) -> FlaskResponse | None:
        """Ask the same view in a request of its own that is nobody's; None if that request did not get there.

        From now on this exchange speaks of what happened in it.
        """
        conditions = tuple([line for line in headers if variable(line[0]) in _CONDITIONS])
        kept = frozenset([line[0].lower() for line in headers if line not in conditions])
        refresh = self._refreshed = Refresh(self._point, leading, conditions)
        self.request = replace(self.request, method="GET")
        try:
            self._arrival.send_again(refresh, kept)
        except Exception as error:
            if error is not refresh.error:
                log.exception("a request that was to refresh a page has failed outside of its view")
        self.answers = refresh.answers or self.answers
        if refresh.error is not None:
            raise refresh.error
        if refresh.described is not None:
            named = vary_names(refresh.described.headers) or ()
            if not self._arrival.withheld(kept).isdisjoint(named):
                refresh.described = None  # nobody's answer is not the one that this visitor's credentials select
        return refresh.answer

    def after(self, answer: FlaskResponse, run: Callable[[], None]) -> FlaskResponse:
        """See `Exchange`; what `run` raises is logged."""
        # What a request has changed may be committed by a hook at its teardown, and its client may ask for it at once.
        before = self.request.method not in ("GET", "HEAD")
        return self._arrival.leave(answer, run, before=before)

    def head(self, answer: FlaskResponse) -> Response:
        """Status and fields; one that HTTP cannot write is left out."""
        lines = [_line(name, value) for name, value in answer.headers]
        return Response(answer.status_code, tuple([line for line in lines if line is not None]), b"")

    def describe(self, answer: FlaskResponse) -> Response | None:
        if self._refreshed is not None:
            return self._refreshed.described
        if answer.is_streamed or answer.direct_passthrough or self._left or not self._whole:
            return None
        headers = Headers(answer.headers)
        if self._session_accessed():
            # Flask adds these two when the view is long done; nobody may store the answer without them.
            if "cookie" not in answer.vary:
                headers.add("Vary", "Cookie")
            if self._session.modified:
                headers.add("Set-Cookie", "")
        lines = [_line(name, value) for name, value in headers]
        whole = tuple([line for line in lines if line is not None])
        return Response(answer.status_code, whole, answer.get_data()) if len(whole) == len(lines) else None

    def personal(self, answer: FlaskResponse | None) -> bool:
        if self._refreshed is not None:
            return self._refreshed.personal
        request = self._context.request
        if answer is None and "HTTP_COOKIE" not in unwatched(request.environ):
            return False  # where one without any cookie has failed, all of them fail
        if self._session_accessed() or has_looked(request):
            return True
        return not _SEES_EVERY_ACCESS and self._context.app.config["SESSION_COOKIE_NAME"] in request.cookies

    def rebuild(self, response: Response) -> FlaskResponse:
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers])
        if self._made is None:
            body = [response.body] if response.body else []  # given as bytes, it would set a length of its own
            answer: FlaskResponse = self._context.app.response_class(body, response.status, headers)
            if not any(name == b"content-type" for name, _ in response.headers):
                answer.headers.pop("Content-Type", None)
            return answer
        answer = own(self._made)
        answer.status_code = response.status
        answer.set_data(response.body)
        answer.headers = headers
        return answer

    def mark(self, answer: FlaskResponse, outcome: Outcome, told: Fields = ()) -> FlaskResponse:
        if self._left:
            return answer
        marked = own(answer)
        for name, value in ((b"Cache-Status", cache_status(outcome)), *told):
            marked.headers.add(name.decode("ascii"), value.decode("ascii"))
        return marked

    @property
    def name(self) -> str:
        """The endpoint's."""
        return str(self._context.request.endpoint or self._context.app.name)

    @property
    def _session(self) -> Any:
        # Through the public attribute, newer versions of Flask would take our look for the view's.
        return self._context._session if _SEES_EVERY_ACCESS else self._context.session

    def _session_accessed(self) -> bool:
        return bool(getattr(self._session, "accessed", True))


class Refresh:
    """A request on behalf of nobody, and what came of it at the point that it is for."""

    def __init__(self, point: object, leading: Leading, conditions: Fields) -> None:
        self._point, self._leading, self._conditions = point, leading, conditions
        self.reached = False
        self.answer: FlaskResponse | None = None
        self.error: Exception | None = None
        self.described: Response | None = None
        self.personal = True
        self.answers: tuple[type[BaseException], ...] = ()

    def is_for(self, point: object) -> bool:
        """Whether this is the point, reached for the first time."""
        return self._point == point and not self.reached

    def ask(self, exchange: FlaskExchange) -> FlaskResponse:
        """Run the view. What is to be known of it is asked now: hooks after it are none of its doing."""
        self.reached = True
        try:
            self.answer = exchange.call(self._leading, self._conditions)
        except Exception as error:
            self.error = error
            self.personal, self.answers = exchange.personal(None), exchange.answers
            raise
        self.described, self.personal = exchange.describe(self.answer), exchange.personal(self.answer)
        self.answers = exchange.answers
        return own(self.answer)


def refresh_in(request: Any) -> Refresh | None:
    """What this request refreshes, if that is what it is for."""
    refresh = request.environ.get(REFRESH)
    return refresh if isinstance(refresh, Refresh) else None


def outer_in(request: Any) -> FlaskExchange | None:
    """The exchange of a rule around the view that runs now."""
    outer = request.environ.get(OUTER)
    return outer if isinstance(outer, FlaskExchange) else None


@contextmanager
def _conditions(request: Any, shown: Fields) -> Iterator[None]:
    """Keep what the client holds already from a view that answers for everybody: a 304 would be for this one alone.

    shown: what the store holds, to be confirmed by the view.
    """
    environ = unwatched(request.environ)
    hidden = {name: environ.pop(name) for name in _CONDITIONS if name in environ}
    ours = {variable(name): value.decode("latin-1") for name, value in shown}
    environ.update(ours)
    _forget_conditions(request)
    try:
        yield
    finally:
        for name in ours:
            environ.pop(name, None)
        environ.update(hidden)
        _forget_conditions(request)


def _forget_conditions(request: Any) -> None:
    for remembered in _CONDITIONS.values():
        vars(request).pop(remembered, None)


def _line(name: str, value: str) -> tuple[bytes, bytes] | None:
    try:
        return name.encode("latin-1"), value.encode("latin-1")
    except UnicodeEncodeError:
        return None


def _answers(app: Flask, request: Any) -> tuple[type[BaseException], ...]:
    """The exceptions by which a view answers: HTTP's own, and those that the application has handlers for."""
    handled = [kind for scope in (None, *request.blueprints) if scope in app.error_handler_spec
               for by_kind in app.error_handler_spec[scope].values() for kind in by_kind if kind is not Exception]
    return (HTTPException, *handled)


def _as_received(request: Any) -> Request:
    environ = unwatched(request.environ)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in EnvironHeaders(environ)]
    if (known := who(environ)) is not None:
        headers.append((WHO, known))
    decoded = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    # Only as long as no middleware has changed the path does the server's own record of it still say the same.
    said = environ.get("REQUEST_URI") or environ.get("RAW_URI") or ""
    path = said.partition("?")[0].encode("latin-1", "replace")
    return Request(
        request.method,
        request.scheme,
        environ.get("HTTP_HOST") or request.host,
        path if unquote_to_bytes(path) == decoded else wire_path(decoded),
        environ.get("QUERY_STRING", "").encode("latin-1"),
        tuple(headers),
    )
