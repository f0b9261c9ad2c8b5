"""Fill an empty blog: the same posts, readers and visits on every machine."""

import tomllib
from pathlib import Path
from random import Random

from sqlalchemy import insert, select, text

from .extensions import db
from .models import Post, Visit

POSTS = Path(__file__).with_name("posts.toml")
VISITS, READERS = 100_000, 6_000


def seed() -> None:
    db.session.execute(text("PRAGMA journal_mode=WAL"))
    db.create_all()
    if db.session.scalar(select(Post.id).limit(1)):
        return
    print(f"Seeding {VISITS:,} visits ...")
    posts = tomllib.loads(POSTS.read_text(encoding="utf-8"))["posts"]
    db.session.add_all(Post(**post) for post in posts)
    db.session.flush()
    db.session.execute(insert(Visit), visits_to(list(db.session.scalars(select(Post.id))), Random(1931)))
    db.session.commit()


def visits_to(posts: list[int], chance: Random) -> list[dict[str, int]]:
    """Invent visits: some posts are loved by all, most readers leave early, a few stay."""
    popularity = [1 / (rank + 2) for rank in range(len(posts))]
    chance.shuffle(popularity)
    return [visit(post, chance) for post in chance.choices(posts, popularity, k=VISITS)]


def visit(post: int, chance: Random) -> dict[str, int]:
    reader, seconds = chance.triangular(1, READERS, 1), chance.expovariate(1 / 25)
    return {"post_id": post, "reader": int(reader), "seconds": int(seconds)}
