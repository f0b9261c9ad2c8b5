"""What the client gets of a stored response: the fields that say how it came, a 304 where that is enough."""

from __future__ import annotations

from cachefence_web.http.cache_control import upstream_age
from cachefence_web.http.message import Headers, Request, Response
from cachefence_web.http.outcome import Forwarded, Outcome, cache_status
from cachefence_web.http.validators import not_modified

# The metadata of a body that is not sent again (RFC 9110 section 15.4.5); the ETag does Last-Modified's work.
_OF_THE_BODY = frozenset({
    b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-range",
    b"content-digest", b"repr-digest", b"last-modified",
})


def serve(request: Request, response: Response, outcome: Outcome) -> Response:
    """The answer to this request from a response that is stored, or that `storable` has just allowed.

    Adds Cache-Status, and Age unless the application was asked for this very request. HEAD gets the same
    headers without the body; a client that holds the response already, a 304.
    """
    headers = response.headers
    if not isinstance(outcome, Forwarded):
        headers = _aged(headers, outcome.age)
    headers += ((b"cache-status", cache_status(outcome)),)
    if not_modified(request, response):
        return Response(304, tuple([line for line in headers if line[0].lower() not in _OF_THE_BODY]), b"")
    return Response(response.status, headers, b"" if request.method == "HEAD" else response.body)


def _aged(headers: Headers, age: float) -> Headers:
    kept = [line for line in headers if line[0].lower() != b"age"]
    upstream = upstream_age(headers) if len(kept) < len(headers) else 0
    return (*kept, (b"age", b"%d" % (upstream + max(0.0, age))))
