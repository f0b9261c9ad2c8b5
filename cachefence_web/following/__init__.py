"""What an adapter needs to follow a database: what its connections have read and written, and how a commit is fenced.

It knows statements, caches and recordings, and neither connections nor drivers: those are the adapters'.
"""

from cachefence_web.following.committing import AsyncCommitting, Committing
from cachefence_web.following.reading import Open, read
from cachefence_web.following.touched import Touched

__all__ = ["AsyncCommitting", "Committing", "Open", "Touched", "read"]
