"""The public HTTP caching suite, run from outside against the middleware."""
