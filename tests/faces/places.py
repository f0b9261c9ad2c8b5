"""Where promises are tested: a store in the process and a real Redis, each asked from threads and from event loops."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import redis

from cachefence_web import CacheFence
from cachefence_web.runtime.background import MOST
from cachefence_web.runtime.flights import Flights
from cachefence_web.stores.memory import MemoryStore

LONG = 20.0
"""Seconds after which a test that waits for an event has failed; no test passes by waiting this long."""

LONG_BACK_OFF = 60.0
"""Seconds: no machine is so slow that who asks again at once would come after it."""


def set_deadline(fence: CacheFence, seconds: float) -> None:
    """From now on a request of this cache's may take so long, on its open connections too.

    What a frozen server is asked shall be given up soon, and what is asked of one that runs shall never be. No loop may
    have a request under way.
    """
    store, looping = fence._terms.store, fence._terms.async_store
    store._timeout = looping._timeout = seconds
    for line, _ in looping._ends.values():
        line._timeout = seconds
        if line._timer is not None:  # as late as the last deadline was
            line._timer.cancel()
            line._timer = None


class Face:
    """One cache, awaited alike whatever its colour: the methods of `CacheFence` run in threads of their own."""

    def __init__(self, fence: CacheFence, colour: str, pool: ThreadPoolExecutor) -> None:
        self.fence = fence
        self.colour = colour
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        face = self.fence if self.colour == "threads" else self.fence.aio
        method = getattr(face, name)
        if not callable(method) or name == "stats":
            return method
        if self.colour == "tasks" and name != "fencing":
            return method
        return partial(self._fencing if name == "fencing" else self._in_thread, method)

    async def _in_thread(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call = partial(contextvars.copy_context().run, partial(method, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    @asynccontextmanager
    async def _fencing(self, method: Callable[..., Any], *tags: str) -> AsyncIterator[None]:
        if self.colour == "tasks":
            async with method(*tags):
                yield
        else:
            with method(*tags):
                yield

    def begins(self, method: str, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """A call under way."""
        return asyncio.get_running_loop().create_task(getattr(self, method)(*args, **kwargs))

    async def aboard(self, key: str, callers: int) -> None:
        """Return once so many callers share the key's flight."""
        table = self.fence._terms.engine.flights._table
        async with asyncio.timeout(LONG):
            while not any(  # noqa: ASYNC110 - callers aboard are counted, and no event tells of them
                name[0] == key and flight.present >= callers for name, flight in list(table.items())
            ):
                await asyncio.sleep(0.001)

    async def idle(self) -> None:
        """Return once no flight is under way: refreshes behind callers have ended too, and were counted and logged."""
        engine, threads, tasks = self.fence._terms.engine, self.fence._driver, self.fence.aio._driver
        async with asyncio.timeout(LONG):
            while (  # noqa: ASYNC110
                engine.flights._table or tasks._refreshes or threads.background._room._value < MOST
            ):
                await asyncio.sleep(0.001)


class Place:
    """A store for one test, on which time passes when it is told to."""

    def __init__(self, kind: str, colour: str, url: str, namespace: str) -> None:
        self.kind = kind
        self.url = url
        self.namespace = namespace
        self._colour = colour
        self._faces: list[Face] = []
        self._ahead = 0
        self._pool = ThreadPoolExecutor(64)

    def face(self, *, colour: str | None = None, url: str | None = None, **options: Any) -> Face:
        """A cache over this store; those of one process share its flights."""
        fence = CacheFence(url or self.url, namespace=self.namespace, **{"timeout": LONG, **options})
        store = fence._terms.store
        if isinstance(store, MemoryStore) and not self._faces:
            clock = store._clock
            store._clock = lambda: clock() + self._ahead
        face = Face(fence, colour or self._colour, self._pool)
        self._faces.append(face)
        return face

    def stranger(self, **options: Any) -> Face:
        """A cache that shares the store but no flight, as one in another process would."""
        face = self.face(**options)
        face.fence._terms.engine.flights = Flights()
        return face

    async def later(self, seconds: float) -> None:
        """Let time pass on the namespace's clock; what Redis itself lets expire stays."""
        self._ahead += int(seconds * 1_000_000)
        if self.kind == "redis":
            await asyncio.to_thread(self._set_clock_ahead, int(seconds * 1_000_000))
        for face in self._faces:
            face.fence.instant()
            await face.fence.aio.instant()

    def _set_clock_ahead(self, microseconds: int) -> None:
        self._faces[0].fence.instant()
        with redis.Redis.from_url(self.url) as client:
            client.hincrby(f"{{{self.namespace}}}:clock", "offset", microseconds)

    async def close(self) -> None:
        """End every cache made here."""
        for face in self._faces:
            await face.fence.aio.aclose()
            await asyncio.to_thread(face.fence.close)
        self._pool.shutdown(wait=True)


class Compute:
    """A function to be cached: it counts its runs and answers in turn; errors among its answers are raised."""

    def __init__(self, *answers: Any, held: bool = False, during: Callable[[], Any] | None = None) -> None:
        self.runs = 0
        self._answers = answers
        self._during = during
        self._lock = threading.Lock()
        self._begun = threading.Semaphore(0)
        self._go = threading.Event()
        if not held:
            self._go.set()

    def __call__(self, *_: Any) -> Any:
        with self._lock:
            answer = self._answers[min(self.runs, len(self._answers) - 1)]
            self.runs += 1
        if self._during is not None:
            self._during()
        self._begun.release()
        assert self._go.wait(LONG), "a held compute was never released"
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def begun(self) -> None:
        """Return once it runs, each time once more."""
        assert await _off_the_loop(lambda: self._begun.acquire(timeout=LONG)), "the compute never began"

    def release(self) -> None:
        """Let it end, now and from now on."""
        self._go.set()


async def _off_the_loop(wait: Callable[[], bool]) -> bool:
    """Wait in a thread of its own: the loop's few are the computes'."""
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set_result, wait()))
    thread.start()
    try:
        return await done
    finally:
        thread.join()
