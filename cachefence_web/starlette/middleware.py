"""Pure ASGI: what the application sends is held until it is known whether others may have it, then sent as it is.

Streams are held, not teed, up to a size: everybody waits for the first who asked, and must not wait for the line
that leads to him.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Unpack

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cachefence_web import http
from cachefence_web.cache import AsyncCacheFence
from cachefence_web.core.flight import Lead
from cachefence_web.core.policy import Policy, PolicyOptions
from cachefence_web.errors import ConfigurationError
from cachefence_web.http.message import lines
from cachefence_web.http.policy import CookieRule
from cachefence_web.responding import Rule as Settled
from cachefence_web.responding import afail, alook, asettle
from cachefence_web.runtime.leading import AsyncLeading
from cachefence_web.starlette.declaring import Cache, Declaration, Tags, fence_of, installed
from cachefence_web.starlette.scopes import personal, request_of, route_path, unconditional
from cachefence_web.starlette.views import LED, PERSONAL

MIB = 1024 * 1024


class Rule:
    """Which paths are cached, and how: `Rule("/books/{book_id:int}", ttl=60, tags=["book:{book_id}"])`.

    path: as routes are written, below the root path; `"/{rest:path}"` is every path.
    tags: templates of the path's parameters, or a function of them.
    vary_on, cookies: see ResponsePolicy.

    Raises:
        ConfigurationError: for what cannot work.
    """

    def __init__(
        self,
        path: str,
        *,
        tags: Tags = (),
        vary_on: Iterable[str] = (),
        cookies: CookieRule = "bypass",
        policy: str | Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> None:
        if not str(path).startswith("/"):
            raise ConfigurationError(f"a rule's path begins with a slash, as in '/books/{{book_id}}', not {path!r}")
        try:
            self._pattern, _, self._convertors = compile_path(path)
        except (AssertionError, TypeError, ValueError) as broken:
            raise ConfigurationError(f"{path!r} is no path of a route: {broken}") from None
        self.declared = Declaration(None, tags, policy, options, vary_on=vary_on, cookies=cookies)
        self.declared.check_fields(list(self._convertors), f"the path {path!r}")

    def match(self, scope: Scope, fence: AsyncCacheFence) -> Settled | None:
        """What applies to a request, if this rule does."""
        found = self._pattern.match(route_path(scope))
        if found is None:
            return None
        values = {name: self._convertors[name].convert(text) for name, text in found.groupdict().items()}
        return self.declared.rule(fence, values)


class CacheMiddleware:
    """Answers what its rules name from the cache; the first rule that matches counts, all else passes untouched.

    cache: a cache, or the URL of one, which is then closed when the application shuts down; the application's
        (see `install`) if it is not given.
    largest: bytes; a longer body is passed on, not stored.
    """

    def __init__(
        self, app: ASGIApp, cache: Cache | str | None = None, *, rules: Iterable[Rule], largest: int = MIB
    ) -> None:
        self.app = app
        self._own = AsyncCacheFence(cache) if isinstance(cache, str) else None
        self._fence = self._own or (None if cache is None else fence_of(cache))
        self._rules = _checked(rules)
        if self._fence is not None:
            for rule in self._rules:
                rule.declared.policy(self._fence)
        self._largest = _size(largest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._respond(scope, receive, send)
        elif scope["type"] == "lifespan" and self._own is not None:
            await self._live(self._own, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        fence = self._fence or installed(scope)
        rule = None if scope.get(LED) else next(filter(None, (rule.match(scope, fence) for rule in self._rules)), None)
        if rule is None:
            await self.app(scope, receive, send)
        else:
            await _Responder(self.app, scope, receive, send, rule, self._largest).respond(fence)

    async def _live(self, fence: AsyncCacheFence, scope: Scope, receive: Receive, send: Send) -> None:
        async def closing(message: Message) -> None:
            # The server may end the loop as soon as it has heard this.
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await fence.aclose()
            await send(message)

        await self.app(scope, receive, closing)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response; body: None for one whose rest is not known, or not wanted."""

    head: http.Response
    body: bytes | None


