"""The one table of this app: the outbox of commits that a cache with `on_outage="outbox"` could not be told of.

It is empty whenever Redis can be reached. Rows are written and removed past the ORM, which would follow them.
"""

from __future__ import annotations

from django.db import models

from cachefence_web.core.keys import LONGEST_NAMESPACE
from cachefence_web.following.outbox import TABLE


class Outbox(models.Model):
    """A commit, and what it has made untrue for the caches of a namespace."""

    id: models.CharField[str, str] = models.CharField(max_length=32, primary_key=True)
    namespace: models.CharField[str, str] = models.CharField(max_length=LONGEST_NAMESPACE)
    tags: models.TextField[str, str] = models.TextField()

    class Meta:
        """Nobody edits it, so nobody needs a permission to."""

        db_table = TABLE
        default_permissions = ()
        verbose_name = verbose_name_plural = "outbox"

    def __str__(self) -> str:
        return f"{self.namespace}: {self.tags:.60}"
