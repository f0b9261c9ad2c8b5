"""What the whole blog shares; create_app gives each its settings."""

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from cachefence_web.flask import CacheFence


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
fence = CacheFence()