class _Responder:
    """One request: an exchange whose answers are ASGI messages."""

    answers: tuple[type[BaseException], ...] = ()

    def __init__(
        self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, rule: Settled, largest: int
    ) -> None:
        self.request = request_of(scope)
        self._app, self._scope, self._receive, self._send = app, scope, receive, send
        self._rule = rule
        self._largest = largest
        self._leading: AsyncLeading | None = None
        self._start: Message | None = None
        self._held: list[bytes] = []
        self._size = 0

    async def respond(self, fence: AsyncCacheFence) -> None:
        begun: _Answer | http.Forwarded | Lead = PERSONAL
        if not personal(self._scope):
            begun = await alook(fence, self, self._rule)
        if isinstance(begun, _Answer):
            await self._deliver(begun)
        elif isinstance(begun, Lead):
            async with fence.leading(begun) as self._leading:
                self._scope[LED] = True
                try:
                    with unconditional(self._scope):
                        await self._app(self._scope, self._receive, self._hold)
                except Exception as error:
                    # Until the answer is let go or delivered, nothing of it was sent.
                    if self._leading is None:
                        raise
                    await self._deliver(await afail(self, error, self._leading))
                    return
                # An application that returns before its response is whole has been cut short: somebody else leads.
                await self._flush()
        else:
            self._forwarded = begun
            await self._app(self._scope, self._receive, self._mark)

    async def _hold(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
            if self._is_hopeless(message):
                await self._let_go()
        elif self._leading is None or self._start is None:
            # After the answer was let go; or before it, such as early hints.
            await self._send(message)
        elif kind != "http.response.body":
            # A file by its path, trailers, or what is yet to be invented.
            await self._let_go()
            await self._send(message)
        else:
            await self._keep(message)

    async def _keep(self, message: Message) -> None:
        body = message.get("body", b"")
        self._size += len(body)
        if self._size > self._largest:
            await self._let_go()
            await self._send(message)
            return
        self._held.append(bytes(body))
        if not message.get("more_body", False):
            assert self._leading is not None
            assert self._start is not None
            whole = _Answer(_head(self._start), b"".join(self._held))
            leading, self._leading, self._held = self._leading, None, []
            await self._deliver(await asettle(self, whole, self._rule, leading))

    def _is_hopeless(self, start: Message) -> bool:
        """Whether nothing that follows can make it fit for sharing."""
        head = _head(start)
        lengths = [int(line) for line in lines(head.headers, b"content-length") if line.isdigit()]
        if start.get("trailers", False) or any(length > self._largest for length in lengths):
            return True
        judged = http.storable(self.request, _without_length(head), self._rule.http, personal=personal(self._scope))
        return isinstance(judged, http.Refused)

    async def _let_go(self) -> None:
        """Send what is held, as it is, and from now on whatever comes."""
        assert self._leading is not None
        assert self._start is not None
        leading, self._leading = self._leading, None
        given = await asettle(self, _Answer(_head(self._start), None), self._rule, leading)
        await self._send({**self._start, "headers": list(given.head.headers)})
        await self._flush_body()

    async def _flush(self) -> None:
        if self._leading is not None and self._start is not None:
            await self._send(self._start)
            await self._flush_body()

    async def _flush_body(self) -> None:
        held, self._held = self._held, []
        for body in held:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _deliver(self, answer: _Answer) -> None:
        await self._send({
            "type": "http.response.start", "status": answer.head.status, "headers": list(answer.head.headers)})
        await self._send({"type": "http.response.body", "body": answer.body or b"", "more_body": False})

    async def _mark(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            marked = self.mark(_Answer(_head(message), None), self._forwarded)
            message = {**message, "headers": list(marked.head.headers)}
        await self._send(message)

    def describe(self, answer: _Answer) -> http.Response | None:
        """The whole answer; of one that is let go its head, for the reason, unless the head was not the reason."""
        if answer.body is not None:
            return replace(answer.head, body=answer.body)
        head = _without_length(answer.head)
        judged = http.storable(self.request, head, self._rule.http, personal=personal(self._scope))
        return head if isinstance(judged, http.Refused) else None

    def personal(self, answer: _Answer | None) -> bool:  # noqa: ARG002
        """Whether a session or a user is involved."""
        return personal(self._scope)

    def rebuild(self, response: http.Response) -> _Answer:
        """The messages of a stored response."""
        return _Answer(response, response.body)

    def mark(self, answer: _Answer, outcome: http.Outcome) -> _Answer:
        """The same, with its Cache-Status."""
        head = answer.head
        return replace(answer, head=replace(
            head, headers=(*head.headers, (b"cache-status", http.cache_status(outcome)))))


def _size(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ConfigurationError(f"largest is a number of bytes, not {given!r}")
    return given


def _checked(rules: object) -> tuple[Rule, ...]:
    given = tuple(rules) if isinstance(rules, Iterable) else ()
    if not given or not all(isinstance(rule, Rule) for rule in given):
        raise ConfigurationError(f"rules is a list of Rule(path, ttl=...), at least one, not {rules!r}")
    return given


def _head(start: Message) -> http.Response:
    return http.Response(start["status"], tuple([(name, value) for name, value in start.get("headers", ())]), b"")


def _without_length(head: http.Response) -> http.Response:
    return replace(head, headers=tuple([line for line in head.headers if line[0].lower() != b"content-length"]))
