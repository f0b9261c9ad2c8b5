"""What was found, and whether it is what we promise: values only, no screen and no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from cachefence_web.demo.scenario import EXAMPLES, Framework


class Step(Enum):
    """The four things done to each framework, in this order."""

    UNCACHED = "uncached"
    COLD = "cold"
    SAVE = "save"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one client of a burst got.

    `seconds` run from the release of the burst; `failure` says what is wrong with the page, or is empty.
    """

    seconds: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Burst:
    """What a burst cost; `last` is the time in seconds from its release to its last answer."""

    clients: int
    queries: int
    last: float
    failures: dict[str, int]

    @classmethod
    def of(cls, answers: Iterable[Answer], queries: int) -> Burst:
        """Sum the answers of all clients up."""
        answers = list(answers)
        failures = Counter(answer.failure for answer in answers if answer.failure)
        return cls(len(answers), queries, max(answer.seconds for answer in answers), dict(failures))


@dataclass(frozen=True, slots=True)
class Save:
    """Whether the very next request after a save showed it, and that request's time in seconds."""

    shown: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One framework's numbers: without the cache, cold with it, after a save, and a burst after the next."""

    framework: Framework
    server: str
    workers: int
    uncached: Burst
    cold: Burst
    save: Save
    again: Burst

    @property
    def label(self) -> str:
        """The framework's name as people write it."""
        return EXAMPLES[self.framework].label

    def broken(self) -> Iterator[str]:
        """Each promise that was not kept, in words."""
        yield from self._broken_burst("on a cold page", self.cold)
        if not self.save.shown:
            yield f"{self.label}: the request right after a save did not show it"
        yield from self._broken_burst("right after a save", self.again)

    def _broken_burst(self, when: str, burst: Burst) -> Iterator[str]:
        if burst.queries != 1:
            cost = counted(burst.queries, "query")
            yield f"{self.label}: {burst.clients:,} clients {when} cost {cost}, not one"
        for failure, times in burst.failures.items():
            yield f"{self.label}: {times:,} of {burst.clients:,} clients {when} got {failure}"


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and what they were measured on; `store` names it without its password."""

    version: str
    store: str
    cores: int
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> list[str]:
        """Each promise that was not kept, in words; empty is what we hope for."""
        return [line for finding in self.findings for line in finding.broken()]

    @property
    def verdict(self) -> str:
        """The whole report in one line."""
        if self.broken:
            return f"{counted(len(self.broken), 'promise')} not kept: {'; '.join(self.broken)}"
        met = sum(finding.cold.clients for finding in self.findings)
        cost = counted(sum(finding.cold.queries for finding in self.findings), "query")
        return f"{met:,} clients on cold pages cost {cost}; every save showed at once."

    def document(self) -> dict[str, Any]:
        """The report for machines; durations are seconds."""
        frameworks = [{**asdict(finding), "broken": list(finding.broken())} for finding in self.findings]
        return {
            "version": self.version,
            "store": self.store,
            "cores": self.cores,
            "kept": not self.broken,
            "verdict": self.verdict,
            "frameworks": frameworks,
        }


def counted(number: int, noun: str) -> str:
    """`1 query`, `20 queries`, `3 clients`, `4 server processes`."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{number:,} {noun[:-1]}ies"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"
