"""The driver for event loops: a flight is a task of its own, so that no caller's end is everybody's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from cachefence_web.core import leading
from cachefence_web.core.effects import Effect, Plan, Renew, StoreEffect
from cachefence_web.core.flight import (
    Abandoned,
    Again,
    Board,
    Captain,
    Compute,
    Computed,
    ComputeMany,
    Decode,
    Failed,
    Fly,
    Granted,
    Landing,
    Overdue,
    Raised,
    Refresh,
    Together,
)
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.runtime import seats
from cachefence_web.runtime.background import MOST
from cachefence_web.runtime.batches import AT_ONCE, check_batch
from cachefence_web.runtime.engine import Engine, log
from cachefence_web.runtime.flights import Flight, computing, name_of, ticket
from cachefence_web.runtime.recording import current, earliest, recording, unrecorded
from cachefence_web.runtime.sweeping import Sweeper
from cachefence_web.runtime.workers import Workers
from cachefence_web.stores.base import AsyncStore

R = TypeVar("R")


class AsyncDriver:
    """Runs plans for coroutines, over one store, from any event loop."""

    def __init__(self, engine: Engine, store: AsyncStore, sweeper: Sweeper) -> None:
        self.engine = engine
        self.store = store
        self.outage = engine.outage
        self.sweeper = sweeper
        self.workers = Workers()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refreshes = 0

    async def run(self, plan: Plan[R]) -> R:
        """Perform a plan to its end."""
        return await AsyncRun(self).run(plan)

    async def probe(self, effect: StoreEffect[R]) -> R:
        """Have the store take a step during an outage.

        Raises:
            StoreUnavailable: also if it is not to be asked now.
        """
        if (wait := self.outage.first_look((effect,))) is not None:
            await asyncio.to_thread(wait)
        with self.outage.probing(effect):
            return await self.store.perform(effect)

    async def ask_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Have the store take several steps, each so many under a deadline; a StoreUnavailable is an answer."""
        if len(effects) <= AT_ONCE:
            return await self._ask_some(effects)
        answers: list[Any] = []
        while some := effects[len(answers):len(answers) + AT_ONCE]:
            answers += await self._ask_some(some)
        return answers

    async def _ask_some(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        outage = self.outage
        if outage.shut and (wait := outage.first_look(effects)) is not None:
            await asyncio.to_thread(wait)
        if outage.shut and (refused := outage.refused(effects)) is not None:
            return [refused] * len(effects)
        try:
            answers = await self.store.perform_all(effects)
        except BaseException:
            outage.undecided()
            raise
        outage.heard(answers)
        return answers

    async def aclose(self) -> None:
        """Wait for this loop's refreshes, then let its threads and the store go."""
        loop = asyncio.get_running_loop()
        mine = [task for task in self._tasks if task.get_loop() is loop]
        if mine:
            await asyncio.gather(*mine, return_exceptions=True)
        await self.workers.aclose()
        if self.sweeper.is_used:
            await asyncio.to_thread(self.sweeper.close)
        if self.outage.is_used:
            await asyncio.to_thread(self.outage.close)
        await self.store.aclose()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work in a task that is held until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def refresh(self, effect: Refresh) -> None:
        """Begin a refresh, unless one is under way or too many are."""
        if self._refreshes >= MOST:
            return
        flight = self.engine.flights.launch(name_of(effect.ask))
        if flight is not None:
            _leads_here(flight)
            self._refreshes += 1
            self.spawn(self._refresh(flight, effect)).add_done_callback(partial(self._refreshed, flight))

    def _refreshed(self, flight: Flight, _: asyncio.Task[None]) -> None:
        """Also for a task that its loop's end cancelled before its first step."""
        self._refreshes -= 1
        flight.land(Again())

    async def _refresh(self, flight: Flight, effect: Refresh) -> None:
        try:
            with unrecorded():
                await self.lead(flight, effect.ask.key, leading.refresh(effect.ask, effect.seen))
        except StoreUnavailable:
            return
        except Exception:
            log.exception("the refresh of %r broke", effect.ask.key)
            return
        self.engine.counters.refreshes += 1
        if isinstance(flight.landing, Failed):
            log.warning("the refresh of %r failed: %r", effect.ask.key, flight.landing.error)

    async def lead(self, flight: Flight, key: str, plan: Plan[Landing]) -> None:
        """Perform the plan that leads a flight, and land it."""
        try:
            landing = await AsyncRun(self, flight, key).run(plan)
        except BaseException as error:
            flight.land(Again(error))
            raise
        self.engine.land(flight, landing)

    @asynccontextmanager
    async def beating(self, key: str, granted: Granted | None) -> AsyncIterator[None]:
        """Keep the lease alive during the block; a compute shorter than a third of its life costs one timer."""
        if granted is None:
            yield
            return
        loop = asyncio.get_running_loop()
        task: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal task
            task = self.spawn(self._beat(key, granted))

        timer = loop.call_later(granted.life / 3, begin)
        try:
            yield
        finally:
            timer.cancel()
            if task is not None:
                task.cancel()

    async def _beat(self, key: str, granted: Granted) -> None:
        while True:
            try:
                if not await self.store.perform(Renew(key, granted.token, granted.life)):
                    return
            except StoreUnavailable:
                pass  # unknown: the next beat asks again
            await asyncio.sleep(granted.life / 3)


class AsyncRun:
    """One plan being performed: the flights it is aboard of, by key."""

    __slots__ = ("_aboard", "_captained", "_driver", "_ticket")

    def __init__(self, driver: AsyncDriver, flight: Flight | None = None, key: str = "") -> None:
        self._driver = driver
        self._aboard: dict[str, Flight] = {} if flight is None else {key: flight}
        self._captained: list[Flight] = []
        self._ticket = 0

    async def run(self, plan: Plan[R]) -> R:
        """Perform the plan; if it breaks, whoever waits for it looks again."""
        try:
            effect = plan.send(None)
            while True:
                try:
                    answer = await self._perform(effect)
                except BaseException as error:
                    effect = plan.throw(error)
                else:
                    effect = plan.send(answer)
        except StopIteration as done:
            result: R = done.value
            return result
        except BaseException:
            for flight in self._captained:
                flight.land(Again())
            raise

    async def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, StoreEffect):
            driver = self._driver
            if driver.outage.shut:
                answer = await driver.probe(effect)
            else:
                try:
                    answer = await driver.store.perform(effect)
                except StoreUnavailable as error:
                    driver.outage.failed(error)
                    raise
            return answer
        if isinstance(effect, Decode):  # on every hit, so before the others
            return self._driver.engine.decode(effect.entry)
        match effect:
            case Compute(ask, granted):
                return await self._compute(ask.key, ask.tags, ask.compute, granted)
            case Fly():
                return await self._fly(effect)
            case Refresh():
                return self._driver.refresh(effect)
            case Board():
                return await self._board(effect)
            case Together(effects):
                return await self._together(effects)
            case ComputeMany():
                return await self._compute_many(effect)
        return self._driver.engine.answer(effect)

    async def _together(self, effects: tuple[Effect[Any], ...]) -> tuple[Any, ...]:
        for_store = [effect for effect in effects if isinstance(effect, StoreEffect)]
        answers = await self._driver.ask_all(for_store) if for_store else []
        replies = iter(answers)
        return tuple([next(replies) if isinstance(effect, StoreEffect) else await self._perform(effect)
                      for effect in effects])

    async def _compute(
        self, key: str, tags: tuple[str, ...], compute: Callable[[], Any] | None, granted: Granted | None
    ) -> Computed | Raised | Abandoned:
        assert compute is not None, "a plan that computes was given a function"
        began = time.monotonic()
        flight = self._aboard.get(key)
        computing(flight, granted)
        async with self._driver.beating(key, granted):
            lease = granted.lease if granted is not None else None
            with recording(tags, flight, lease=lease, store=self._driver.store.identity) as recorded:
                try:
                    value = await self._driver.workers.call(compute)
                    return self._driver.engine.computed(key, value, recorded, began)
                except Exception as error:
                    return self._driver.engine.raised(error, recorded, time.monotonic() - began)
                except BaseException as error:
                    return Abandoned(error)

    async def _compute_many(self, effect: ComputeMany) -> tuple[Computed | Raised | Abandoned | None, ...]:
        leads = effect.leads
        keys = [lead.ask.key for lead in leads]
        tags = tuple(dict.fromkeys(tag for lead in leads for tag in lead.ask.tags))
        began = time.monotonic()
        async with AsyncExitStack() as held:
            for lead in leads:
                computing(lead.flight, lead.granted)
                await held.enter_async_context(self._driver.beating(lead.ask.key, lead.granted))
            flights, lease, store = [lead.flight for lead in leads], earliest(leads), self._driver.store.identity
            with recording(tags, *flights, lease=lease, store=store) as recorded:
                try:
                    values = check_batch(await self._driver.workers.call(partial(effect.compute, keys)))
                    return self._driver.engine.computed_many(keys, values, recorded, began)
                except Exception as error:
                    return (self._driver.engine.raised(error, recorded, time.monotonic() - began),) * len(leads)
                except BaseException as error:
                    return (Abandoned(error),) * len(leads)

    async def _fly(self, effect: Fly) -> Landing | Overdue:
        ask = effect.ask
        name = name_of(ask, alone=effect.alone)
        flight, launched = self._driver.engine.flights.board(name, self._asked(), effect.overdue)
        if launched:
            _leads_here(flight)
            plan = leading.alone(ask) if effect.alone else leading.lead(
                ask, effect.seen, takeover=effect.overdue.holder if effect.overdue else None)
            task = self._driver.spawn(self._lead(flight, ask.key, plan))
            task.add_done_callback(lambda _: flight.land(Again()))
            if not effect.detach:
                flight.cancel_with(partial(_cancel, task))
        bounded = effect.detach or not launched
        return await wait_for(flight, self._asked(), effect.patience if bounded else None, ask.key)

    async def _lead(self, flight: Flight, key: str, plan: Plan[Landing]) -> None:
        try:
            await self._driver.lead(flight, key, plan)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("the flight of %r broke", key)

    async def _board(self, effect: Board) -> Landing | Overdue | Captain:
        flights = self._driver.engine.flights
        name = name_of(effect.ask, alone=effect.alone)
        if not effect.patience and flights.under_way(name):
            return Again()
        flight, launched = flights.board(name, self._asked(), effect.overdue)
        if launched:
            _leads_here(flight)
            self._aboard[effect.ask.key] = flight
            self._captained.append(flight)
            return Captain(flight)
        return await wait_for(flight, self._asked(), effect.patience, effect.ask.key)

    def _asked(self) -> int:
        """The ticket of this caller: from the first time it needed one."""
        if not self._ticket:
            self._ticket = ticket()
        return self._ticket


