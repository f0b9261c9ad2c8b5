"""Members of sets across a change of SECRET_KEY: a set tells them apart by their bytes, and these are signed.

While the former secret is among SECRET_KEY_FALLBACKS, whoever names a member has it written anew first, so that it is
one member still, under either secret; a set that is compared with others is written anew as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from cachefence_web.django.raw import log
from cachefence_web.errors import SerializationError
from cachefence_web.serializers import Serializer

_AT_ONCE = 500


def resign(at: Any, place: str, members: Iterable[Any], present: Serializer, former: Sequence[Serializer]) -> None:
    """Write these members of a set or sorted set anew, those of them that were written under a former secret."""
    _replace(at, place, [(each.dumps(member), present.dumps(member)) for member in members for each in former])


def resign_all(at: Any, place: str, present: Serializer) -> None:
    """The same for all members of a set; what cannot be read stays as it is."""
    if at.type(place) == b"set":
        found = ((packed, present.dumps(member)) for packed, member in _readable(at.smembers(place), present))
        _replace(at, place, [pair for pair in found if pair[0] != pair[1]])


def readable(packed: Iterable[Any], present: Serializer) -> list[Any]:
    """The members; one that cannot be read is no value of this cache's, and is left out, as a value would be a miss."""
    return [member for _, member in _readable(packed, present)]


def _readable(packed: Iterable[Any], present: Serializer) -> Iterator[tuple[bytes, Any]]:
    for each in packed:
        try:
            yield each, present.loads(each)
        except SerializationError as refused:
            log.warning("a member of a set cannot be read, and is left out: %s", refused)


def _replace(at: Any, place: str, pairs: list[tuple[bytes, bytes]]) -> None:
    for first in range(0, len(pairs), _AT_ONCE):
        at.eval(_script(), 1, place, *chain.from_iterable(pairs[first:first + _AT_ONCE]))


@cache
def _script() -> str:
    return Path(__file__).with_name("resign.lua").read_text(encoding="utf-8")
