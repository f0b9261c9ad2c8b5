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
from dataclasses import replace

from cachefence_web.http.message import Request, Stored, lines
from cachefence_web.http.policy import ResponsePolicy
from cachefence_web.http.variants import selecting

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
    varied += _claims(request, policy)
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


# By these a client or a proxy says what the request really was for, and applications build links of it.
_CLAIMING = frozenset({
    b"x-forwarded-host", b"x-forwarded-server", b"x-forwarded-proto", b"x-forwarded-protocol", b"x-forwarded-scheme",
    b"x-forwarded-ssl", b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-path", b"x-host", b"x-scheme",
    b"x-url-scheme", b"x-script-name", b"x-original-host", b"x-original-url", b"x-original-uri", b"x-rewrite-url",
    b"x-http-method", b"x-http-method-override", b"x-method-override", b"front-end-https", b"forwarded",
})
# What Forwarded says of the client and of proxies is another's for each; only where to counts (RFC 7239).
_ABOUT_THE_TARGET = re.compile(rb"(?:^|[;,])[ \t]*((?:host|proto)=[^;,]*)", re.IGNORECASE)


def _claims(request: Request, policy: ResponsePolicy) -> list[tuple[bytes, list[bytes]]]:
    """What the request claims to have been before a proxy: kept apart where it is said, so that nobody can poison."""
    said: dict[bytes, list[bytes]] = {}
    for field, value in request.headers:
        if (name := field.lower()) in _CLAIMING and name not in policy.keyed:
            told = b";".join(_ABOUT_THE_TARGET.findall(value)).lower() if name == b"forwarded" else value
            if told:
                said.setdefault(name, []).append(told)
    return sorted(said.items())


def variant_key(key: str, stored: Stored, request: Request) -> str:
    """The key of another variant of what is stored under `key`, for a request that its Vary tells apart.

    A variant may have variants in turn, so keys are nested; but for the length of what is readable they do not grow.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    digest.update(b"%d:%b" % (len(key), key.encode("ascii")))
    for name, value in selecting(request, tuple([name for name, _ in stored.selecting])):
        digest.update(b"%d:%b" % (len(name), name))
        digest.update(b"-" if value is None else b"%d:%b" % (len(value), value))
    return f"{key[:_READABLE]}|~{digest.hexdigest()}"


def normalized(request: Request, policy: ResponsePolicy) -> Request:
    """The request as it is told from others: without the query parameters that make no difference."""
    if not (policy.ignored or policy.sorted_query) or not request.query:
        return request
    parameters = [each for each in request.query.split(b"&") if not _ignored(each, policy.ignored)]
    if policy.sorted_query:
        # Stable, and by the undecoded name: the order of those of one name counts, and no two names become one.
        parameters.sort(key=lambda parameter: parameter.partition(b"=")[0])
    return replace(request, query=b"&".join(parameters))


def _ignored(parameter: bytes, patterns: tuple[str, ...]) -> bool:
    name = parameter.partition(b"=")[0].decode("latin-1")
    return any(name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern for pattern in patterns)


def _encoded(text: str) -> bytes:
    # Lower case is taken of the bytes: of the text, the Kelvin sign would become a plain k.
    return text.encode("utf-8", "surrogatepass")


def _hashed(url: bytes, parts: list[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(b"%d:%b" % (len(part), part))
    return _UNREADABLE.sub(b"_", url[:_READABLE]).decode("ascii") + "|#" + digest.hexdigest()
