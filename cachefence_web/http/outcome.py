"""The words for what became of a request: why the store was not used, and Cache-Status (RFC 9211)."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TypeAlias, assert_never

CACHE_NAME = b"cachefence"
_LONGEST_INTEGER = 999_999_999_999_999  # RFC 9651 section 3.3.1


class Forward(enum.StrEnum):
    """Why the application was asked (RFC 9211 section 2.2)."""

    BYPASS = "bypass"
    METHOD = "method"
    MISS = "miss"
    VARY_MISS = "vary-miss"
    REQUEST = "request"
    STALE = "stale"


class Reason(enum.StrEnum):
    """Why a request or its response is not for sharing; a token, so that it can travel as `detail`."""

    METHOD = "method"
    REQUEST_BODY = "request-body"
    REQUEST_NO_STORE = "request-no-store"
    ONLY_IF_CACHED = "only-if-cached"
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
    EXPIRES = "expires"
    NO_FRESHNESS = "no-freshness"
    VARY = "vary"
    PARTIAL = "partial"
    STREAM = "stream"
    LENGTH = "content-length"


@dataclass(frozen=True, slots=True)
class Hit:
    """Answered from the store.

    age: seconds since the response was made, as far as this cache has kept it.
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
    status: what the application answered, where the client is told something else: 304 to our validation.
    """

    why: Forward
    stored: bool = False
    detail: Reason | None = None
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answered by this cache itself, because the client wanted nothing but what is stored."""

    detail: Reason


Outcome: TypeAlias = Hit | Collapsed | Forwarded | Refusal


def cache_status(outcome: Outcome, key: str | None = None) -> bytes:
    """Our member of the Cache-Status field, to be added after whatever is there."""
    told = b"" if key is None else b'; key="%b"' % key.encode("ascii").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    match outcome:
        case Hit(ttl=ttl):
            return CACHE_NAME + b"; hit" + (b"" if ttl is None else b"; ttl=%d" % _integer(ttl)) + told
        case Collapsed():
            return CACHE_NAME + b"; fwd=miss; collapsed" + told
        case Forwarded(why, stored, detail, status):
            return b"%b; fwd=%b%b%b%b%b" % (
                CACHE_NAME,
                why.encode(),
                b"; fwd-status=%d" % status if status else b"",
                b"; stored" if stored else b"",
                b"; detail=" + detail.encode() if detail else b"",
                told,
            )
        case Refusal(detail):
            return CACHE_NAME + b"; detail=" + detail.encode() + told
        case _:
            assert_never(outcome)


def _integer(seconds: float) -> int:
    return math.floor(max(-_LONGEST_INTEGER, min(seconds, _LONGEST_INTEGER)))
