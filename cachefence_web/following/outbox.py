"""A commit that a cache cannot be told to expect leaves a row in its own transaction: it is there iff that committed.

Who finds the store back tells it the rows and removes them in one transaction, so that each is told at least once. Told
twice, it forbids no more than was asked for. While a row is there that another is about to tell, nobody is done.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol, TypeAlias
from uuid import uuid4

from cachefence_web.cache import AsyncCacheFence, CacheFence
from cachefence_web.core.effects import Clear, Invalidate
from cachefence_web.core.fencing import AT_ONCE
from cachefence_web.runtime.outboxes import Busy, Drain
from cachefence_web.stores.base import Store

TABLE = "cachefence_outbox"
ID, NAMESPACE, TAGS = "id", "namespace", "tags"
"""Its columns: a name that nobody else has given, the cache's namespace, and a list of tags in JSON."""

MOST = 100
"""Rows told in one transaction."""

Cache: TypeAlias = CacheFence | AsyncCacheFence
Row: TypeAlias = tuple[str, str]
"""Its id and its tags."""


class Rows(Protocol):
    """A look into the outbox of one database, on a connection of its own."""

    def some(self, namespace: str, most: int) -> Sequence[Row]:
        """Rows of a cache that nobody else is telling, locked until `ended` if the database can."""

    def any(self, namespace: str) -> bool:
        """Whether there are rows of it at all."""

    def forget(self, ids: Sequence[str]) -> None:
        """Remove these."""

    def ended(self) -> None:
        """Commit what was removed."""


def rows_for(namespaces: Iterable[str], tags: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """The rows that tell caches of a commit: id, namespace, tags."""
    return [(uuid4().hex, namespace, json.dumps(tags, ensure_ascii=True)) for namespace in namespaces]


def drained(rows: Rows, namespace: str, stores: Sequence[Store]) -> int:
    """Tell the stores of a namespace what waits for them; how many rows that were.

    Raises:
        StoreUnavailable: one of them is away; what was told to all is removed.
        Busy: somebody else is telling the rest.
    """
    told = 0
    while some := rows.some(namespace, MOST):
        _tell(stores, [tags for _, tags in some])
        rows.forget([row for row, _ in some])
        rows.ended()
        told += len(some)
    rows.ended()
    if rows.any(namespace):
        raise Busy(f"another process is telling what waits in the table {TABLE}; this one looks again")
    return told


def attach(cache: Cache, name: Hashable, drain: Drain) -> None:
    """From now on the process looks there before it reads from the cache's store: now, and after each outage."""
    terms = cache._terms
    if not terms.store.identity.startswith("memory:"):  # which is never away
        terms.engine.outage.attach(name, drain, terms.store, terms.fence_life)


def detach(cache: Cache, name: Hashable) -> None:
    """No longer."""
    cache._terms.engine.outage.detach(name)


def expect(cache: Cache) -> None:
    """A row was committed for this cache: it is told before the process reads from the store again."""
    cache._terms.engine.outage.expect(kept=True)


def keeps(cache: Cache) -> bool:
    """Whether the cache is to be told by rows."""
    return cache._terms.on_outage == "outbox"


def refuses(cache: Cache) -> bool:
    """Whether a commit is not to be made that the cache cannot be told to expect."""
    return cache._terms.on_outage in ("refuse", "raise")


def stores_of(caches: Iterable[Cache], namespace: str) -> list[Store]:
    """The stores of those that the rows of a namespace are for, each once."""
    stores = [cache._terms.store for cache in caches if cache.namespace == namespace]
    return list({store.identity: store for store in stores}.values())


def _tell(stores: Sequence[Store], rows: Sequence[str]) -> None:
    tags: dict[str, None] = {}
    everything = False
    for row in rows:
        found = _tags_of(row)
        everything |= found is None
        tags.update(dict.fromkeys(found or ()))
    named = tuple(tags)
    for store in stores:
        if everything:
            store.perform(Clear())
        for start in range(0, len(named), AT_ONCE):
            store.perform(Invalidate(named[start:start + AT_ONCE]))


def _tags_of(row: str) -> list[str] | None:
    """None for a row that is none of ours, and may mean anything."""
    try:
        found = json.loads(row)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(tag, str) for tag in found) else None
