"""The slow questions: honest aggregations over every visit, and a log of each time they were asked."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

from sqlalchemy import func, select

from cachefence_web import untracked

from .extensions import db
from .models import Post, Visit


@dataclass(frozen=True, slots=True)
class Ranking:
    """Posts with their readers, in the order an aggregation put them, and what that order cost."""

    rows: list[tuple[Post, int]]
    took: float
    counted_at: datetime


def most_read() -> Ranking:
    """Every post with its ``readers``: those who stayed for a minute, over all of their visits."""
    stays = (
        select(Visit.post_id, Visit.reader)
        .group_by(Visit.post_id, Visit.reader)
        .having(func.sum(Visit.seconds) >= 60)
        .subquery()
    )
    readers = func.count(stays.c.reader).label("readers")
    posts = select(Post, readers).join(stays, stays.c.post_id == Post.id).group_by(Post.id)
    _log("most_read")
    started = perf_counter()
    rows = [(post, readers) for post, readers in db.session.execute(posts.order_by(readers.desc(), Post.id))]
    return _ranking(rows, started)


def read_next(post: Post) -> Ranking:
    """The three posts that most readers of this one read too, each with those ``readers``.

    Which three they are may be as old as the page: it depends on the posts that it shows, and not on every visit.
    """
    company = select(Visit.reader).where(Visit.post_id == post.id)
    readers = func.count(Visit.reader.distinct()).label("readers")
    others = select(Visit.post_id, readers).where(Visit.reader.in_(company), Visit.post_id != post.id)
    ranked = others.group_by(Visit.post_id).order_by(readers.desc(), Visit.post_id).limit(3)
    _log("read_next")
    started = perf_counter()
    with untracked():
        shared = {each.post_id: each.readers for each in db.session.execute(ranked)}
    posts = {post.id: post for post in db.session.scalars(select(Post).where(Post.id.in_(shared)))}
    return _ranking([(posts[post_id], readers) for post_id, readers in shared.items() if post_id in posts], started)


def _ranking(rows: list[tuple[Post, int]], started: float) -> Ranking:
    return Ranking(rows, took=perf_counter() - started, counted_at=datetime.now(UTC))


def _log(question: str) -> None:
    """Append the question to the file that QUERY_LOG names; O_APPEND keeps many processes' lines whole."""
    path = os.environ.get("QUERY_LOG")
    if path:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(log, f"{question}\n".encode())
        finally:
            os.close(log)
