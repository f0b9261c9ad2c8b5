"""Two-phase commits: nothing is told before the second phase, whoever makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from cachefence_web.core.effects import Outcome
from tests.postgres import PostgresServer
from tests.sqlalchemy_following.hearing import Heard
from tests.sqlalchemy_following.library import Base, Book, fill, new_engine, postgres_url

BOOK_1 = frozenset(["book", "book:1"])
Follow = Callable[..., Any]


@pytest.fixture
def engine() -> Iterator[Engine]:
    with PostgresServer({"max_prepared_transactions": "10"}) as server:
        engine = new_engine(postgres_url(server, "psycopg"))
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            fill(session)
        yield engine
        engine.dispose()


def test_p3_two_phases_have_one_fence(engine: Engine, fence: CacheFence, follow: Follow, heard: Heard) -> None:
    follow(engine, fence)

    def read() -> str:
        with Session(engine) as session:
            return session.get_one(Book, 1).title

    def page() -> str:
        return fence.get_or_set("page", read, ttl=60)

    assert page() == "One"
    with Session(engine, twophase=True) as session:
        session.get_one(Book, 1).title = "Phase"
        session.prepare()
        assert not heard.said
        session.commit()
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    assert page() == "Phase"
    with Session(engine, twophase=True) as session:
        session.get_one(Book, 1).title = "Undone"
        session.prepare()
        session.rollback()
    with Session(engine, twophase=True) as session:
        session.get_one(Book, 1).title = "Undone"
        session.flush()
        session.rollback()
    assert heard.take() == []
    with Session(engine, twophase=True) as session:
        session.get_one(Book, 1).title = "At once"
        session.commit()
    assert heard.take() == [BOOK_1, Outcome.COMMITTED]
    assert page() == "At once"
    prepared = engine.connect()
    transaction = prepared.begin_twophase("left behind")
    prepared.execute(text("UPDATE book SET title = 'Recovered' WHERE id = 1"))
    transaction.prepare()
    prepared.invalidate()
    prepared.close()
    assert heard.take() == []
    with engine.connect() as another:
        (found,) = another.recover_twophase()
        another.rollback()
        another.commit_prepared(found, recover=True)
    (told, outcome) = heard.take()
    assert "db:*" in told
    assert outcome is Outcome.COMMITTED
    assert page() == "Recovered"
