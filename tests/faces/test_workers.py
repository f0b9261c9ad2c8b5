"""Synchronous computes of event loops run in threads of their own, so that they may wait for one another."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from functools import partial

import pytest

from cachefence_web import AsyncCacheFence
from cachefence_web.runtime.workers import Workers

LONG = 20.0
"""Seconds after which a test that waits for an event has failed."""


async def test_p10_computes_that_wait_for_one_another_do_not_starve() -> None:
    many = 40
    gate = threading.Barrier(many)

    def load() -> int:
        return gate.wait(LONG)

    async with AsyncCacheFence() as fence:
        places = await asyncio.gather(*(fence.get_or_set(f"k{number}", load) for number in range(many)))
    assert sorted(places) == list(range(many))


async def test_p10_computes_do_not_take_the_threads_of_the_application() -> None:
    release = threading.Event()
    begun = [threading.Event() for _ in range(40)]

    def hold(event: threading.Event) -> bool:
        event.set()
        return release.wait(LONG)

    async with AsyncCacheFence() as fence:
        held = [asyncio.create_task(fence.get_or_set(f"k{number}", partial(hold, event)))
                for number, event in enumerate(begun)]
        for event in begun:
            assert await asyncio.to_thread(event.wait, LONG)
        release.set()
        assert await asyncio.gather(*held) == [True] * 40


async def test_p10_a_closed_cache_has_no_threads_and_begins_anew() -> None:
    threads: list[threading.Thread] = []
    fence = AsyncCacheFence()

    def load() -> str:
        threads.append(threading.current_thread())
        return "v"

    for key in ("a", "b"):
        assert await fence.get_or_set(key, load) == "v"
        await fence.aclose()
    for thread in threads:
        await asyncio.to_thread(thread.join, LONG)
        assert not thread.is_alive()
    assert threads[0] is not threads[1]


def test_p10_the_threads_of_a_loop_end_with_it() -> None:
    threads: list[threading.Thread] = []
    fence = AsyncCacheFence()
    asyncio.run(fence.get_or_set("k", lambda: threads.append(threading.current_thread())))
    threads[0].join(LONG)
    assert not threads[0].is_alive()


async def test_there_are_no_more_threads_than_most() -> None:
    workers = Workers(most=1)
    running: list[str] = []

    def work() -> None:
        running.append(threading.current_thread().name)

    await asyncio.gather(*(workers.call(work) for _ in range(5)))
    await workers.aclose()
    assert len(set(running)) == 1


async def test_a_compute_sees_its_callers_context_and_changes_only_its_own() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    who.set("ada")
    workers = Workers()

    def work() -> str:
        seen = who.get()
        who.set("grace")
        return seen

    assert await workers.call(work) == "ada"
    await workers.aclose()
    assert who.get() == "ada"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_p10_a_child_computes_in_threads_of_its_own() -> None:
    fence = AsyncCacheFence()
    assert asyncio.run(fence.get_or_set("parent", lambda: 1)) == 1
    child = os.fork()
    if child == 0:
        os._exit(asyncio.run(fence.get_or_set("child", lambda: 7)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    asyncio.run(fence.aclose())
