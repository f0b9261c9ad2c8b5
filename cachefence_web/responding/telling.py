"""What a response depends on, said in a header field for who looks for it; and how views fare, for the log.

The field is no part of a response: it is added when one goes out, and taken off before one is stored. It shows the
names of tables and the text of statements, so that it is only there where a setting says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from cachefence_web.core.flight import Landing, Lead, PassBy, Served, Status
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import MOST_TAGS, shortened
from cachefence_web.http import Headers, Response
from cachefence_web.runtime.wasting import wasting

L = TypeVar("L", bound=Landing | Lead | None)

DEPENDS = b"x-cachefence-depends"
"""A list of structured fields (RFC 9651): `shop_book:42;from="SELECT ..."`, and last `*;left-out=7`."""

LONGEST = 4096
"""Bytes of the field's value."""

NOT_WHOLE = "its body is not at hand as a whole, or a cached view inside has answered"

_LONGEST_STATEMENT = 200
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*\Z")
_COLUMNS = re.compile(r"^SELECT .{60,}? FROM ")
_MOST_READ = 20_000
_LEFT_OUT = ", *;left-out=%d"


def written(depends: Mapping[str, tuple[str, ...]]) -> bytes:
    """The field's value: printable ASCII without a line's end, whatever tags and statements hold."""
    room = LONGEST - len(_LEFT_OUT) - 10
    members: list[str] = []
    for tag, sources in depends.items():
        member = _member(tag, sources)
        if len(member) + 2 > room:
            break
        room -= len(member) + 2
        members.append(member)
    left = len(depends) - len(members)
    value = ", ".join(members) + (_LEFT_OUT % left if left else "")
    return value.removeprefix(", ").encode("ascii")


def _member(tag: str, sources: tuple[str, ...]) -> str:
    name = tag if _TOKEN.match(tag) else _quoted(tag)
    statements = [brief(source, _LONGEST_STATEMENT) for source in sources if source]
    if not statements:
        return name
    more = f";statements={len(statements)}" if len(statements) > 1 else ""
    return f"{name};from={_quoted(statements[0])}{more}"


def brief(statement: str, longest: int) -> str:
    """A statement on one line, without a long list of columns, and cut where it still is long."""
    line = _COLUMNS.sub("SELECT ... FROM ", " ".join(statement[:_MOST_READ].split()))
    return line if len(line) <= longest else line[:longest - 3] + "..."


def _quoted(text: str) -> str:
    """A String of structured fields; what it cannot hold is percent-encoded, as RFC 9651 does in Display Strings."""
    safe = "".join([char if " " <= char <= "~" and char not in '"\\%' else _escaped(char) for char in text])
    return f'"{safe}"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return "".join([f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass")])


def untold(response: Response) -> Response:
    """Without the field."""
    if not any(name.lower() == DEPENDS for name, _ in response.headers):
        return response
    kept: Headers = tuple([line for line in response.headers if line[0].lower() != DEPENDS])
    return replace(response, headers=kept)


def trace(recorded: Recording | None) -> None:
    """From now on, keep what each tag came from."""
    if recorded is not None and recorded.sources is None:
        recorded.sources = {tag: {"": None} for tag in recorded.tags}


def told_of(recorded: Recording | None, why: str | None) -> dict[str, tuple[str, ...]]:
    """What was recorded, by tag, and noted there: why it is not stored."""
    if recorded is None:
        return {}
    tags = recorded.settled()
    if why is None and len(tags) > MOST_TAGS:
        why = f"it depends on {len(tags)} tags; the most is {MOST_TAGS}"
    recorded.why = recorded.why or why
    sources = {shortened(tag): tuple(found) for tag, found in (recorded.sources or {}).items()}
    return {tag: sources.get(tag, ()) for tag in tags}


def found(name: str, key: str, begun: Served | Lead | PassBy) -> Served | Lead | PassBy:
    """The same; how the view fares is noted."""
    if isinstance(begun, Served):
        wasting.hit(name, key)
    elif isinstance(begun, Lead) and begun.outdated:
        wasting.outdated(name, key, begun.outdated)
    return begun


def kept(key: str, landing: L) -> L:
    """The same; that it was stored is noted."""
    if isinstance(landing, Served) and landing.status is Status.STORED:
        wasting.stored(key)
    return landing
