"""The words of the public caching suite."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Kind = Literal["required", "optimal", "check"]
"""What a specification demands, what a good cache does besides, and what is only of interest."""

KINDS: tuple[Kind, ...] = ("required", "optimal", "check")


class Outcome(StrEnum):
    """What the suite's own display makes of a result; for a check, PASSED is yes and FAILED no."""

    PASSED = "passed"
    FAILED = "failed"
    SETUP_FAILED = "setup failed"
    DEPENDENCY_FAILED = "dependency failed"
    RETRIED = "retried"
    UNTESTED = "untested"
