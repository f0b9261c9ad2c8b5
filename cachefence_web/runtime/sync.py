"""The driver for threads: it performs a plan's effects in the thread of whoever asked."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, TypeVar

from cachefence_web.core import leading
from cachefence_web.core.effects import Effect, Plan, StoreEffect
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
    PassBy,
    Raised,
    Refresh,
    Together,
)
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.runtime import seats
from cachefence_web.runtime.background import Background
from cachefence_web.runtime.batches import AT_ONCE, check_batch
from cachefence_web.runtime.engine import Engine, log
from cachefence_web.runtime.flights import Flight, computing, name_of, ticket
from cachefence_web.runtime.heartbeat import Heartbeat
from cachefence_web.runtime.recording import current, earliest, recording, unrecorded
from cachefence_web.runtime.sweeping import Sweeper
from cachefence_web.stores.base import Store

R = TypeVar("R")


class Driver:
    """Runs plans for threads, over one store."""

    def __init__(self, engine: Engine, store: Store, sweeper: Sweeper) -> None:
        self.engine = engine
        self.store = store
        self.outage = engine.outage
        self.heartbeat = Heartbeat(store)
        self.background = Background()
        self.sweeper = sweeper

    def run(self, plan: Plan[R]) -> R:
        """Perform a plan to its end."""
        return Run(self).run(plan)

    def probe(self, effect: StoreEffect[R]) -> R:
        """Have the store take a step during an outage.

        Raises:
            StoreUnavailable: also if it is not to be asked now.
        """
        if (wait := self.outage.first_look((effect,))) is not None:
            wait()
        with self.outage.probing(effect):
            return self.store.perform(effect)

    def ask_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Have the store take several steps, each so many under a deadline; a StoreUnavailable is an answer."""
        if len(effects) <= AT_ONCE:
            return self._ask_some(effects)
        answers: list[Any] = []
        while some := effects[len(answers):len(answers) + AT_ONCE]:
            answers += self._ask_some(some)
        return answers

    def _ask_some(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        outage = self.outage
        if outage.shut and (wait := outage.first_look(effects)) is not None:
            wait()
        if outage.shut and (refused := outage.refused(effects)) is not None:
            return [refused] * len(effects)
        try:
            answers = self.store.perform_all(effects)
        except BaseException:
            outage.undecided()
            raise
        outage.heard(answers)
        return answers

    @staticmethod
    def call(compute: Callable[[], R], key: str) -> R:
        """What a compute returns.

        Raises:
            ConfigurationError: if that is to be awaited.
        """
        value = compute()
        if inspect.isawaitable(value):
            _dispose(value)
            raise ConfigurationError(
                f"the compute of {key!r} returned an awaitable: use AsyncCacheFence for async functions")
        return value

    def close(self) -> None:
        """End refreshes and threads, then let the store go."""
        self.background.close()
        self.heartbeat.close()
        self.sweeper.close()
        if self.outage.is_used:
            self.outage.close()
        self.store.close()


class Run:
    """One plan being performed: the flights it is aboard of, by key."""

    __slots__ = ("_aboard", "_captained", "_driver", "_ticket")

    def __init__(self, driver: Driver, flight: Flight | None = None, key: str = "") -> None:
        self._driver = driver
        self._aboard: dict[str, Flight] = {} if flight is None else {key: flight}
        self._captained: list[Flight] = []
        self._ticket = 0

    def run(self, plan: Plan[R]) -> R:
        """Perform the plan; if it breaks, whoever waits for it looks again."""
        try:
            effect = plan.send(None)
            while True:
                try:
                    answer = self._perform(effect)
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

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, StoreEffect):
            driver = self._driver
            if driver.outage.shut:
                answer = driver.probe(effect)
            else:
                try:
                    answer = driver.store.perform(effect)
                except StoreUnavailable as error:
                    driver.outage.failed(error)
                    raise
            return answer
        if isinstance(effect, Decode):  # on every hit, so before the others
            return self._driver.engine.decode(effect.entry)
        match effect:
            case Compute(ask, granted):
                return self._compute(ask.key, ask.tags, ask.compute, granted)
            case Fly():
                return self._fly(effect)
            case Refresh():
                return self._refresh(effect)
            case Board():
                return self._board(effect)
            case Together(effects):
                return self._together(effects)
            case ComputeMany():
                return self._compute_many(effect)
        return self._driver.engine.answer(effect)

    def _together(self, effects: tuple[Effect[Any], ...]) -> tuple[Any, ...]:
        for_store = [effect for effect in effects if isinstance(effect, StoreEffect)]
        answers = self._driver.ask_all(for_store) if for_store else []
        replies = iter(answers)
        return tuple([next(replies) if isinstance(effect, StoreEffect) else self._perform(effect)
                      for effect in effects])

    def _compute(
        self, key: str, tags: tuple[str, ...], compute: Callable[[], Any] | None, granted: Granted | None
    ) -> Computed | Raised | Abandoned:
        assert compute is not None, "a plan that computes was given a function"
        began = time.monotonic()
        flight = self._aboard.get(key)
        computing(flight, granted)
        lease = granted.lease if granted is not None else None
        store = self._driver.store.identity
        with self._beating(key, granted), recording(tags, flight, lease=lease, store=store) as recorded:
            try:
                value = self._driver.call(compute, key)
                return self._driver.engine.computed(key, value, recorded, began)
            except Exception as error:
                return self._driver.engine.raised(error, recorded, time.monotonic() - began)
            except BaseException as error:
                return Abandoned(error)

    def _compute_many(self, effect: ComputeMany) -> tuple[Computed | Raised | Abandoned | None, ...]:
        leads = effect.leads
        keys = [lead.ask.key for lead in leads]
        tags = tuple(dict.fromkeys(tag for lead in leads for tag in lead.ask.tags))
        began = time.monotonic()
        flights, lease, store = [lead.flight for lead in leads], earliest(leads), self._driver.store.identity
        with ExitStack() as held, recording(tags, *flights, lease=lease, store=store) as recorded:
            for lead in leads:
                computing(lead.flight, lead.granted)
                held.enter_context(self._beating(lead.ask.key, lead.granted))
            try:
                values = check_batch(effect.compute(keys))
                return self._driver.engine.computed_many(keys, values, recorded, began)
            except Exception as error:
                return (self._driver.engine.raised(error, recorded, time.monotonic() - began),) * len(leads)
            except BaseException as error:
                return (Abandoned(error),) * len(leads)

    def _beating(self, key: str, granted: Granted | None) -> AbstractContextManager[None]:
        if granted is None:
            return nullcontext()
        return self._driver.heartbeat.beating(key, granted.token, granted.life)

    def _fly(self, effect: Fly) -> Landing | Overdue:
        engine = self._driver.engine
        ask = effect.ask
        name = name_of(ask, alone=effect.alone)
        flight, launched = engine.flights.board(name, self._asked(), effect.overdue)
        apart = not launched and is_in_its_way(flight, ask.key)
        if apart:
            flight.leave()
            if effect.detach:
                return flight.overdue(effect.patience)
            flight = engine.flights.apart(name, self._asked())
        if launched or apart:
            plan = leading.alone(ask) if effect.alone or apart else leading.lead(
                ask, effect.seen, takeover=effect.overdue.holder if effect.overdue else None)
            lead = partial(self._lead, flight, ask.key, plan)
            if not (effect.detach and self._driver.background.submit(lead)):
                lead()
                return flight.answer(self._asked())
        return wait_for(flight, self._asked(), effect.patience)

    def _lead(self, flight: Flight, key: str, plan: Plan[Landing]) -> None:
        try:
            landing = Run(self._driver, flight, key).run(plan)
        except BaseException as error:
            flight.land(Again(error))
            raise
        self._driver.engine.land(flight, landing)

    def _refresh(self, effect: Refresh) -> None:
        driver = self._driver
        flight = driver.engine.flights.launch(name_of(effect.ask))
        if flight is None:
            return
        if not driver.background.submit(partial(self._refreshed, flight, effect)):
            flight.land(Again())

    def _refreshed(self, flight: Flight, effect: Refresh) -> None:
        try:
            with unrecorded():
                self._lead(flight, effect.ask.key, leading.refresh(effect.ask, effect.seen))
        except StoreUnavailable:
            return
        except Exception:
            log.exception("the refresh of %r broke", effect.ask.key)
            return
        self._driver.engine.counters.refreshes += 1
        if isinstance(flight.landing, Failed):
            log.warning("the refresh of %r failed: %r", effect.ask.key, flight.landing.error)

    def _board(self, effect: Board) -> Landing | Overdue | Captain:
        flights = self._driver.engine.flights
        name = name_of(effect.ask, alone=effect.alone)
        if not effect.patience and flights.under_way(name):
            return Again()
        flight, launched = flights.board(name, self._asked(), effect.overdue)
        if launched:
            self._aboard[effect.ask.key] = flight
            self._captained.append(flight)
            return Captain(flight)
        if is_in_its_way(flight, effect.ask.key):
            flight.leave()
            return PassBy()
        return wait_for(flight, self._asked(), effect.patience)

    def _asked(self) -> int:
        """The ticket of this caller: from the first time it needed one."""
        if not self._ticket:
            self._ticket = ticket()
        return self._ticket


def is_in_its_way(flight: Flight, key: str) -> bool:
    """Whether a flight may need this thread to land, so that no caller in it may wait for that.

    Raises:
        ConfigurationError: if this very compute leads the flight: it would wait for itself for ever.
    """
    scope = current()
    if scope is not None and scope.computes(flight):
        flight.leave()
        raise ConfigurationError(f"the compute of {key!r} asks for {key!r} itself: give the inner value another key")
    return seats.is_held_here(flight.seat)


def wait_for(flight: Flight, ticket: int, patience: float) -> Landing | Overdue:
    """Wait in this thread for what a flight brings to a ticket."""
    landed = threading.Event()
    flight.on_landing(landed.set)
    if not landed.wait(patience):
        flight.leave()
        return flight.overdue(patience)
    return flight.answer(ticket)


def _dispose(awaitable: Any) -> None:
    if inspect.iscoroutine(awaitable):
        awaitable.close()


