"""Which of several stored responses for one URL a request selects: Vary and normalised fields (RFC 9111 section 4.1).

Two values count as the same only where their field's grammar says that they mean the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

from cachefence_web.http.message import Headers, Request, lines, members

Selecting: TypeAlias = tuple[tuple[bytes, bytes | None], ...]
"""Field names in lower case with their normalised values; None for a field that was absent, which is not empty."""

_LONGEST_REMEMBERED = 256  # bytes: a client's nonsense is not to fill the memory

_FIELD_NAME = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+")
_BALANCED = re.compile(rb'(?:[^"]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
# Never begins inside a run of white space, so that a long one costs no more than its length.
_AROUND_COMMA = re.compile(rb'("(?:[^"\\]|\\.)*+")|(?:(?<![ \t])[ \t]++)?,[ \t]*+', re.DOTALL)
_WEIGHT = rb"(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
_LANGUAGE = re.compile(rb"(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)" + _WEIGHT)
_CODING = re.compile(rb"([a-z0-9!#$%&'*+.^_`|~-]+)" + _WEIGHT)


def vary_names(headers: Headers) -> tuple[bytes, ...] | None:
    """The fields that Vary names over all its lines, in lower case, sorted, each once.

    None when no request can be known to match: for a `*`, and for a member that is no field name.
    """
    names = set(members(headers, b"vary"))
    if b"*" in names or not all(_FIELD_NAME.fullmatch(name) for name in names):
        return None
    return tuple(sorted(names))


def selecting(request: Request, names: tuple[bytes, ...]) -> Selecting:
    """What the request says in these fields (names in lower case), in their order."""
    return tuple([(name, _value(request.headers, name)) for name in names])


def matches(stored: Selecting, request: Request) -> bool:
    """Whether the request says the same as the one whose `selecting` fields are stored."""
    return all(_value(request.headers, name) == value for name, value in stored)


def _value(headers: Headers, name: bytes) -> bytes | None:
    values = lines(headers, name)
    if not values:
        return None
    # HTTP/2 and HTTP/3 may split Cookie, which is no list (RFC 9113 section 8.2.3).
    value = values[0] if len(values) == 1 else (b"; " if name == b"cookie" else b", ").join(values)
    return _remembered(name, value) if len(value) <= _LONGEST_REMEMBERED else _normalised(name, value)


def _normalised(name: bytes, value: bytes) -> bytes:
    value = value.strip(b" \t")
    if name == b"cookie" or not _BALANCED.fullmatch(value):
        return value
    value = _AROUND_COMMA.sub(lambda match: match[1] or b",", value).strip(b" \t")
    if name == b"accept-language":
        return _weighted(_LANGUAGE, value, by_name=False)
    if name == b"accept-encoding":
        return _weighted(_CODING, value, by_name=True)
    return value


_remembered = lru_cache(maxsize=1024)(_normalised)


def _weighted(member: re.Pattern[bytes], value: bytes, *, by_name: bool) -> bytes:
    """A list of names with weights (RFC 9110 section 12.4.2) in its one form; as it is, if it is no such list.

    by_name: sort by name, because only weights count; otherwise by weight, and equal ones keep their order,
        because servers prefer the first of them.
    """
    weighted: list[tuple[bytes, bytes]] = []
    for part in value.lower().split(b","):
        match = member.fullmatch(part)
        if match is not None:
            weighted.append((match[1], _weight(match[2])))
        elif part:
            return value
    weighted.sort(key=(lambda one: one[0]) if by_name else (lambda one: -float(one[1])))
    return b",".join([name if weight == b"1" else b"%b;q=%b" % (name, weight) for name, weight in weighted])


def _weight(said: bytes | None) -> bytes:
    """The weight without idle digits: b"1" if none is given."""
    if said is None or said.startswith(b"1"):
        return b"1"
    return said.rstrip(b"0").rstrip(b".") or b"0"
