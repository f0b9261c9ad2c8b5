"""Which requests the store may answer: a plain GET or HEAD that says nothing the key does not know.

What a request's own Cache-Control says is advice (RFC 9111 section 5.2.1). `no-store` is followed: the
request passes by the store. `no-cache`, `max-age=0` and `Pragma: no-cache`, which a browser's reload sends,
are not: under a policy the store is a part of the application that is kept true by invalidation, and a
visitor who leans on the reload key must not be able to bring the stampede back.
"""

from __future__ import annotations

from dataclasses import dataclass

from cachefence_web.http.cache_control import directives
from cachefence_web.http.message import Request
from cachefence_web.http.outcome import Forward, Reason
from cachefence_web.http.policy import ResponsePolicy


@dataclass(frozen=True, slots=True)
class Allowed:
    """The store may answer.

    fills: whether the application's answer may be offered to `storable` on a miss. False for HEAD, which has
        no body to store: look, and on a miss ask the application without making anybody wait.
    """

    fills: bool


@dataclass(frozen=True, slots=True)
class Bypass:
    """The store is not for this request: neither look nor store."""

    why: Forward
    reason: Reason


_GET = Allowed(fills=True)
_HEAD = Allowed(fills=False)

_REFUSING = {
    b"transfer-encoding": Reason.REQUEST_BODY,
    b"range": Reason.RANGE,
    # Only an origin evaluates these two (RFC 9111 section 4.3.2).
    b"if-match": Reason.PRECONDITION,
    b"if-unmodified-since": Reason.PRECONDITION,
    b"upgrade": Reason.UPGRADE,
}
_CREDENTIALS = {
    b"authorization": Reason.AUTHORIZATION,
    b"cookie": Reason.COOKIE,
    # No standard names these, but what carries them is known to its API, or to a proxy in front.
    **dict.fromkeys((
        b"proxy-authorization", b"x-api-key", b"x-auth-token", b"x-access-token", b"x-amz-security-token",
        b"x-forwarded-user", b"x-remote-user", b"remote-user",
    ), Reason.AUTHORIZATION),
}
_TELLING = frozenset({b"content-length", b"cache-control", *_REFUSING, *_CREDENTIALS})
CREDENTIALS = frozenset(_CREDENTIALS)
"""The fields, in lower case, that tell one visitor from another."""


def answers_from_cache(request: Request, policy: ResponsePolicy) -> Allowed | Bypass:
    """Whether a stored response may answer this request."""
    if request.method not in ("GET", "HEAD"):
        return Bypass(Forward.METHOD, Reason.METHOD)
    for name, value in request.headers:
        field = name.lower()
        if field in _TELLING and (reason := _objection(field, value, policy)) is not None:
            return Bypass(Forward.BYPASS, reason)
    return _GET if request.method == "GET" else _HEAD


def _objection(field: bytes, value: bytes, policy: ResponsePolicy) -> Reason | None:
    if field in _REFUSING:
        return _REFUSING[field]
    if field in _CREDENTIALS:
        settled = field in policy.keyed or (field == b"cookie" and policy.cookies != "bypass")
        return None if settled else _CREDENTIALS[field]
    if field == b"content-length":
        return None if value.strip() == b"0" else Reason.REQUEST_BODY
    return Reason.REQUEST_NO_STORE if b"no-store" in directives(((field, value),)) else None
