"""Django runs a request's synchronous code in one thread: who is in it waits for nothing that needs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse

from cachefence_web.core.flight import PassBy
from cachefence_web.django import fence
from tests.django.site import mounted
from tests.django.test_gone import Visitor

pytestmark = pytest.mark.usefixtures("on_store")

BOUND = 15
"""Seconds: half of what a caller waits for another's compute, which is how long they held each other up."""


class Both:
    """A synchronous caller in the thread of the request, and a flight that is led from the event loop meanwhile."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self.name, self.load = name, load
        self.leads = asyncio.Event()
        self._holds, self._may_ask = asyncio.Event(), threading.Event()

    def _hold(self, loop: asyncio.AbstractEventLoop, ask: Callable[[], Any]) -> Any:
        loop.call_soon_threadsafe(self._holds.set)
        assert self._may_ask.wait(BOUND)
        return ask()

    async def ask(self, ask: Callable[[], Any]) -> tuple[Any, Any]:
        """What the synchronous one gets, and the asynchronous one."""
        held = asyncio.ensure_future(sync_to_async(self._hold)(asyncio.get_running_loop(), ask))
        await self._holds.wait()
        led = asyncio.ensure_future(cache.aget_or_set(self.name, self.load))
        flights = fence()._terms.engine.flights
        while not flights.under_way((f":1:{self.name}", False, False)):  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0)
        self._may_ask.set()
        return await held, await led


def synchronous() -> str:
    return "made"


async def asynchronous() -> str:
    return await sync_to_async(synchronous)()


LOADS = pytest.mark.parametrize("load", [synchronous, asynchronous], ids=lambda load: load.__name__)


@LOADS
async def test_p10_a_request_s_synchronous_part_and_its_flight_do_not_hold_each_other_up(
    settings: Any, load: Callable[[], Any]
) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        both = Both("key", load)
        return HttpResponse(str(await both.ask(lambda: cache.get_or_set("key", synchronous))))

    settings.MIDDLEWARE, settings.ALLOWED_HOSTS = [], ["*"]
    with mounted(page=view):
        visitor = Visitor(ASGIHandler())
        assert await asyncio.wait_for(visitor.ask(), BOUND) == "('made', 'made')"


async def in_a_script(both: Awaitable[Any]) -> Any:
    return await both


async def in_a_request(both: Awaitable[Any]) -> Any:
    async with ThreadSensitiveContext():
        return await both


@LOADS
@pytest.mark.parametrize("place", [in_a_script, in_a_request], ids=lambda place: place.__name__)
async def test_p10_outside_a_handler_they_do_not_either(load: Callable[[], Any], place: Callable[..., Any]) -> None:
    both = Both("key", load)
    answers = place(both.ask(lambda: cache.get_or_set("key", synchronous)))
    assert await asyncio.wait_for(answers, BOUND) == ("made", "made")


def test_p10_nor_under_code_that_waits_for_the_event_loop() -> None:
    async def main() -> Any:
        both = Both("key", synchronous)
        return await asyncio.wait_for(both.ask(lambda: cache.get_or_set("key", synchronous)), BOUND)

    assert async_to_sync(main)() == ("made", "made")


async def test_p10_what_cannot_be_waited_for_is_passed_by() -> None:
    both = Both("key", synchronous)
    begun, value = await asyncio.wait_for(both.ask(lambda: fence().begin(":1:key")), BOUND)
    assert (type(begun), value) == (PassBy, "made")


async def test_p1_another_request_s_synchronous_part_waits_for_the_one_compute() -> None:
    """Its own thread is not the one that the compute needs."""
    began, end = threading.Event(), threading.Event()
    runs = []

    def load() -> str:
        runs.append(1)
        began.set()
        assert end.wait(BOUND)
        return "made"

    async def leading() -> Any:
        async with ThreadSensitiveContext():
            return await cache.aget_or_set("key", load)

    async def waiting() -> Any:
        async with ThreadSensitiveContext():
            return await sync_to_async(cache.get_or_set)("key", load)

    first = asyncio.ensure_future(leading())
    assert await asyncio.to_thread(began.wait, BOUND)
    second = asyncio.ensure_future(waiting())
    flight = fence()._terms.engine.flights._table[":1:key", False, False]
    async with asyncio.timeout(BOUND):
        while flight.present < 2:  # noqa: ASYNC110 (no event tells of it)
            await asyncio.sleep(0.001)
    end.set()
    assert await asyncio.gather(first, second) == ["made", "made"]
    assert len(runs) == 1
