"""What is asked at once, and what a batch compute may answer."""

from __future__ import annotations

from typing import Any

from cachefence_web.errors import ConfigurationError

AT_ONCE = 1_000
"""Steps that a store takes within one deadline, which is meant for a few: a large batch is many of them."""


def check_batch(values: object) -> dict[str, Any]:
    """The answer of the function given to `get_or_set_many`, which must be a dict of key to value.

    Raises:
        ConfigurationError: if it is something else, an awaitable for instance.
    """
    if isinstance(values, dict):
        return values
    raise ConfigurationError(
        f"the function of get_or_set_many returns a dict of key to value, not {type(values).__name__}")
