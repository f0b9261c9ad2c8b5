"""What a transaction has made untrue, and how the cache is told once it is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy.util import await_only

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.engine import log

_AT_ONCE = 1_000
"""Tags in one invalidation; a transaction of more takes several."""


@dataclass(slots=True)
class Changes:
    """What one transaction, or one savepoint of it, has made untrue so far."""

    tags: dict[str, None] = field(default_factory=dict)
    everything: bool = False

    def add(self, inner: Changes) -> None:
        self.tags.update(inner.tags)
        self.everything |= inner.everything

    def batches(self) -> Iterable[tuple[str, ...]]:
        tags = iter(self.tags)
        while batch := tuple(islice(tags, _AT_ONCE)):
            yield batch


def tell(fence: CacheFence | AsyncCacheFence, changes: Changes, *, on_loop: bool, committed: bool) -> None:
    """Invalidate what has changed.

    on_loop: the caller runs in a greenlet of SQLAlchemy's asyncio, whose event loop is not to be held up.
    committed: False if the COMMIT has failed, which a database may have heard all the same.

    Raises:
        StoreUnavailable: after a commit, if the store cannot be reached and the cache is told to raise.
    """
    if changes.everything:
        log.warning("rows changed by a statement, of a model without a plain tag: everything is invalidated. Give"
                    " the model one, as in {Post: ['post:{id}', 'post']}, and the entries that depend on it too")
    try:
        if on_loop:
            face = fence if isinstance(fence, AsyncCacheFence) else fence.aio
            await_only(_to_its_end(_tell(face, changes)))
        else:
            _tell_now(fence if isinstance(fence, CacheFence) else fence.sync, changes)
    except StoreUnavailable as error:
        if committed:
            raise StoreUnavailable(
                "the transaction is committed, but the cache could not be told: repeat invalidate_tags("
                f"{', '.join(map(repr, islice(changes.tags, 5)))}{', ...' if len(changes.tags) > 5 else ''}), not the"
                f" transaction. {error}") from error
        log.error("a COMMIT has failed, and what it may have changed could not be invalidated: %s", error)


def _tell_now(fence: CacheFence, changes: Changes) -> None:
    if changes.everything:
        fence.invalidate_all()
    for tags in () if changes.everything else changes.batches():
        fence.invalidate_tags(*tags)


async def _tell(fence: AsyncCacheFence, changes: Changes) -> None:
    if changes.everything:
        await fence.invalidate_all()
    for tags in () if changes.everything else changes.batches():
        await fence.invalidate_tags(*tags)


async def _to_its_end(work: Awaitable[None]) -> None:
    """Await it even if the caller is cancelled meanwhile: the rows are committed, so this must not be lost."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
