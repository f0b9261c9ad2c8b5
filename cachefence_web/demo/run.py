"""The story: each project without the cache and with it, a crowd on a cold page, a save, the crowd again."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cachefence_web.demo.clients import Expected, Visitor, burst, make_room
from cachefence_web.demo.report import Burst, Finding, Report, Save, Step
from cachefence_web.demo.scenario import (
    EXAMPLES,
    CannotRun,
    Framework,
    Scenario,
    find_project,
    read_scenario,
)
from cachefence_web.demo.servers import Launch, Running, check_store, serving, shown


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of the demo does; `workers` are server processes, and several need a Redis to share."""

    frameworks: Sequence[Framework]
    clients: int
    uncached_clients: int
    store: str
    workers: int
    version: str
    repository: Path


class Watch(Protocol):
    """Whoever wants to see the story while it happens; calls come from the thread that tells it."""

    def doing(self, framework: Framework, step: Step, what: str) -> None:
        """A step is under way, and nothing of it can be counted yet."""

    def answered(self, framework: Framework, step: Step, answers: int, clients: int) -> None:
        """So many clients of a burst have their answer."""

    def done(self, framework: Framework, step: Step, outcome: Burst | Save) -> None:
        """A step is over."""


def tell(plan: Plan, watch: Watch) -> Report:
    """Run the demo; servers and files of its own are gone when it returns or raises.

    Raises:
        CannotRun: something outside the promises was in the way; the message says what to do.
    """
    projects = {framework: find_project(framework, plan.repository) for framework in plan.frameworks}
    scenarios = {framework: read_scenario(project) for framework, project in projects.items()}
    check_store(plan.store)
    make_room(max(plan.clients, plan.uncached_clients))
    findings = []
    for framework, project in projects.items():
        with tempfile.TemporaryDirectory(prefix="cachefence-demo-", ignore_cleanup_errors=True) as data:
            launch = Launch(project, Path(data), plan.store, plan.workers, scenarios[framework].ready)
            findings.append(_Chapter(framework, scenarios[framework], plan, watch).tell(launch))
    return Report(plan.version, shown(plan.store), os.cpu_count() or 1, tuple(findings))


@dataclass(frozen=True, slots=True)
class _Chapter:
    framework: Framework
    scenario: Scenario
    plan: Plan
    watch: Watch

    def tell(self, launch: Launch) -> Finding:
        server = EXAMPLES[self.framework].server
        self.watch.doing(self.framework, Step.UNCACHED, f"{server} starts, its database is filled")
        with serving(replace(launch, store=None)) as running:
            uncached = self._uncached(running)
        self.watch.doing(self.framework, Step.COLD, f"{server} starts again, with the cache")
        with serving(launch) as running:
            cold = self._burst(running, Step.COLD, self.plan.clients, self._page(running))
            with Visitor(running.origin) as visitor:
                save = self._save(running, visitor)
                self.watch.doing(self.framework, Step.AGAIN, "saved once more")
                visitor.save(self.scenario.undo)
            again = self._burst(running, Step.AGAIN, self.plan.clients, self._page(running))
        return Finding(self.framework, server, launch.workers, uncached, cold, save, again)

    def _uncached(self, running: Running) -> Burst:
        found = self._burst(running, Step.UNCACHED, self.plan.uncached_clients, self._page(running))
        for failure, times in found.failures.items():
            # Without the cache no promise is at stake, and a comparison with a broken page is none.
            crowd = f"{times} of {found.clients} clients"
            raise CannotRun(f"without the cache {crowd} got {failure}: pass fewer --uncached-clients")
        if found.queries == 0:
            raise CannotRun(f"{self.scenario.page} cost no query without the cache: QUERY_LOG is not written")
        return found

    def _save(self, running: Running, visitor: Visitor) -> Save:
        self.watch.doing(self.framework, Step.SAVE, "someone saves")
        visitor.save(self.scenario.edit)
        answer = visitor.look(self._page(running, edited=True))
        outcome = Save(not answer.failure, answer.seconds)
        self.watch.done(self.framework, Step.SAVE, outcome)
        return outcome

    def _burst(self, running: Running, step: Step, clients: int, page: Expected) -> Burst:
        def answered(answers: int) -> None:
            self.watch.answered(self.framework, step, answers, clients)

        answered(0)
        before = running.queries()
        answers = asyncio.run(burst(page, clients, answered))
        outcome = Burst.of(answers, running.queries() - before)
        self.watch.done(self.framework, step, outcome)
        return outcome

    def _page(self, running: Running, *, edited: bool = False) -> Expected:
        old, new = self.scenario.before, self.scenario.after
        url = running.origin + self.scenario.page
        return Expected(url, shows=new, hides=old) if edited else Expected(url, shows=old, hides=new)
