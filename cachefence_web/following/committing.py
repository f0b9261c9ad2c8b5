"""Around a COMMIT: a fence over all that was written goes up in every cache right before, and comes down right after.

`before` may refuse the commit, where a cache is told to: then nothing was committed and no fence is left that matters.
`after` never raises: what is committed is committed. Each takes one round trip for each cache.

A cache that keeps an outbox and cannot be reached is `unheard`: between the two, its row is to be written in the
transaction; where that cannot be, `forgo` leaves the commit to this process's journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cachefence_web.asking import OnOutage
from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.cache.fenced import TRIES, AsyncFenced, Fenced
from cachefence_web.core.effects import Outcome
from cachefence_web.errors import StoreUnavailable
from cachefence_web.following.outbox import expect, keeps, refuses
from cachefence_web.runtime.engine import log


class Committing:
    """One commit, in a thread: `before()`, the COMMIT, `after(outcome)`.

    outbox: whether a row can be written in the transaction, by who asks what is `unheard` then.
    """

    def __init__(self, caches: Sequence[CacheFence], tags: tuple[str, ...], *, outbox: bool = False) -> None:
        self._caches, self._tags, self._outbox = caches, tags, outbox
        self._fenced: list[Fenced] = []
        self._unheard: list[CacheFence] = []

    @property
    def unheard(self) -> tuple[str, ...]:
        """The namespaces of the caches that are to be told by a row."""
        return _namespaces(self._unheard)

    def before(self, *, made: bool = False) -> None:
        """Raise the fences. made: the commit was made already, so that it is too late to refuse it.

        Raises:
            StoreUnavailable: the commit must not be made, for a cache that is told to refuse it cannot be reached.
        """
        self._raise(made=made)
        for _ in range(TRIES):
            if made or all(each.lasts for each in self._fenced):
                return
            self.after(Outcome.ROLLED_BACK)
            self._raise(made=False)

    def _raise(self, *, made: bool) -> None:
        for cache in self._caches if self._tags else ():
            by_row = self._outbox and keeps(cache)
            try:
                self._fenced.append(cache.fence_tags(*self._tags, on_outage=_unreached(cache, by_row, made)))
            except StoreUnavailable:
                if not by_row:
                    self.after(Outcome.ROLLED_BACK)
                    raise
                self._unheard.append(cache)
            except Exception:
                _unfenced(cache)

    def forgo(self) -> None:
        """No row can be written: what is unheard is remembered by this process alone."""
        unheard, self._unheard = self._unheard, []
        for cache in unheard:
            self._fenced.append(cache.fence_tags(*self._tags))

    def after(self, outcome: Outcome) -> None:
        """Take the fences down, and say how it ended."""
        fenced, self._fenced = self._fenced, []
        for each in fenced:
            try:
                each.lift(outcome)
            except Exception as error:
                _unlifted(each.tags, outcome, error)
        _kept(self._unheard, outcome)


class AsyncCommitting:
    """One commit, in an event loop: `await before()`, the COMMIT, `await after(outcome)`."""

    def __init__(self, caches: Sequence[AsyncCacheFence], tags: tuple[str, ...], *, outbox: bool = False) -> None:
        self._caches, self._tags, self._outbox = caches, tags, outbox
        self._fenced: list[AsyncFenced] = []
        self._unheard: list[AsyncCacheFence] = []

    @property
    def unheard(self) -> tuple[str, ...]:
        """The namespaces of the caches that are to be told by a row."""
        return _namespaces(self._unheard)

    async def before(self, *, made: bool = False) -> None:
        """Raise the fences, as `Committing.before`."""
        await self._raise(made=made)
        for _ in range(TRIES):
            if made or all(each.lasts for each in self._fenced):
                return
            await self.after(Outcome.ROLLED_BACK)
            await self._raise(made=False)

    async def _raise(self, *, made: bool) -> None:
        for cache in self._caches if self._tags else ():
            by_row = self._outbox and keeps(cache)
            try:
                self._fenced.append(
                    await cache.fence_tags(*self._tags, on_outage=_unreached(cache, by_row, made)))
            except StoreUnavailable:
                if not by_row:
                    await self.after(Outcome.ROLLED_BACK)
                    raise
                self._unheard.append(cache)
            except Exception:
                _unfenced(cache)

    async def forgo(self) -> None:
        """No row can be written, as `Committing.forgo`."""
        unheard, self._unheard = self._unheard, []
        for cache in unheard:
            self._fenced.append(await cache.fence_tags(*self._tags))

    async def after(self, outcome: Outcome) -> None:
        """Take the fences down, as `Committing.after`; to its end, even if the caller is cancelled meanwhile."""
        _kept(self._unheard, outcome)
        fenced, self._fenced = self._fenced, []
        cancelled: asyncio.CancelledError | None = None
        for each in fenced:
            lifting = asyncio.ensure_future(self._lift(each, outcome))
            while not lifting.done():
                try:
                    await asyncio.shield(lifting)
                except asyncio.CancelledError as error:
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    @staticmethod
    async def _lift(each: AsyncFenced, outcome: Outcome) -> None:
        try:
            await each.lift(outcome)
        except Exception as error:
            _unlifted(each.tags, outcome, error)


def tell(caches: Sequence[CacheFence], tags: tuple[str, ...], outcome: Outcome = Outcome.COMMITTED) -> None:
    """Make good a commit that nobody was told of before it was made; UNKNOWN: one that may still be under way."""
    told = Committing(caches, tags)
    told.before(made=True)
    told.after(outcome)


def _unreached(cache: CacheFence | AsyncCacheFence, by_row: bool, made: bool) -> OnOutage | None:
    """What becomes of a fence that cannot be raised; None: what the cache says."""
    if by_row:
        return "raise"
    return "journal" if made and refuses(cache) else None


def _namespaces(unheard: Sequence[CacheFence | AsyncCacheFence]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([cache.namespace for cache in unheard]))


def _kept(unheard: list[CacheFence] | list[AsyncCacheFence], outcome: Outcome) -> None:
    """What has a row is told by whoever finds it, of which only a commit leaves one."""
    for cache in unheard if outcome is not Outcome.ROLLED_BACK else ():
        expect(cache)
    unheard.clear()


def _unfenced(cache: CacheFence | AsyncCacheFence) -> None:
    log.exception("a commit could not be fenced in %r: what depends on it may be shown as it was", cache)


def _unlifted(tags: tuple[str, ...], outcome: Outcome, error: Exception) -> None:
    if outcome is not Outcome.ROLLED_BACK:
        log.error("a commit was made, and %s could not be told to the cache; the fence over it ends by itself: %s",
                  ", ".join(tags[:5]) + (", ..." if len(tags) > 5 else ""), error)
