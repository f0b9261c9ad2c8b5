"""What a compute turns out to depend on, gathered while it runs, and settled when it has ended."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from cachefence_web.core.flight import Failed, Served, Status
from cachefence_web.core.tags import LONGEST_TAG, shortened

MOST_EXACT = 1_000
"""So many tags of rows a compute keeps apart; one that has read more depends on whole tables."""


class Finding(Protocol):
    """Something that a compute has read and of which only its end tells on what exactly it depends."""

    @property
    def source(self) -> str:
        """What it came from, for people: the text of a statement."""

    def tags(self) -> tuple[str, ...]:
        """As far as is known now."""

    def coarse(self) -> tuple[str, ...]:
        """Few tags, whatever is still found out about it."""


@dataclass(slots=True)
class Recording:
    """What a compute turned out to depend on, gathered while it runs.

    storable: False if it used something that nothing stored may be made of.
    private: what it has read was for its reader alone: not committed yet, or older than the lease.
    lag: seconds by which what it has read may be behind.
    why: the first reason for any of these, for people.
    findings: what is to be settled at the end.
    sources: what each tag came from; None unless somebody asked for it.
    """

    tags: dict[str, None] = field(default_factory=dict)
    storable: bool = True
    private: bool = False
    lag: float = 0.0
    why: str | None = None
    findings: list[Finding] = field(default_factory=list)
    sources: dict[str, dict[str, None]] | None = None

    def depend(self, tags: tuple[str, ...], source: str = "") -> None:
        """Add tags."""
        known = self.tags
        for tag in tags:
            known[tag] = None
        if self.sources is not None:
            for tag in tags:
                self.sources.setdefault(tag, {})[source] = None

    def find(self, finding: Finding) -> None:
        """Add what is settled at the end; of very many only what is known of each now."""
        self.findings.append(finding)
        if len(self.findings) > MOST_EXACT:
            # Out of a list that is never another one: threads of the compute may be adding to it.
            with suppress(IndexError):
                while True:
                    each = self.findings.pop()
                    self.depend(each.coarse(), each.source)

    def inherit(self, landing: Served | Failed) -> None:
        """Take over what a cached value used inside this compute depends on; an old one spoils the result."""
        self.depend(landing.tags)
        if landing.spoiled or (isinstance(landing, Served) and landing.status is Status.STALE):
            self.spoil("it used what must not be made use of in what is stored")

    def absorb(self, part: Recording) -> None:
        """Take over what a part of this compute, recorded apart, depends on."""
        tags = part.settled()
        for tag in tags:
            for source in (part.sources or {}).get(tag, ("",)):
                self.depend((tag,), source)
        self.private, self.lag = self.private or part.private, max(self.lag, part.lag)
        if not part.storable:
            self.spoil(part.why or "a part of it must not be stored")

    def spoil(self, why: str) -> None:
        """Nothing may be stored that depends on this compute."""
        self.storable = False
        self.why = self.why or why

    def settled(self) -> tuple[str, ...]:
        """All tags, now that the compute has ended."""
        found = self.findings[:]
        del self.findings[:len(found)]
        if found:
            fine = [each.tags() for each in found]
            coarsens = len(set().union(*fine)) + len(self.tags) > MOST_EXACT
            for each, tags in zip(found, fine, strict=True):
                self.depend(each.coarse() if coarsens else tags, each.source)
        return _written(self.tags)

    def so_far(self) -> tuple[str, ...]:
        """The tags that are known of by now, while the compute goes on."""
        return _written(dict.fromkeys([*self.tags, *[tag for each in self.findings for tag in each.tags()]]))


def _written(tags: dict[str, None]) -> tuple[str, ...]:
    """Those of rows may be as long as a row's key."""
    names = tuple(tags)  # at once: a thread that outlives the compute may still add some
    if any(len(tag) * 4 > LONGEST_TAG for tag in names):
        return tuple(dict.fromkeys([shortened(tag) for tag in names]))
    return names
