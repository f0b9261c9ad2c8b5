"""What a compute read decides what it depends on when it has ended."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import pytest

from cachefence_web import CacheFence, untracked
from cachefence_web.core.recording import MOST_EXACT
from cachefence_web.following import read
from cachefence_web.runtime.recording import fall_behind, keep_private, recorder
from cachefence_web.sql import Analyser, Exact, Schema, Table

ANALYSER = Analyser("sqlite", "qmark", Schema([Table("book", {"id": Exact.INTEGER})]))
BY_KEY = "SELECT title FROM book WHERE id = ?"


@pytest.fixture
def cache(namespace: str) -> CacheFence:
    return CacheFence(f"memory://{namespace}", namespace=namespace)


def select(text: str, *parameters: object, rows: int = 1) -> None:
    """What an adapter does."""
    found = read(ANALYSER.analyse(text), parameters, text)
    if found is not None:
        found.rows = rows


def tags_of(cache: CacheFence) -> set[str]:
    there = cache.peek("k")
    assert there is not None
    return set(there.tags)


@pytest.mark.parametrize(("text", "parameters", "rows", "tags"), [
    (BY_KEY, (42,), 1, {"book:42", "book:*", "db:*"}),
    (BY_KEY, (42,), 0, {"book", "db:*"}),
    ("SELECT title FROM book", (), 9, {"book", "db:*"}),
])
def test_a_row_that_was_found_is_depended_on_alone(
    cache: CacheFence, text: str, parameters: tuple[Any, ...], rows: int, tags: set[str]
) -> None:
    cache.get_or_set("k", lambda: select(text, *parameters, rows=rows), negative_ttl=60)
    assert tags_of(cache) == tags


def test_a_page_of_very_many_rows_depends_on_their_table(cache: CacheFence) -> None:
    cache.get_or_set("k", lambda: [select(BY_KEY, row) for row in range(MOST_EXACT + 1)])
    assert tags_of(cache) == {"book", "db:*"}
    cache.get_or_set("j", lambda: [select(BY_KEY, row) for row in range(MOST_EXACT // 2)])
    there = cache.peek("j")
    assert there is not None
    assert "book:7" in there.tags


def test_a_refused_read_is_not_stored_nor_what_is_made_of_it(cache: CacheFence) -> None:
    def locks() -> str:
        found = read(Analyser("postgresql", "pyformat").analyse("SELECT 1 FROM book FOR UPDATE"), (), "")
        assert found is None
        return "v"

    cache.get_or_set("outer", lambda: cache.get_or_set("k", locks))
    assert cache.get_many(["outer", "k"]) == {}


def test_a_private_read_reaches_its_reader_and_nobody_who_waits(cache: CacheFence) -> None:
    calls = []

    def compute() -> str:
        calls.append(1)
        keep_private("uncommitted")
        return "v"

    assert cache.get_or_set("k", compute) == "v"
    assert cache.get_or_set("k", compute) == "v"
    assert len(calls) == 2


def test_who_waits_for_a_private_compute_computes_for_himself(cache: CacheFence) -> None:
    aboard = cache._terms.engine.flights._table
    found: list[str] = []

    def wait_too() -> None:
        found.append(cache.get_or_set("k", lambda: "his own"))

    def compute() -> str:
        waiting.start()
        while all(flight.present < 2 for flight in list(aboard.values())):
            time.sleep(0.001)
        keep_private("uncommitted")
        return "mine"

    waiting = threading.Thread(target=wait_too)
    assert cache.get_or_set("k", compute) == "mine"
    waiting.join()
    assert found == ["his own"]


def test_a_failure_after_a_refused_read_keeps_nobody_from_trying_again(cache: CacheFence) -> None:
    calls = []

    def fails(*, spoilt: bool) -> None:
        calls.append(spoilt)
        if spoilt and (recording := recorder()) is not None:
            recording.spoil("refused")
        raise ZeroDivisionError

    for key, spoilt, expected in (("a", True, 2), ("b", False, 1)):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                cache.get_or_set(key, partial(fails, spoilt=spoilt))
        assert calls.count(spoilt) == expected


def test_what_is_behind_is_dated_earlier(cache: CacheFence) -> None:
    def late(lag: float) -> str:
        fall_behind(lag)
        return "v"

    for key, lag, stored in (("a", 0.0, True), ("b", 3600.0, False)):
        cache.get_or_set(key, lambda lag=lag: late(lag), tags=["book"])
        assert (cache.get(key) is not None) is stored


def test_an_untracked_block_reads_unseen(cache: CacheFence) -> None:
    def compute() -> str:
        assert recorder() is not None
        with untracked():
            assert recorder() is None
            select(BY_KEY, 1)
        return "v"

    cache.get_or_set("k", compute)
    assert tags_of(cache) == set()
    assert recorder() is None
    with untracked():
        assert recorder() is None
