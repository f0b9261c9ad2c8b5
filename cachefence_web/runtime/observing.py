"""Whoever wants to know when a compute begins is told so by the driver that runs it, and by nobody else.

Observers are the process's: a child of a fork has its own list, a copy of its parent's. Without any, a compute costs
one look at an empty tuple.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger("cachefence_web")


@dataclass(frozen=True, slots=True)
class ComputeBegun:
    """A compute that is about to run, for one key; a batch is one for each of its keys.

    store: the identity of the store that it is for.
    """

    key: str
    store: str


class Observer(Protocol):
    """Told in the thread or loop that computes, right before it does: quick, and safe to call from many threads."""

    def __call__(self, begun: ComputeBegun) -> None:
        """Take note; what it raises is logged, and the compute goes on."""


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """A block in which an observer is told of every compute of this process, in whichever thread or loop."""
    global _observers  # noqa: PLW0603 (replaced as a whole, so that whoever tells needs no lock)
    with _lock:
        _observers = (*_observers, observer)
    try:
        yield
    finally:
        with _lock:
            others = list(_observers)
            others.remove(observer)
            _observers = tuple(others)


def tell(begun: ComputeBegun) -> None:
    """Tell everybody."""
    for observer in _observers:
        try:
            observer(begun)
        except Exception:
            log.exception("an observer failed at %r", begun)


def observed() -> bool:
    """Whether anybody listens."""
    return bool(_observers)


_observers: tuple[Observer, ...] = ()
_lock = threading.Lock()
