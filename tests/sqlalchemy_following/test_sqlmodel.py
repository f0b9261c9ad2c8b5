"""SQLModel is SQLAlchemy: its sessions and its models are followed like any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, Session, SQLModel, create_engine, select
from sqlmodel.ext.asyncio.session import AsyncSession

from cachefence_web import AsyncCacheFence, CacheFence
from tests.sqlalchemy_following.hearing import Heard

Follow = Callable[..., Any]


class Hero(SQLModel, table=True):
    """A row."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)


def test_p3_a_model_is_followed_from_its_first_statement(
    tmp_path: Path, fence: CacheFence, follow: Follow, heard: Heard
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/heroes.sqlite3")
    follow(engine, fence)
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Hero(id=1, name="One"), Hero(id=2, name="Two")])
        session.commit()
    made: list[int] = []

    def hero(key: int) -> str:
        def load() -> str:
            made.append(key)
            with Session(engine) as session:
                return session.exec(select(Hero).where(Hero.id == key)).one().name

        return fence.get_or_set(f"hero:{key}", load, ttl=60)

    assert [hero(1), hero(2), hero(1), hero(2)] == ["One", "Two", "One", "Two"]
    with Session(engine) as session:
        found = session.get(Hero, 1)
        assert found is not None
        found.name = "New"
        session.commit()
    assert [hero(1), hero(2), made] == ["New", "Two", [1, 2, 1]]
    engine.dispose()


async def test_p3_so_are_its_sessions_for_event_loops(async_fence: AsyncCacheFence, follow: Follow) -> None:
    engine = create_async_engine("sqlite+aiosqlite://")
    follow(engine, async_fence)

    async def name() -> str:
        async with AsyncSession(engine) as session:
            return (await session.exec(select(Hero).where(Hero.id == 1))).one().name

    async def page() -> str:
        return await async_fence.get_or_set("hero", name, ttl=60)

    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    async with AsyncSession(engine) as session:
        session.add(Hero(id=1, name="One"))
        await session.commit()
        assert await page() == "One"
        found = await session.get(Hero, 1)
        assert found is not None
        found.name = "New"
        session.add(found)
        await session.commit()
    assert await page() == "New"
    await engine.dispose()
