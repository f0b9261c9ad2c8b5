"""Keys are injective: two requests share one exactly if they agree in every part that the policy keys.

A plain key is readable and exact, `response:GET:https://shop.example/books?page=2|accept-language=5:en-gb`.
Its parts hold only bytes that cannot be taken for the end of them; each varied field follows as its name
alone (absent) or with one `=length:value` for each of its lines. Any other or longer request keeps a readable
beginning and ends in `|#` and a BLAKE2b digest of all parts, each with its length. Where requests with cookies
are kept apart they have `|cookie?` before the varied fields: no field's name holds a question mark.
"""

from __future__ import annotations

import hashlib
import re

from cachefence_web.http.message import Request, lines
from cachefence_web.http.policy import ResponsePolicy

LONGEST = 200
"""Characters, all of them ASCII; the core allows more, operators read less."""

_DIGEST_BYTES = 20
_READABLE = LONGEST - len("|#") - 2 * _DIGEST_BYTES

_PCHAR = rb"A-Za-z0-9._~!$&'()*+,;=:@%-"  # RFC 3986 section 3.3
_PLAIN_URL = re.compile(
    rb"[A-Z]+\0[a-z]+\0[a-z0-9.:\[\]_-]*\0(?:/[" + _PCHAR + rb"/]*)?\0[" + _PCHAR + rb"/?]*")
_APART = b"cookie?"
_PLAIN_VARIED = re.compile(rb"(?:\|cookie\?)?(?:\|[a-z0-9_-]+(?:=[0-9]+:[\x21-\x7e]*)*)*")
_UNREADABLE = re.compile(rb"[^" + _PCHAR + rb"/?\[\]]")


def response_key(request: Request, policy: ResponsePolicy) -> str:
    """The key of the response to this request: at most 200 printable ASCII characters."""
    method = b"GET" if request.method == "HEAD" else _encoded(request.method)
    scheme, host = _encoded(request.scheme).lower(), _encoded(request.host).lower()
    parts = [method, scheme, host, request.raw_path, request.query]
    url = b"response:%b:%b://%b%b" % (method, scheme, host, request.raw_path)
    if request.query:
        url += b"?" + request.query
    varied = [(name, lines(request.headers, name)) for name in policy.keyed]
    if policy.cookies == "apart" and b"cookie" not in policy.keyed and lines(request.headers, b"cookie"):
        varied.insert(0, (_APART, []))
    suffix = b"".join([b"|" + name + b"".join([b"=%d:%b" % (len(line), line) for line in values])
                       for name, values in varied])
    if len(url) + len(suffix) <= LONGEST and _PLAIN_URL.fullmatch(b"\0".join(parts)) \
            and _PLAIN_VARIED.fullmatch(suffix):
        return (url + suffix).decode("ascii")
    for name, values in varied:
        parts += [name, b"%d" % len(values), *values]
    return _hashed(url, parts)


def _encoded(text: str) -> bytes:
    # Lower case is taken of the bytes: of the text, the Kelvin sign would become a plain k.
    return text.encode("utf-8", "surrogatepass")


def _hashed(url: bytes, parts: list[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return _UNREADABLE.sub(b"_", url[:_READABLE]).decode("ascii") + "|#" + digest.hexdigest()
