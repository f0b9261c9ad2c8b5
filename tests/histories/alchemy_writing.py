"""Writers of SQLAlchemy's, in threads and in event loops: a session's work is one function for both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from tests.histories.alchemy import AsyncLibrary, Library, Note, Register, Shelf
from tests.histories.company import Life
from tests.histories.history import Outcome
from tests.histories.place import ROWS, SHELVES, Place
from tests.histories.writing import Writer, outcome_of, settled

RAW = text("UPDATE histories_register SET version = version + 1, token = :token WHERE id = :row")


def _locked(session: Session, *rows: int) -> list[Register]:
    return list(session.scalars(
        select(Register).where(Register.id.in_(rows)).order_by(Register.id).with_for_update()))


def flushed(session: Session, row: int, token: int) -> None:
    for found in _locked(session, row):
        found.version += 1
        found.token = token


def core(session: Session, row: int, token: int) -> None:
    session.connection().execute(
        update(Register.__table__).where(Register.__table__.c.id == row)  # type: ignore[arg-type]
        .values(version=Register.__table__.c.version + 1, token=token))


def orm_update(session: Session, row: int, token: int) -> None:
    session.execute(update(Shelf).where(Shelf.id == row % len(SHELVES) + 1)
                    .values(version=Shelf.version + 1, token=token))


def raw(session: Session, row: int, token: int) -> None:
    session.execute(RAW, {"row": row, "token": token})


def transferred(session: Session, row: int, token: int) -> None:
    for each, by in zip(_locked(session, row, row % len(ROWS) + 1), (2, -2), strict=True):
        each.version, each.token, each.balance = each.version + 1, token, each.balance + by


def noted(session: Session, row: int, token: int) -> None:
    _locked(session, row)
    many = len(session.scalars(select(Note.id).where(Note.register_id == row)).all())
    session.add(Note(register_id=row, version=many + 1, token=token))


def half(session: Session, row: int, token: int) -> None:
    """What was written behind a savepoint is gone, the rest is not."""
    first, second = sorted((row, row % len(ROWS) + 1))
    raw(session, first, token)
    savepoint = session.begin_nested()
    raw(session, second, token)
    savepoint.rollback()


def rolled_back(session: Session, row: int, token: int) -> None:
    raw(session, row, token)
    session.rollback()


def serializable(session: Session, row: int, token: int) -> None:
    session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
    rows = session.scalars(select(Register)).all()
    found = next(each for each in rows if each.id == row)
    found.version += 1
    found.token = token


WAYS: tuple[Callable[[Session, int, int], None], ...] = (
    flushed, core, orm_update, raw, transferred, noted, half, rolled_back, serializable)


def write(place: Place, life: Life) -> None:
    """In a thread, until it is told to end, or killed."""
    writer = Writer(place, life)
    with Library(place) as library:
        while life.goes_on():
            row, token = writer.attempt()
            way = writer.chance.choice(WAYS)
            try:
                with Session(library.engine) as session:
                    way(session, row, token)
                    session.commit()
                outcome = _outcome(way)
            except DBAPIError as error:
                outcome = outcome_of(error)
            journaled = settled(lambda: library.fence.stats().journaled)
            writer.tell(token, f"sqlalchemy {way.__name__}", outcome, journaled=journaled)
            life.over.wait(writer.rest())


def write_in_a_loop(place: Place, life: Life) -> None:
    """In an event loop, until it is told to end, or killed."""
    asyncio.run(_write(place, life))


async def _write(place: Place, life: Life) -> None:
    writer = Writer(place, life)
    async with AsyncLibrary(place) as library:
        while life.goes_on():
            row, token = writer.attempt()
            way = writer.chance.choice(WAYS)
            try:
                async with AsyncSession(library.engine) as session:
                    await session.run_sync(way, row, token)
                    await session.commit()
                outcome = _outcome(way)
            except DBAPIError as error:
                outcome = outcome_of(error)
            journaled = settled(lambda: library.fence.stats().journaled)
            writer.tell(token, f"sqlalchemy asyncio {way.__name__}", outcome, journaled=journaled)
            await asyncio.sleep(writer.rest())


def _outcome(way: Callable[[Session, int, int], None]) -> Outcome:
    return Outcome.ROLLED_BACK if way is rolled_back else Outcome.COMMITTED
