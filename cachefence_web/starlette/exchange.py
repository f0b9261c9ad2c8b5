"""One request to something that makes a Response: how it is made, anew behind a visitor's back too, and marked."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import Any, Self

from anyio import CancelScope
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cachefence_web import http
from cachefence_web.http.outcome import Forward, Forwarded, Reason
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.leading import AsyncLeading
from cachefence_web.starlette.layers import Reach
from cachefence_web.starlette.refreshing import anew, ask, whole
from cachefence_web.starlette.scopes import personal, request_of, unconditional

PERSONAL = Forwarded(Forward.BYPASS, detail=Reason.PERSONAL)

REFRESH = "cachefence_web.refresh"
"""Set in the scope of a request that is made behind a visitor's back: the Refresh that it is made for."""


class Refresh:
    """A response that is made behind a visitor's back, from the word to make it to what came of it.

    made_by: the exchange of the request that came to where it was asked for.
    """

    def __init__(self, leading: AsyncLeading, request: http.Request) -> None:
        self._leading, self._asked = leading, request
        self._error: Exception | None = None
        self._answer: Response | None = None
        self.made_by: ResponseExchange | None = None

    @classmethod
    def of(cls, scope: Scope, request: http.Request) -> Refresh | None:
        """What this request is made for, if it has come to where that was asked for."""
        refresh = scope.get(REFRESH)
        if not isinstance(refresh, cls) or refresh._asked.raw_path != request.raw_path:
            return None
        del scope[REFRESH]
        return refresh

    async def led(self, exchange: ResponseExchange) -> Response:
        """Have the Response made, and keep it."""
        self.made_by = exchange
        try:
            self._answer = await exchange.call(self._leading)
        except Exception as error:
            self._error = error
            raise
        return self._answer

    @property
    def is_whole(self) -> bool:
        """Whether an answer was made of which something can be kept."""
        return self._answer is not None and self.made_by is not None and self.made_by.describe(self._answer) is not None

    def answer(self) -> Response | None:
        """What was made; None if the request did not come there.

        Raises:
            What making it has raised.
        """
        if self._error is not None:
            raise self._error
        return self._answer


class Dropped(BaseException):  # not an Exception: it is no failure of the page
    """Nobody will make the response that was to be made behind an answer: somebody else may."""


