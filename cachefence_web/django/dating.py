"""How old what a fragment shows may be: as old as the request, or as the outermost compute around the fragment.

A compute around it on the same store has a lease, which is a date. A request has none, as it has asked no store for
one: it has a beginning on this machine's clock, and the epochs that this process had met by then. Where the lease of
a fragment is of another epoch, everything was cleared since, perhaps after the data was loaded: it is not stored.
Every estimate errs towards the earlier date, which is always a safe one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import SyncToAsync
from django.core.cache import caches
from django.core.signals import request_finished, request_started
from django.template import Context

from cachefence_web.cache import CacheFence
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import Instant, Lease
from cachefence_web.django.alias import Alias, store_of
from cachefence_web.django.standins import scope_of
from cachefence_web.runtime.recording import Scope, current, gather, gather_through
from cachefence_web.stores.memory import now_in_microseconds

DRIFT = 1000
"""Microseconds, and the share of the elapsed time that is one, by which two clocks are taken to differ."""

_MARK = "cachefence.began"
"""Where an ASGI scope holds it: what a signal's receiver sets in its own task, Django forgets. So it is found by the
block around the request as well, which Django's test client does not make.
"""

_NEVER = Instant(0)


@dataclass(frozen=True, slots=True)
class Began:
    """The beginning of a request.

    at: microseconds of this machine's monotonic clock.
    epochs: that of each store that this process had met by then, by the store's identity.
    gathered: what it has read since, if that is recorded.
    """

    at: int
    epochs: Mapping[str, int]
    gathered: Recording | None = None


def gather_from_now_on() -> None:
    """There are fragments outside of cached views: what requests load for such is to be recorded from their start,
    which costs some microseconds for each statement, and so is done for nobody else.
    """
    global _gathers  # noqa: PLW0603 (the process learns it once)
    if not _gathers:
        _gathers = True
        gather_through(_gathered_by_the_task)


def has_begun(context: Context) -> bool:
    """Whether there is a request for which this is rendered, as far as that is known."""
    return _began_at(context) is not None


def watch_requests() -> None:
    """Note when requests begin, until they end."""
    request_started.connect(_note_beginning, dispatch_uid=__name__)
    request_finished.connect(_note_end, dispatch_uid=__name__)


def fragments_alias() -> str:
    """The alias of CACHES for fragments that name none."""
    return "template_fragments" if "template_fragments" in caches.settings else "default"


def date_of(own: Lease, store: str, context: Context) -> Lease | None:
    """The date of what a fragment shows that is rendered now under a lease of its own; None if that is its date."""
    earliest: int = own.instant
    scope = current()
    while scope is not None:
        lease = _lease_on(scope, store)
        if lease is not None and lease.epoch != own.epoch:
            return lease
        earliest = min(earliest, _before(own, scope.began) if lease is None else lease.instant)
        scope = scope.outer
    began = _began_at(context)
    known = None if began is None else began.epochs.get(store)
    learn(store, own)
    if began is not None:
        if known != own.epoch:
            return Lease(_NEVER, own.epoch if known is None else known)
        earliest = min(earliest, _before(own, began.at))
    return None if earliest == own.instant else Lease(Instant(max(_NEVER, earliest)), own.epoch)


def learn(store: str, met: Lease | None) -> None:
    """Remember the epoch of a store, for the requests that are still to begin."""
    global _epochs  # noqa: PLW0603 (replaced as a whole: a request keeps the one it began with)
    if met is not None and _epochs.get(store) != met.epoch:
        _epochs = {**_epochs, store: met.epoch}


def _lease_on(scope: Scope, store: str) -> Lease | None:
    return scope.lease if scope.store == store else None


def _before(own: Lease, began: int) -> int:
    """The instant at which something began, on the clock of a lease that was granted just now."""
    elapsed = now_in_microseconds() - began
    return own.instant - elapsed - elapsed // DRIFT - DRIFT


def _began_at(context: Context) -> Began | None:
    """When the request began for which this is rendered, if it is known."""
    if (began := _began.get() or _of_the_task()) is not None:
        return began
    request = getattr(context, "request", None) or context.get("request")
    found: Began | None = scope_of(request).get(_MARK)
    return found


def _meet(alias: str) -> None:
    """Ask a store for its epoch, if this process never has; once, for one that is away is met when it is back."""
    try:
        backend = caches[alias]
        if not isinstance(backend, Alias):
            return
        fence: CacheFence = backend.fence
        _ask(fence, store_of(fence).identity)
    except Exception:
        return  # whatever is wrong with the alias is told where it is used


def _ask(fence: CacheFence, store: str) -> None:
    """The first asks; those who come meanwhile wait for its answer, as they would for their own."""
    answered = threading.Event()
    # Setting a default is atomic, so there is no lock that a thread could hold while the process forks.
    first = _asked.setdefault(store, answered)
    if first is not answered:
        first.wait()
        return
    try:
        learn(store, fence.instant())
    finally:
        answered.set()


def _forget_the_unanswered() -> None:
    """A forked child has none of the threads that were asking: it asks itself."""
    for store in [store for store, answered in _asked.items() if not answered.is_set()]:
        del _asked[store]


def _note_beginning(*, scope: dict[str, Any] | None = None, **_: object) -> None:
    _meet(fragments_alias())
    began = Began(now_in_microseconds(), _epochs, Recording() if _gathers else None)
    _began.set(began)
    gather(began.gathered)
    if scope is not None:
        scope[_MARK] = began
        if (around := _around()) is not None:
            _note_the_only(around, began)


def _note_the_only(around: object, began: Began) -> None:
    """Where somebody puts one such block around several requests, nobody knows which of them a statement is for."""
    other = _in_blocks.get(around)
    if other is None:
        _in_blocks[around] = began
    else:
        _in_blocks[around] = Began(min(other.at, began.at), other.epochs)


def _note_end(**_: object) -> None:
    _began.set(None)
    gather(None)
    if (around := _around()) is not None:
        _in_blocks.pop(around, None)


def _around() -> object | None:
    """The block that Django's ASGI handler puts around each request, to have its synchronous code in one thread."""
    found: object | None = _blocks.get(None)
    return found


def _of_the_task() -> Began | None:
    around = _around()
    return None if around is None else _in_blocks.get(around)


def _gathered_by_the_task() -> Recording | None:
    began = _of_the_task()
    return None if began is None else began.gathered


_gathers = False
_began: ContextVar[Began | None] = ContextVar("cachefence_request_began", default=None)
_blocks: ContextVar[Any] = SyncToAsync.thread_sensitive_context
_in_blocks: WeakKeyDictionary[object, Began] = WeakKeyDictionary()
_epochs: Mapping[str, int] = {}
_asked: dict[str, threading.Event] = {}

os.register_at_fork(after_in_child=_forget_the_unanswered)
