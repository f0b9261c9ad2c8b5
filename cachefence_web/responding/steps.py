"""What the way from a request to its answer asks for: steps of the cache's, and those that the adapter takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cachefence_web.core.effects import Effect
from cachefence_web.core.flight import Fitness, Landing, Lead, PassBy, Served
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Lease
from cachefence_web.http import Forward, Headers

Judge = Callable[[Served], Fitness]


class Begin(Effect[Served | Lead | PassBy], frozen=True):
    """Find the response, or the right to have it made."""

    key: str
    tags: tuple[str, ...]
    policy: Policy
    judge: Judge


class Peek(Effect[Served | None], frozen=True):
    """Find the response, and make nobody wait if there is none."""

    key: str
    policy: Policy
    judge: Judge


class Date(Effect[Lease | None], frozen=True):
    """A date for what is about to be made alone; None if the store is away."""


class Finish(Effect[Landing], frozen=True):
    """What is led has been made: store it."""

    payload: bytes
    life: Policy
    tags: tuple[str, ...]


class Fail(Effect[Landing], frozen=True):
    """What is led could not be made."""

    error: Exception
    life: Policy


class GiveUp(Effect[None], frozen=True):
    """What is led cannot be shared: let everybody ask for themselves."""


class Forget(Effect[None], frozen=True):
    """What is stored is not what the application answers any longer."""

    key: str


class Offer(Effect[bool], frozen=True):
    """Store what was made alone, since it may be shared after all."""

    key: str
    payload: bytes
    since: Lease
    life: Policy
    tags: tuple[str, ...]


class Told(Effect[Mapping[str, tuple[str, ...]]], frozen=True):
    """What was just made depends on, by tag, and where each tag came from, as far as it was recorded; for people.

    why: it is not stored, if it is not.
    """

    why: str | None = None


class Invalidate(Effect[None], frozen=True):
    """Let nobody be served what an unsafe request has changed; an outage is logged, for the request has succeeded."""

    tags: tuple[str, ...]


class Call(Effect[Any], frozen=True):
    """For the adapter: have the application answer. An Exception that it raises is thrown back.

    lead: for everybody; None: for this asker alone.
    conditions: what the application is to be asked with, in place of the client's own conditions.
    behind: the fields to ask with for nobody: the client has its answer. None while it waits.
    wanted: whether the answer is of use whole; otherwise only its head is looked at.
    why: the application is asked.
    """

    lead: Lead | None = None
    conditions: Headers = ()
    behind: Headers | None = None
    wanted: bool = False
    why: Forward = Forward.MISS


class Deliver(Effect[None], frozen=True):
    """For the adapter: this is the answer; what follows is done when it has gone out."""

    answer: Any


class Done(Effect[None], frozen=True):
    """For the adapter: the end. answer: None if it was delivered before."""

    answer: Any
