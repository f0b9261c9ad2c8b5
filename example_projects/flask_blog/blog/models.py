"""Posts, every visit anybody paid to them, and what a saved post makes untrue."""

from datetime import date

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cachefence_web.sqlalchemy import invalidate_on_commit

from .extensions import Base, db, fence


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    summary: Mapped[str]
    body: Mapped[str]
    published: Mapped[date]

    @property
    def paragraphs(self) -> list[str]:
        return [paragraph.strip() for paragraph in self.body.split("\n\n")]


class Visit(Base):
    __tablename__ = "visit"
    __table_args__ = (Index("visit_of_reader", "reader", "post_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey(Post.id))
    reader: Mapped[int]
    seconds: Mapped[int]


# A committed change of a post is seen by the next reader of any page that shows it.
invalidate_on_commit(db.session, fence, {Post: lambda post: [f"post:{post.id}", "post"]})
