"""Waiting for leases, for event loops: one task and one connection listen for all, while there is anybody who waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from cachefence_web.core.effects import Wait
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.line import hang_up, reply_of
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.refusals import BROKEN, checked
from cachefence_web.stores.redis.scripts import Command
from cachefence_web.stores.redis.waiting import LINGER, REFUSED, RETRY, Watch, Watches, pause

log = logging.getLogger("cachefence_web")


class AsyncListener:
    """connect: makes a connection, as yet unconnected; ask: sends a command on the loop's line, within a deadline."""

    def __init__(
        self, names: Names, connect: Callable[[], Any], timeout: float, ask: Callable[[Command], Awaitable[Any]],
        linger: float = LINGER,
    ) -> None:
        self._connect = connect
        self._timeout = timeout
        self._ask = ask
        self._linger = linger
        self._watches = Watches(names)
        self._task: asyncio.Task[None] | None = None
        self._told = False
        self._retry_at = 0.0

    async def wait(self, effect: Wait) -> float:
        """Sleep until the lease is no longer the holder's, at most `timeout` seconds; the seconds slept."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        ended: asyncio.Future[None] = loop.create_future()
        watch = Watch(effect, partial(_finish, ended))
        if not self._watches.add(watch):
            return 0.0
        if self._task is None:
            self._task = loop.create_task(self._serve())
        try:
            await asyncio.wait([ended], timeout=effect.timeout)
        finally:
            self._watches.remove(watch)
        return loop.time() - began

    async def aclose(self) -> None:
        """End the task, and wake whoever waits."""
        self._watches.wake_all()
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _serve(self) -> None:
        """Have somebody listen, and ask now and then, until nobody has waited for a while."""
        loop = asyncio.get_running_loop()
        hearing: asyncio.Task[None] | None = None
        now = loop.time()
        ends_at = now + self._linger
        try:
            while self._watches or now < ends_at:
                if (hearing is None or hearing.done()) and now >= self._retry_at:
                    self._retry_at = now + RETRY
                    hearing = loop.create_task(self._hear())
                await asyncio.sleep(pause(listening=self._told))
                now = loop.time()
                if self._watches:
                    ends_at = now + self._linger
                    await self._look()
        finally:
            self._task = None
            if hearing is not None:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def _hear(self) -> None:
        """Listen until the connection breaks; who waits is then served by asking alone."""
        connection = self._connect()
        try:
            async with asyncio.timeout(self._timeout):
                await connection.connect()
                await connection.send_command(*self._watches.subscription(), check_health=False)
                begun = self._watches.hear(checked(await reply_of(connection)))
            self._told = begun
            # What ended before this was told to nobody.
            await self._look()
            while True:
                self._watches.hear(checked(await reply_of(connection)))
        except StoreUnavailable as refused:
            log.warning("the ends of leases are asked for, since nobody tells them: %s", refused)
            self._retry_at = asyncio.get_running_loop().time() + REFUSED
        except BROKEN:
            return
        finally:
            self._told = False
            await hang_up(connection)

    async def _look(self) -> None:
        asked, question = self._watches.question()
        if asked:
            try:
                self._watches.answer(asked, await self._ask(question))
            except StoreUnavailable:
                self._watches.wake_all()


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
