"""Behind a visitor's back: a request asked again of nobody's.

The whole application is asked, as any request asks it, so that language, transactions and connections are what they
always are; only the cached view that the request is for knows what it is about.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from asgiref.sync import async_to_sync, sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started, setting_changed
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from cachefence_web.django.neutral import IDENTITY
from cachefence_web.django.standins import identifies, scope_of
from cachefence_web.http import Headers, Request
from cachefence_web.http.message import lines

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIRequest

MARK = "cachefence.refresh"
"""Where the environ or the scope holds the refresh that a request is for: no client can send such a name."""

_CONDITIONS = frozenset((b"if-none-match", b"if-modified-since"))

_OF_ONE_MESSAGE = _CONDITIONS | {
    b"if-match", b"if-unmodified-since", b"if-range", b"range", b"content-length", b"content-type",
    b"transfer-encoding", b"expect", b"upgrade",
}
"""What is said of one message only: in the new one it would be wrong."""

_PLAIN = (str, bytes, int, float, bool, tuple, type(None))
_OF_THE_SERVER = ("wsgi.version", "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")
_OF_THE_SCOPE = frozenset(("session", "user", "auth", "cookies"))

E = TypeVar("E", bound="Judging")


class Judging(Protocol):
    """What a refresh needs to know of an exchange: what its request was, and what became of it."""

    request: Request

    @property
    def asked(self) -> HttpRequest:
        """Django's request."""

    def stands_for(self, other: Any) -> bool:
        """Whether the answer made here may be stored as the other's."""


class Refresh(Generic[E]):
    """A request on behalf of nobody, and what came of it at the view that it is for.

    headers: the fields that it is made with.

    conditions: those that the view alone is shown: what others answer to them is not the view's.
    left_out: the other fields of the request that is made anew, in lower case.
    """

    def __init__(self, exchange: E, leading: Any, headers: Headers) -> None:
        self.exchange, self.leading = exchange, leading
        self._headers = headers
        self.conditions = tuple([line for line in headers if line[0].lower() in _CONDITIONS])
        kept = {name.lower() for name, _ in headers}
        self.left_out = {name for name, _ in exchange.request.headers if name not in kept} | _OF_ONE_MESSAGE
        self.knows_who = IDENTITY in kept
        self.made_by: E | None = None
        self._answer: HttpResponseBase | None = None
        self._error: Exception | None = None

    def is_for(self, exchange: E) -> bool:
        """Whether this is the view, reached for the first time, with all that made the page what it was."""
        return (
            self.made_by is None and exchange.stands_for(self.exchange)
            and lines(exchange.request.headers, IDENTITY) == lines(self._headers, IDENTITY))

    def made(self, answer: HttpResponseBase) -> None:
        """Keep what the view has answered."""
        self._answer = answer

    def failed(self, error: Exception) -> None:
        """Keep what the view has raised."""
        self._error = error

    def outcome(self) -> HttpResponseBase | None:
        """The view's answer; None if the view was not reached.

        Raises:
            Exception: what the view has raised.
        """
        if self._error is not None:
            raise self._error
        return self._answer


def refresh_in(request: HttpRequest) -> Refresh[Any] | None:
    """The refresh that the request is for, if its view has not been reached yet."""
    found = (scope_of(request) or request.META).get(MARK)
    return found if isinstance(found, Refresh) and found.made_by is None else None


def ask(refresh: Refresh[Any]) -> None:
    """Ask the application, from a thread."""
    request = refresh.exchange.asked
    if hasattr(request, "scope"):
        async_to_sync(_ask_scope)(request, refresh)
    else:
        _ask_environ(request, refresh)


async def aask(refresh: Refresh[Any]) -> None:
    """Ask the application, from an event loop."""
    request = refresh.exchange.asked
    if hasattr(request, "scope"):
        await _ask_scope(request, refresh)
    else:
        await sync_to_async(_ask_environ)(request, refresh)


