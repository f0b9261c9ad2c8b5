"""What the whole catalogue shares: its database, its cache, and that the one follows the other."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from cachefence_web import AsyncCacheFence
from cachefence_web.serializers import MessagePack
from cachefence_web.sqlalchemy import invalidate_on_commit

from .schemas import Statistics, Watched

DATA = Path(__file__).resolve().parent.parent / ".data"
DATABASE = os.environ.get("CATALOG_DATABASE", str(DATA / "catalog.sqlite3"))

# SQLite gains nothing from more readers at once; who finds all busy waits, however long the queue.
engine = create_async_engine(f"sqlite+aiosqlite:///{DATABASE}", pool_size=4, max_overflow=0, pool_timeout=300)
Sessions = async_sessionmaker(engine, expire_on_commit=False)

fence = AsyncCacheFence(
    os.environ.get("CATALOG_CACHE", "memory://"),
    namespace="catalog",
    serializer=MessagePack(types=[Statistics, Watched]),
)
# Answers depend on the rows that they ask for, and each commit ends those that depend on what it has changed.
invalidate_on_commit(engine, fence)


async def open_session() -> AsyncIterator[AsyncSession]:
    async with Sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]
