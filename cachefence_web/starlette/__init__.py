"""What users of Starlette import: `CacheMiddleware` around an application, `cache_view` around an endpoint."""

try:
    import starlette as starlette
except ModuleNotFoundError as missing:
    raise ImportError(
        'cachefence_web.starlette needs Starlette: pip install "cachefence-web[starlette]"') from missing

from cachefence_web.starlette.declaring import install
from cachefence_web.starlette.middleware import CacheMiddleware, Rule
from cachefence_web.starlette.views import cache_view

__all__ = ["CacheMiddleware", "Rule", "cache_view", "install"]