async def wait_for(flight: Flight, ticket: int, patience: float | None, key: str) -> Landing | Overdue:
    """Wait in this task for what a flight brings to a ticket; a cancelled caller leaves, and no more.

    Raises:
        ConfigurationError: if this very compute leads the flight: it would wait for itself for ever.
    """
    scope = current()
    if scope is not None and scope.computes(flight):
        flight.leave()
        raise ConfigurationError(f"the compute of {key!r} asks for {key!r} itself: give the inner value another key")
    loop = asyncio.get_running_loop()
    landed: asyncio.Future[bool] = loop.create_future()
    flight.on_landing(partial(_wake, loop, landed))
    timer = None if patience is None else loop.call_later(patience, _settle, landed, False)
    try:
        in_time = await landed
    except BaseException:
        flight.leave()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    if not in_time:
        flight.leave()
        return flight.overdue(patience or 0.0)
    return flight.answer(ticket)


def _leads_here(flight: Flight) -> None:
    flight.orphaned = asyncio.get_running_loop().is_closed
    flight.seat = seats.needed()


def _settle(landed: asyncio.Future[bool], value: bool) -> None:
    if not landed.done():
        landed.set_result(value)


def _wake(loop: asyncio.AbstractEventLoop, landed: asyncio.Future[bool]) -> None:
    """Tell a waiter from whichever thread the flight landed in; one whose loop has ended needs no telling."""
    try:
        if asyncio.get_running_loop() is loop:  # 500 waiters of one loop need no 500 wake-up calls
            _settle(landed, True)
            return
    except RuntimeError:
        pass  # landed in a thread without a loop
    try:
        loop.call_soon_threadsafe(_settle, landed, True)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel the task in its own loop."""
    loop = task.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
