"""Entity tags that are the same in every process, and when a 304 says enough (RFC 9110 section 13)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from cachefence_web.http.message import Request, Response, lines

_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})
_OPAQUE_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_IMF_FIXDATE = re.compile(
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT")
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def entity_tag(response: Response) -> bytes:
    """A strong tag of the bytes and of what they are said to be (RFC 9110 section 8.8.1)."""
    digest = hashlib.blake2b(digest_size=16)
    for name in (b"content-type", b"content-encoding"):
        for line in lines(response.headers, name):
            digest.update(b"%b=%d:%b" % (name, len(line), line))
    digest.update(b"|")
    digest.update(response.body)
    return b'"' + digest.hexdigest().encode("ascii") + b'"'


def not_modified(request: Request, response: Response) -> bool:
    """Whether the client holds this response already.

    If-None-Match is compared weakly and, when it is there, If-Modified-Since is not looked at (RFC 9110
    section 13.2.2). Only a 200 to GET or HEAD has preconditions.
    """
    conditions = tuple([line for line in request.headers if line[0].lower() in _CONDITIONS])
    if not conditions or response.status != 200 or request.method not in ("GET", "HEAD"):
        return False
    if asked := lines(conditions, b"if-none-match"):
        return _names(b",".join(asked), lines(response.headers, b"etag"))
    since = _date(lines(conditions, b"if-modified-since"))
    modified = _date(lines(response.headers, b"last-modified"))
    return since is not None and modified is not None and modified <= since


def _names(condition: bytes, tags: list[bytes]) -> bool:
    if condition.strip() == b"*":
        return True
    return bool(tags) and tags[0].removeprefix(b"W/") in _OPAQUE_TAG.findall(condition)


def _date(values: list[bytes]) -> datetime | None:
    """The one date in the form that everybody sends; anything else is no date, and no reason for a 304."""
    match = _IMF_FIXDATE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    try:
        return datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
