"""The one thread that a coroutine's synchronous parts need: who holds it must not wait for that coroutine's flight.

asgiref, and so Django, runs them in a single thread for each request, or for the whole program. A synchronous caller in
it that waited for a flight led from there would wait for a compute that queues behind the caller itself. What asgiref
tells of this is asked of it only where somebody uses it.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Seat: TypeAlias = Callable[[], object | None]
"""What stands for the thread. It is held weakly: a request that nobody awaits any more is to be collected."""


def needed() -> Seat | None:
    """In a coroutine: what stands for the thread that its synchronous parts go to; None if that is no certain one."""
    asgiref = sys.modules.get("asgiref.sync")
    return None if asgiref is None else weakref.ref(next(_seats(asgiref, asyncio.get_running_loop())))


def is_held_here(seat: Seat | None) -> bool:
    """In synchronous code: whether it runs in that thread, on behalf of a coroutine that awaits it."""
    asgiref = sys.modules.get("asgiref.sync")
    if seat is None or asgiref is None:
        return False
    loop = getattr(asgiref.SyncToAsync.threadlocal, "main_event_loop", None)
    wanted = seat()
    return loop is not None and any(wanted is held for held in _seats(asgiref, loop))


def _seats(asgiref: Any, loop: asyncio.AbstractEventLoop) -> Iterator[object]:
    """The innermost first, which is the one that is taken: an outer call's thread, the request's, the program's."""
    outer = getattr(asgiref.AsyncToSync.executors, "current", None)
    request = asgiref.SyncToAsync.thread_sensitive_context.get(None)
    if outer is not None:
        yield outer
    if request is not None:
        yield request
    if outer is None and request is None:
        yield asgiref.AsyncToSync.loop_thread_executors.get(loop, asgiref.SyncToAsync.single_thread_executor)
