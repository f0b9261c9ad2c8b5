"""Whoever has written and not committed reads its own writes: it computes for itself, and nothing of it is stored.

Nor is what is computed within a snapshot that is older than its lease would be: who reads in one is given what is
stored, and leads nothing. Adapters that know of transactions register questions; while nobody has, a cache pays one
look at an empty tuple.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from cachefence_web.runtime.recording import keep_private

Question: TypeAlias = Callable[[], bool]
"""One about the caller's transactions; it answers at once and does not raise."""


def _no() -> bool:
    return False


_questions: tuple[tuple[Question, Question], ...] = ()
_lock = threading.Lock()


def ask_first(has_written: Question, is_late: Question = _no) -> Callable[[], None]:
    """From now on ask these, once, before anything is looked up; what is returned ends it.

    has_written: whether the caller is within a transaction that has written.
    is_late: whether it is within one that sees the database as it was some statements ago.
    """
    global _questions  # noqa: PLW0603 (replaced as a whole: whoever walks it keeps the one it began with)
    pair = (has_written, is_late)
    with _lock:
        _questions = (*[each for each in _questions if each != pair], pair)

    def end() -> None:
        global _questions  # noqa: PLW0603 (as above)
        with _lock:
            _questions = tuple([each for each in _questions if each != pair])

    return end


def bypassed() -> bool:
    """Whether the caller is to compute for itself; no compute around it is stored then."""
    if not _questions or not any(has_written() for has_written, _ in _questions):
        return False
    keep_private("it was computed within a transaction that has written")
    return True


def comes_late() -> bool:
    """Whether the caller may be given what is stored, and must not lead what is not."""
    return bool(_questions) and any(is_late() for _, is_late in _questions)
