"""Django: a backend for CACHES, cached views, and invalidation that follows saves; reads no setting when imported."""

try:
    import django as _django  # noqa: F401 (the first of many imports, and the one whose absence is explained)
except ImportError as missing:
    raise ImportError('cachefence_web.django needs Django: pip install "cachefence-web[django]"') from missing

from cachefence_web.django.backend import RedisCache, fence
from cachefence_web.django.commits import CommitRefused
from cachefence_web.django.invalidation import Subscription, invalidates
from cachefence_web.django.middleware import CacheMiddleware, Rule
from cachefence_web.django.views import cache_view
from cachefence_web.runtime.recording import depends_on, untracked

__all__ = [
    "CacheMiddleware",
    "CommitRefused",
    "RedisCache",
    "Rule",
    "Subscription",
    "cache_view",
    "depends_on",
    "fence",
    "invalidates",
    "untracked",
]
