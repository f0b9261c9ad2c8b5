"""What the caches were told: each fence as it goes up, and how it comes down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cachefence_web import AsyncCacheFence, CacheFence
from cachefence_web.asking import OnOutage
from cachefence_web.cache.fenced import AsyncFenced, Fenced
from cachefence_web.core.effects import Outcome


@dataclass
class Heard:
    """Fences in their order: the tags of one that goes up, then the outcome that brings it down.

    at_fence, at_lift: called right before each of them is heard.
    """

    said: list[frozenset[str] | Outcome] = field(default_factory=list)
    at_fence: Callable[[], object] = lambda: None
    at_lift: Callable[[], object] = lambda: None

    def take(self) -> list[frozenset[str] | Outcome]:
        said, self.said = self.said, []
        return said


def listen(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """Hear what all caches are told from now on."""
    heard = Heard()
    fence, afence, lift, alift = CacheFence.fence_tags, AsyncCacheFence.fence_tags, Fenced.lift, AsyncFenced.lift

    def fence_tags(self: CacheFence, *tags: str, on_outage: OnOutage | None = None) -> Fenced:
        heard.at_fence()
        heard.said.append(frozenset(tags))
        return fence(self, *tags, on_outage=on_outage)

    async def afence_tags(self: AsyncCacheFence, *tags: str, on_outage: OnOutage | None = None) -> AsyncFenced:
        heard.at_fence()
        heard.said.append(frozenset(tags))
        return await afence(self, *tags, on_outage=on_outage)

    def lifted(self: Fenced, outcome: Outcome) -> None:
        heard.at_lift()
        heard.said.append(outcome)
        lift(self, outcome)

    async def alifted(self: AsyncFenced, outcome: Outcome) -> None:
        heard.at_lift()
        heard.said.append(outcome)
        await alift(self, outcome)

    monkeypatch.setattr(CacheFence, "fence_tags", fence_tags)
    monkeypatch.setattr(AsyncCacheFence, "fence_tags", afence_tags)
    monkeypatch.setattr(Fenced, "lift", lifted)
    monkeypatch.setattr(AsyncFenced, "lift", alifted)
    return heard
