"""The origin that the public caching suite asks: it answers as the suite told it to, and remembers what it was asked.

It is an ordinary Starlette application. `PUT /config/ID` brings a list of answers, `/test/ID` gives one after the
other, `GET /state/ID` tells which requests arrived. Nothing here decides about caching.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

Step = dict[str, Any]
Header = tuple[str, str]

DATES = frozenset({"date", "expires", "last-modified", "if-modified-since", "if-unmodified-since"})
LOCATIONS = frozenset({"location", "content-location"})
EMPTY = frozenset({204, 304})
NOT_CONDITIONAL = 999
"""What the suite takes for: this request should have been conditional."""


class Disconnected(Exception):
    """The step says that the origin breaks down."""


@dataclass(slots=True)
class Exchange:
    """One test's answers, and the requests that came for them."""

    steps: list[Step]
    seen: list[dict[str, Any]] = field(default_factory=list)


class Origin:
    """An endpoint for every path and method; dated: whether it gives each answer a Date, as some servers do."""

    def __init__(self, *, dated: bool) -> None:
        self._dated = dated
        self._exchanges: dict[str, Exchange] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        kind, _, rest = request.url.path.lstrip("/").partition("/")
        name = rest.partition("/")[0]
        response: Response
        if kind == "health":
            response = PlainTextResponse("well")
        elif kind == "config" and request.method == "PUT":
            self._exchanges[name] = Exchange(json.loads(await request.body()))
            response = PlainTextResponse("kept", 201)
        elif name not in self._exchanges:
            response = PlainTextResponse(f"nothing is known of {name}", 409)
        elif kind == "state":
            response = JSONResponse(self._exchanges[name].seen, headers={"cache-control": "no-store"})
        else:
            await request.body()
            response = await self._answer(request, name, self._exchanges[name], send)
        await response(scope, receive, send)

    async def _answer(self, request: Request, name: str, exchange: Exchange, send: Send) -> Response:
        count = len(exchange.seen) + 1
        asked = request.headers.get("req-num", "")
        number = int(asked) if asked.isdigit() else count
        if number > len(exchange.steps):
            return PlainTextResponse(f"there is no answer {number}", 409)
        step = exchange.steps[number - 1]
        if "http.response.early_hint" in request.scope.get("extensions", {}):
            for _, headers in step.get("interim_responses", []):
                links = [value.encode() for field, value in headers if field.lower() == "link"]
                await send({"type": "http.response.early_hint", "links": links})
        status = _status(request, step, exchange.steps[number - 2] if number > 1 else {})
        now = time.time()
        fixed = [
            ("server-base-url", _target(request)), ("server-request-count", str(count)),
            ("client-request-count", asked), ("server-now", str(int(now * 1000))),
        ]
        configured = _configured(step, now, _target(request))
        exchange.seen.append({
            "request_num": number, "request_method": request.method,
            "request_headers": _joined(request.headers.items()),
            "response_headers": list(_checked(step, configured).items()),
            "status": status, "sent": configured,
        })
        numbers = " ".join(str(each["request_num"]) for each in exchange.seen)
        if step.get("disconnect"):
            raise Disconnected(name)
        body = b"" if status in EMPTY else (step.get("response_body") or name).encode()
        return self._response(status, [*fixed, *configured, ("request-numbers", numbers)], body, now)

    def _response(self, status: int, headers: list[Header], body: bytes, now: float) -> Response:
        names = {header for header, _ in headers}
        if "content-type" not in names:
            headers.append(("content-type", "text/plain"))
        if self._dated and "date" not in names:
            headers.append(("date", formatdate(now, usegmt=True)))
        if "content-length" in names:
            # A body longer than was declared never gets past the servers of Python; past others' it is cut.
            declared = next(value for header, value in headers if header == "content-length")
            body = body[:int(declared)] if declared.isdigit() else body
        elif status not in EMPTY and "transfer-encoding" not in names:
            headers.append(("content-length", str(len(body))))
        response = Response(body, status)
        response.raw_headers = [(header.encode("latin-1"), value.encode("latin-1")) for header, value in headers]
        return response


def _status(request: Request, step: Step, previous: Step) -> int:
    """The status; for a step that wants a conditional request, whether this was one."""
    if not step.get("expected_type", "").endswith("validated"):
        return int(step.get("response_status", [200])[0])
    known = {name.lower(): value for name, value, *_ in previous.get("response_headers", [])}
    for validator, condition in (("last-modified", "if-modified-since"), ("etag", "if-none-match")):
        if known.get(validator) and request.headers.get(condition) == known[validator]:
            return 304
    return NOT_CONDITIONAL


def _configured(step: Step, now: float, target: str) -> list[Header]:
    """The step's header lines; a date given as seconds from now is kept in the step, for the next one to compare."""
    for header in step.get("response_headers", []):
        name = header[0].lower()
        if name in DATES and isinstance(header[1], int):
            header[1] = _date(now + header[1], obsolete=name in step.get("rfc850date", []))
        elif name in LOCATIONS and step.get("magic_locations"):
            header[1] = f"{target}/{header[1]}" if header[1] else target
    return [(name.lower(), str(value)) for name, value, *_ in step.get("response_headers", [])]


def _checked(step: Step, configured: list[Header]) -> dict[str, str | list[str]]:
    """What the client has to find in the answer: each line that is not marked as not to be looked at."""
    wanted: dict[str, str | list[str]] = {}
    for name, _, *checked in step.get("response_headers", []):
        if not checked or checked[0] is True:
            values = [value for header, value in configured if header == name.lower()]
            wanted[name] = values if len(values) > 1 else values[0]
    return wanted


def _joined(headers: list[Header]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _date(instant: float, *, obsolete: bool) -> str:
    """An HTTP date; obsolete: in the form of RFC 850 (RFC 9110, 5.6.7)."""
    if not obsolete:
        return formatdate(instant, usegmt=True)
    return datetime.fromtimestamp(instant, UTC).strftime("%A, %d-%b-%y %H:%M:%S GMT")


def _target(request: Request) -> str:
    path = str(request.scope["raw_path"].decode("latin-1"))
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def create() -> ASGIApp:
    """The origin as the environment wants it: CONFORMANCE_CACHE is the cache's address, without it there is none."""
    app = Starlette(routes=[Route("/{rest:path}", Origin(dated=os.environ.get("CONFORMANCE_DATED") == "1"))])
    cache = os.environ.get("CONFORMANCE_CACHE")
    if cache:
        from cachefence_web.starlette import CacheMiddleware

        app.add_middleware(CacheMiddleware, cache=cache, rules=None)
    return app
