"""`@cached`: equal calls share a key however they are written, unequal ones never do."""

from __future__ import annotations

import asyncio
import enum
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from cachefence_web import CacheFence, ConfigurationError, cached
from tests.faces.places import Place
from tests.servers import RedisServer

runs: list[Any] = []


def described(value: object, *rest: object, **named: object) -> list[object]:
    """What is memoized here."""
    runs.append(value)
    return [repr(value), [repr(one) for one in rest], {name: repr(one) for name, one in named.items()}]


def added(x: int, y: int = 2, *, scale: int = 1) -> int:
    """A function with a default and a keyword."""
    runs.append((x, y, scale))
    return (x + y) * scale


class Colour(enum.Enum):
    """An argument with a name of its own."""

    RED = 1
    GREEN = 2


class Shelf:
    """An object that says what tells it from others."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __cachefence_key__(self) -> int:
        return self.number

    def books(self, kind: str) -> str:
        """A method to memoize."""
        runs.append((self.number, kind))
        return f"{kind} {self.number}"


@pytest.fixture(params=["memory", "redis"])
def fence(request: pytest.FixtureRequest, redis_server: RedisServer, namespace: str) -> Iterator[CacheFence]:
    """A cache over either store."""
    url = redis_server.url if request.param == "redis" else "memory://"
    with CacheFence(url, namespace=namespace, timeout=5.0) as made:
        yield made


@pytest.fixture
def memo(fence: CacheFence) -> Iterator[Callable[..., Any]]:
    """`cached` over the cache."""
    runs.clear()
    yield functools.partial(cached, cache=fence, ttl=60)
    runs.clear()


def test_calls_that_mean_the_same_share_a_key(memo: Callable[..., Any]) -> None:
    add = memo()(added)
    assert {add(7), add(x=7), add(7, 2), add(7, y=2), add(y=2, x=7), add(7, scale=1)} == {9}
    assert len(runs) == 1
    assert add.key_of(7) == add.key_of(x=7, y=2, scale=1)


DIFFERENT: list[Any] = [
    1, True, 1.0, "1", b"1", Decimal(1), 0, False, 0.0, -0.0, "", None, "None", (), [], {}, set(), frozenset(),
    (1,), [1], {1}, frozenset({1}), {1: 1}, {"1": 1}, ((1,),), (1, 2), ("1, 2",), ["a", "b"], ["a,b"], ["a','b"],
    Colour.RED, Colour.GREEN, "Colour.RED", int, "int", UUID(int=1), str(UUID(int=1)), datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1), "2026-01-01 00:00:00", 2**70, "x" * 500, "x" * 501,  # noqa: DTZ001
]


def test_calls_that_mean_something_else_do_not(memo: Callable[..., Any]) -> None:
    describe = memo()(described)
    for value in DIFFERENT:
        assert describe(value) == described(value)
    assert len({describe.key_of(value) for value in DIFFERENT}) == len(DIFFERENT)


def test_the_order_of_sets_and_dicts_does_not_matter(memo: Callable[..., Any]) -> None:
    describe = memo()(described)
    assert describe.key_of({"a": 1, "b": 2}) == describe.key_of({"b": 2, "a": 1})
    assert describe.key_of({"x", "y", "z"}) == describe.key_of({"z", "y", "x"})


def test_positional_and_named_rest_are_told_apart(memo: Callable[..., Any]) -> None:
    describe = memo()(described)
    calls = [((1, 2), {}), ((1, (2,)), {}), ((1,), {"a": 2}), ((1,), {"b": 2}), ((1, {"a": 2}), {}), ((1,), {})]
    assert len({describe.key_of(*args, **kwargs) for args, kwargs in calls}) == len(calls)


def test_a_template_does_not_confuse_its_fields(memo: Callable[..., Any]) -> None:
    describe = memo(key="d:{value}:{rest}")(described)
    assert describe.key_of("a:b") != describe.key_of("a", "b")
    pair = memo(key="{x}:{y}")(added)
    assert pair.key_of("a:b", "c") != pair.key_of("a", "b:c")
    assert pair.key_of("a%3Ab", "c") != pair.key_of("a:b", "c")


def test_methods_are_told_apart_by_their_object(memo: Callable[..., Any]) -> None:
    Memoized = type("Memoized", (Shelf,), {"books": memo()(Shelf.books)})  # noqa: N806
    one, same, two = Memoized(1), Memoized(1), Memoized(2)
    assert (one.books("thin"), same.books("thin"), two.books("thin")) == ("thin 1", "thin 1", "thin 2")
    assert runs == [(1, "thin"), (2, "thin")]


def test_an_argument_without_a_text_of_its_own_is_refused_and_named(memo: Callable[..., Any]) -> None:
    describe = memo()(described)
    with pytest.raises(ConfigurationError, match="'value' is a object"):
        describe(object())
    assert runs == []


def test_functions_without_a_name_of_their_own_are_refused(memo: Callable[..., Any]) -> None:
    secret = 5

    def closure(x: int) -> int:
        return x + secret

    with pytest.raises(ConfigurationError, match="a lambda has no name"):
        memo()(lambda x: x)
    with pytest.raises(ConfigurationError, match="uses variables of the function around it"):
        memo()(closure)
    assert memo(key="closure:{x}")(closure)(1) == 6


def test_partials_and_generators_are_refused(memo: Callable[..., Any]) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def async_numbers() -> AsyncIterator[int]:
        yield 1

    for generator in (numbers, async_numbers):
        with pytest.raises(ConfigurationError, match="generator"):
            memo()(generator)
    with pytest.raises(ConfigurationError, match="key="):
        memo()(functools.partial(added, 1))


def test_templates_that_name_no_argument_are_refused_at_the_decoration(memo: Callable[..., Any]) -> None:
    for options in ({"key": "a:{z}"}, {"tags": ["a:{z}"]}, {"key": "{}"}, {"key": "{x[0]}"}, {"key": "{x!r}"},
                    {"key": "{x:>5}"}, {"key": "{"}, {"tags": "row:{x}"}, {"ttl": 0}, {"policy": "none"}):
        with pytest.raises(ConfigurationError):
            memo(**options)(added)
    with pytest.raises(ConfigurationError, match="cache is a CacheFence"):
        cached(cache="redis://", ttl=60)


def test_a_wrong_call_raises_what_the_function_would(memo: Callable[..., Any]) -> None:
    add = memo()(added)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        add()
    assert runs == []


def test_tags_are_templates_or_a_function_of_the_arguments(fence: CacheFence, memo: Callable[..., Any]) -> None:
    by_template = memo(key="t:{x}", tags=["row:{x}", "rows"])(added)
    by_function = memo(key="f:{x}", tags=lambda x, y, scale: [f"row:{x}", f"y:{y}"])(added)
    for _ in range(2):
        by_template(1)
        by_function(1)
    assert len(runs) == 2
    fence.invalidate_tags("row:1")
    by_template(1)
    by_function(1)
    fence.invalidate_tags("y:2")
    by_template(1)
    by_function(1)
    assert len(runs) == 5


def test_forget_drops_one_call(memo: Callable[..., Any]) -> None:
    add = memo()(added)
    add(1)
    add(2)
    assert add.forget(x=1) is True
    assert add.forget(1) is False
    add(1)
    add(2)
    assert runs == [(1, 2, 1), (2, 2, 1), (1, 2, 1)]


async def test_async_functions_are_cached_and_share_their_compute(place: Place) -> None:
    go, begun, count = asyncio.Event(), asyncio.Event(), []

    async def load(x: int) -> int:
        count.append(x)
        begun.set()
        await go.wait()
        return x

    memoized = cached(cache=place.face().fence, key="async:{x}")(load)
    callers = [asyncio.create_task(memoized(7)) for _ in range(10)]
    await begun.wait()
    go.set()
    assert await asyncio.gather(*callers) == [7] * 10
    assert count == [7]
    assert await memoized.forget(7) is True
    assert await memoized(x=7) == 7
    assert count == [7, 7]


def test_what_it_wraps_can_still_be_seen(memo: Callable[..., Any]) -> None:
    add = memo()(added)
    assert (add.__name__, add.__doc__, add.__wrapped__) == ("added", added.__doc__, added)


def test_two_functions_of_one_name_in_two_modules_do_not_share() -> None:
    fence = CacheFence()
    twin = type(added)(added.__code__, globals(), "added", added.__defaults__)
    twin.__kwdefaults__ = added.__kwdefaults__
    twin.__module__ = "elsewhere"
    first, second = cached(cache=fence)(added), cached(cache=fence)(twin)
    assert first.key_of(1) != second.key_of(1)
    fence.close()


def test_a_cache_that_is_named_by_a_function_may_be_replaced() -> None:
    caches = [CacheFence(), CacheFence()]
    add = cached(cache=lambda: caches[0], ttl=60, tags=["sum"])(added)
    runs.clear()
    assert add(1) == add(1) == 3
    former = caches.pop(0)
    assert add(1) == 3
    caches[0].invalidate_tags("sum")
    assert add(1) == 3
    assert len(runs) == 3
    assert add.forget(1) is True
    assert former.get(add.key_of(1)) == 3
    for one in (former, *caches):
        one.close()


async def test_a_function_that_names_a_cache_serves_async_functions_too() -> None:
    fence = CacheFence()

    async def load(x: int) -> int:
        return x

    assert await cached(cache=lambda: fence, key="named:{x}")(load)(7) == 7
    assert fence.get("named:7") == 7
    fence.close()


@pytest.mark.parametrize("cache", [None, "default", dict], ids=["none", "a name", "a function that returns another"])
def test_what_names_no_cache_is_refused(cache: Any) -> None:
    with pytest.raises(ConfigurationError, match="CacheFence"):
        cached(cache=cache)(added)(1)


def test_a_wrong_option_is_refused_where_the_function_is_decorated() -> None:
    with pytest.raises(ConfigurationError, match="stale_for"):
        cached(cache=CacheFence, stale=3)  # type: ignore[call-arg]
