"""The blog: create_app puts the database, the cache and the pages together."""

import os
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from .extensions import db, fence
from .views import pages

DATA = Path(__file__).resolve().parent.parent / ".data"


def create_app() -> Flask:
    app = Flask(__name__)
    database = os.environ.get("BLOG_DATABASE", str(DATA / "blog.sqlite3"))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{database}"
    # SQLite gains nothing from more readers at once; who finds all busy waits, however long the queue.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 4, "max_overflow": 0, "pool_timeout": 300}
    app.config["CACHEFENCE_URL"] = os.environ.get("BLOG_CACHE", "memory://")
    db.init_app(app)
    fence.init_app(app)
    app.register_blueprint(pages)
    if os.environ.get("BLOG_UNCACHED"):
        app.wsgi_app = Uncached(app.wsgi_app)  # type: ignore[method-assign]
    return app


class Uncached:
    """What --no-cache switches on: every visitor asks that nothing be kept, so the cache steps aside."""

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["HTTP_CACHE_CONTROL"] = "no-store"
        return self.application(environ, start_response)
