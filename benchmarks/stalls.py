"""How long an event loop stands still while Redis is slow: a watchdog inside the process that serves tells."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from benchmarks.peers import OURS
from benchmarks.report import Bar, Figure, Measure

LATENCY = 0.3
"""Seconds that each reply of Redis takes."""

TICK = 0.002
"""Seconds between two looks of the watchdog; what a look is late by, the loop stood still."""

CLIENTS = 50
APART = 0.02
"""Seconds from one client to the next: who all come in one moment keep a loop busy with no cache at all."""

ROUNDS = 7

SCHEDSTAT = Path("/proc/thread-self/schedstat")

FLOOR, THEIRS, BLOCKING = "no cache", "Django's RedisCache", "a synchronous call on the loop"
BACKENDS = {OURS: "cachefence_web.django.RedisCache", THEIRS: "django.core.cache.backends.redis.RedisCache"}
WAYS = {
    FLOOR: ("wait",) * 5,
    OURS: ("aget", "aget_many", "aset", "aget_or_set", "page"),
    # Its cached pages, cache_page's, are for synchronous views.
    THEIRS: ("aget", "aget_many", "aset", "aget_or_set"),
    BLOCKING: ("get",),
}
"""What each client asks for, one after the other, in a round."""


def event_loop(url: str) -> Measure:
    """One uvicorn process behind a line to Redis that takes 300 ms for each answer."""
    missing = [name for name in ("django", "uvicorn") if find_spec(name) is None]
    if missing:
        sys.exit(f'stalls needs {" and ".join(missing)}: pip install -e ".[bench,demo]"')
    with ExitStack() as running:
        slow = f"redis://127.0.0.1:{running.enter_context(_child(_line, urlsplit(url).port))}/0"
        ports = {who: running.enter_context(_child(_site, BACKENDS.get(who, BACKENDS[THEIRS]), slow)) for who in WAYS}
        worst, took = asyncio.run(_rounds(ports))
    figures = tuple(
        Figure(who, (median(worst[who]), max(worst[who]), median(took[who]) * 1000)) for who in WAYS)
    while_slow = f"while Redis answers in {LATENCY * 1000:g} ms"
    return Measure(
        "stalls", f"An event loop {while_slow}, {CLIENTS} clients",
        ("a round's longest stall, ms", "longest of all, ms", "median request, ms"), figures,
        (Bar(f"a round's longest stall of an event loop {while_slow}, ms", median(worst[OURS]), 20),),
        note=f"{ROUNDS} rounds in turns, the median of them first, through Django under uvicorn:"
             f" {', '.join(WAYS[OURS])}. `no cache` sleeps as long and shows what Django, uvicorn and the machine do by"
             " themselves; the last row, with one client, what the watchdog sees of a call that does block.")


async def _rounds(ports: dict[str, int]) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The longest stall of each round, in milliseconds, and what each request took, in seconds."""
    worst: dict[str, list[float]] = {who: [] for who in ports}
    took: dict[str, list[float]] = {who: [] for who in ports}
    for turn in range(ROUNDS + 1):
        for who, port in ports.items():
            crowd = 1 if who == BLOCKING else CLIENTS
            connections = await asyncio.gather(*[asyncio.open_connection("127.0.0.1", port) for _ in range(crowd)])
            await _ask(*connections[0], "stall")
            times = await asyncio.gather(*[
                _visit(*connection, WAYS[who], at * APART) for at, connection in enumerate(connections)])
            stall = float(await _ask(*connections[0], "stall"))
            for _, writer in connections:
                writer.close()
            if turn:  # the first round opens connections and imports modules
                worst[who].append(stall)
                took[who] += [each for some in times for each in some]
    return worst, took


async def _visit(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ways: tuple[str, ...], after: float
) -> list[float]:
    times = []
    await asyncio.sleep(after)
    for way in ways:
        began = time.perf_counter()
        await _ask(reader, writer, f"{way}?{uuid4().hex}")
        times.append(time.perf_counter() - began)
    return times


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> str:
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
    if " 200 " not in head.partition("\r\n")[0]:
        raise RuntimeError(f"/{path} was answered with {head}{body.decode()}")
    return body.decode()


