"""Cache-Control as RFC 9111 section 5.2 writes it; where a value is broken, the stricter reading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from cachefence_web.http.message import Headers, lines

FOREVER = 2**31
"""What a delta-seconds too large to keep stands for (RFC 9111 section 1.2.2)."""

Directives: TypeAlias = Mapping[bytes, bytes | None]
"""Names in lower case with their arguments; None for a directive without one."""

_TOKEN = rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_QUOTED = rb'"((?:[^"\\]|\\.)*+)"'
_MEMBER = re.compile(rb'[^",]*(?:' + _QUOTED + rb"[ \t]*(?=,|\Z))?", re.DOTALL)
_DIRECTIVE = re.compile(rb"(" + _TOKEN + rb")(?:=(?:(" + _TOKEN + rb")|" + _QUOTED + rb"))?", re.DOTALL)
_WORD = re.compile(rb"(?<!=)" + _TOKEN)
_FIELD_NAME = re.compile(_TOKEN)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

_NAMING_FIELDS = frozenset({b"private", b"no-cache"})
# What allows more than silence would is not taken from broken text.
_ALLOWING = frozenset({b"public", b"must-understand"})


def directives(headers: Headers, field: bytes = b"cache-control") -> dict[bytes, bytes | None]:
    """The directives of all lines of a field: names in lower case, arguments unquoted, None where there is none.

    Of a repeated directive the first counts (RFC 9111 section 4.2.1), but `private` and `no-cache` add up: the
    names of all of them, or none as soon as one names none. A member that breaks the grammar, by white space
    around `=` for instance, has the argument b"" for each word in it, which is no number and names no field.
    """
    found: dict[bytes, bytes | None] = {}
    for line in lines(headers, field):
        for member in _members(line):
            for name, argument in _parsed(member.strip(b" \t")):
                if name not in found:
                    found[name] = argument
                elif name in _NAMING_FIELDS:
                    found[name] = _joined(found[name], argument)
    return found


def seconds(said: Directives, name: bytes) -> int | None:
    """The delta-seconds of a directive (RFC 9111 section 1.2.2), None if it is absent, 0 if it is no number."""
    return delta_seconds(said[name]) if name in said else None


def delta_seconds(argument: bytes | None) -> int:
    """The seconds of a directive such as s-maxage, at most 2**31; 0 for what is no number, so that it is stale."""
    if argument is None or not argument.isdigit():
        return 0
    digits = argument.lstrip(b"0") or b"0"
    return min(int(digits), FOREVER) if len(digits) <= 10 else FOREVER


def named_fields(argument: bytes | None) -> frozenset[bytes]:
    """The field names, in lower case, that a `private` or `no-cache` is limited to; empty if it is about everything.

    An argument that is no list of names limits nothing (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
    """
    names = [name.strip(b" \t") for name in (argument or b"").split(b",")]
    if not all(_FIELD_NAME.fullmatch(name) for name in names if name):
        return frozenset()
    return frozenset([name.lower() for name in names if name])


def _members(line: bytes) -> Iterator[bytes]:
    """The line cut at its commas, except those inside quoted strings.

    From the first quote on that does not end where a quoted string must, quotes count for nothing: they hide no
    `no-store`, and the work stays proportional to the length of the line.
    """
    start = 0 if b'"' in line else len(line)
    if start:
        yield from line.split(b",")
    while start < len(line):
        match = _MEMBER.match(line, start)
        end = match.end() if match else start
        if end < len(line) and line[end:end + 1] != b",":
            yield from line[start:].split(b",")
            return
        yield line[start:end]
        start = end + 1


def _parsed(member: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    if match := _DIRECTIVE.fullmatch(member):
        name, bare, quoted = match.groups()
        yield name.lower(), bare if quoted is None else _ESCAPED.sub(rb"\1", quoted)
        return
    for word in _WORD.findall(member):
        if (name := word.lower()) not in _ALLOWING:
            yield name, b""


def _joined(one: bytes | None, other: bytes | None) -> bytes | None:
    return one + b", " + other if one and other and named_fields(one) and named_fields(other) else None
