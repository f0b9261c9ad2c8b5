"""One request to a view: how it came in over WSGI, what the view made of it, and what was looked at meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from flask import Response as FlaskResponse
from flask.ctx import RequestContext
from flask.globals import request_ctx
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from cachefence_web.http import Outcome, Request, Response, cache_status, wire_path
from cachefence_web.runtime.leading import Leading

# Before 3.1.3 Flask did not notice `"user" in session` and its like.
_SEES_EVERY_ACCESS = isinstance(getattr(RequestContext, "session", None), property)

_CONDITIONS = {"HTTP_IF_NONE_MATCH": "if_none_match", "HTTP_IF_MODIFIED_SINCE": "if_modified_since"}
"""Where a request has its conditions, and by which names werkzeug remembers what they say."""


class FlaskExchange:
    """A view about to be asked, or to be spared."""

    def __init__(self, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._view, self._args, self._kwargs = view, args, kwargs
        self._context = request_ctx._get_current_object()  # type: ignore[attr-defined]
        self._made: FlaskResponse | None = None
        self._complete = True
        self.request = _as_received(self._context.request)
        self.answers: tuple[type[BaseException], ...] = (HTTPException,)

    def call(self, leading: Leading | None) -> FlaskResponse:
        # Whether the answer can be shared is known only when it is there.
        if leading is None:
            return self._ask()
        with _unconditional(self._context.request):
            return self._ask()

    def _ask(self) -> FlaskResponse:
        app, hooks = self._context.app, self._context._after_request_functions
        self.answers = _answers(app, self._context.request)
        before = len(hooks)
        self._made = app.make_response(app.ensure_sync(self._view)(*self._args, **self._kwargs))
        # What `after_this_request` adds would be missing from a hit.
        self._complete = len(hooks) == before
        return self._made

    def describe(self, answer: FlaskResponse) -> Response | None:
        if answer.is_streamed or answer.direct_passthrough or not self._complete:
            return None
        headers = Headers(answer.headers)
        if self._session_accessed():
            # Flask adds these two when the view is long done; nobody may store the answer without them.
            if "cookie" not in answer.vary:
                headers.add("Vary", "Cookie")
            if self._session.modified:
                headers.add("Set-Cookie", "")
        try:
            lines = tuple([(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers])
        except UnicodeEncodeError:
            return None
        return Response(answer.status_code, lines, answer.get_data())

    def personal(self, answer: FlaskResponse | None) -> bool:
        request = self._context.request
        if answer is None and "HTTP_COOKIE" not in request.environ:
            return False  # where one without any cookie has failed, all of them fail
        if self._session_accessed() or "cookies" in vars(request):
            return True
        return not _SEES_EVERY_ACCESS and self._context.app.config["SESSION_COOKIE_NAME"] in request.cookies

    def rebuild(self, response: Response) -> FlaskResponse:
        answer = self._context.app.response_class() if self._made is None else _own(self._made)
        answer.status_code = response.status
        answer.set_data(response.body)
        lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers]
        answer.headers = Headers(lines)
        return answer

    def mark(self, answer: FlaskResponse, outcome: Outcome) -> FlaskResponse:
        marked = _own(answer)
        marked.headers.add("Cache-Status", cache_status(outcome).decode("ascii"))
        return marked

    @property
    def _session(self) -> Any:
        # Through the public attribute, newer versions of Flask would take our look for the view's.
        return self._context._session if _SEES_EVERY_ACCESS else self._context.session

    def _session_accessed(self) -> bool:
        return bool(getattr(self._session, "accessed", True))


def forget_cookies(app: Flask, **_: object) -> None:
    """The session has read the cookies; what werkzeug remembers of them after this, the application asked for."""
    del app
    vars(request_ctx.request).pop("cookies", None)


@contextmanager
def _unconditional(request: Any) -> Iterator[None]:
    """Keep what the client holds already from a view that answers for everybody: a 304 would be for this one alone."""
    hidden = {name: request.environ.pop(name) for name in _CONDITIONS if name in request.environ}
    _forget_conditions(request)
    try:
        yield
    finally:
        request.environ.update(hidden)
        _forget_conditions(request)


def _forget_conditions(request: Any) -> None:
    for remembered in _CONDITIONS.values():
        vars(request).pop(remembered, None)


def _own(answer: FlaskResponse) -> FlaskResponse:
    """A copy to write to, for this request alone: the view may return the same object to everybody."""
    own = copy(answer)
    own.headers = Headers(answer.headers)
    own._on_close = list(answer._on_close)
    vars(own).pop("stream", None)  # it writes to the response that it was made for
    return own


def _answers(app: Flask, request: Any) -> tuple[type[BaseException], ...]:
    """The exceptions by which a view answers: HTTP's own, and those that the application has handlers for."""
    handled = [kind for scope in (None, *request.blueprints) if scope in app.error_handler_spec
               for by_kind in app.error_handler_spec[scope].values() for kind in by_kind if kind is not Exception]
    return (HTTPException, *handled)


def _as_received(request: Any) -> Request:
    environ = request.environ
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
        tuple([(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]),
    )
