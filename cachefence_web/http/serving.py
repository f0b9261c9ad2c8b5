"""What the client gets of a stored response: the fields that say how it came, a 304 or a part where that is enough."""

from __future__ import annotations

from dataclasses import dataclass

from cachefence_web.http.cache_control import FOREVER
from cachefence_web.http.message import Headers, Request, Response, Stored, members
from cachefence_web.http.outcome import Forwarded, Outcome, Reason, Refusal, cache_status
from cachefence_web.http.policy import ResponsePolicy
from cachefence_web.http.ranges import ranged
from cachefence_web.http.validators import not_modified

# The metadata of a body that is not sent again (RFC 9110 section 15.4.5); the ETag does Last-Modified's work.
_OF_THE_BODY = frozenset({
    b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-range",
    b"content-digest", b"repr-digest", b"last-modified",
})


@dataclass(frozen=True, slots=True)
class Shown:
    """How stored responses are shown under one policy.

    key: to be told in Cache-Status; None where it is not to be known.
    now: Unix seconds.
    """

    policy: ResponsePolicy
    key: str | None
    now: float

    def serve(self, request: Request, stored: Stored, outcome: Outcome) -> Response:
        """The answer to this request from a response that is stored, or that `storable` has just allowed.

        Adds Cache-Status, and Age unless the application was asked for this very request. HEAD gets the same
        headers without the body; a client that holds the response already, a 304; one that asked for a part, that.
        """
        response, age = stored.response, 0.0
        headers = response.headers
        if not isinstance(outcome, Forwarded | Refusal):
            age = min(stored.initial_age + max(0.0, outcome.age), float(FOREVER))
            headers = (*[line for line in headers if line[0] != b"age"], (b"age", b"%d" % age))
        if not self.policy.by_headers:
            headers = self._told(headers, age)
        headers += ((b"cache-status", cache_status(outcome, self.key if self.policy.shows_key else None)),)
        if not_modified(request, response, since=self.now - age, now=self.now):
            return Response(304, tuple([line for line in headers if line[0] not in _OF_THE_BODY]), b"")
        whole = Response(response.status, headers, response.body)
        if request.method == "HEAD":
            return Response(response.status, headers, b"")
        return ranged(request, whole, now=self.now) or whole

    def _told(self, headers: Headers, age: float) -> Headers:
        """The same, with what browsers and caches outside may do with it, where the application has not said."""
        policy = self.policy
        if policy.browser_ttl is not None and not any(name in _FRESHNESS for name, _ in headers):
            # Invalidation keeps the page true here, so its time outside begins when it leaves.
            own = b"no-cache" if policy.browser_ttl == 0 else b"max-age=%d" % (age + policy.browser_ttl)
            headers += ((b"cache-control", own if policy.same_for_all else b"private, " + own),)
        varied = [name for name in policy.keyed if b"_" not in name]
        if varied and not set(varied).issubset(members(headers, b"vary")):
            told = set(members(headers, b"vary"))
            headers += tuple([(b"vary", name) for name in varied if name not in told])
        return headers


def unavailable() -> Response:
    """The answer to a request that wanted nothing but what is stored, where nothing is (RFC 9111 section 5.2.1.7)."""
    return Response(504, (
        (b"content-length", b"0"), (b"cache-control", b"no-store"),
        (b"cache-status", cache_status(Refusal(Reason.ONLY_IF_CACHED)))), b"")


_FRESHNESS = frozenset({b"cache-control", b"expires"})
