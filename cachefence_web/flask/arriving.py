"""How a request came in, kept aside: the same request can be sent once more, on behalf of nobody, and work can wait
until its answer has gone out.

What is sent again enters where it was noted: WSGI middleware around that place has done its work already, and doing
it twice would move a path or an address once more; middleware within it is passed through again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Flask, Response
from werkzeug.datastructures import Headers

from cachefence_web.flask.threads import Threads, Work, do
from cachefence_web.http.asking import CREDENTIALS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ARRIVAL = "cachefence.arrival"
REFRESH = "cachefence.refresh"
OUTER = "cachefence.outer"

WHO = b"remote-user"
"""The field as which a request tells `http` of somebody whom only the server knows."""

_LEFTOVERS = ("werkzeug.", "flask.", "gunicorn.", "cachefence.")
_BODY = frozenset({"CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_UPGRADE", "wsgi.input_terminated"})
_WISHES = frozenset({
    "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_RANGE",
    "HTTP_RANGE", "HTTP_CACHE_CONTROL", "HTTP_PRAGMA",
})
_WHO = ("REMOTE_USER", "SSL_CLIENT_S_DN", "SSL_CLIENT_CERT")
_ABOUT_WHO = ("REMOTE_USER", "AUTH_TYPE", "SSL_CLIENT_")
"""Beginnings of what is to be found beside it."""
_MUTABLE = frozenset({dict, list, set, bytearray})


class Arrival:
    """One request as it was when it came to `enter`, before anything inside has written to it."""

    __slots__ = ("_enter", "_environ", "after", "before", "noted")

    def __init__(self, enter: WSGIApplication, environ: Mapping[str, Any], *, noted: bool = True) -> None:
        self.noted = noted
        self._enter = enter
        self._environ = dict(environ)
        for name in [name for name, value in environ.items() if type(value) in _MUTABLE]:
            self._environ[name] = _own(environ[name])
        self.before: list[Work] = []
        """To be done when the application's contexts have ended, before anything of the answer goes out."""
        self.after: list[Work] = []
        """To be done without making anybody wait for it: in a thread, or when all of it has gone out."""

    @classmethod
    def of(cls, app: Flask, environ: WSGIEnvironment) -> Arrival:
        """What was noted of a request; of one that came past `Noting`, what there is now."""
        noted = environ.get(ARRIVAL)
        if not isinstance(noted, Arrival):
            noted = environ[ARRIVAL] = cls(app.wsgi_app, environ, noted=False)
        return noted

    def send_again(self, refresh: Any, kept: frozenset[bytes]) -> None:
        """Ask the application the same for nobody in particular, up to the first piece of its answer.

        refresh: found by the application as `environ[REFRESH]`.
        kept: the header fields, in lower case, that go with it even though they are wishes or credentials.
        """
        chunks = self._enter(self._for_nobody(refresh, kept), _start_response)
        try:
            if not refresh.reached:
                next(iter(chunks), None)  # a middleware that is a generator has done nothing until now
        finally:
            close: Work | None = getattr(chunks, "close", None)
            if close is not None:
                close()

    def leave(self, answer: Response, work: Work, *, before: bool) -> Response:
        """Have the work done before the answer goes out, or without making anybody wait for it."""
        if self.noted:  # not with the answer itself: a hook may put another in its place
            (self.before if before else self.after).append(work)
            return answer
        # The work may hold the answer: of a copy, it is known when nobody has it any more.
        answer = own(answer)
        answer.call_on_close(_Closing(work).close)
        return answer

    def withheld(self, kept: frozenset[bytes]) -> frozenset[bytes]:
        """The fields of this request that say who asks, and that nobody does not have."""
        said = {name for name in CREDENTIALS if variable(name) in self._environ}
        return frozenset((said | {WHO} if who(self._environ) is not None else said) - kept)

    def _for_nobody(self, refresh: Any, kept: frozenset[bytes]) -> WSGIEnvironment:
        dropped = (_WISHES | {variable(name) for name in CREDENTIALS}) - {variable(name) for name in kept} | _BODY
        known = WHO not in kept and who(self._environ) is not None
        left_out = (*_LEFTOVERS, *_ABOUT_WHO) if known else _LEFTOVERS
        environ = {name: _own(value) for name, value in self._environ.items()
                   if name not in dropped and not name.startswith(left_out)}
        return environ | {"REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0", "wsgi.input": BytesIO(), REFRESH: refresh}


