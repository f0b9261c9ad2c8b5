"""A compute that is no function: the block between `begin` and the word on what came of it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from cachefence_web.core import plans
from cachefence_web.core.flight import Computed, Landing, Lead, Raised, Served
from cachefence_web.core.policy import Policy
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import Lease, check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.runtime.aio import AsyncDriver
from cachefence_web.runtime.engine import Engine
from cachefence_web.runtime.flights import computing
from cachefence_web.runtime.recording import recording
from cachefence_web.runtime.sync import Driver


class _Block:
    """What a led block knows: what it depends on, how long it has taken, whether its end was told.

    stale: what may be shown instead, if the compute fails; None if there is nothing.
    """

    def __init__(self, lead: Lead, since: Lease | None) -> None:
        if since is not None and lead.granted is not None:
            # What was read before the lease dates the value; who joined after that reading is covered by nothing.
            lead = replace(lead, granted=replace(lead.granted, lease=since, covers=0))
        self.lead = lead
        self.recording = Recording()
        self._began = 0.0
        self._told = False

    @property
    def stale(self) -> Served | None:
        return self.lead.stale

    def depends_on(self, *tags: str) -> None:
        """Add tags to what is being led."""
        self.recording.depend(check_tags(tags))

    def _recording(self, store: str) -> AbstractContextManager[Recording]:
        """Recording what is depended on, dated by the lease."""
        granted = self.lead.granted
        lease = granted.lease if granted is not None else None
        return recording(self.lead.ask.tags, self.lead.flight, lease=lease, store=store)

    def _done(self, engine: Engine, value: Any, raw: bool, policy: Policy | None) -> tuple[Lead, Computed]:
        lead = self._under(policy)
        done = engine.computed(lead.ask.key, value, self.recording, self._began, raw=raw)
        self._told = True
        return lead, done

    def _under(self, policy: Policy | None) -> Lead:
        """The lead with another policy's dates; how consistent it is was settled when it was begun."""
        ask = self.lead.ask
        if policy is None:
            return self.lead
        if not isinstance(policy, Policy):
            raise ConfigurationError(f"policy is a Policy, not {policy!r:.60}: write Policy(ttl=...)")
        if policy.consistency is not ask.policy.consistency:
            policy = policy.but({"consistency": ask.policy.consistency})
        return replace(self.lead, ask=replace(ask, policy=policy))

    def _raised(self, error: Exception) -> Raised:
        return Engine.raised(error, self.recording, time.monotonic() - self._began)


class Leading(_Block):
    """The block for threads. An exception that leaves it is the answer of all who wait for it."""

    def __init__(self, driver: Driver, lead: Lead, since: Lease | None = None) -> None:
        super().__init__(lead, since)
        self._driver = driver
        self._held = ExitStack()

    def __enter__(self) -> Self:
        computing(self.lead.flight, self.lead.granted)
        granted = self.lead.granted
        if granted is not None:
            self._held.enter_context(
                self._driver.heartbeat.beating(self.lead.ask.key, granted.token, granted.life))
        self.recording = self._held.enter_context(self._recording(self._driver.store.identity))
        self._began = time.monotonic()
        return self

    def finish(self, value: Any, *, raw: bool = False, policy: Policy | None = None) -> Landing:
        """Store the value, hand it to all for whom it is true, and say what became of it.

        raw: the value is bytes to be stored as they are.
        policy: gives the entry's dates (ttl, stale_for, stale_if_error, jitter) in place of the one it was begun with.
        """
        lead, done = self._done(self._driver.engine, value, raw, policy)
        landing = self._driver.run(plans.finish(lead, done))
        if isinstance(landing, Served):
            self._driver.engine.counters.count(landing)
        return landing

    def fail(self, error: Exception, *, policy: Policy | None = None) -> Landing:
        """Say that the compute has raised, as leaving the block by it would; Served if an old value stands in.

        policy: whether one may (stale_if_error), in place of the one it was begun with.
        """
        lead = self._under(policy)
        self._told = True
        return self._driver.run(plans.finish(lead, self._raised(error)))

    def pass_by(self) -> None:
        """Nothing that can be shared came of it: let everybody compute for themselves for a while."""
        if not self._told:
            self._told = True
            self._driver.run(plans.abort(self.lead, unshareable=True))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._told:
                if isinstance(error, Exception):
                    self._driver.run(plans.finish(self.lead, self._raised(error)))
                else:
                    self._driver.run(plans.abort(self.lead))
        finally:
            self._held.close()


class AsyncLeading(_Block):
    """The block for coroutines. An exception that leaves it is the answer of all who wait for it."""

    def __init__(self, driver: AsyncDriver, lead: Lead, since: Lease | None = None) -> None:
        super().__init__(lead, since)
        self._driver = driver
        self._held = AsyncExitStack()

    async def __aenter__(self) -> Self:
        computing(self.lead.flight, self.lead.granted)
        await self._held.enter_async_context(self._driver.beating(self.lead.ask.key, self.lead.granted))
        self.recording = self._held.enter_context(self._recording(self._driver.store.identity))
        self._began = time.monotonic()
        return self

    async def finish(self, value: Any, *, raw: bool = False, policy: Policy | None = None) -> Landing:
        """Store the value, hand it to all for whom it is true, and say what became of it.

        raw: the value is bytes to be stored as they are.
        policy: gives the entry's dates (ttl, stale_for, stale_if_error, jitter) in place of the one it was begun with.
        """
        lead, done = self._done(self._driver.engine, value, raw, policy)
        landing = await self._driver.run(plans.finish(lead, done))
        if isinstance(landing, Served):
            self._driver.engine.counters.count(landing)
        return landing

    async def fail(self, error: Exception, *, policy: Policy | None = None) -> Landing:
        """Say that the compute has raised, as leaving the block by it would; Served if an old value stands in.

        policy: whether one may (stale_if_error), in place of the one it was begun with.
        """
        lead = self._under(policy)
        self._told = True
        return await self._driver.run(plans.finish(lead, self._raised(error)))

    async def pass_by(self) -> None:
        """Nothing that can be shared came of it: let everybody compute for themselves for a while."""
        if not self._told:
            self._told = True
            await self._driver.run(plans.abort(self.lead, unshareable=True))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._told:
                if isinstance(error, Exception):
                    await self._driver.run(plans.finish(self.lead, self._raised(error)))
                else:
                    await self._driver.run(plans.abort(self.lead))
        finally:
            await self._held.aclose()
