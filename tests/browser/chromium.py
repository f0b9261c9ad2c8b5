"""Headless Chromium by the DevTools protocol: only what a visitor does, and what the network saw of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
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
        self._await("Page.loadEventFired")
        text = str(self._do("Runtime.evaluate", expression="document.body.innerText")["result"]["value"]).strip()
        return self._seen(text)

    def _seen(self, text: str) -> Visit:
        """The last document of the step: after a redirect that which it led to."""
        by_request = defaultdict(dict)  # type: defaultdict[str, dict[str, Any]]
        for event in self._events:
            if event["method"].startswith("Network.") and "requestId" in event["params"]:
                by_request[event["params"]["requestId"]][event["method"].partition(".")[2]] = event["params"]
        document = [found for found in by_request.values()
                    if found.get("responseReceived", {}).get("type") == "Document"][-1]
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

    def _await(self, event: str) -> None:
        deadline = time.monotonic() + ANSWER
        while not any(seen["method"] == event for seen in self._events):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {event} in {ANSWER} s")
            self._next()

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=ANSWER))
        if "method" in message:
            self._events.append(message)
        return message
