"""Writers of Django's: every way to write a row and to commit it, or not; each attempt has a token of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import F

from cachefence_web.django import fence
from cachefence_web.errors import ComputeFailed
from tests.histories.company import Life
from tests.histories.history import TOKENS, Outcome, Pen, Told
from tests.histories.models import Note, Register, Shelf
from tests.histories.pages import detail
from tests.histories.place import ROWS, SHELVES, Place

UPDATE = "UPDATE histories_register SET version = version + 1, token = %s WHERE id = %s"


class Hook(Exception):
    """What a user's own hook raises: the commit is made all the same."""


def _locked(*rows: int) -> list[Register]:
    return list(Register.objects.select_for_update().filter(pk__in=rows).order_by("pk"))


def _bump(row: int, token: int) -> None:
    Register.objects.filter(pk=row).update(version=F("version") + 1, token=token)


def saved(row: int, token: int) -> None:
    with transaction.atomic():
        for found in _locked(row):
            found.version += 1
            found.token = token
            found.save()


def updated(row: int, token: int) -> None:
    _bump(row, token)


def raw(row: int, token: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(UPDATE, [token, row])


def both_in_one(row: int, token: int) -> None:
    """A statement that writes a row and, in its WITH, another table's."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH changed AS (UPDATE histories_register SET version = version + 1, token = %s WHERE id = %s RETURNING"
            " shelf_id) UPDATE histories_shelf SET version = version + 1, token = %s FROM changed"
            " WHERE histories_shelf.id = changed.shelf_id", [token, row, token])


def shelf(row: int, token: int) -> None:
    Shelf.objects.filter(pk=row % len(SHELVES) + 1).update(version=F("version") + 1, token=token)


def all_of_a_shelf(row: int, token: int) -> None:
    """Rows that the statement does not name, in the order of others' locks."""
    with transaction.atomic():
        _locked(*ROWS)
        Register.objects.filter(shelf=row % len(SHELVES) + 1).update(version=F("version") + 1, token=token)


def in_bulk(row: int, token: int) -> None:
    with transaction.atomic():
        found = _locked(row, row % len(ROWS) + 1)
        for each in found:
            each.version += 1
            each.token = token
        Register.objects.bulk_update(found, ["version", "token"])


def upserted(row: int, token: int) -> None:
    with transaction.atomic():
        (found,) = _locked(row)
        found.version, found.token = found.version + 1, token
        Register.objects.bulk_create([found], update_conflicts=True, unique_fields=["id"],
                                     update_fields=["version", "token"])


def transferred(row: int, token: int) -> None:
    with transaction.atomic():
        first, second = _locked(row, row % len(ROWS) + 1)
        for each, by in ((first, 1), (second, -1)):
            each.version, each.token, each.balance = each.version + 1, token, each.balance + by
            each.save(update_fields=["version", "token", "balance"])


def noted(row: int, token: int) -> None:
    with transaction.atomic():
        _locked(row)
        Note.objects.create(register_id=row, version=Note.objects.filter(register=row).count() + 1, token=token)


def half(row: int, token: int) -> None:
    """What was written behind a savepoint is gone, the rest is not."""
    with transaction.atomic():
        _bump(min(row, row % len(ROWS) + 1), token)
        try:
            with transaction.atomic():
                _bump(max(row, row % len(ROWS) + 1), token)
                raise Hook
        except Hook:
            pass


def hooked(row: int, token: int) -> None:
    def hook() -> None:
        raise Hook

    try:
        with transaction.atomic():
            transaction.on_commit(hook)
            _bump(row, token)
    except Hook:
        pass


def rolled_back(row: int, token: int) -> None:
    """And read meanwhile, through the cache: what this writer sees nobody else may."""
    with transaction.atomic():
        _locked(*ROWS)
        Register.objects.update(version=F("version") + 1, token=token)
        for each in ROWS:
            fence().get_or_set(f"inner:{each}", partial(_seen, each), ttl=3600)
        transaction.set_rollback(True)


def _seen(row: int) -> Any:
    return detail(row)["seen"]


def in_words(row: int, token: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(UPDATE, [token, row])
        cursor.execute("COMMIT")


def by_hand(row: int, token: int) -> None:
    transaction.set_autocommit(False)
    try:
        _bump(row, token)
        transaction.commit()
    finally:
        if connection.connection is not None:
            transaction.rollback()
            transaction.set_autocommit(True)


def serializable(row: int, token: int) -> None:
    """One that reads what others write fails, as often as not."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        versions = dict(Register.objects.values_list("pk", "version"))
        Register.objects.filter(pk=row, version=versions[row]).update(version=versions[row] + 1, token=token)


WAYS: tuple[Callable[[int, int], None], ...] = (
    saved, updated, raw, both_in_one, shelf, all_of_a_shelf, in_bulk, upserted, transferred, noted, half, hooked,
    rolled_back, in_words, by_hand, serializable, serializable)


class Writer:
    """One life of a writer, in either world: which attempt it is at, and what it has told."""

    def __init__(self, place: Place, life: Life) -> None:
        self.chance = random.Random(f"{place.seed} {life.number}")
        self._pen = Pen(place.path / f"told-{life.number}")
        self._token = life.number * TOKENS
        self._rest = place.pace

    def attempt(self) -> tuple[int, int]:
        """A row and a token for the next one."""
        self._token += 1
        return self.chance.choice(ROWS), self._token

    def tell(self, token: int, kind: str, outcome: Outcome, *, journaled: bool = False) -> None:
        """It is over, at this instant."""
        self._pen.write(Told(token, time.monotonic_ns(), outcome, kind, journaled))

    def rest(self) -> float:
        """Seconds until the next."""
        return self.chance.expovariate(1 / self._rest)


def write(place: Place, life: Life) -> None:
    """Until it is told to end, or killed."""
    writer = Writer(place, life)
    while life.goes_on():
        row, token = writer.attempt()
        way = writer.chance.choice(WAYS)
        try:
            way(row, token)
            outcome = Outcome.ROLLED_BACK if way is rolled_back else Outcome.COMMITTED
        except (DatabaseError, InterfaceError, ComputeFailed) as error:
            outcome = outcome_of(error)
            connection.close()
        journaled = settled(lambda: fence().stats().journaled)
        writer.tell(token, way.__name__, outcome, journaled=journaled)
        life.over.wait(writer.rest())


def outcome_of(error: BaseException) -> Outcome:
    """What the database says of it: class 40 is that of transactions it has rolled back."""
    causes = (error, error.__cause__, getattr(error, "orig", None))
    state = next((state for each in causes if (state := getattr(each, "sqlstate", None))), "")
    return Outcome.FAILED if state.startswith("40") and state != "40003" else Outcome.UNKNOWN


def settled(journaled: Callable[[], int]) -> bool:
    """Whether the cache could not be told of the commit at once; it has been by now, for that is waited for."""
    if not journaled():
        return False
    while journaled():
        time.sleep(0.005)
    return True