def _ask_environ(request: HttpRequest, refresh: Refresh[Any]) -> None:
    with _as_the_test_client():
        response = _handler(_Threads)(_environ(request, refresh), lambda *_: None)
        # Closed unread, as a client that has gone leaves it: a stream is nothing to be stored.
        response.close()


async def _ask_scope(request: ASGIRequest, refresh: Refresh[Any]) -> None:
    # Made where it may block: it imports the project's middleware.
    handler = _handlers.get(_Loops) or await sync_to_async(_handler)(_Loops)
    silence = _Silence()
    with _as_the_test_client():
        await handler(_scope(request, refresh), silence.receive, silence.send)


@contextmanager
def _as_the_test_client() -> Iterator[None]:
    """Django's test client keeps its requests from closing connections, which hold the test's transaction."""
    if any(key[0] == id(close_old_connections) for key, *_ in request_finished.receivers):
        yield
        return
    request_started.disconnect(close_old_connections)
    try:
        yield
    finally:
        request_started.connect(close_old_connections)


def _environ(request: HttpRequest, refresh: Refresh[Any]) -> dict[str, Any]:
    """The request's environ, as a server would hand it in; Django's own marks are one visitor's."""
    own = request.META
    made: dict[str, Any] = {
        name: value for name, value in own.items()
        if isinstance(value, _PLAIN) and not name.startswith(("CSRF_COOKIE", "wsgi.")) and name != "CONTENT_TYPE"
        and (refresh.knows_who or not identifies(name)) and not (
            name.startswith("HTTP_") and name[5:].replace("_", "-").lower().encode("latin-1") in refresh.left_out)}
    made |= {name: own[name] for name in _OF_THE_SERVER if name in own}
    return {**made, "REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0", "wsgi.input": BytesIO(),
            "wsgi.url_scheme": own.get("wsgi.url_scheme", "http"), MARK: refresh}


def _scope(request: ASGIRequest, refresh: Refresh[Any]) -> dict[str, Any]:
    """The request's scope, with a state of its own; what its connection offers is for the client alone."""
    own = scope_of(request)
    made: dict[str, Any] = {
        name: value for name, value in own.items() if name not in _OF_THE_SCOPE and isinstance(value, _PLAIN)}
    made |= {name: own[name] for name in ("asgi", "server", "client") if name in own}
    headers = [(name, value) for name, value in own["headers"]
               if name.lower().replace(b"_", b"-") not in refresh.left_out]
    if "state" in own:
        made["state"] = dict(own["state"])
    tls = (own.get("extensions") or {}).get("tls") if refresh.knows_who else None
    extensions = {} if tls is None else {"tls": tls}
    return {**made, "method": "GET", "headers": headers, "extensions": extensions, MARK: refresh}


class _Silence:
    """A client that sends an empty body and says no more; one that is sent a stream is gone."""

    def __init__(self) -> None:
        self._asked = False
        self._gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message.get("more_body"):
            self._gone.set()
            await asyncio.Event().wait()  # until Django, told that the client is gone, takes the stream back


class _Quiet(BaseHandler):
    """What the view raises is handed to whoever refreshes, who reports it; a second report would be one too many."""

    def process_exception_by_middleware(self, exception: Exception, request: HttpRequest) -> HttpResponse:
        response: HttpResponse | None = super().process_exception_by_middleware(exception, request)
        if response is not None:
            return response
        failed = HttpResponse(status=500)
        failed._has_been_logged = True  # type: ignore[attr-defined]
        return failed


class _Threads(_Quiet, WSGIHandler):
    pass


class _Loops(_Quiet, ASGIHandler):
    pass


def _handler(kind: type[BaseHandler]) -> Any:
    """The process's one handler of this kind: a server's own cannot be had."""
    with _lock:
        if kind not in _handlers:
            _handlers[kind] = kind()
        return _handlers[kind]


_handlers: dict[type[BaseHandler], Any] = {}
_lock = threading.Lock()


def _forget(**_: object) -> None:
    _handlers.clear()


setting_changed.connect(_forget, dispatch_uid="cachefence_web.django.refreshing")
