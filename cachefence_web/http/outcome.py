"""The words for what became of a request: why the store was not used, and Cache-Status (RFC 9211)."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TypeAlias, assert_never

CACHE_NAME = b"cachefence"
_LONGEST_INTEGER = 999_999_999_999_999  # RFC 8941 section 3.3.1


class Forward(enum.StrEnum):
    """Why the application was asked (RFC 9211 section 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    MISS = "miss"
    STALE = "stale"


class Reason(enum.StrEnum):
    """Why a request or its response is not for sharing; a token, so that it can travel as `detail`."""

    METHOD = "method"
    REQUEST_BODY = "request-body"
    REQUEST_NO_STORE = "request-no-store"
    AUTHORIZATION = "authorization"
    COOKIE = "cookie"
    RANGE = "range"
    PRECONDITION = "precondition"
    UPGRADE = "upgrade"
    HEAD = "head"
    STATUS = "status"
    NOT_MODIFIED = "not-modified"
    PERSONAL = "personal"
    ADDRESSED = "set-cookie"
    NO_STORE = "no-store"
    NO_CACHE = "no-cache"
    PRIVATE = "private"
    S_MAXAGE = "s-maxage"
    MAX_AGE = "max-age"
    VARY = "vary"
    PARTIAL = "partial"
    STREAM = "stream"
    LENGTH = "content-length"


@dataclass(frozen=True, slots=True)
class Hit:
    """Answered from the store.

    age: seconds since the response was made.
    ttl: seconds that it stays fresh; negative when it was served stale, None when it has no end.
    """

    age: float
    ttl: float | None


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Answered with the response to another request for the same key, which was on its way.

    age: seconds since the response was made.
    """

    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Answered by the application.

    stored: whether the response is now in the store.
    detail: why the store was not used, or the response not stored.
    """

    why: Forward
    stored: bool = False
    detail: Reason | None = None


Outcome: TypeAlias = Hit | Collapsed | Forwarded


def cache_status(outcome: Outcome) -> bytes:
    """Our member of the Cache-Status field, to be added after whatever is there."""
    match outcome:
        case Hit(ttl=ttl):
            return CACHE_NAME + b"; hit" + (b"" if ttl is None else b"; ttl=%d" % _integer(ttl))
        case Collapsed():
            return CACHE_NAME + b"; fwd=miss; collapsed"
        case Forwarded(why, stored, detail):
            return b"%b; fwd=%b%b%b" % (
                CACHE_NAME,
                why.encode(),
                b"; stored" if stored else b"",
                b"; detail=" + detail.encode() if detail else b"",
            )
        case _:
            assert_never(outcome)


def _integer(seconds: float) -> int:
    return math.floor(max(-_LONGEST_INTEGER, min(seconds, _LONGEST_INTEGER)))
