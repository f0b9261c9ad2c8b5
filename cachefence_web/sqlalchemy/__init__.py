"""SQLAlchemy: what is computed depends on the rows it reads, and is right again once they are written and committed."""

try:
    import sqlalchemy as _sqlalchemy
except ImportError as missing:
    raise ImportError(
        'cachefence_web.sqlalchemy needs SQLAlchemy: pip install "cachefence-web[sqlalchemy]"') from missing

from cachefence_web.sqlalchemy.face import Following, Models, invalidate_on_commit
from cachefence_web.sqlalchemy.outbox import drain_outbox, outbox_table
from cachefence_web.sqlalchemy.rows import ModelTags, RowTags
from cachefence_web.sqlalchemy.sessions import Sessions

del _sqlalchemy

__all__ = [
    "Following", "ModelTags", "Models", "RowTags", "Sessions", "drain_outbox", "invalidate_on_commit", "outbox_table"]
