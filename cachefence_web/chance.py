"""Chance of our own: the state of `random` is the application's, which may have seeded it."""

from __future__ import annotations

import os
from random import Random

chance = Random()  # noqa: S311 (for jitter and for choices between equals, never for a secret)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=chance.seed)  # else all children of one parent would draw alike
