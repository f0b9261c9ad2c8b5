"""Requests, responses and policies in a few words."""

from __future__ import annotations

from cachefence_web.core.policy import Policy
from cachefence_web.http import (
    Headers,
    Reason,
    Refused,
    Request,
    Response,
    ResponsePolicy,
    Storable,
    Stored,
    storable,
)

SHARED = ResponsePolicy()
BY_HEADERS = ResponsePolicy(freshness="headers")
LIFE = Policy(ttl=300, stale_for=30, stale_if_error=600)
NOW = 1_795_255_200.0
"""Unix seconds of TODAY."""
TODAY = "Sat, 21 Nov 2026 10:00:00 GMT"
HOUR_AGO = "Sat, 21 Nov 2026 09:00:00 GMT"
IN_AN_HOUR = "Sat, 21 Nov 2026 11:00:00 GMT"


def fields(*given: str) -> Headers:
    """Header fields from `"Name: value"` lines."""
    pairs = (line.partition(": ") for line in given)
    return tuple((name.encode("latin-1"), value.encode("latin-1")) for name, _, value in pairs)


def ask(*headers: str, method: str = "GET", path: bytes = b"/books", query: bytes = b"") -> Request:
    """A request with these header lines."""
    return Request(method, "https", "shop.example", path, query, fields(*headers))


def answer(*headers: str, status: int = 200, body: bytes = b"<h1>Books</h1>") -> Response:
    """A response with these header lines."""
    return Response(status, fields(*headers), body)


def judged(
    response: Response,
    request: Request | None = None,
    policy: ResponsePolicy = SHARED,
    *,
    personal: bool = False,
    life: Policy = LIFE,
) -> Storable | Refused:
    """What `storable` says of it now."""
    return storable(request or ask(), response, policy, personal=personal, life=life, now=NOW)


def refusal(
    response: Response, request: Request | None = None, policy: ResponsePolicy = SHARED, *, personal: bool = False
) -> Reason | None:
    """The reason for which it is not stored, None for none."""
    verdict = judged(response, request, policy, personal=personal)
    return verdict.reason if isinstance(verdict, Refused) else None


def granted(
    response: Response, request: Request | None = None, policy: ResponsePolicy = SHARED, *, life: Policy = LIFE
) -> Storable:
    """The verdict on a response that may be stored."""
    verdict = judged(response, request, policy, life=life)
    assert isinstance(verdict, Storable), verdict
    return verdict


def stored(
    *headers: str,
    body: bytes = b"<h1>Books</h1>",
    status: int = 200,
    policy: ResponsePolicy = SHARED,
    request: Request | None = None,
) -> Stored:
    """A response as it is kept."""
    return granted(answer(*headers, status=status, body=body), request, policy).stored


def values(response: Response, name: bytes) -> list[bytes]:
    """The values of a header field's lines; the name in lower case."""
    return [value for given, value in response.headers if given.lower() == name]
