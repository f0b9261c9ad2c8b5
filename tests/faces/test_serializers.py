"""What comes back is what went in, of the same types, or an error that says what to do."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given

from cachefence_web.errors import ConfigurationError, SerializationError
from cachefence_web.serializers import (
    Compressed,
    Json,
    MessagePack,
    Pickle,
    Recipe,
    Serializer,
    serializer_from,
)
from tests.faces.values import (
    PARIS,
    REGISTERED,
    SECRET,
    Author,
    Book,
    Colour,
    Level,
    Money,
    Point,
    Right,
    Shouted,
    exactly,
    json_values,
    thoroughly,
    values,
)


@pytest.mark.parametrize(
    "serializer",
    [
        MessagePack(),
        Pickle(secret=SECRET),
        Compressed(MessagePack(), over=10),
        Compressed(MessagePack(), over=10, algorithm="zstd"),
    ],
    ids=lambda serializer: serializer.name,
)
def test_a_value_comes_back_equal_and_of_the_same_type_at_every_depth(serializer: Serializer) -> None:
    @thoroughly
    @given(values)
    def check(value: object) -> None:
        assert exactly(serializer.loads(serializer.dumps(value))) == exactly(value)

    check()


@thoroughly
@given(json_values)
def test_what_json_takes_comes_back_equal_and_of_the_same_type(value: object) -> None:
    assert exactly(Json().loads(Json().dumps(value))) == exactly(value)


@pytest.mark.parametrize(
    "value",
    [
        {1: (1, 2)},
        [True, 1, 1.0, -0.0, math.inf, math.nan],
        {(1, frozenset({2})): {3: [4]}},
        {2**64: -(2**63) - 1, -(2**63): 2**64 - 1, True: None},
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS),
        UUID(int=7),
    ],
    ids=repr,
)
def test_the_values_that_others_bend_come_back_straight(value: object) -> None:
    assert exactly(MessagePack().loads(MessagePack().dumps(value))) == exactly(value)


@pytest.mark.parametrize(
    "value",
    [
        Money(Decimal("1.50")),
        Point(1, 2),
        Author(name="Ursula", born=date(1929, 10, 21)),
        Colour.RED,
        Level.HIGH,
        Right.READ | Right.WRITE,
        {Point(1, 2): [Colour.RED, (Level.HIGH, {Money(Decimal(1))})]},
    ],
    ids=repr,
)
def test_registered_types_come_back_as_themselves(value: object) -> None:
    both_ways = MessagePack(types=REGISTERED)
    back = both_ways.loads(both_ways.dumps(value))
    assert back == value
    assert repr(back) == repr(value)
    assert type(back) is type(value)


def test_a_dataclass_comes_back_with_its_state_and_without_being_initialised_again() -> None:
    book = Book("Dune", Money(Decimal(9)), ("sf",))
    assert book.shout == "DUNE"
    both_ways = MessagePack(types=REGISTERED)
    back = both_ways.loads(both_ways.dumps([book]))
    assert back == [book]
    assert isinstance(back, list)
    assert vars(back[0]) == vars(book)
    assert back[0].seen == 1


def test_a_pydantic_model_comes_back_with_what_was_set_and_what_is_private() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Stats(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        books: int
        note: str = ""
        _secret: int = pydantic.PrivateAttr(default=1)

    stats = Stats(books=3)
    stats._secret = 2
    both_ways = MessagePack(types=[Stats])
    back = both_ways.loads(both_ways.dumps((stats,)))
    assert back == (stats,)
    assert isinstance(back, tuple)
    assert back[0].model_fields_set == {"books"}


def test_any_type_can_be_registered_with_a_recipe() -> None:
    ordered = collections.OrderedDict
    both_ways = MessagePack(types=[Recipe(ordered, lambda each: list(each.items()), ordered)])
    value = [ordered({"b": (1,), "a": 2})]
    back = both_ways.loads(both_ways.dumps(value))
    assert back == value
    assert isinstance(back, list)
    assert type(back[0]) is ordered


@pytest.mark.parametrize(
    "culprit",
    [
        collections.OrderedDict(a=1),
        collections.defaultdict(list),
        Shouted("a"),
        Level.HIGH,
        Point(1, 2),
        Money(Decimal(1)),
        Author(name="x"),
        object(),
        memoryview(b"x"),
        1j,
        "\ud800",
        datetime(2026, 1, 1, tzinfo=type("Own", (tzinfo,), {"utcoffset": lambda *_: timedelta(0)})()),
    ],
    ids=lambda culprit: type(culprit).__name__,
)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda culprit: culprit,
        lambda culprit: {"a": [1, culprit]},
        lambda culprit: [({"k": culprit},)],
        lambda culprit: {1: {"deep": [culprit]}},
    ],
    ids=["alone", "in a list", "in a tuple", "deep"],
)
def test_what_would_change_on_the_way_is_refused_at_any_depth(
    culprit: object, wrap: Callable[[object], object]
) -> None:
    with pytest.raises(SerializationError, match=r"use |store "):
        MessagePack().dumps(wrap(culprit))


def test_subclasses_are_refused_as_keys_too_and_named_with_a_remedy() -> None:
    with pytest.raises(SerializationError, match=r"Shouted .*types=\[Shouted\].*plain str.*Pickle\(secret"):
        MessagePack().dumps({Shouted("a"): 1})


@pytest.mark.parametrize(
    "value",
    [(1,), {1: 2}, {"a": (1,)}, [math.nan], [-math.inf], b"x", {1}, [Shouted("a")], Level.HIGH, "\ud800", date.min],
    ids=repr,
)
def test_json_refuses_what_would_not_come_back_the_same(value: object) -> None:
    with pytest.raises(SerializationError, match="JSON"):
        Json().dumps(value)


@pytest.mark.parametrize("serializer", [MessagePack(), Json()], ids=lambda serializer: serializer.name)
def test_a_value_that_contains_itself_is_a_clear_error(serializer: Serializer) -> None:
    ring: list[object] = []
    ring += [ring, {"again": ring}]
    with pytest.raises(SerializationError, match="contains itself"):
        serializer.dumps(ring)
    wide: list[object] = []
    wide += [wide] * 1000 + [{}]
    with pytest.raises(SerializationError, match="contains itself"):
        serializer.dumps({"wide": wide})


def test_a_ring_through_types_that_need_taking_apart_is_a_clear_error() -> None:
    ring: list[object] = []
    ring.append((ring,))
    with pytest.raises(SerializationError, match="contains itself"):
        MessagePack().dumps(ring)


def test_a_stored_value_whose_class_has_changed_since_is_refused() -> None:
    stored = MessagePack(types={"point": Point}).dumps(Point(1, 2))
    moved = collections.namedtuple("moved", "x y")  # noqa: PYI024 (as its users make them)
    grown = collections.namedtuple("grown", "x y z")  # noqa: PYI024
    assert MessagePack(types={"point": moved}).loads(stored) == (1, 2)
    for now in (MessagePack(types={"point": grown}), MessagePack(types={"other": moved}), MessagePack()):
        with pytest.raises(SerializationError, match="not in types="):
            now.loads(stored)


def test_a_serializer_is_chosen_by_name_or_given_as_an_instance() -> None:
    own = Compressed(Json())
    assert serializer_from(own) is own
    assert isinstance(serializer_from("msgpack"), MessagePack)
    assert isinstance(serializer_from("json"), Json)
    former = Pickle(secret="old " * 8).dumps(1)
    assert serializer_from("pickle", secret=SECRET, fallbacks=["old " * 8]).loads(former) == 1


WRONG: dict[str, Callable[[], object]] = {
    "an unknown name": lambda: serializer_from("yaml"),
    "a class": lambda: serializer_from(MessagePack),  # type: ignore[arg-type]
    "nothing": lambda: serializer_from(None),  # type: ignore[arg-type]
    "pickle without a secret": lambda: serializer_from("pickle"),
    "fallbacks as one string": lambda: Pickle(secret=SECRET, fallbacks="a single former secret"),
    "an unknown algorithm": lambda: Compressed(MessagePack(), algorithm="lzma"),  # type: ignore[arg-type]
    "a negative size": lambda: Compressed(MessagePack(), over=-1),
    "compressed twice": lambda: Compressed(Compressed(MessagePack())),
    "compressing a class": lambda: Compressed(Json),  # type: ignore[arg-type]
    "one type for a list": lambda: MessagePack(types=Book),  # type: ignore[arg-type]
    "a builtin": lambda: MessagePack(types=[int]),
    "a type twice": lambda: MessagePack(types=[Book, Book]),
    "a type without a recipe": lambda: MessagePack(types=[collections.OrderedDict]),
    "a name for a type": lambda: MessagePack(types=["Book"]),  # type: ignore[list-item]
    "two types of one name": lambda: MessagePack(
        types=[Recipe(Point, list, Point._make, "a"), Recipe(Money, str, Money, "a")]
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_setting_that_cannot_work_is_refused_at_once(wrong: str) -> None:
    with pytest.raises(ConfigurationError):
        WRONG[wrong]()


def test_p10_one_instance_serves_all_threads() -> None:
    both_ways = MessagePack(types=REGISTERED)

    def turn(number: int) -> bool:
        value = [(number, Point(number, number)), {number: {Decimal(number)}}] * 20
        return all(exactly(both_ways.loads(both_ways.dumps(value))) == exactly(value) for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(turn, range(64)))
