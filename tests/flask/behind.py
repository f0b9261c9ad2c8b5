"""What applications do behind their answers, and how long to wait for it."""

from __future__ import annotations

import threading

LONG = 60.0
"""Seconds for which no machine stands still."""


def running() -> list[threading.Thread]:
    """The threads in which something is done behind an answer."""
    return [thread for thread in threading.enumerate() if thread.name == "cachefence-refresh"]


def until_idle() -> None:
    """Return when nothing is done behind an answer any more."""
    for thread in running():
        thread.join(LONG)
    assert not running()
