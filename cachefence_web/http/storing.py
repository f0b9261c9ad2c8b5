"""Which responses may be shared, and what of them is kept; whatever is in doubt is not stored."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from http import HTTPStatus

from cachefence_web.core.policy import LONGEST, SHORTEST, Policy
from cachefence_web.http.asking import CREDENTIALS, Allowed, Bypass, Unsafe, answers_from_cache
from cachefence_web.http.cache_control import FOREVER, directives, named_fields, seconds
from cachefence_web.http.freshness import explicit_lifetime, heuristic_lifetime, initial_age
from cachefence_web.http.groups import group_tag, groups
from cachefence_web.http.message import Headers, Request, Response, Stored, lines, members
from cachefence_web.http.outcome import Reason
from cachefence_web.http.policy import ResponsePolicy
from cachefence_web.http.targeted import targeted
from cachefence_web.http.targets import origin_of
from cachefence_web.http.validators import entity_tag, validators
from cachefence_web.http.variants import selecting, vary_names

KEPT_FOR_VALIDATION = 86_400.0
"""Seconds for which a response that can be validated is kept after it has become stale."""
KEPT_FOR_THE_PATIENT = 60.0
"""Seconds for which any other is kept, for requests that say `max-stale`."""


@dataclass(frozen=True, slots=True)
class Storable:
    """May be stored and shared.

    stored: what to store: names in lower case, without hop-by-hop fields, with a Content-Length and an ETag.
    life: how long it is fresh, may be served stale, and is kept.
    tags: its cache groups, as tags.
    withheld: the fields that `private` and `no-cache` name, which are for this asker and nobody after it.
    """

    stored: Stored
    life: Policy
    tags: tuple[str, ...] = ()
    withheld: Headers = ()

    @property
    def first(self) -> Stored:
        """What to serve to this request: a miss and the hits after it are alike, but for what is withheld."""
        if not self.withheld:
            return self.stored
        response = self.stored.response
        return replace(self.stored, response=replace(response, headers=response.headers + self.withheld))


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
_ADDRESSED = frozenset({b"set-cookie", b"authentication-info"})
_ADDRESSED_TOO = frozenset({b"set-cookie2", b"clear-site-data", *_ADDRESSED})
_STRICT = (b"must-revalidate", b"proxy-revalidate", b"s-maxage", b"no-cache")
_UNDERSTOOD = frozenset(map(int, HTTPStatus))
_BODILESS = frozenset({204, 205})
# What is needed to serve the rest rightly, here or further on, whoever says to leave it out.
_NEEDED = frozenset({b"vary", b"cache-control"})


def storable(
    request: Request, response: Response, policy: ResponsePolicy, *, personal: bool, life: Policy, now: float,
) -> Storable | Refused:
    """Whether this response to this request may answer others that have the same key.

    personal: whether making it touched the user, the session, a CSRF token or the like. Such a response is
        stored only if the request carried credentials and `vary_on` names all that it carried, or if it
        carried none and those that do are kept apart.
    life: how long a policy would keep it, and how it is computed and waited for.
    now: Unix seconds, by the clock that the application dates its responses with.
    """
    asked = answers_from_cache(request, policy)
    match asked:
        case Bypass(reason=reason):
            return Refused(reason)
        case Unsafe():
            return Refused(Reason.METHOD)
        case Allowed(offers=False):
            return Refused(Reason.HEAD if request.method == "HEAD" else Reason.RANGE)
    if personal and not _keyed_by_credentials(request, policy):
        return Refused(Reason.PERSONAL)
    said = _Said(request, response, policy, asked.authorized)
    objection = _incomplete(response, policy) or said.forbids()
    return said.granted(life, now) if objection is None else Refused(objection)


def _keyed_by_credentials(request: Request, policy: ResponsePolicy) -> bool:
    carried = CREDENTIALS.intersection([name.lower() for name, _ in request.headers])
    if not carried:
        return policy.cookies == "apart"
    return carried.issubset(policy.keyed)


def _incomplete(response: Response, policy: ResponsePolicy) -> Reason | None:
    # Outside of a 206 the field means nothing (RFC 9110 section 14.4), but somebody has taken this for a part.
    if response.status == 206 or (not policy.by_headers and lines(response.headers, b"content-range")):
        return Reason.PARTIAL
    if response.status < 200 or response.status == 304:
        return Reason.NOT_MODIFIED if response.status == 304 else Reason.STATUS
    if any(line.strip().lower().startswith(b"text/event-stream") for line in lines(response.headers, b"content-type")):
        return Reason.STREAM
    lengths = lines(response.headers, b"content-length")
    size = len(response.body)
    if response.status in _BODILESS:
        return Reason.LENGTH if size else None
    return Reason.LENGTH if any(line.strip(b" \t") != b"%d" % size for line in lengths) else None


class _Said:
    """What a response says about being stored, by Cache-Control or a field in its place."""

    def __init__(self, request: Request, response: Response, policy: ResponsePolicy, authorized: bool) -> None:
        self._request, self._response, self._policy = request, response, policy
        self._authorized = authorized
        told = targeted(response.headers, policy.targets) if policy.targets else None
        self._targeted = told is not None
        self._said = directives(response.headers) if told is None else told

    def forbids(self) -> Reason | None:
        """Why it may not be stored, but for its freshness (RFC 9111 section 3)."""
        said, headers = self._said, self._response.headers
        addressed = _ADDRESSED if self._policy.by_headers else _ADDRESSED_TOO
        hidden = self._fields_withheld()
        if not addressed.difference(hidden).isdisjoint([name.lower() for name, _ in headers]):
            return Reason.ADDRESSED
        if b"must-understand" in said:
            if self._response.status not in _UNDERSTOOD:
                return Reason.STATUS
        elif b"no-store" in said:
            return Reason.NO_STORE
        if b"private" in said and not named_fields(said[b"private"]):
            return Reason.PRIVATE
        if self._authorized and not self._authorizes():
            return Reason.AUTHORIZATION
        return self._varies_unkeyed()

    def _fields_withheld(self) -> frozenset[bytes]:
        """The fields that `private` and `no-cache` name: each visitor's own, the rest is everybody's."""
        said = self._said
        return named_fields(said.get(b"private")) | named_fields(said.get(b"no-cache"))

    def _varies_unkeyed(self) -> Reason | None:
        """What bypasses the store when it is present needs no key: it is the same, absent, for all who share."""
        named = vary_names(self._response.headers)
        if named is None:
            return Reason.VARY
        if self._policy.by_headers:
            return None
        carried = bool(lines(self._request.headers, b"cookie"))
        settled = {b"authorization", *self._policy.keyed}
        if self._policy.cookies == "bypass" or (self._policy.cookies == "apart" and not carried):
            settled.add(b"cookie")
        return Reason.VARY if CREDENTIALS.difference(settled).intersection(named) else None

    def granted(self, life: Policy, now: float) -> Storable | Refused:
        """What may be kept, and how long."""
        age = initial_age(self._response.headers, now=now)
        by_headers = self._policy.by_headers
        left = self._left(age, now) if by_headers else math.inf
        overdue = None if left is not None and left > 0 else -(left or 0.0)
        lived = self._by_headers(life, left) if by_headers else self._by_policy(life, age, now)
        if isinstance(lived, Reason):
            return Refused(lived)
        withheld = self._fields_withheld() - _NEEDED - _HOP_BY_HOP - {b"content-length", b"etag"}
        kept = Stored(
            response=_kept(self._response, self._fields_withheld()),
            selecting=self._selecting(),
            initial_age=min(age, float(FOREVER)),
            strict=self._strict(),
            authorized=self._authorizes(),
            excuses=max(0.0, self._excuses() - (overdue or 0.0)) if by_headers else lived.stale_if_error,
            overdue=overdue,
            bridges=lived.stale_for > 0,
        )
        tags = [group_tag(origin_of(self._request), group) for group in groups(self._response.headers)]
        own = [(name.lower(), value) for name, value in self._response.headers if name.lower() in withheld]
        return Storable(kept, lived, tuple(tags), tuple(own))

    def _selecting(self) -> tuple[tuple[bytes, bytes | None], ...]:
        named = vary_names(self._response.headers) or ()
        if self._policy.by_headers:
            return selecting(self._request, named)
        # Those that the key holds, or that pass the store by, have been told apart already.
        settled = {b"host", *CREDENTIALS, *self._policy.keyed}
        return selecting(self._request, tuple([name for name in named if name not in settled]))

    def _strict(self) -> bool:
        return any(name in self._said for name in _STRICT)

    def _authorizes(self) -> bool:
        """Whether it may answer others though this one has said who asks; never by a directive that is broken."""
        said = self._said
        plain = any(said.get(name, b"") is None for name in (b"public", b"must-revalidate"))
        return plain or (said.get(b"s-maxage") or b"").isdigit()

    def _always_validated(self) -> bool:
        return b"no-cache" in self._said and not named_fields(self._said[b"no-cache"])

    def _excuses(self) -> float:
        return 0.0 if self._strict() else float(seconds(self._said, b"stale-if-error") or 0)

    def _by_policy(self, life: Policy, age: float, now: float) -> Policy | Reason:
        """The policy's life, within what the response grants shared caches."""
        said, granted = self._said, None
        if self._always_validated():
            return Reason.NO_CACHE
        explicit = explicit_lifetime(self._response.headers, said, now=now, targeted=self._targeted)
        if b"s-maxage" in said or self._targeted:
            granted = None if explicit is None else explicit - age
            if granted is not None and granted <= 0:
                return Reason.S_MAXAGE
        elif explicit == 0:
            return Reason.MAX_AGE if b"max-age" in said else Reason.EXPIRES
        if self._response.status != 200:
            if explicit is None or explicit - age <= 0:
                return Reason.STATUS
            granted = explicit - age
        if granted is not None:
            # Who renewed it with each hit would keep it for longer than was granted.
            life = replace(life, ttl=_duration(min(granted, life.ttl or granted)), sliding=False)
        return replace(life, stale_for=0.0, stale_if_error=0.0) if self._strict() else life

    def _left(self, age: float, now: float) -> float | None:
        """The seconds for which it is fresh yet; None if it does not say, and there is nothing to guess from."""
        headers = self._response.headers
        lifetime = explicit_lifetime(headers, self._said, now=now, targeted=self._targeted)
        if lifetime is None:
            lifetime = heuristic_lifetime(self._response.status, headers, self._said, now=now)
        if lifetime is None:
            return None
        return 0.0 if self._always_validated() else lifetime - age

    def _by_headers(self, life: Policy, left: float | None) -> Policy | Reason:
        """What the header fields say, and nothing else (RFC 9111 section 4.2)."""
        said = self._said
        validatable = self._response.status == 200 and bool(validators(self._response))
        if left is None and not (validatable or b"public" in said):
            return Reason.NO_FRESHNESS
        left = left or 0.0
        stale_for = 0.0 if self._strict() else float(seconds(said, b"stale-while-revalidate") or 0)
        late = max(0.0, -left)
        if left <= 0 and not validatable and max(stale_for, self._excuses()) <= late:
            return Reason.MAX_AGE
        spare = KEPT_FOR_VALIDATION if validatable else 0.0 if self._strict() else KEPT_FOR_THE_PATIENT
        return replace(
            life, ttl=_duration(left), stale_for=_or_none(stale_for - late), jitter=0.0, sliding=False,
            stale_if_error=_or_none(max(self._excuses() - late, spare)), negative_ttl=None)


def _duration(given: float) -> float:
    return max(SHORTEST, min(given, LONGEST))


def _or_none(given: float) -> float:
    return 0.0 if given < SHORTEST else min(given, LONGEST)


def _kept(response: Response, withheld: frozenset[bytes]) -> Response:
    hops = _HOP_BY_HOP | frozenset(members(response.headers, b"connection")) - {b"etag"}
    dropped = (hops | withheld) - _NEEDED | {b"content-length"}
    headers: Headers = tuple([(name.lower(), value) for name, value in response.headers
                              if name.lower() not in dropped])
    if response.status != 204:
        headers += ((b"content-length", b"%d" % len(response.body)),)
    if not lines(headers, b"etag") and response.status == 200:
        headers += ((b"etag", entity_tag(response)),)
    return Response(response.status, headers, response.body)
