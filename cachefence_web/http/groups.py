"""Cache groups (RFC 9875) are tags: what belongs to a group carries its tag, what changes the group invalidates it."""

from __future__ import annotations

import hashlib
import re

from http_sf import StructuredFieldError, parse

from cachefence_web.http.message import Headers, lines

MOST_GROUPS = 128
"""Groups that one response belongs to at most; a cache has to support 32 (RFC 9875 section 2)."""

_LONGEST_READABLE = 120
_DIGEST_BYTES = 20
_READABLE_ORIGIN = re.compile(r"[a-z0-9+.-]+://[a-z0-9.:\[\]_-]+")
_READABLE_GROUP = re.compile(r"[A-Za-z0-9._~/:@,;+=!$&()#%^-]*")


def groups(headers: Headers) -> tuple[str, ...]:
    """The groups that Cache-Groups puts the response in, each once; those beyond the 128th are left out.

    Parameters mean nothing, and a field that is no List of Strings is not there.
    """
    return _strings(headers, b"cache-groups")[:MOST_GROUPS]


def invalidated_groups(headers: Headers) -> tuple[str, ...]:
    """The groups that Cache-Group-Invalidation declares changed: all of them, however many.

    Only to be heeded on the response to an unsafe method (RFC 9875 section 3).
    """
    return _strings(headers, b"cache-group-invalidation")


def group_tag(origin: str, group: str) -> str:
    """The tag of a group, another one for each pair of origin and group, the same in all processes.

    origin: scheme and host in lower case, with the port if it is not the default; groups end at an origin's
        border (RFC 9875 section 2.1).
    """
    readable = f"group:{origin}|{group}"
    if len(readable) <= _LONGEST_READABLE and _READABLE_ORIGIN.fullmatch(origin) and _READABLE_GROUP.fullmatch(group):
        return readable
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in (origin, group):
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(encoded), encoded))
    return "group#" + digest.hexdigest()


def _strings(headers: Headers, field: bytes) -> tuple[str, ...]:
    values = lines(headers, field)
    if not values:
        return ()
    try:
        members = parse(b", ".join(values), tltype="list")
    except StructuredFieldError:
        return ()
    found: dict[str, None] = {}
    for member in members if isinstance(members, list) else ():
        bare = member[0] if isinstance(member, tuple) else member
        if type(bare) is not str:
            return ()
        found[bare] = None
    return tuple(found)
