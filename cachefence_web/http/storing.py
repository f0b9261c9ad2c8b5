"""Which responses may be shared, and what of them is kept; whatever is in doubt is not stored."""

from __future__ import annotations

from dataclasses import dataclass

from cachefence_web.http.asking import CREDENTIALS, Bypass, answers_from_cache
from cachefence_web.http.cache_control import delta_seconds, directives, upstream_age
from cachefence_web.http.message import Headers, Request, Response, lines, members
from cachefence_web.http.outcome import Reason
from cachefence_web.http.policy import ResponsePolicy
from cachefence_web.http.validators import entity_tag


@dataclass(frozen=True, slots=True)
class Storable:
    """May be stored and shared.

    response: what to store, and what to serve to this request too, so that a miss and the hits after it are
        alike: names in lower case, without hop-by-hop fields, with a Content-Length and an ETag.
    max_ttl: the seconds that the response grants shared caches (its s-maxage less its Age), None if it does
        not say; store it for no longer than this, whatever the policy says.
    """

    response: Response
    max_ttl: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """May not be stored: it is for the one who asked for it, if it is for anybody's store at all."""

    reason: Reason


# RFC 9111 section 3.1 and RFC 9110 section 7.6.1, with the fields that speak to proxies.
_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization",
})
# Said to one visitor, so never to be replayed to another.
_ADDRESSED = frozenset({b"set-cookie", b"set-cookie2", b"clear-site-data", b"authentication-info"})
_FORBIDDING = {
    b"no-store": Reason.NO_STORE,
    b"private": Reason.PRIVATE,
    b"no-cache": Reason.NO_CACHE,
}


def storable(
    request: Request, response: Response, policy: ResponsePolicy, *, personal: bool,
) -> Storable | Refused:
    """Whether this response to this request may answer others that have the same key.

    personal: whether making it touched the user, the session, a CSRF token or the like. Such a response is
        stored only if the request carried credentials and `vary_on` names all that it carried, or if it
        carried none and those that do are kept apart.
    """
    asked = answers_from_cache(request, policy)
    if isinstance(asked, Bypass):
        return Refused(asked.reason)
    if not asked.fills:
        return Refused(Reason.HEAD)
    if personal and not _keyed_by_credentials(request, policy):
        return Refused(Reason.PERSONAL)
    reason = _incomplete(response) or _forbidden(response) or _varies_unkeyed(request, response, policy)
    return Storable(_kept(response), _max_ttl(response)) if reason is None else Refused(reason)


def _keyed_by_credentials(request: Request, policy: ResponsePolicy) -> bool:
    carried = CREDENTIALS.intersection([name.lower() for name, _ in request.headers])
    if not carried:
        return policy.cookies == "apart"
    return carried.issubset(policy.keyed)


def _incomplete(response: Response) -> Reason | None:
    if response.status == 206 or lines(response.headers, b"content-range"):
        return Reason.PARTIAL
    if response.status != 200:
        return Reason.NOT_MODIFIED if response.status == 304 else Reason.STATUS
    if any(line.strip().lower().startswith(b"text/event-stream") for line in lines(response.headers, b"content-type")):
        return Reason.STREAM
    lengths = lines(response.headers, b"content-length")
    if lengths and lengths != [b"%d" % len(response.body)]:
        return Reason.LENGTH
    return None


def _forbidden(response: Response) -> Reason | None:
    """Forbidden outright; `private` and `no-cache` that name fields count like those that do not."""
    if not _ADDRESSED.isdisjoint([name.lower() for name, _ in response.headers]):
        return Reason.ADDRESSED
    said = directives(response.headers)
    if reason := next((reason for name, reason in _FORBIDDING.items() if name in said), None):
        return reason
    ttl = _max_ttl(response)
    if ttl is None and (said.get(b"max-age") or b"1").strip(b"0") == b"":  # one that is no number says nothing
        return Reason.MAX_AGE
    return Reason.S_MAXAGE if ttl is not None and ttl <= 0 else None


def _varies_unkeyed(request: Request, response: Response, policy: ResponsePolicy) -> Reason | None:
    """What bypasses the store when it is present needs no key: it is the same, absent, for all who share."""
    settled = {b"host", b"authorization", *policy.keyed}
    if policy.cookies == "bypass" or (policy.cookies == "apart" and not lines(request.headers, b"cookie")):
        settled.add(b"cookie")
    return None if settled.issuperset(members(response.headers, b"vary")) else Reason.VARY


def _max_ttl(response: Response) -> float | None:
    said = directives(response.headers)
    if b"s-maxage" not in said:
        return None
    return float(delta_seconds(said[b"s-maxage"]) - upstream_age(response.headers))


def _kept(response: Response) -> Response:
    dropped = _HOP_BY_HOP.union(members(response.headers, b"connection"))
    headers: Headers = tuple([(name.lower(), value) for name, value in response.headers
                              if name.lower() not in dropped])
    if not lines(headers, b"content-length"):
        headers += ((b"content-length", b"%d" % len(response.body)),)
    if not lines(headers, b"etag"):
        headers += ((b"etag", entity_tag(response)),)
    return Response(response.status, headers, response.body)
