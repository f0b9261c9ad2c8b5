"""Two cached pages and the form that makes them untrue."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from cachefence_web import depends_on

from .extensions import db, fence
from .models import Post
from .queries import most_read, read_next

pages = Blueprint("pages", __name__)


@pages.get("/")
@fence.cache_view(ttl=60, stale_for=300, tags=["post"])
def home() -> str:
    posts = db.session.scalars(select(Post).order_by(Post.published.desc())).all()
    return render_template("home.html", posts=posts, ranking=most_read())


@pages.get("/posts/<slug>")
@fence.cache_view(ttl=60, stale_for=300)
def post(slug: str) -> str:
    post = db.first_or_404(select(Post).filter_by(slug=slug))
    ranking = read_next(post)
    # Known only now: the row behind the slug, and whose titles stand below it.
    depends_on(f"post:{post.id}", *(f"post:{other.id}" for other, _ in ranking.rows))
    return render_template("post.html", post=post, ranking=ranking)


@pages.route("/posts/<slug>/edit", methods=["GET", "POST"])
def edit(slug: str) -> str | Response:
    post = db.first_or_404(select(Post).filter_by(slug=slug))
    if request.method == "POST":
        post.title = request.form["title"].strip() or post.title
        post.summary = request.form["summary"].strip() or post.summary
        db.session.commit()
        return redirect(url_for("pages.post", slug=slug))
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
