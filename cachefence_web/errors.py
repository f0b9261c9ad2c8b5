"""Everything this package raises on purpose: one root, and each message says what to do."""


class CacheFenceError(Exception):
    """The root of all errors of this package; catch it to catch them all."""


class ConfigurationError(CacheFenceError, ValueError):
    """A setting or argument that cannot work, refused before anything was computed or stored."""


class StoreUnavailable(CacheFenceError):
    """The store did not answer within its deadline.

    A read never raises it: it computes instead. A write or an invalidation that raises it may or may not have
    reached the store; repeating it is safe.
    """


class LeaseTimeout(CacheFenceError):
    """Nobody produced the value within `wait`, and the right to compute it could not be taken over in time."""


class ComputeFailed(CacheFenceError):
    """Another process's compute of this key has just failed, and the back-off after it is not over.

    The process that ran the compute raises the original exception to its own callers. Retry later, or give the
    key a `stale_if_error` so that its last good value is served meanwhile.
    """


class SerializationError(CacheFenceError):
    """A value that cannot be stored as it is, or bytes that are no value of ours."""
