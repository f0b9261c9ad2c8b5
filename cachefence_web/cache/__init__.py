"""The faces: `CacheFence` for threads, `AsyncCacheFence` for event loops, the same names over the same plans."""

from cachefence_web.cache.loops import AsyncCacheFence
from cachefence_web.cache.threads import CacheFence

__all__ = ["AsyncCacheFence", "CacheFence"]
