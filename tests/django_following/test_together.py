"""P3 among threads: whoever asks after a commit has returned sees it or a later one, whatever happens beside it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.db.models import F

from cachefence_web.django import commits, fence
from tests.django_following.shop.models import Book

READS = 2_000
"""Of each reader, at least; the writers go on for as long as there is one."""

WRITTEN = 3
"""Commits of each row that are waited for: SQLite lets one write at a time, and is not fair about whom."""

ROWS = (1, 2)


class Bank:
    """What is known to be committed."""

    def __init__(self) -> None:
        self.committed = dict.fromkeys(ROWS, 0)
        self.wrong: list[tuple[str, int, int]] = []
        self.over = threading.Event()

    def write(self, row: int, chance: random.Random) -> None:
        """One writer for each row, so that what it has committed is the row's last value."""
        while not self.over.is_set():
            try:
                with transaction.atomic():
                    Book.objects.filter(pk=row).update(price=F("price") + 1)
                    value = Book.objects.get(pk=row).price
                    if chance.random() < 0.3:
                        transaction.set_rollback(True)
                        value = self.committed[row]
            except OperationalError:
                continue  # SQLite lets one write at a time
            self.committed[row] = value
            self.over.wait(0.001)  # so that the other has a turn

    def read(self, chance: random.Random) -> None:
        reads = 0
        while reads < READS or min(self.committed.values()) < WRITTEN:
            reads += 1
            row = chance.choice(ROWS)
            kind, look = chance.choice(LOOKS)
            least = self.committed[row]
            seen = look(row)
            if seen < least:
                self.wrong.append((kind, seen, least))


LOOKS: list[tuple[str, Callable[[int], int]]] = [
    ("row", lambda row: fence().get_or_set(f"row:{row}", lambda: Book.objects.get(pk=row).price)),
    ("list", lambda row: fence().get_or_set("list", lambda: dict(Book.objects.values_list("pk", "price")))[row]),
    ("nested", lambda row: fence().get_or_set(
        f"outer:{row}", lambda: fence().get_or_set(f"row:{row}", lambda: Book.objects.get(pk=row).price))),
]


def _in_threads(*works: Callable[[], None]) -> list[threading.Thread]:
    def and_close(work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=and_close, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    return threads


def _played() -> Bank:
    """Two writers and four readers, until the readers have done."""
    Book.objects.update(price=0)
    bank, seed = Bank(), random.Random(5)
    writers = _in_threads(*[partial(bank.write, row, random.Random(seed.random())) for row in ROWS])
    readers = _in_threads(*[partial(bank.read, random.Random(seed.random())) for _ in range(4)])
    for thread in readers:
        thread.join()
    bank.over.set()
    for thread in writers:
        thread.join()
    return bank


def test_p3_no_reader_sees_less_than_was_committed_before_it_asked(database: Any) -> None:
    assert _played().wrong == []


def test_p3_no_reader_of_redis_sees_less_than_was_committed_before_it_asked(on_redis: str) -> None:
    assert _played().wrong == []


def test_without_the_fences_some_reader_does(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "audience", tuple)
    assert _played().wrong != []
