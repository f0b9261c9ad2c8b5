"""How far a walk over a namespace has come: on a terminal with rich, if it is installed, or as lines of plain text.

It goes to where errors go, so that what is asked for can be piped; a walk that is over in a moment says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

INTERVAL = 2.0
"""Seconds between two lines."""


@contextmanager
def progressing(
    what: str, to: TextIO, *, silent: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int], None]]:
    """A block in which something is walked over; it is given what to tell how many were seen.

    what: in the plural, as in "1200 entries".
    """
    if silent:
        yield lambda _: None
    elif to.isatty() and _has_rich():
        with _on_a_terminal(what, to) as tell:
            yield tell
    else:
        yield _in_lines(what, to, clock)


def _has_rich() -> bool:
    try:
        import rich.progress  # noqa: F401 (whether it is there is the question)
    except ImportError:
        return False
    return True


@contextmanager
def _on_a_terminal(what: str, to: TextIO) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=to), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda seen: shown.update(task, completed=seen)


def _in_lines(what: str, to: TextIO, clock: Callable[[], float]) -> Callable[[int], None]:
    told_at = clock()

    def tell(seen: int) -> None:
        nonlocal told_at
        if clock() - told_at >= INTERVAL:
            told_at = clock()
            to.write(f"{seen:,} {what}\n")

    return tell
