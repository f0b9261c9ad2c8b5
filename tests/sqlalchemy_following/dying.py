"""A writer that is killed exactly between its COMMIT and the word of it: `dying.py URL REDIS NAMESPACE`."""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit
from cachefence_web.sqlalchemy.commits import Under
from tests.following.outages import LONG
from tests.sqlalchemy_following.library import Book, new_engine


def main(url: str, redis: str, namespace: str) -> None:
    """Write, commit, and be no more."""
    engine = new_engine(url)
    fence = CacheFence(redis, namespace=namespace, timeout=LONG, fence_life=1.0)
    invalidate_on_commit(engine, fence)
    Under.after = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign,assignment]
    with Session(engine) as session:
        session.get_one(Book, 1).title = "Killed"
        session.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
