"""A page to look at, and what is done to the row it shows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from cachefence_web.runtime.recording import recording
from tests.sqlalchemy_following.library import Book

BOOK_1 = frozenset(["book", "book:1"])
ONE = "SELECT title FROM book WHERE id = 1"


def title(engine: Engine, book: int = 1) -> str:
    """What the database has."""
    with Session(engine) as session:
        return session.get_one(Book, book).title


def rename(session: Session, to: str, book: int = 1) -> None:
    """Write, and do not commit."""
    session.get_one(Book, book).title = to
    session.flush()


def commit(engine: Engine, to: str) -> None:
    """Write, and commit."""
    with Session(engine) as session:
        rename(session, to)
        session.commit()


class Page:
    """The title of book 1, cached; `made` counts."""

    def __init__(self, fence: CacheFence, engine: Engine) -> None:
        self.fence, self.engine, self.made = fence, engine, 0

    def __call__(self) -> str:
        return self.fence.get_or_set("page", self._make, ttl=3600)

    def _make(self) -> str:
        self.made += 1
        return title(self.engine)


def in_a_thread(work: Callable[[], Any]) -> Any:
    """What a caller finds who has nothing to do with this one's transaction."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def read_in(engine: Engine, statement: Any, fetch: Callable[[Any], object] = lambda result: result.all()) -> set[str]:
    """What a compute that runs this depends on."""
    with recording(()) as recorded, engine.connect() as connection:
        fetch(connection.execute(statement))
    return set(recorded.settled())
