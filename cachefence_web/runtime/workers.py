"""Threads for synchronous computes of event loops: as many as run at once, so that one may wait for another's."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from cachefence_web.runtime.bypassing import bypassed

MOST = 256
"""Threads of one loop at once. Its own executor has a handful, and computes that wait for one another would fill it."""


class Workers:
    """A pool for each loop, growing to what is asked of it; it begins with the first compute and ends with the loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._pools: dict[asyncio.AbstractEventLoop, tuple[ThreadPoolExecutor, AsyncGenerator[None]]] = {}
        self._lock = threading.Lock()

    async def call(self, function: Callable[[], Any]) -> Any:
        """Call a function of either colour: a synchronous one in a thread, in a copy of this context."""
        plain = function
        while isinstance(plain, partial):
            plain = plain.func
        if inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(getattr(plain, "__call__", None)):  # noqa: B004
            return await function()
        loop = asyncio.get_running_loop()
        work = partial(contextvars.copy_context().run, _run, function)
        result = await loop.run_in_executor(await self._pool_of(loop), work)
        return await result if inspect.isawaitable(result) else result

    async def _pool_of(self, loop: asyncio.AbstractEventLoop) -> ThreadPoolExecutor:
        known = self._pools.get(loop)
        if known is not None:
            return known[0]
        pool = ThreadPoolExecutor(self._most, "cachefence-compute")
        keeper = self._kept(loop, pool)
        with self._lock:
            gone = [self._pools.pop(other) for other in list(self._pools) if other.is_closed()]
            self._pools[loop] = pool, keeper
        for idle, _ in gone:
            idle.shutdown(wait=False)
        await anext(keeper)
        return pool

    async def _kept(self, loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor) -> AsyncGenerator[None]:
        """A loop that ends in order closes its generators: this one lets the loop's threads go."""
        try:
            yield
        finally:
            with self._lock:
                self._pools.pop(loop, None)
            pool.shutdown(wait=False)  # a compute that nobody awaits any more must not hold up the loop's end

    async def aclose(self) -> None:
        """Let this loop's threads end as soon as they have nothing to do; its next compute begins anew."""
        known = self._pools.get(asyncio.get_running_loop())
        if known is not None:
            await known[1].aclose()


def _run(function: Callable[[], Any]) -> Any:
    """Run it, and see whether it ends within a transaction that has written: of those here the loop knows nothing."""
    try:
        return function()
    finally:
        bypassed()


_all: weakref.WeakSet[Workers] = weakref.WeakSet()


def _after_fork() -> None:
    """The child has none of its parent's threads."""
    for workers in list(_all):
        workers._reset()


os.register_at_fork(after_in_child=_after_fork)
