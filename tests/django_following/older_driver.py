"""A plugin of pytest with which Django takes psycopg2, as it does where psycopg is not installed."""

from __future__ import annotations

import sys

sys.modules["psycopg"] = None  # type: ignore[assignment]
try:
    import django.db.backends.postgresql.base as backend
finally:
    del sys.modules["psycopg"]

assert backend.Database.__name__ == "psycopg2"
