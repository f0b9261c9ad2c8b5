"""Two cached pages, which depend on the rows that they show, and the form that makes them untrue."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from .extensions import db, fence
from .models import Post
from .queries import most_read, read_next

pages = Blueprint("pages", __name__)


@pages.get("/")
@fence.cache_view(ttl=3600)
def home() -> str:
    posts = db.session.scalars(select(Post).order_by(Post.published.desc())).all()
    return render_template("home.html", posts=posts, ranking=most_read())


@pages.get("/posts/<int:post_id>")
@fence.cache_view(ttl=60, stale_for=300)
def post(post_id: int) -> str:
    post = db.get_or_404(Post, post_id)
    return render_template("post.html", post=post, ranking=read_next(post))


@pages.route("/posts/<int:post_id>/edit", methods=["GET", "POST"])
def edit(post_id: int) -> str | Response:
    post = db.get_or_404(Post, post_id)
    if request.method == "POST":
        post.title = request.form["title"].strip() or post.title
        post.summary = request.form["summary"].strip() or post.summary
        db.session.commit()
        return redirect(url_for("pages.post", post_id=post_id))
    return render_template("edit.html", post=post)


@pages.get("/health")
def health() -> tuple[str, dict[str, str]]:
    return "afloat", {"Content-Type": "text/plain"}


@pages.before_request
def refuse_other_sites() -> None:
    """A form on another site may not post here: browsers say where a request comes from."""
    came_from = request.headers.get("Sec-Fetch-Site", "none")
    if request.method == "POST" and came_from not in ("same-origin", "none"):
        abort(403)
