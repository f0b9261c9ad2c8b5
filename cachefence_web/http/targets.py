"""What a write over HTTP makes untrue: its target, and what its answer points at or names (RFC 9111 section 4.4).

Tags may be coarser than keys, never finer: URIs that RFC 9110 section 4.2.3 calls equivalent have one tag.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from cachefence_web.http.groups import group_tag, invalidated_groups
from cachefence_web.http.message import Request, Response, lines

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_DEFAULT_PORTS = {b"http": b"80", b"https": b"443"}
_POINTING = (b"location", b"content-location")

_LONGEST_REMEMBERED = 512  # bytes: a client's nonsense is not to fill the memory

_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT = "!$%&'()*+,/:;=?@[]~"


class _Target(NamedTuple):
    scheme: bytes
    host: bytes
    path: bytes
    query: bytes

    @property
    def tag(self) -> str:
        digest = hashlib.blake2b(digest_size=20)
        query = b"&".join(sorted(_encoded(self.query).split(b"&")))  # some keys do not tell its orders apart
        for part in (self.scheme, self.host, _without_dots(_encoded(self.path)) or b"/", query):
            digest.update(b"%d:%b" % (len(part), part))
        return "url:" + digest.hexdigest()


def url_tag(request: Request) -> str:
    """The tag of the target URI, carried by every response to it: 44 characters, the same in all processes."""
    if len(request.raw_path) + len(request.query) > _LONGEST_REMEMBERED:
        return _target(request).tag
    return _remembered_tag(request.scheme, request.host, request.raw_path, request.query)


@lru_cache(maxsize=4096)
def _remembered_tag(scheme: str, host: str, raw_path: bytes, query: bytes) -> str:
    return _target_of(scheme, host, raw_path, query).tag


def origin_of(request: Request) -> str:
    """Scheme and host in lower case, and the port if it is not the default: the origin that `group_tag` wants."""
    target = _target(request)
    return (target.scheme + b"://" + target.host).decode("utf-8", "surrogatepass")


def invalidated(request: Request, response: Response) -> tuple[str, ...]:
    """The tags that the answer to this request makes invalid, none twice.

    Those of the target URI, of Location and Content-Location if they lie in the same origin, and of the groups in
    Cache-Group-Invalidation; none for a safe method or an error. A method nobody knows is not safe.
    """
    if request.method in _SAFE_METHODS or not 200 <= response.status < 400:
        return ()
    target = _target(request)
    tags = [target.tag]
    for name in _POINTING:
        for reference in lines(response.headers, name):
            pointed = _resolved(target, reference.strip(b" \t"))
            if pointed is not None and pointed[:2] == target[:2]:
                tags.append(pointed.tag)
    if named := invalidated_groups(response.headers):
        own = origin_of(request)
        tags += [group_tag(own, group) for group in named]
    return tuple(dict.fromkeys(tags))


def _target(request: Request) -> _Target:
    return _target_of(request.scheme, request.host, request.raw_path, request.query)


def _target_of(scheme: str, host: str, raw_path: bytes, query: bytes) -> _Target:
    # Lower case is taken of the bytes: of the text, the Kelvin sign would become a plain k.
    encoded = scheme.encode("utf-8", "surrogatepass").lower()
    return _Target(encoded, _host(encoded, host.encode("utf-8", "surrogatepass")), raw_path, query)


def _host(scheme: bytes, authority: bytes) -> bytes:
    host = authority.rpartition(b"@")[2].lower()
    bare, colon, port = host.rpartition(b":")
    return bare if colon and port in (b"", _DEFAULT_PORTS.get(scheme)) else host


def _resolved(base: _Target, reference: bytes) -> _Target | None:
    """The target of a reference (RFC 3986 section 5.2.2), None for one that has no authority, such as `mailto:`."""
    rest, asked, query = reference.partition(b"#")[0].partition(b"?")
    scheme = base.scheme
    if absolute := _SCHEME.match(rest):
        scheme, rest = absolute[1].lower(), rest[absolute.end():]
        if not rest.startswith(b"//"):
            return None
    if rest.startswith(b"//"):
        authority, slash, path = rest[2:].partition(b"/")
        return _Target(scheme, _host(scheme, authority), slash + path, query)
    if not rest:
        return base._replace(query=query if asked else base.query)
    if not rest.startswith(b"/"):
        rest = base.path.rpartition(b"/")[0] + b"/" + rest
    return base._replace(path=rest, query=query)


def _encoded(part: bytes) -> bytes:
    """Encoded as a browser would send it: what no URI may hold, and nothing that need not be."""
    if b"%" in part:
        part = _ENCODED.sub(_decoded_if_unreserved, part)
    return quote_from_bytes(part, safe=_KEPT).encode("ascii")


def _decoded_if_unreserved(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    return bytes((code,)) if code in _UNRESERVED else b"%%%02X" % code


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4."""
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return segments[0] + b"/" + b"/".join(kept)
