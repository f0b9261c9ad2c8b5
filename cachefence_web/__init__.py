"""Caching for Django, Flask, Starlette and FastAPI that never stampedes and never serves what a write made untrue.

Importing this loads no framework and no redis: each is loaded by the module that needs it, when it is needed.
"""

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.policy import Consistency, Policy
from cachefence_web.errors import (
    CacheFenceError,
    ComputeFailed,
    ConfigurationError,
    LeaseTimeout,
    SerializationError,
    StoreUnavailable,
)
from cachefence_web.memoizing import cached
from cachefence_web.runtime.recording import depends_on, untracked

__version__ = "0.1.0"

__all__ = [
    "AsyncCacheFence",
    "CacheFence",
    "CacheFenceError",
    "ComputeFailed",
    "ConfigurationError",
    "Consistency",
    "LeaseTimeout",
    "Policy",
    "SerializationError",
    "StoreUnavailable",
    "cached",
    "depends_on",
    "untracked",
]
