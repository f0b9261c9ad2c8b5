"""One process of a fleet under test: it runs bursts of callers as its parent says, a line of JSON for each.

`python -m tests.runtime.worker URL NAMESPACE` reads a burst, says when it is ready, waits for "go", and answers with
what its callers got. Every run of the compute leaves a mark in a file that all of them append to.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from cachefence_web import CacheFence
from cachefence_web.core import leading
from cachefence_web.core.effects import Renew

MARK = b"compute\n"


@dataclass(frozen=True, slots=True)
class Burst:
    """What a process is told to do.

    spread: seconds over which its callers arrive at random; lasts: seconds that the compute takes.
    first: what becomes of the first compute of all: "value", "raises", "hangs" until nobody else waits here,
        "is cancelled", "is killed", "is stopped".
    left: seconds for which its lease outlives one that is killed or stopped.
    """

    key: str
    marks: str
    colour: str = "tasks"
    callers: int = 125
    spread: float = 0.0
    lasts: float = 0.02
    first: str = "value"
    lease: float = 10.0
    wait: float = 30.0
    left: float = 0.4


class Broken(Exception):
    """What a compute raises here."""


def mark(path: str) -> int:
    """Leave a mark; which one it is."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, MARK)
        return os.lseek(file, 0, os.SEEK_CUR) // len(MARK)
    finally:
        os.close(file)


def misbehave(fence: CacheFence, burst: Burst, number: int) -> None:
    """End as the first compute is told to."""
    if number > 1:
        return
    if burst.first == "raises":
        raise Broken("the first compute")
    if burst.first in ("is killed", "is stopped"):
        # Only this lease is short: whoever takes over may be slow, and is not to be taken over in turn.
        flight = fence._terms.engine.flights._table[burst.key, False, False]
        fence._terms.store.perform(Renew(burst.key, str(flight.holder), burst.left))
    # To this very thread: one sent to the process may reach another, and this one would go on for a moment.
    if burst.first == "is killed":
        signal.pthread_kill(threading.get_ident(), signal.SIGKILL)
    if burst.first == "is stopped":
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


async def tasks(fence: CacheFence, burst: Burst) -> list[Any]:
    """Run the burst in this process's event loop."""
    callers: list[asyncio.Task[Any]] = []

    async def compute() -> str:
        number = mark(burst.marks)
        if number == 1 and burst.first == "is cancelled":
            for caller in callers:
                caller.cancel()
        await asyncio.sleep(burst.lasts)
        if number == 1 and burst.first == "hangs":
            while sum(not caller.done() for caller in callers) > 1:  # noqa: ASYNC110 - all but the one who runs this
                await asyncio.sleep(0.01)
        misbehave(fence, burst, number)
        return f"value {number}"

    async def ask() -> Any:
        await asyncio.sleep(random.random() * burst.spread)
        return await fence.aio.get_or_set(burst.key, compute, lease=burst.lease, wait=burst.wait)

    callers += [asyncio.create_task(ask()) for _ in range(burst.callers)]
    return await asyncio.gather(*callers, return_exceptions=True)


def threads(fence: CacheFence, burst: Burst) -> list[Any]:
    """Run the burst in threads."""
    answers: list[Any] = []
    arrived = threading.Barrier(burst.callers)

    def compute() -> str:
        number = mark(burst.marks)
        time.sleep(burst.lasts)
        misbehave(fence, burst, number)
        return f"value {number}"

    def ask() -> None:
        arrived.wait()
        time.sleep(random.random() * burst.spread)
        try:
            answers.append(fence.get_or_set(burst.key, compute, lease=burst.lease, wait=burst.wait))
        except Exception as error:
            answers.append(error)

    callers = [threading.Thread(target=ask) for _ in range(burst.callers)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return answers


def say(line: str) -> None:
    """Tell the parent."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(url: str, namespace: str) -> None:
    """Do as the parent says, until it closes the pipe."""
    loop = asyncio.get_running_loop()
    fence = CacheFence(url, namespace=namespace, timeout=10.0)
    leading.BACK_OFF = 60.0  # no machine is so slow that callers of one burst arrive after it
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        burst = Burst(**json.loads(line))
        say("ready")
        assert await loop.run_in_executor(None, sys.stdin.readline) == "go\n"
        if burst.colour == "tasks":
            answers = await tasks(fence, burst)
        else:
            answers = await asyncio.to_thread(threads, fence, burst)
        said = Counter(answer if isinstance(answer, str) else type(answer).__name__ for answer in answers)
        say(json.dumps(said))
    await fence.aio.aclose()
    fence.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
