"""Entity tags that are the same in every process, and when a 304 says enough (RFC 9110 section 13)."""

from __future__ import annotations

import hashlib
import re

from cachefence_web.http.dates import parse_date
from cachefence_web.http.message import Headers, Request, Response, lines

OURS = b'W/"cf-'
"""How the tags begin that are made here: the application does not know them."""

# Bytes above ASCII count too (obs-text), and what stands between tags is not looked at: nothing is mistaken for it.
_OPAQUE_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def entity_tag(response: Response) -> bytes:
    """A tag of the bytes and of what they are said to be (RFC 9110 section 8.8.3).

    Weak, because what stands outside of us may still compress what we answer, and leave the tag as it is.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (b"content-type", b"content-encoding"):
        for line in lines(response.headers, name):
            digest.update(b"%b=%d:%b" % (name, len(line), line))
    digest.update(b"|")
    digest.update(response.body)
    return OURS + digest.hexdigest().encode("ascii") + b'"'


def not_modified(request: Request, response: Response, *, since: float, now: float) -> bool:
    """Whether the client holds this response already.

    If-None-Match is compared weakly and, when it is there, If-Modified-Since is not looked at (RFC 9110
    section 13.2.2). Only a 200 to GET or HEAD has preconditions.

    since: when the response was made, which counts where it does not say when it was last modified (RFC 9111
        section 4.3.2); `now` tells the century of a date that has none. Unix seconds both.
    """
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return False
    if asked := lines(request.headers, b"if-none-match"):
        return _names(b",".join(asked), lines(response.headers, b"etag"))
    conditions = lines(request.headers, b"if-modified-since")
    held = parse_date(conditions[0], now=now) if len(conditions) == 1 else None
    return held is not None and _modified(response.headers, since, now) <= held


def _modified(headers: Headers, since: float, now: float) -> float:
    for name in (b"last-modified", b"date"):
        if said := lines(headers, name):
            date = parse_date(said[0], now=now)
            return since if date is None else date
    return since


def _names(condition: bytes, tags: list[bytes]) -> bool:
    if condition.strip() == b"*":
        return True
    return bool(tags) and tags[0].removeprefix(b"W/") in _OPAQUE_TAG.findall(condition)


def validators(response: Response) -> Headers:
    """The conditions by which the application can say that this response is still current (RFC 9111 section 4.3.1)."""
    tags = lines(response.headers, b"etag")
    dates = lines(response.headers, b"last-modified")
    conditions: Headers = ()
    if tags and not tags[0].startswith(OURS):
        conditions += ((b"if-none-match", tags[0]),)
    if dates:
        conditions += ((b"if-modified-since", dates[0]),)
    return conditions


# What a 304 does not change of the response that it confirms (RFC 9111 section 3.2).
_OF_THE_STORED = frozenset({
    b"content-encoding", b"content-length", b"content-md5", b"content-digest", b"repr-digest", b"content-range",
    b"etag", b"age",
})


def freshened(stored: Response, confirmed: Response) -> Response:
    """The stored response with the fields of the 304 that confirms it (RFC 9111 section 4.3.4).

    The application was asked about one response only, so its 304 can be about no other, whatever tag it bears.
    """
    new = tuple([(name.lower(), value) for name, value in confirmed.headers if name.lower() not in _OF_THE_STORED])
    changed = {name for name, _ in new}
    # The age of what was stored says nothing about what has just been confirmed.
    kept = tuple([line for line in stored.headers if line[0] not in changed and line[0] != b"age"])
    age = tuple([(name.lower(), value) for name, value in confirmed.headers if name.lower() == b"age"])
    return Response(stored.status, kept + new + age, stored.body)