@contextmanager
def _child(serve: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> Iterator[int]:
    """A process that serves; the port it has sent."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    child = spawn.Process(target=_serve, args=(serve, theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        child.terminate()
        child.join()
        ours.close()


def _serve(serve: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
    asyncio.run(serve(*arguments))


async def _line(pipe: Connection, port: int) -> None:
    """A way to Redis: what is asked goes through at once, each answer after LATENCY."""
    loop = asyncio.get_running_loop()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def later() -> None:
            while data := await there.read(65_536):
                loop.call_later(LATENCY, writer.write, data)
            loop.call_later(LATENCY, writer.close)

        answering = asyncio.create_task(later())
        while data := await reader.read(65_536):
            back.write(data)
        back.close()
        await answering

    async with await asyncio.start_server(join, "127.0.0.1", 0, backlog=1024) as server:
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def _site(pipe: Connection, backend: str, url: str) -> None:
    """Django on a cache, under uvicorn, in this loop; /stall tells the longest one since it was asked last."""
    import uvicorn

    stalls = [0.0]
    application = _application(backend, url, stalls)
    config = uvicorn.Config(application, port=0, log_level="warning", lifespan="off", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(TICK)
    watching = asyncio.create_task(_watch(stalls))
    pipe.send(server.servers[0].sockets[0].getsockname()[1])
    await asyncio.gather(serving, watching)


async def _watch(stalls: list[float]) -> None:
    """Note what each look was late by, less what the thread had to wait for a core: others use this machine."""
    loop = asyncio.get_running_loop()
    due, waited = loop.time() + TICK, _waited_for_a_core()
    while True:
        await asyncio.sleep(due - loop.time())
        late, before = loop.time() - due, waited
        waited = _waited_for_a_core()
        stalls[0] = max(stalls[0], late - (waited - before))
        due = loop.time() + TICK


def _waited_for_a_core() -> float:
    """Seconds that this thread was ready to run and did not, so far; 0 where the kernel does not tell."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def _application(backend: str, url: str, stalls: list[float]) -> Any:
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application

    options = {"namespace": f"stalls-{uuid4().hex}", "timeout": 10.0} if backend == BACKENDS[OURS] else {}
    settings.configure(
        ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="not a secret: the benchmark signs with it",  # noqa: S106
        CACHES={"default": {"BACKEND": backend, "LOCATION": url, "OPTIONS": options}},
        INSTALLED_APPS=["cachefence_web.django"], MIDDLEWARE=["django.middleware.common.CommonMiddleware"], USE_TZ=True)
    django.setup()
    _mount(stalls)
    return get_asgi_application()


urlpatterns: list[Any] = []
"""Django's, in the process that serves."""


def _mount(stalls: list[float]) -> None:
    from django.core.cache import cache
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    from cachefence_web.django import cache_view

    def view(answer: Callable[[str], Awaitable[object]]) -> Callable[..., Coroutine[Any, Any, HttpResponse]]:
        async def asked(request: HttpRequest) -> HttpResponse:
            return HttpResponse(str(await answer(request.META["QUERY_STRING"])))

        return asked

    async def stall(_: str) -> float:
        longest, stalls[0] = stalls[0], 0.0
        return longest * 1000

    async def get(key: str) -> object:
        return cache.get(key)

    async def page(_: HttpRequest) -> HttpResponse:
        return HttpResponse("a page")

    many = [f"many{at}" for at in range(20)]
    answers: dict[str, Callable[[str], Awaitable[object]]] = {
        "stall": stall, "get": get, "aget": cache.aget, "aget_many": lambda _: cache.aget_many(many),
        "aset": lambda key: cache.aset(key, "value", 60), "wait": lambda _: asyncio.sleep(LATENCY),
        "aget_or_set": lambda key: cache.aget_or_set(key, lambda: "value", 60),
    }
    urlpatterns.extend([path(name, view(answer)) for name, answer in answers.items()])
    urlpatterns.append(path("page", cache_view(ttl=60)(page)))
