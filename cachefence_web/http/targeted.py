"""Cache directives that are meant for us alone, by the rules of Structured Fields (RFC 9213).

Such a field counts as a whole or not at all: one that does not parse, or that gives a directive we know a value
of another type, is as good as absent, and the next one, or Cache-Control, speaks in its place.
"""

from __future__ import annotations

from http_sf import StructuredFieldError, parse

from cachefence_web.http.message import Headers, lines

_WITH_SECONDS = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_WITH_NOTHING = frozenset({
    "no-store", "must-revalidate", "proxy-revalidate", "must-understand", "no-transform", "public", "immutable",
})
_WITH_FIELDS = frozenset({"no-cache", "private"})


def targeted(headers: Headers, names: tuple[bytes, ...]) -> dict[bytes, bytes | None] | None:
    """The directives of the first targeted field that says something valid, None if there is none.

    They have the shape of `directives`: seconds as digits, None for what is merely there. `private` and
    `no-cache` that name fields are as strict as those that do not. A field with unknown directives only is an
    empty dictionary, which still silences Cache-Control and Expires (RFC 9213 section 2.2).

    names: the target list, in lower case, the most specific first.
    """
    for name in names:
        if values := lines(headers, name):
            said = _directives(b", ".join(values))
            if said is not None:
                return said
    return None


def _directives(value: bytes) -> dict[bytes, bytes | None] | None:
    try:
        members = parse(value, tltype="dictionary")
    except StructuredFieldError:
        return None
    if not isinstance(members, dict) or not members:
        return None
    said: dict[bytes, bytes | None] = {}
    for name, member in members.items():
        bare = member[0] if isinstance(member, tuple) else member
        if name in _WITH_SECONDS:
            if type(bare) is not int:
                return None
            said[name.encode("ascii")] = b"%d" % bare
        elif name in _WITH_NOTHING or name in _WITH_FIELDS:
            if bare is not True and not (name in _WITH_FIELDS and type(bare) is str):
                return None
            said[name.encode("ascii")] = None
    return said
