"""Requests and responses in a few words."""

from __future__ import annotations

from cachefence_web.http import Headers, Request, Response, ResponsePolicy, Storable, storable


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


def stored(*headers: str, body: bytes = b"<h1>Books</h1>") -> Response:
    """A response as it is kept."""
    verdict = storable(ask(), answer(*headers, body=body), ResponsePolicy(), personal=False)
    assert isinstance(verdict, Storable), verdict
    return verdict.response