class Followed(Response):
    """An answer of whatever kind with something to be done when it has gone out, and in any case to be ended.

    It looks like the answer, and changes made to it are the answer's.
    last: what is to be done comes after the answer's own background tasks too, whatever becomes of them.
    """

    sent: bool
    _answer: Response
    _run: Callable[[], Awaitable[None]] | None
    _drop: Callable[[], None]
    _last: bool
    _loop: asyncio.AbstractEventLoop

    def __init__(
        self, answer: Response, run: Callable[[], Awaitable[None]], drop: Callable[[], None], *, last: bool = False
    ) -> None:
        own = self.__dict__
        own["_answer"], own["media_type"], own["sent"] = answer, answer.media_type, False
        own["_run"], own["_drop"], own["_last"] = run, drop, last
        own["_loop"] = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        if "_answer" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._answer, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            self.__dict__[name] = value
        else:
            setattr(self._answer, name, value)

    def __copy__(self) -> Followed:
        """A copy of the answer, which is followed in this one's place."""
        answer = copy.copy(self._answer)
        answer.__dict__.pop("_headers", None)
        run, self._run = self._run, None
        return Followed(answer, run or _nothing, self._drop, last=self._last)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, do what follows, then what the framework has put behind it; who is gone is followed by nothing."""
        run, self._run = self._run, None
        background = None
        if not self._last:
            background, self._answer.background = self._answer.background, None
        try:
            await self._answer(scope, receive, send)
            self.sent = True
        except BaseException:
            self._drop()
            raise
        finally:
            if run is not None:
                with CancelScope(shield=self._last):
                    await ended(run)
        if background is not None:
            await background()

    def __del__(self) -> None:
        """One that was never sent, for something outside has answered in its place."""
        run = self.__dict__.get("_run")
        if run is not None and not self._loop.is_closed():
            self._drop()
            self._loop.call_soon_threadsafe(_begin, self._loop, run)


class ResponseExchange:
    """One request to something that makes a Response.

    answers: all exceptions for which the application has a handler: what the handler makes of them is the answer.
    reach: what is known of refreshes of this endpoint.
    """

    revalidates = False

    def __init__(
        self, scope: Scope, make: Callable[[], Awaitable[Response]], reach: Reach
    ) -> None:
        self.request = request_of(scope)
        self.answers = handled(scope)
        self.made: Response | None = None
        self._reach = reach
        self._scope = scope
        self._make = make
        self._dropped = False

    async def call(self, leading: AsyncLeading | None, conditions: http.Headers = ()) -> Response:
        """Have the Response made; it is remembered for the background tasks that it carries."""
        with unconditional(self._scope, conditions) if leading is not None else nullcontext():
            self.made = await self._make()
        return self.made

    async def again(self, leading: AsyncLeading, headers: http.Headers = ()) -> Response | None:
        """Ask the whole application anew, dependencies and middleware of its own included."""
        if self._dropped:
            raise Dropped
        refresh = Refresh(leading, self.request)
        app, scope = whole(self._scope)
        try:
            await ask(app, anew(scope, headers, {REFRESH: refresh}), needless=lambda: not refresh.is_whole)
        except Exception as error:
            if refresh.answer() is None:
                raise
            log.warning("a page was refreshed, and what came after its answer failed", exc_info=error)
        if refresh.made_by is None:
            self._reach.missed()
        else:
            self._become(refresh.made_by)
        return refresh.answer()

    def _become(self, other: Self) -> None:
        """Judge the answer by the request that it was made for."""
        self._scope = other._scope

    def after(self, answer: Response, run: Callable[[], Awaitable[None]]) -> Response:
        """The answer, with what is to be done once it has gone out."""
        return Followed(answer, run, self._drop, last=self.request.method not in ("GET", "HEAD"))

    def _drop(self) -> None:
        self._dropped = True

    def head(self, answer: Response) -> http.Response:
        """Status and fields, as they are before it is sent."""
        return http.Response(answer.status_code, tuple(answer.raw_headers), b"")

    async def pass_by(self) -> Response:
        """The Response for somebody who is known: what is stored was made for those who are not."""
        return self.mark(await self.call(None), PERSONAL)

    def describe(self, answer: Response) -> http.Response | None:
        """The Response as a value, unless its body is made while it is sent."""
        body = getattr(answer, "body", None)
        if not isinstance(body, bytes | memoryview) or isinstance(answer, StreamingResponse | FileResponse):
            return None
        return http.Response(answer.status_code, tuple(answer.raw_headers), bytes(body))

    def personal(self, answer: Response | None) -> bool:  # noqa: ARG002
        """Whether a session or a user is involved."""
        return personal(self._scope)

    def rebuild(self, response: http.Response) -> Response:
        """A Response that sends exactly this."""
        answer = Response(response.body, response.status, background=self.made.background if self.made else None)
        answer.raw_headers = list(response.headers)
        return answer

    def mark(self, answer: Response, outcome: http.Outcome, told: http.Headers = ()) -> Response:
        """A copy, for an endpoint may return the same Response to everybody."""
        marked = copy.copy(answer)
        marked.__dict__.pop("_headers", None)
        marked.raw_headers = [*answer.raw_headers, (b"cache-status", http.cache_status(outcome)), *told]
        return marked

    @property
    def name(self) -> str:
        """The endpoint's; FastAPI's routes have one for each method."""
        endpoint = self._scope.get("endpoint")
        return getattr(endpoint, "__qualname__", None) or type(endpoint).__qualname__


def handled(scope: Scope) -> tuple[type[BaseException], ...]:
    """The exceptions by which the application answers: those that it has a handler for, by kind."""
    kinds, _ = scope.get("starlette.exception_handlers", ({}, {}))
    return (HTTPException, *[kind for kind in kinds if isinstance(kind, type) and kind is not Exception])


async def ended(run: Callable[[], Awaitable[None]]) -> None:
    """Do what follows an answer, or give it up if it was dropped."""
    with suppress(Dropped):
        await run()


async def _nothing() -> None: ...


def _begin(loop: asyncio.AbstractEventLoop, run: Callable[[], Awaitable[None]]) -> None:
    ending = loop.create_task(ended(run))
    _ending.add(ending)
    ending.add_done_callback(_ending.discard)


_ending: set[asyncio.Task[None]] = set()
