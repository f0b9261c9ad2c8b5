"""What a store is: it performs store effects, one or many at a time, within a deadline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from cachefence_web.core.effects import StoreEffect

A = TypeVar("A")


class Store(Protocol):
    """A store for threads; every method may be called from any of them."""

    @property
    def identity(self) -> str:
        """Equal for two stores that hold the same data: what shares flights within a process."""

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called, from any thread, whenever the store says that there is something to sweep."""

    def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step.

        Raises:
            StoreUnavailable: when no answer came within the deadline; the step may or may not have been taken.
        """

    def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps in their order, in one round trip where possible; a StoreUnavailable is an answer."""

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """The keys that match a glob pattern (`*`, `?`, `[...]`), a batch at a time."""

    def close(self) -> None:
        """Let go of connections and threads; a later call opens them again."""


class AsyncStore(Protocol):
    """A store for event loops; every method may be called from any running loop."""

    @property
    def identity(self) -> str:
        """Equal for two stores that hold the same data: what shares flights within a process."""

    def on_leftovers(self, tell: Callable[[], None]) -> None:
        """Have it called, from any thread, whenever the store says that there is something to sweep."""

    async def perform(self, effect: StoreEffect[A]) -> A:
        """Take one step, as `Store.perform`."""

    async def perform_all(self, effects: Sequence[StoreEffect[Any]]) -> list[Any]:
        """Take several steps, as `Store.perform_all`."""

    def scan(self, pattern: str) -> AsyncIterator[list[str]]:
        """The keys that match a glob pattern, a batch at a time."""

    async def aclose(self) -> None:
        """Let go of what belongs to the running loop; a later call opens it again."""
