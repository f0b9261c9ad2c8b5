"""The neutral request and response: what was on the wire, nothing decoded, folded or reordered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote_from_bytes

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Header fields as (name, value) pairs, in order, repeated ones kept; names in any case."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    method: as received; methods are case-sensitive.
    host: the Host field, or :authority, with its port, as received.
    raw_path: the whole path as it was on the wire, percent-encoding kept, mount points and root paths
        included; for a server that hands out only a decoded path there is `wire_path`.
    query: without its question mark; empty for none.
    """

    method: str
    scheme: str
    host: str
    raw_path: bytes
    query: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered: the complete body, content codings still applied."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """A response that may answer other requests, with all that is needed to tell which.

    response: its fields' names in lower case.
    selecting: the request fields that Vary names, as the first request had them; None for one that was absent.
    initial_age: seconds that the response had spent on its way before it was stored (RFC 9111 section 4.2.3).
    strict: whether it may never be served stale.
    authorized: whether it may answer requests that say who asks (RFC 9111 section 3.5).
    excuses: seconds past its freshness, or past its storing if it was stale by then, for which it may stand in for
        an error (RFC 5861 section 4).
    overdue: seconds that its freshness had been over when it was stored; None if it was fresh.
    bridges: whether it may be served stale while it is made anew (RFC 5861 section 3).
    """

    response: Response
    selecting: tuple[tuple[bytes, bytes | None], ...] = ()
    initial_age: float = 0.0
    strict: bool = False
    authorized: bool = False
    excuses: float = 0.0
    overdue: float | None = None
    bridges: bool = False


def wire_path(decoded: bytes) -> bytes:
    """The raw path for a decoded one (WSGI's PATH_INFO, as bytes): different paths stay different.

    A `?` inside a decoded path becomes `%3F`, so that it is never taken for the start of a query.
    """
    return quote_from_bytes(decoded, safe="/!$&'()*+,;=:@~").encode("ascii")


def lines(headers: Headers, name: bytes) -> list[bytes]:
    """The values of each line of a field, in order; `name` in lower case."""
    return [value for field, value in headers if field.lower() == name]


def members(headers: Headers, name: bytes) -> Iterator[bytes]:
    """The names in a field that lists names, such as Vary and Connection, over all lines, in lower case."""
    for line in lines(headers, name):
        for member in line.split(b","):
            if token := member.strip(b" \t").lower():
                yield token
