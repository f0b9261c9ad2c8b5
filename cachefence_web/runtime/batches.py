"""What a batch compute may answer."""

from __future__ import annotations

from typing import Any

from cachefence_web.errors import ConfigurationError


def check_batch(values: object) -> dict[str, Any]:
    """The answer of the function given to `get_or_set_many`, which must be a dict of key to value.

    Raises:
        ConfigurationError: if it is something else, an awaitable for instance.
    """
    if isinstance(values, dict):
        return values
    raise ConfigurationError(
        f"the function of get_or_set_many returns a dict of key to value, not {type(values).__name__}")
