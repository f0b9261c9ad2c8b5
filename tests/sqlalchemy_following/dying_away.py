"""A writer that is killed right after its COMMIT, with its Redis away: `dying_away.py URL REDIS NAMESPACE`."""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import MetaData
from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit, outbox_table
from cachefence_web.sqlalchemy.commits import Under
from tests.sqlalchemy_following.library import Book, new_engine


def main(url: str, redis: str, namespace: str) -> None:
    """Write, commit, and be no more."""
    engine = new_engine(url)
    fence = CacheFence(redis, namespace=namespace, timeout=0.2, on_outage="outbox")
    invalidate_on_commit(engine, fence, outbox=outbox_table(MetaData()))
    Under.after = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign,assignment]
    with Session(engine) as session:
        session.get_one(Book, 1).title = "Killed"
        session.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
