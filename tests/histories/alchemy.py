"""The same tables for SQLAlchemy, and values cached under the same tags: what Django writes, these hear of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from sqlalchemy import BigInteger, ForeignKey, MetaData, create_engine, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, joinedload, mapped_column, relationship

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit
from tests.histories.meddling import RARELY, may_die
from tests.histories.place import TRIGGERS, Place

Found = tuple[list[Any], int | None]


class Base(DeclarativeBase):
    metadata = MetaData()


class Shelf(Base):
    __tablename__ = "histories_shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]
    token: Mapped[int] = mapped_column(BigInteger)


class Register(Base):
    __tablename__ = "histories_register"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("histories_shelf.id"))
    version: Mapped[int]
    token: Mapped[int] = mapped_column(BigInteger)
    balance: Mapped[int]
    shelf: Mapped[Shelf] = relationship()


class Note(Base):
    __tablename__ = "histories_note"

    id: Mapped[int] = mapped_column(primary_key=True)
    register_id: Mapped[int] = mapped_column(ForeignKey("histories_register.id"))
    version: Mapped[int]
    token: Mapped[int] = mapped_column(BigInteger)


def _detail(session: Session, row: int) -> Found:
    found = session.get_one(Register, row)
    return [(f"r{row}", found.version, found.token)], None


def _whole(session: Session, _: int) -> Found:
    rows = session.execute(select(Register.id, Register.version, Register.token, Register.balance)).all()
    return [(f"r{each.id}", each.version, each.token) for each in rows], sum(each.balance for each in rows)


def _joined(session: Session, row: int) -> Found:
    found = session.scalars(select(Register).options(joinedload(Register.shelf)).where(Register.id == row)).one()
    return [(f"r{row}", found.version, found.token),
            (f"s{found.shelf.id}", found.shelf.version, found.shelf.token)], None


def _count(session: Session, row: int) -> Found:
    return [(f"n{row}", session.scalar(select(func.count(Note.id)).where(Note.register_id == row)), None)], None


def _raw(session: Session, row: int) -> Found:
    found = session.execute(
        text("SELECT version, token FROM histories_register WHERE id = :row"), {"row": row}).one()
    return [(f"r{row}", *found)], None


LOADS: dict[str, Callable[[Session, int], Found]] = {
    "detail": _detail, "whole": _whole, "joined": _joined, "count": _count, "raw": _raw}



class Library:
    """Values for threads, and the sessions of a writer."""

    KINDS = (*LOADS, "detail", "raw")

    def __init__(self, place: Place) -> None:
        self.engine = create_engine(place.alchemy("psycopg"))
        self.fence = CacheFence(place.redis, namespace=place.namespace, fence_life=place.life, timeout=5.0)
        self._lease = place.lease
        self._following = invalidate_on_commit(self.engine, self.fence, metadata=Base, triggers=TRIGGERS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._following.remove()
        self.engine.dispose()
        self.fence.close()

    def read(self, kind: str, row: int) -> tuple[Found, bool]:
        """A value, and whether it was there already."""
        made: list[None] = []

        def load() -> Found:
            made.append(None)
            with Session(self.engine) as session:
                found = LOADS[kind](session, row)
            may_die(RARELY)
            return found

        seen, total = self.fence.get_or_set(f"alchemy:{kind}:{row}", load, ttl=3600, lease=self._lease)
        return (seen, total), not made


class AsyncLibrary:
    """The same in an event loop."""

    KINDS = (*LOADS, "detail", "raw")

    def __init__(self, place: Place) -> None:
        self.engine = create_async_engine(place.alchemy("psycopg_async"))
        self.fence = AsyncCacheFence(place.redis, namespace=place.namespace, fence_life=place.life, timeout=5.0)
        self._lease = place.lease
        self._following = invalidate_on_commit(self.engine, self.fence, metadata=Base, triggers=TRIGGERS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.remove()
        await self.engine.dispose()
        await self.fence.aclose()

    async def read(self, kind: str, row: int) -> tuple[Found, bool]:
        """A value, and whether it was there already."""
        made: list[None] = []

        async def load() -> Found:
            made.append(None)
            async with AsyncSession(self.engine) as session:
                found = await session.run_sync(LOADS[kind], row)
            may_die(RARELY)
            return found

        seen, total = await self.fence.get_or_set(f"alchemy:{kind}:{row}", load, ttl=3600, lease=self._lease)
        return (seen, total), not made
