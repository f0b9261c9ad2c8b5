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
