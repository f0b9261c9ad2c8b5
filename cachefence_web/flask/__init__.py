"""Flask: one cache for each application, and views that are answered from it; what may be shared, `http` decides."""

try:
    import flask as _flask
except ImportError as missing:
    raise ImportError('cachefence_web.flask needs Flask: pip install "cachefence-web[flask]"') from missing

from cachefence_web.flask.extension import CacheFence
from cachefence_web.flask.rules import Rule

del _flask

__all__ = ["CacheFence", "Rule"]
