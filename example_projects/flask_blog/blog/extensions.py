"""What the whole blog shares; create_app gives each its settings."""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from cachefence_web.flask import CacheFence
from cachefence_web.sqlalchemy import invalidate_on_commit


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
fence = CacheFence()
# Pages depend on the rows that they ask for, and each commit ends those that depend on what it has changed.
invalidate_on_commit(db, fence)
