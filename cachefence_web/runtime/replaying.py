"""A journal is told to its store batch by batch: what was told is struck out, so that a failure costs one batch."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from cachefence_web.core.effects import Clear, Delete, Expire, Fence, Invalidate, Lift, Outcome
from cachefence_web.core.journal import Journal
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.base import Store

TAGS_AT_ONCE = 1_000
KEYS_AT_ONCE = 250
"""In one round trip."""


def replay(store: Store, owed: Journal, is_closing: Callable[[], bool] = bool) -> None:
    """Tell it all; what was told is owed no more.

    is_closing: asked between two batches of keys; True ends it there.

    Raises:
        StoreUnavailable: if the store takes no more of it.
    """
    if owed.everything:
        store.perform(Clear())
        owed.everything = False
    for tags in _batches(owed.unsure, TAGS_AT_ONCE):
        token = secrets.token_hex(16)
        store.perform(Fence(tags, token, owed.life))
        store.perform(Lift(tags, token, Outcome.UNKNOWN))
        _strike(owed.unsure, tags)
    for tags in _batches(owed.tags, TAGS_AT_ONCE):
        store.perform(Invalidate(tags))
        _strike(owed.tags, tags)
    for tags in _batches(owed.expired, TAGS_AT_ONCE):
        store.perform(Expire(tags))
        _strike(owed.expired, tags)
    for keys in _batches(owed.keys, KEYS_AT_ONCE):
        _delete(store, keys)
        _strike(owed.keys, keys)
    for pattern in list(owed.patterns):
        for found in store.scan(pattern):
            _delete(store, found)
            if is_closing():
                raise StoreUnavailable("the cache was closed; what is left is told when it is used again")
        del owed.patterns[pattern]


def _delete(store: Store, keys: Sequence[str]) -> None:
    for answer in store.perform_all([Delete(key) for key in keys]):
        if isinstance(answer, StoreUnavailable):
            raise answer


def _batches(names: dict[str, None], size: int) -> list[tuple[str, ...]]:
    listed = list(names)
    return [tuple(listed[at:at + size]) for at in range(0, len(listed), size)]


def _strike(owed: dict[str, None], told: Sequence[str]) -> None:
    for name in told:
        owed.pop(name, None)
