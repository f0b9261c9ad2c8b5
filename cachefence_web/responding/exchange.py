"""What an adapter tells of one request: how its answers are taken apart, put together, made and sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.errors import ConfigurationError
from cachefence_web.http import Headers, Outcome, Request, Response, ResponsePolicy
from cachefence_web.http.policy import ResponseOptions
from cachefence_web.runtime.leading import AsyncLeading, Leading

V = TypeVar("V")

_OF_THE_POLICY = frozenset({"ttl", "stale_for", "stale_if_error", "jitter", "negative_ttl", "sliding"})


class ViewOptions(PolicyOptions, ResponseOptions, total=False):
    """What views, rules and declarations say about caching, as keyword arguments."""


def split(options: ViewOptions) -> tuple[ResponsePolicy, PolicyOptions]:
    """What is said of responses, and of entries.

    Raises:
        ConfigurationError: for what cannot work: unknown options too, and a life beside `freshness="headers"`.
    """
    http = {name: value for name, value in options.items() if name in ResponseOptions.__annotations__}
    core = {name: value for name, value in options.items() if name not in http}
    responses = ResponsePolicy(**cast("Any", http))
    Policy().but(core)
    if responses.by_headers and (idle := _OF_THE_POLICY.intersection(core)):
        raise ConfigurationError(
            f'with freshness="headers" the responses say how long they live: leave out {", ".join(sorted(idle))}')
    return responses, cast("PolicyOptions", core)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How responses are cached: how long, for which requests, and what they depend on from the start.

    debug_header: whether responses say what they depend on (see `telling`).
    """

    policy: Policy
    http: ResponsePolicy = field(default_factory=ResponsePolicy)
    tags: tuple[str, ...] = ()
    debug_header: bool = False


class Described(Protocol[V]):
    """One request, and how its adapter's answers are taken apart and put together.

    name: of the view, or of what else is cached here, for people.
    answers: exceptions by which a view answers (a 404, a redirect): they are the asker's, never shared.
    revalidates: whether `call` can show the view conditions of ours, so that a 304 may confirm what is stored.
    """

    request: Request
    answers: tuple[type[BaseException], ...]
    revalidates: bool

    @property
    def name(self) -> str: ...

    def head(self, answer: V) -> Response:
        """Status and header fields of any answer, a stream's too, without its body."""

    def describe(self, answer: V) -> Response | None:
        """The complete answer in neutral form; None if it is not at hand as a whole (a stream)."""

    def personal(self, answer: V | None) -> bool:
        """Whether making it (None: failing to) touched the user, the session or anything else of the one who asked."""

    def rebuild(self, response: Response) -> V:
        """The adapter's answer for a stored response."""

    def mark(self, answer: V, outcome: Outcome, told: Headers = ()) -> V:
        """The same answer, with its Cache-Status, and with fields that say more of it."""


class Exchange(Described[V], Protocol[V]):
    """For threads."""

    def call(self, leading: Leading | None, conditions: Headers = ()) -> V:
        """Run the view. Where it turns out early that the answer cannot be shared, say `leading.pass_by()`."""

    def again(self, leading: Leading, headers: Headers) -> V | None:
        """Run the view behind the visitor's back: the whole application is asked anew, by nobody in particular.

        headers: the fields of that request, and no others.

        None if the view was not reached.
        """

    def after(self, answer: V, run: Callable[[], None]) -> V:
        """The answer, with what is to be done once it has gone out."""


class AsyncExchange(Described[V], Protocol[V]):
    """For event loops."""

    def call(self, leading: AsyncLeading | None, conditions: Headers = ()) -> Awaitable[V]:
        """Run the view. Where it turns out early that the answer cannot be shared, say `await leading.pass_by()`."""

    def again(self, leading: AsyncLeading, headers: Headers) -> Awaitable[V | None]:
        """Run the view behind the visitor's back: the whole application is asked anew, by nobody in particular.

        headers: the fields of that request, and no others.

        None if the view was not reached.
        """

    def after(self, answer: V, run: Callable[[], Awaitable[None]]) -> V:
        """The answer, with what is to be done once it has gone out."""
