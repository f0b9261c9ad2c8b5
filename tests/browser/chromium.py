"""Headless Chromium by the DevTools protocol: only what a visitor does, and what the network saw of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

from tests.servers import Server

ANSWER = 30.0
"""Seconds for the browser to do one thing: generous, since a busy machine is no failure."""

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--remote-debugging-port=0", "--remote-allow-origins=*",
    # A page brought back alive from memory would say nothing about the HTTP cache.
    "--disable-features=BackForwardCache", "about:blank",
)


def binary() -> str | None:
    """Where Chromium is, if it is anywhere."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Chromium(Server):
    """A browser with an empty profile."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    @property
    def port(self) -> int:
        """Of its DevTools."""
        return int((self._profile / "DevToolsActivePort").read_text().split()[0])

    @property
    def _profile(self) -> Path:
        return self.folder / "profile"

    def _launch(self, log: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._program, f"--user-data-dir={self._profile}", *FLAGS], env={**os.environ, "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def _answers(self) -> bool:
        try:
            return bool(self.pages())
        except (OSError, ValueError, IndexError):
            return False

    def pages(self) -> list[dict[str, Any]]:
        """The tabs."""
        with urlopen(f"http://127.0.0.1:{self.port}/json/list", timeout=5) as answer:
            return [target for target in json.load(answer) if target["type"] == "page"]

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """The tab with which it started."""
        with connect(self.pages()[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visitor sees after a step; status: on the wire, None if nothing was asked; stored: by the browser."""

    text: str
    status: int | None
    stored: bool
    headers: dict[str, str]


class Tab:
    """One tab: each step returns when the page is loaded."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._commands = 0
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Network", "Runtime"):
            self._do(f"{domain}.enable")
        # Else the end of its first, empty page could be taken for that of the next one.
        deadline = time.monotonic() + ANSWER
        while self._value("document.readyState") != "complete":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the first tab is not there in {ANSWER} s")

    def go(self, url: str) -> Visit:
        """Follow a link, or type an address."""
        return self._step("Page.navigate", url=url)

    def reload(self) -> Visit:
        """What the button and the key do."""
        return self._step("Page.reload")

    def back(self) -> Visit:
        """What the button does."""
        history = self._do("Page.getNavigationHistory")
        return self._step("Page.navigateToHistoryEntry", entryId=history["entries"][history["currentIndex"] - 1]["id"])

    def run(self, script: str) -> Visit:
        """A script that leads to another page, such as a form that is sent."""
        return self._step("Runtime.evaluate", expression=script)

    def _step(self, command: str, **parameters: Any) -> Visit:
        self._events.clear()
        self._do(command, **parameters)
        self._await("the end of a page", lambda: self._have("Page.loadEventFired"))
        text = str(self._value("document.body.innerText")).strip()
        # What the network saw is told by another process, at its own time.
        self._await("what the network saw", lambda: self._untold() <= 0)
        return self._seen(text)

    def _value(self, expression: str) -> Any:
        return self._do("Runtime.evaluate", expression=expression)["result"]["value"]

    def _have(self, event: str) -> list[dict[str, Any]]:
        return [seen["params"] for seen in self._events if seen["method"] == event]

    def _document(self) -> dict[str, Any]:
        """The last response of the step that is a document."""
        return [seen for seen in self._have("Network.responseReceived") if seen["type"] == "Document"][-1]

    def _untold(self) -> int:
        """How many answers to the request for it, redirects among them, are not told of as the network saw them."""
        document = self._document()
        request = document["requestId"]
        asked = [seen for seen in self._have("Network.requestWillBeSent") if seen["requestId"] == request]
        told = [seen for seen in self._have("Network.responseReceivedExtraInfo") if seen["requestId"] == request]
        seen = [bool(each.get("redirectHasExtraInfo")) for each in asked] + [bool(document.get("hasExtraInfo"))]
        return sum(seen) - len(told)

    def _seen(self, text: str) -> Visit:
        """The last document of the step: after a redirect that which it led to."""
        request = self._document()["requestId"]
        document = {event["method"].partition(".")[2]: event["params"] for event in self._events
                    if event["method"].startswith("Network.") and event["params"].get("requestId") == request}
        response, wire = document["responseReceived"]["response"], document.get("responseReceivedExtraInfo")
        stored = bool(response.get("fromDiskCache") or document.get("requestServedFromCache"))
        headers = {name.lower(): value for name, value in (wire or response)["headers"].items()}
        return Visit(text, wire["statusCode"] if wire else None, stored, headers)

    def _do(self, command: str, **parameters: Any) -> dict[str, Any]:
        self._commands += 1
        number = self._commands
        self._socket.send(json.dumps({"id": number, "method": command, "params": parameters}))
        while True:
            message = self._next()
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{command}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def _await(self, what: str, is_there: Callable[[], object]) -> None:
        deadline = time.monotonic() + ANSWER
        while not is_there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no word of {what} in {ANSWER} s")
            self._next()

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=ANSWER))
        if "method" in message:
            self._events.append(message)
        return message
