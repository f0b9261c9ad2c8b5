"""Which requests the store may answer: a plain GET or HEAD that says nothing the key does not know.

What a request's own Cache-Control says is advice (RFC 9111 section 5.2.1). Where the headers decide, it is taken.
Under a policy only `no-store` is: `no-cache`, `max-age=0` and `Pragma: no-cache`, which a browser's reload sends,
are not, for the store is then a part of the application that is kept true by invalidation, and a visitor who leans
on the reload key must not be able to bring the stampede back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from cachefence_web.http.cache_control import directives, seconds
from cachefence_web.http.message import Headers, Request, Stored, lines
from cachefence_web.http.outcome import Forward, Reason
from cachefence_web.http.policy import ResponsePolicy


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request wants of a stored response (RFC 9111 section 5.2.1).

    max_age, min_fresh, max_stale: seconds.
    """

    no_cache: bool = False
    max_age: float = math.inf
    min_fresh: float = 0.0
    max_stale: float = 0.0
    only_if_cached: bool = False


@dataclass(frozen=True, slots=True)
class Allowed:
    """The store may answer.

    fills: whether the application's answer may be offered to `storable` on a miss, and others be made to wait for it.
        False for HEAD and Range, whose answers are no whole, and for Authorization: look, and on a miss ask alone.
    offers: whether an answer that was asked for alone may still be stored, if it says that it may be.
    authorized: whether the request says who asks, so that only what RFC 9111 section 3.5 permits may answer it.
    """

    fills: bool = True
    offers: bool = True
    authorized: bool = False
    wishes: Wishes | None = None


@dataclass(frozen=True, slots=True)
class Unsafe:
    """A method that may change what is stored (RFC 9111 section 4.4): ask the application, then invalidate."""


@dataclass(frozen=True, slots=True)
class Bypass:
    """The store is not for this request: neither look nor store."""

    why: Forward
    reason: Reason


Asked: TypeAlias = Allowed | Unsafe | Bypass

_GET = Allowed()
_PART = Allowed(fills=False, offers=False)
_AUTHORIZED = Allowed(fills=False, authorized=True)
_UNSAFE = Unsafe()
_SAFE = frozenset({"OPTIONS", "TRACE"})

_REFUSING = {
    b"transfer-encoding": Reason.REQUEST_BODY,
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
        b"proxy-authorization", b"x-api-key", b"api-key", b"x-auth-token", b"x-access-token", b"x-amz-security-token",
        b"remote-user", b"x-remote-user", b"x-forwarded-user", b"x-forwarded-email", b"x-forwarded-preferred-username",
        b"x-forwarded-groups", b"x-forwarded-access-token", b"x-auth-request-user", b"x-auth-request-email",
        b"x-auth-request-preferred-username", b"x-auth-request-access-token", b"tailscale-user-login",
        b"cf-access-jwt-assertion", b"cf-access-authenticated-user-email", b"x-goog-iap-jwt-assertion",
        b"x-goog-authenticated-user-email", b"x-goog-authenticated-user-id", b"x-amzn-oidc-identity",
        b"x-amzn-oidc-data", b"x-amzn-oidc-accesstoken", b"x-ms-client-principal", b"x-ms-client-principal-id",
        b"x-ms-client-principal-name", b"x-ms-token-aad-access-token", b"x-forwarded-client-cert", b"client-cert",
        b"x-client-cert", b"x-ssl-cert", b"x-ssl-client-cert", b"x-ssl-client-dn", b"x-ssl-client-s-dn",
        b"ssl-client-cert", b"ssl-client-subject-dn", b"x-webauth-user",
    ), Reason.AUTHORIZATION),
}
_TELLING = frozenset({b"content-length", b"cache-control", b"pragma", b"range", *_REFUSING, *_CREDENTIALS})
CREDENTIALS = frozenset(_CREDENTIALS)
"""The fields, in lower case, that tell one visitor from another."""


def answers_from_cache(request: Request, policy: ResponsePolicy) -> Asked:
    """Whether a stored response may answer this request."""
    if request.method not in ("GET", "HEAD"):
        return Bypass(Forward.METHOD, Reason.METHOD) if request.method in _SAFE else _UNSAFE
    telling = [line for name, value in request.headers if (line := (name.lower(), value))[0] in _TELLING]
    if not telling:
        return _GET if request.method == "GET" else _PART
    for field, value in telling:
        if (reason := _objection(field, value, policy)) is not None:
            return Bypass(Forward.BYPASS, reason)
    whole = request.method == "GET" and not any(field == b"range" for field, _ in telling)
    if not policy.by_headers:
        return _GET if whole else _PART
    wishes = _wishes(tuple(telling))
    authorized = any(field in _CREDENTIALS and field != b"cookie" for field, _ in telling)
    if wishes is None and whole:
        return _AUTHORIZED if authorized else _GET
    alone = authorized or not whole or (wishes is not None and wishes.only_if_cached)
    return Allowed(fills=not alone, offers=whole, authorized=authorized, wishes=wishes)


_OWN = frozenset({
    b"if-none-match", b"if-modified-since", b"if-range", b"range", b"cache-control", b"pragma", b"content-length"})


def nobodys(request: Request, policy: ResponsePolicy, stored: Stored) -> Headers:
    """The fields with which a stored response is made anew for everybody, by the request that was shown the old one.

    Left out is what only this visitor wants, or what tells who it is, unless responses are told apart by it.
    """
    told_apart = {*policy.keyed, *[name for name, _ in stored.selecting]}
    left_out = (_OWN | CREDENTIALS) - told_apart
    return tuple([(name, value) for name, value in request.headers if name.lower() not in left_out])


def _objection(field: bytes, value: bytes, policy: ResponsePolicy) -> Reason | None:
    if field in _REFUSING:
        return _REFUSING[field]
    if field in _CREDENTIALS:
        settled = field in policy.keyed or (policy.cookies != "bypass" if field == b"cookie" else policy.by_headers)
        return None if settled else _CREDENTIALS[field]
    if field == b"content-length":
        return None if value.strip() == b"0" else Reason.REQUEST_BODY
    if field == b"cache-control" and b"no-store" in directives(((field, value),)):
        return Reason.REQUEST_NO_STORE
    return None


def _wishes(telling: tuple[tuple[bytes, bytes], ...]) -> Wishes | None:
    said = directives(telling)
    if not lines(telling, b"cache-control"):
        # Pragma counts only where there is no Cache-Control (RFC 9111 section 5.4).
        return Wishes(no_cache=True) if b"no-cache" in directives(telling, b"pragma") else None
    max_age, min_fresh = seconds(said, b"max-age"), seconds(said, b"min-fresh")
    stale = 0.0
    if b"max-stale" in said:
        stale = math.inf if said[b"max-stale"] is None else float(seconds(said, b"max-stale") or 0)
    wishes = Wishes(
        no_cache=b"no-cache" in said,
        max_age=math.inf if max_age is None else float(max_age),
        min_fresh=float(min_fresh or 0),
        max_stale=stale,
        only_if_cached=b"only-if-cached" in said,
    )
    return None if wishes == _NONE else wishes


_NONE = Wishes()
