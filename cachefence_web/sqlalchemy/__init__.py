"""SQLAlchemy: what a session changes is invalidated once, right after the commit of its outermost transaction."""

try:
    import sqlalchemy as _sqlalchemy
except ImportError as missing:
    raise ImportError(
        'cachefence_web.sqlalchemy needs SQLAlchemy: pip install "cachefence-web[sqlalchemy]"') from missing

from cachefence_web.sqlalchemy.following import Following, invalidate_on_commit
from cachefence_web.sqlalchemy.rows import ModelTags, RowTags
from cachefence_web.sqlalchemy.sessions import Sessions

del _sqlalchemy

__all__ = ["Following", "ModelTags", "RowTags", "Sessions", "invalidate_on_commit"]