class Noting:
    """A WSGI application that notes how each request came in, and does at the end what was left for then."""

    def __init__(self, inner: WSGIApplication) -> None:
        self.inner = inner
        self._threads = Threads()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        arrival = environ[ARRIVAL] = Arrival(self.inner, environ)
        asked = environ.get("werkzeug.request")
        # Nobody waits for the bytes of a test's client, which may keep its answers for ever without closing them.
        tested = asked is not None and "SERVER_SOFTWARE" not in environ
        waiting = do if tested else self._threads.offer if environ.get("wsgi.multithread") else None
        try:
            chunks = self.inner(environ, start_response)
        except BaseException:
            # Nothing will go out, and nothing be closed.
            _settle(arrival, do if tested else self._threads.submit)
            raise
        _settle(arrival, waiting)
        if not arrival.after and environ.get("werkzeug.request") is not asked:
            return chunks  # of an application not asked before its first chunk, nobody knows yet what it leaves to do
        return _Answer(chunks, arrival, waiting, self._threads)


class _Answer:
    """An answer that goes out, and what is to be done when it has.

    waiting: what does such work at once, since the answer need not be waited for; None: it is done at the end.
    """

    def __init__(
        self, chunks: Iterable[bytes], arrival: Arrival, waiting: Callable[[Work], bool] | None, threads: Threads,
    ) -> None:
        self._chunks, self._arrival, self._waiting, self._threads = chunks, arrival, waiting, threads
        self._rest = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._rest)
        _settle(self._arrival, self._waiting)
        return chunk

    def close(self) -> None:
        try:
            close: Work | None = getattr(self._chunks, "close", None)
            if close is not None:
                close()
        finally:
            _settle(self._arrival, do)

    def __del__(self) -> None:
        # A server closes what it sends; middleware may forget to, and others would wait for what never begins.
        _settle(self._arrival, self._threads.submit)


class _Closing:
    """What is done when an answer is closed; and when it is forgotten, since others wait for it."""

    def __init__(self, work: Work) -> None:
        self._work: Work | None = work

    def close(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            do(work)

    def __del__(self) -> None:
        if self._work is not None:
            Threads().submit(self._work)


def _settle(arrival: Arrival, waiting: Callable[[Work], bool] | None) -> None:
    """Do what is to be done before an answer goes out, and what need not wait until it has."""
    while arrival.before:
        do(arrival.before.pop(0))
    while waiting is not None and arrival.after and waiting(arrival.after[0]):
        arrival.after.pop(0)


def who(environ: Mapping[str, Any]) -> bytes | None:
    """Whom the server knows by other means than header fields (REMOTE_USER, a certificate), as one value.

    No client can send it as a field: it begins with a line feed, which RFC 9110 section 5.5 forbids there.
    """
    known = [(name, value) for name in _WHO if (value := environ.get(name))]
    if environ.get("SSL_CLIENT_VERIFY") == "SUCCESS":
        known += [("SSL_CLIENT_VERIFY", "SUCCESS"), ("SSL_CLIENT_M_SERIAL", environ.get("SSL_CLIENT_M_SERIAL", ""))]
    return "".join([f"\n{name}={quote(str(value))}" for name, value in known]).encode("ascii") if known else None


def variable(field: bytes) -> str:
    """Where the environ has a header field."""
    return "HTTP_" + field.decode("ascii").upper().replace("-", "_")


def own(answer: Response) -> Response:
    """A copy to write to, for this request alone: the view may return the same object to everybody."""
    mine = copy.copy(answer)
    mine.headers = Headers(answer.headers)
    mine._on_close = list(answer._on_close)
    vars(mine).pop("stream", None)  # it writes to the response that it was made for
    return mine


def _own(value: Any) -> Any:
    if not isinstance(value, dict | list | set | bytearray):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # it holds what cannot be copied, such as a lock
        return copy.copy(value)


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
    del status, headers, exc_info
    return len
