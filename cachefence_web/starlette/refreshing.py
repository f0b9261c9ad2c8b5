"""Asking an application behind a visitor's back: the request again, of nobody in particular, with nobody to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from anyio import CancelScope
from starlette.authentication import AuthCredentials, UnauthenticatedUser
from starlette.types import ASGIApp, Message, Scope, Send

from cachefence_web.http import Headers

# What routing adds to a scope, which a whole application asked anew will do again.
_ROUTED = frozenset({"app", "app_root_path", "endpoint", "path_params", "route", "router"})
PATIENCE = 1.0
"""Seconds that an application has to notice that nobody listens any longer."""

_BY_FRAMEWORKS = ("fastapi", "starlette.")


def anew(scope: Scope, headers: Headers, marks: dict[str, Any]) -> Scope:
    """A request like this one with other header fields, from nobody, as it came to where it is asked anew.

    What a connection offers besides (paths to send, early hints) is for its client, and not offered. The state is a
    copy: what one request puts there is not another's.
    """
    made = {name: value for name, value in scope.items() if not name.startswith("cachefence_web.")}
    made["headers"] = list(headers)
    made["extensions"] = {}
    if "state" in scope:
        made["state"] = dict(scope["state"])
    if "session" in scope:
        made["session"] = type(scope["session"])()
    if "user" in scope:
        made["user"] = UnauthenticatedUser()
    if "auth" in scope:
        made["auth"] = AuthCredentials()
    return {**made, **marks}


def whole(scope: Scope) -> tuple[ASGIApp, Scope]:
    """The application whose endpoint has this scope, and the scope as it came there.

    Of an application that is mounted in another the outer one is not known, but its routes are: they lead to it.
    """
    app, router = scope["app"], scope.get("router")
    came = {name: value for name, value in scope.items()
            if name not in _ROUTED and not name.startswith(_BY_FRAMEWORKS)}
    came["root_path"] = scope.get("app_root_path", scope.get("root_path", ""))
    if router is None or getattr(app, "router", None) is router:
        return app, came
    return router, came


class Silence:
    """A client that sends an empty body, says no more, and is gone when the answer is complete.

    needless: whether the rest of an answer that has begun is of no use. Then it is gone in the midst of it, and the
        application, if it goes on all the same, is cancelled.
    """

    def __init__(self, needless: Callable[[], bool]) -> None:
        self._needless = needless
        self._asked = False
        self._complete = asyncio.Event()
        self._ends: asyncio.TimerHandle | None = None
        self._asking = CancelScope()

    async def receive(self) -> Message:
        """What the application hears."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._complete.wait()
        return {"type": "http.disconnect"}

    def heard(self, message: Message) -> None:
        """What the application has said.

        Raises:
            OSError: as servers do when the client is gone.
        """
        if message["type"] not in ("http.response.start", "http.response.body"):
            return
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete.set()
            self._stay()
        elif self._ends is not None:
            raise OSError("nobody listens any longer")
        elif self._needless():
            self._complete.set()
            self._ends = asyncio.get_running_loop().call_later(PATIENCE, self._asking.cancel)

    async def listen(self, app: ASGIApp, scope: Scope, send: Send) -> None:
        """Ask the application; what it says of a client that is gone is nobody's concern."""
        with self._asking:
            try:
                await app(scope, self.receive, send)
            except Exception:
                if self._ends is None:
                    raise
            finally:
                self._stay()

    def _stay(self) -> None:
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None


async def ask(
    app: ASGIApp, scope: Scope, send: Send | None = None, *, needless: Callable[[], bool] = lambda: False
) -> None:
    """Ask the application; what it answers is heard by `send`, or by nobody, until the rest is `needless`."""
    silence = Silence(needless)

    async def hear(message: Message) -> None:
        if send is not None:
            await send(message)
        silence.heard(message)

    await silence.listen(app, scope, hear)
