"""Values of every kind that a cache may be asked to keep, and what it means for two to be exactly the same."""

from __future__ import annotations

import dataclasses
import enum
import functools
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import settings
from hypothesis import strategies as st

SECRET = "correct horse battery staple"
PARIS = ZoneInfo("Europe/Paris")

thoroughly = settings(deadline=None, max_examples=300)


def exactly(value: Any) -> object:
    """A form in which two values are equal only if they are so in type, in sign and in zone, at every depth."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, [exactly(each) for each in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(exactly(each)) for each in value)
    if kind is dict:
        return kind, [(exactly(key), exactly(each)) for key, each in value.items()]
    if kind in (datetime, time):
        return kind, value.isoformat(), value.fold, repr(value.tzinfo)
    return kind, repr(value)


zones: st.SearchStrategy[tzinfo | None] = st.one_of(
    st.none(),
    st.sampled_from([UTC, PARIS, ZoneInfo("America/St_Johns"), timezone(timedelta(hours=-3), "home")]),
    st.builds(timezone, st.timedeltas(timedelta(hours=-24, microseconds=1), timedelta(hours=24, microseconds=-1))),
)
hashable_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
)
hashables = st.recursive(
    hashable_scalars,
    lambda parts: st.lists(parts, max_size=3).map(tuple) | st.frozensets(parts, max_size=3),
    max_leaves=4,
)
values = st.recursive(
    hashable_scalars | st.binary().map(bytearray) | st.just(Decimal("sNaN7")),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.sets(hashables, max_size=4),
        st.dictionaries(st.text(max_size=8), parts, max_size=4),
        st.dictionaries(hashables, parts, max_size=4),
    ),
    max_leaves=12,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=12,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclasses.dataclass
class Book:
    title: str
    price: Money
    tags: tuple[str, ...] = ()
    seen: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        self.seen += 1

    @functools.cached_property
    def shout(self) -> str:
        return self.title.upper()


class Point(NamedTuple):
    x: int
    y: int


class Author(msgspec.Struct, kw_only=True):
    name: str
    born: date | None = None


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    HIGH = 3


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Shouted(str):
    __slots__ = ()


REGISTERED = [Money, Book, Point, Author, Colour, Level, Right]
