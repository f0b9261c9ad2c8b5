"""A response is dated before the first dependency reads anything: its lease is granted only after the last one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

from starlette.types import Scope

from cachefence_web import http
from cachefence_web.cache import AsyncCacheFence
from cachefence_web.core.recording import Recording
from cachefence_web.core.tags import Lease
from cachefence_web.errors import StoreUnavailable
from cachefence_web.http.asking import Allowed, answers_from_cache
from cachefence_web.runtime.recording import recording
from cachefence_web.starlette.declaring import Declaration
from cachefence_web.starlette.scopes import request_of

_DATES = "cachefence_web.dates"


@dataclass(frozen=True, slots=True)
class Dates:
    """When the dependencies of one request began, by the clock of each cache, and what they found to depend on.

    since: None if nothing can have been read before the lease.
    """

    told: list[Recording] = field(default_factory=list)
    since: dict[AsyncCacheFence, Lease | None] = field(default_factory=dict)


def dates_of(scope: Scope) -> Dates:
    """The dates of a request."""
    dates: Dates = scope.setdefault(_DATES, Dates())
    return dates


def may_be_led(scope: Scope, policy: http.ResponsePolicy) -> bool:
    """Whether an answer to this request may come to be stored here."""
    asked = answers_from_cache(request_of(scope), policy)
    return isinstance(asked, Allowed) and asked.fills


@asynccontextmanager
async def dated(declared: Declaration, scope: Scope, *, alone: bool = False) -> AsyncIterator[None]:
    """Date a request, and record what its dependencies depend on, until it ends.

    alone: there are no other dependencies, so the lease is early enough. A cache that is away leaves no date.
    """
    if not may_be_led(scope, declared.http):
        yield
        return
    fence, dates = declared.fence(scope), dates_of(scope)
    with suppress(StoreUnavailable):
        dates.since[fence] = None if alone else await fence.instant()
    held = ExitStack()
    dates.told.append(held.enter_context(recording(())))
    try:
        yield
    finally:
        # A route class may have run its handler in a task of its own; what was set there has ended with it.
        with suppress(ValueError):
            held.close()


def hand_on(told: Recording, to: Recording) -> None:
    """What a part depends on, the whole does too; a part that may not be stored spoils it."""
    to.absorb(told)
