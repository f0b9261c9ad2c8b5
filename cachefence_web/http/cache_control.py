"""Cache-Control as RFC 9111 section 5.2 writes it; where a value is broken, the stricter reading."""

from __future__ import annotations

import re

from cachefence_web.http.message import Headers, lines

FOREVER = 2**31
"""What a delta-seconds too large to keep stands for (RFC 9111 section 1.2.2)."""

# An unterminated quote does not swallow what follows it, so it cannot hide a `no-store`.
_DIRECTIVE = re.compile(
    rb"""([A-Za-z0-9!#$%&'*+.^_`|~-]+)              # name
         (?:=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?   # quoted or bare argument
         [^,]*                                      # whatever else stands before the next comma""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def directives(headers: Headers) -> dict[bytes, bytes | None]:
    """The directives of all Cache-Control lines: names in lower case, arguments unquoted or None.

    Of a repeated directive the first counts (RFC 9111 section 4.2.1).
    """
    found: dict[bytes, bytes | None] = {}
    for line in lines(headers, b"cache-control"):
        for name, quoted, bare in (match.groups() for match in _DIRECTIVE.finditer(line)):
            found.setdefault(name.lower(), bare if quoted is None else _ESCAPED.sub(rb"\1", quoted))
    return found


def delta_seconds(argument: bytes | None) -> int:
    """The seconds of a directive such as s-maxage; 0 for what is no number, so that it counts as stale."""
    if argument is None or not argument.isdigit():
        return 0
    return int(argument) if len(argument) < 10 else FOREVER


def upstream_age(headers: Headers) -> int:
    """The seconds that a response had already spent in other caches when it reached us."""
    ages = lines(headers, b"age")
    return delta_seconds(ages[0]) if ages else 0
