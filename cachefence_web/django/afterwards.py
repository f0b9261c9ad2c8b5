"""What is done when an answer has gone out is done exactly once; who has gone before it is followed by no refresh.

Django closes a request with the response that it has sent. Under ASGI a client that goes first has its request
cancelled, and nothing is closed: then Django's signal says that the request is over. Where even that is not sent, an
application around Django having stopped it, the context that Django serves the request in is found to be gone.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, iscoroutinefunction
from django.core.signals import request_finished
from django.http import HttpRequest

from cachefence_web.runtime.engine import log

Run = Callable[[], None] | Callable[[], Awaitable[None]]


class Dropped(BaseException):  # not an Exception: it is no failure of the page
    """Nobody will make the page that was to be made behind an answer: somebody else may."""


def behind(request: HttpRequest, run: Run, drop: Callable[[], None]) -> None:
    """Do it when the answer to the request has gone out, whichever response that is: middleware may replace it.

    What is done then is no part of that request any more, so it is given a context of its own, as a request has.

    drop: called before, if no answer went out: a page that is then to be made anew raises Dropped.
    """
    close, owed = request.close, _Owed(run, drop)
    # Each request under ASGI has one of its own; elsewhere servers close what they have begun, whatever comes of it.
    if (serving := SyncToAsync.thread_sensitive_context.get(None)) is not None:
        _owed.setdefault(serving, weakref.WeakSet()).add(owed)
        # What is to be run is held until then: in a cycle of garbage it would have been finalized before.
        weakref.finalize(serving, owed.lost).atexit = False

    def closing() -> None:
        close()
        owed.pay()

    request.close = closing  # type: ignore[method-assign]


class _Owed:
    """What is to be done behind one answer."""

    def __init__(self, run: Run, drop: Callable[[], None]) -> None:
        self._due: tuple[Run, Callable[[], None]] | None = run, drop
        self._loop = asyncio.get_running_loop() if iscoroutinefunction(run) else None

    def pay(self) -> None:
        """Do it, unless it is done."""
        due, self._due = self._due, None
        if due is not None:
            _told(due[0])

    def gone(self) -> None:
        """Nobody was answered: end it, where it was begun."""
        due, self._due = self._due, None
        if due is None:
            return
        run, drop = due
        drop()
        if self._loop is None:
            _told(run)
        else:
            with suppress(RuntimeError):  # the loop is closed: its leads are known to be orphans
                self._loop.call_soon_threadsafe(_begin, run)

    def lost(self) -> None:
        """As `gone`, from anywhere: nothing may be waited for there."""
        if self._loop is not None:
            self.gone()
        elif self._due is not None:
            _left.append(self)


def settle() -> None:
    """End what was begun in threads and is found to be gone; from a thread, before somebody waits for it."""
    with suppress(IndexError):
        while True:
            _left.popleft().gone()


_owed: weakref.WeakKeyDictionary[ThreadSensitiveContext, weakref.WeakSet[_Owed]] = weakref.WeakKeyDictionary()
_left: deque[_Owed] = deque()


def _over(**_: object) -> None:
    """Called in a thread, after all else that this request has had done in one: a view with its transaction, too."""
    serving = SyncToAsync.thread_sensitive_context.get(None)
    for owed in list(_owed.pop(serving, ())) if serving is not None else ():
        owed.gone()


request_finished.connect(_over, dispatch_uid="cachefence_web.django.afterwards")


def _told(run: Callable[[], Any]) -> None:
    try:
        if not iscoroutinefunction(run):
            Context().run(_dropping, run)
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            Context().run(async_to_sync(_adropping), run)
        else:
            _begin(run)
    except Exception:
        log.exception("what was left to be done behind an answer has failed")


def _begin(run: Callable[[], Any]) -> None:
    task = asyncio.get_running_loop().create_task(_adropping(run), context=Context())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Task[None]] = set()


def _dropping(run: Callable[[], Any]) -> None:
    with suppress(Dropped):
        run()


async def _adropping(run: Callable[[], Any]) -> None:
    try:
        with suppress(Dropped):
            await run()
    except Exception:
        log.exception("what was left to be done behind an answer has failed")
