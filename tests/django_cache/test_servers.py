"""The backend behind real servers: a crowd costs one compute, and Redis may be slow without anybody else's noticing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.django_cache.site_servers.serving import ASGI, PATIENCE, THREADS, WSGI, Client, Line, Site, crowd
from tests.servers import RedisServer

pytestmark = pytest.mark.timeout(400)

CLIENTS = 500


@pytest.mark.parametrize(("server", "workers", "at_once", "kinds"), [
    pytest.param(WSGI, 4, 4 * THREADS, ["value/plain"], id="gunicorn-4x4"),
    pytest.param(ASGI, 2, CLIENTS, ["avalue/def", "avalue/async"], id="uvicorn-2"),
])
async def test_p1_500_clients_of_several_processes_cost_one_compute_on_a_cold_an_expired_and_an_invalidated_key(
    server: Sequence[str], workers: int, at_once: int, kinds: list[str], redis_url: str, namespace: str
) -> None:
    """The compute ends only when as many have asked as the server can serve at once: all of them have to wait."""
    environment = {"CACHE": redis_url, "NAMESPACE": namespace, "CROWD": str(at_once)}
    with Site(server, workers=workers, environment=environment) as site:
        async with crowd(site.port, least=CLIENTS, workers=workers, share=2 * THREADS) as clients:
            (first, *_), turns, seen = clients.clients, [], set()
            for kind in kinds:
                key = kind.partition("/")[2]
                for turn, before in (("cold", None), ("expired", "expire"), ("invalidated", "invalidate")):
                    if before is not None:
                        assert await first.ask(f"/{before}/{key}") == turn
                    turns.append(f"{turn}-{key}")
                    (told,) = set(await clients.ask(f"/{kind}/{turns[-1]}"))
                    seen.add(told)
                    assert told.startswith(turns[-1])
                    assert site.computes == turns
            assert len(seen) == len(turns)
        assert not site.log()


WAYS = [
    ("aget", "None"), ("aset", "True"), ("aincr", "1"), ("aget_many", "{}"), ("aget_or_set", "made"),
    ("page", "a page"), ("session", "1"), ("store/cache", "1"), ("store/cached_db", "1"),
    ("fragment/cache", "a part"), ("fragment/cachefence", "a part"),
]


@pytest.fixture
async def line(redis_server: RedisServer) -> AsyncIterator[Line]:
    """The only way from the site to Redis."""
    line = Line(redis_server.port)
    async with line.opened():
        yield line


@pytest.fixture
async def site(line: Line, namespace: str) -> AsyncIterator[Site]:
    """One event loop; started and stopped in a thread, because this loop serves the line it connects through."""
    site = Site(ASGI, workers=1, environment={"CACHE": f"redis://127.0.0.1:{line.port}/0", "NAMESPACE": namespace})
    try:
        await asyncio.to_thread(site.start)
        yield site
    finally:
        await asyncio.to_thread(site.close)


async def test_p6_an_event_loop_serves_others_while_redis_keeps_an_asynchronous_view_waiting(
    line: Line, site: Site
) -> None:
    """At each reply that Redis keeps back, another view of the same loop answers."""
    async with Client.at(site.port) as waiting, Client.at(site.port) as passing:
        # A process's first untagged fragment is not stored: nobody has recorded what its request had read before it.
        assert await passing.ask("/fragment/cachefence") == "a part"
        for way, answer in WAYS:
            assert await held_up(line, waiting, passing, way) == answer
    assert not site.log()


async def test_a_synchronous_call_on_the_loop_would_not_go_unnoticed(line: Line, site: Site) -> None:
    async with Client.at(site.port) as waiting, Client.at(site.port) as passing:
        line.hold()
        asked = asyncio.create_task(waiting.ask("/blocking"))
        await held_or(asked, line)
        told = asyncio.create_task(passing.ask("/free"))
        # However long: nobody else is answered before Redis is.
        answered, _ = await asyncio.wait({told}, timeout=0.2)
        assert not answered
        line.release()
        assert (await asked, await told) == ("None", "free")


async def held_up(line: Line, waiting: Client, passing: Client, way: str) -> str:
    """What the one is told in the end, when the other has been answered at each reply that was held back."""
    line.hold()
    asked = asyncio.create_task(waiting.ask(f"/{way}"))
    try:
        await held_or(asked, line)
        assert await passing.ask("/free") == "free"
        assert not asked.done()
        while not asked.done():
            line.step()
            await held_or(asked, line)
            assert await passing.ask("/free") == "free"
    finally:
        line.release()
    return await asked


async def held_or(asked: asyncio.Task[str], line: Line) -> None:
    """Wait for a reply to be held back, or for the end."""
    held = asyncio.create_task(line.holding.wait())
    await asyncio.wait({asked, held}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    held.cancel()
