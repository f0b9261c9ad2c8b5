"""What Starlette's tests have: a cache on each kind of store, and nobody who loses patience."""

from __future__ import annotations

from tests.starlette.conftest import fence, gated, store, unhurried

__all__ = ["fence", "gated", "store", "unhurried"]
