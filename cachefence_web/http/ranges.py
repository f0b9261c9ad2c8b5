"""Parts of a complete stored 200 (RFC 9110 section 14): one range, several, or none that there is.

Whatever does not have to be understood is ignored, which gives the client the whole: always a correct answer.
Ranges count the bytes as they are stored, content codings applied.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from cachefence_web.http.dates import parse_date
from cachefence_web.http.message import Headers, Request, Response, lines

MOST_RANGES = 20
MOST_OVERLAPS = 2
MOST_SMALL = 10
SMALL = 64
"""Bytes under which a range is not worth the header of its part: more than MOST_SMALL such are an attack."""

_RANGES = re.compile(rb"bytes=(.*)", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(rb"([0-9]*)-([0-9]*)")
_BEYOND = 2**63
_STRONG_AFTER = 1.0  # second, RFC 9110 section 8.8.2.2

# What the content's own bytes and length decide; RFC 9530's Repr-Digest is about the whole, and stays.
_OF_THE_CONTENT = frozenset({b"content-length", b"content-range", b"content-digest", b"content-md5"})
# A 416 has no representation, and must not be kept as if it were one.
_OF_THE_WHOLE = _OF_THE_CONTENT | {
    b"content-type", b"content-encoding", b"content-language", b"content-location", b"content-disposition",
    b"repr-digest", b"etag", b"last-modified", b"expires", b"age", b"pragma", b"surrogate-control",
}


class _Span(NamedTuple):
    first: int
    last: int


def ranged(request: Request, response: Response, *, now: float) -> Response | None:
    """The 206 or 416 for a request with Range, None if Range is to be ignored and the whole is the answer.

    Ignored: on any method but GET, in any unit but bytes, where its syntax is broken, where If-Range does not
    match, where it asks for more work than it is worth (section 14.2), and where several parts of encoded
    content are asked for, since clients would decode the parts and their headers as one.

    response: complete; the answer to this request if it had no Range.
    now: Unix seconds, to read dates with.
    """
    asked = lines(request.headers, b"range")
    if len(asked) != 1 or request.method != "GET" or response.status != 200:
        return None
    size = len(response.body)
    spans = _parsed(asked[0], size)
    if spans is None or not _unchanged(request, response, now):
        return None
    if not spans:
        return _unsatisfiable(response, size)
    if _excessive(spans):
        return None
    spans = _coalesced(spans)
    if len(spans) == 1:
        return _single(response, spans[0])
    return None if lines(response.headers, b"content-encoding") else _several(response, spans)


def _parsed(value: bytes, size: int) -> list[_Span] | None:
    """The ranges that can be satisfied, as first and last position; None for what is no set of byte ranges."""
    match = _RANGES.fullmatch(value.strip(b" \t"))
    specs = [spec for spec in (part.strip(b" \t") for part in match[1].split(b",")) if spec] if match else []
    if not 0 < len(specs) <= MOST_RANGES:
        return None
    spans: list[_Span] = []
    for spec in specs:
        positions = _RANGE.fullmatch(spec)
        if positions is None or spec == b"-":
            return None
        first, last = positions.groups()
        if first and last and _position(last) < _position(first):
            return None
        span = _Span(_position(first), min(_position(last or b"%d" % _BEYOND), size - 1)) if first \
            else _Span(max(0, size - _position(last)), size - 1)
        if span.first < size:
            spans.append(span)
        elif not first and _position(last) > 0:  # a suffix of nothing is the whole of it
            return None
    return spans


def _position(digits: bytes) -> int:
    return int(digits) if len(digits) < 19 else _longer(digits)


def _longer(digits: bytes) -> int:
    digits = digits.lstrip(b"0") or b"0"
    return int(digits) if len(digits) < 19 else _BEYOND


def _unchanged(request: Request, response: Response, now: float) -> bool:
    """Whether If-Range is absent or names exactly what is stored, by a strong validator (section 13.1.5)."""
    conditions = lines(request.headers, b"if-range")
    if not conditions:
        return True
    condition = conditions[0].strip(b" \t")
    if len(conditions) > 1:
        return False
    if condition.startswith((b'"', b"W/")):
        tags = [tag.strip(b" \t") for tag in lines(response.headers, b"etag")]
        return tags == [condition] and condition.startswith(b'"')
    dates = [lines(response.headers, name) for name in (b"last-modified", b"date")]
    if any(len(values) != 1 for values in dates):
        return False
    since, modified, sent = (parse_date(value, now=now) for value in (condition, dates[0][0], dates[1][0]))
    if since is None or modified is None or sent is None:
        return False
    return since == modified and sent - modified >= _STRONG_AFTER


def _excessive(spans: list[_Span]) -> bool:
    small = sum(span.last - span.first < SMALL - 1 for span in spans)
    overlaps = 0
    reach = -1
    for span in sorted(spans):
        overlaps += span.first <= reach
        reach = max(reach, span.last)
    return overlaps > MOST_OVERLAPS or small > MOST_SMALL


def _coalesced(spans: list[_Span]) -> list[_Span]:
    """Those that overlap or touch made one, each at the place where the first of its ranges was asked for."""
    joined: list[tuple[int, _Span]] = []
    for span, place in sorted((span, place) for place, span in enumerate(spans)):
        if joined and span.first <= joined[-1][1].last + 1:
            earlier, reached = joined[-1]
            joined[-1] = (min(earlier, place), _Span(reached.first, max(reached.last, span.last)))
        else:
            joined.append((place, span))
    return [span for _, span in sorted(joined)]


def _unsatisfiable(response: Response, size: int) -> Response:
    headers = tuple([line for line in response.headers if not _about_the_whole(line[0].lower())])
    return Response(416, (*headers, (b"content-range", b"bytes */%d" % size), (b"content-length", b"0")), b"")


def _about_the_whole(name: bytes) -> bool:
    return name in _OF_THE_WHOLE or name.endswith(b"cache-control")


def _single(response: Response, span: _Span) -> Response:
    body = response.body[span.first:span.last + 1]
    return _partial(response, body, (b"content-range", _content_range(span, len(response.body))), _OF_THE_CONTENT)


def _several(response: Response, spans: list[_Span]) -> Response:
    types = b"".join([b"Content-Type: %b\r\n" % value for value in lines(response.headers, b"content-type")])
    boundary = _boundary(response.body, spans)
    parts = [
        b"--%b\r\n%bContent-Range: %b\r\n\r\n%b\r\n" % (
            boundary, types, _content_range(span, len(response.body)), response.body[span.first:span.last + 1])
        for span in spans
    ]
    body = b"".join(parts) + b"--%b--\r\n" % boundary
    media_type = (b"content-type", b"multipart/byteranges; boundary=" + boundary)
    return _partial(response, body, media_type, _OF_THE_CONTENT | {b"content-type"})


def _partial(response: Response, body: bytes, said: tuple[bytes, bytes], replaced: frozenset[bytes]) -> Response:
    kept: Headers = tuple([line for line in response.headers if line[0].lower() not in replaced])
    return Response(206, (*kept, said, (b"content-length", b"%d" % len(body))), body)


def _content_range(span: _Span, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (span.first, span.last, size)


def _boundary(body: bytes, spans: list[_Span]) -> bytes:
    """The same in every process, and in no body: that would have to hold its own digest."""
    digest = hashlib.blake2b(b"".join([b"%d-%d," % span for span in spans]), digest_size=16)
    digest.update(body)
    return digest.hexdigest().encode("ascii")
