"""The visitors: one who saves, and a crowd whose connections are all open before anybody asks."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urljoin, urlsplit

import h11
import httpx

from cachefence_web.demo.report import Answer
from cachefence_web.demo.scenario import CannotRun, Edit

ANSWER_SECONDS = 120.0
"""How long a burst may take: generous, since a busy machine is no broken promise, but not for ever."""

OPEN_SECONDS = 30.0
AT_ONCE = 100
"""Handshakes under way at a time: below the smallest listen backlog in use, 128."""

SPARE_FILES = 100
"""Open files this process and its servers need beside the clients' sockets."""

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Expected:
    """A page as it should be: the text it shows, and the text it must not show."""

    url: str
    shows: str
    hides: str

    def failure_of(self, status: int, text: str) -> str:
        """What is wrong with an answer, or an empty string."""
        if status != 200:
            return f"status {status}"
        if self.shows not in text:
            return f"a page without “{self.shows}”"
        return f"a page that still says “{self.hides}”" if self.hides in text else ""


class Visitor:
    """A person with a browser: cookies are kept, forms are loaded before they are sent."""

    def __init__(self, origin: str) -> None:
        # A proxy named in the environment has no way to servers on this machine.
        self._client = httpx.Client(base_url=origin, trust_env=False, timeout=ANSWER_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def save(self, edit: Edit) -> None:
        """Send the edit, and return once the server has said that it is done.

        Raises:
            CannotRun: the server refused it.
        """
        try:
            form = edit.form
            if form is not None and edit.csrf:
                form = hidden_fields(self._client.get(edit.path).text) | form
            answer = self._client.request(edit.method, edit.path, data=form, json=edit.json)
        except httpx.HTTPError as error:
            raise CannotRun(f"{edit.method} {edit.path} got no answer: {error!r}") from error
        if answer.is_error:
            said = f"status {answer.status_code}: {answer.text:.300}"
            raise CannotRun(f"{edit.method} {edit.path} was refused with {said}")
        if edit.form is not None and not answer.is_redirect:
            # A form that was accepted redirects; one that was not comes back with its complaints.
            raise CannotRun(f"{edit.method} {edit.path} showed the form again: it did not take {edit.form}")

    def look(self, page: Expected) -> Answer:
        """Load a page once."""
        try:
            answer = self._client.get(page.url)
        except httpx.HTTPError as error:
            return Answer(ANSWER_SECONDS, repr(error))
        return Answer(answer.elapsed.total_seconds(), page.failure_of(answer.status_code, answer.text))


class _HiddenInputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name = attributes.get("name")
        if tag == "input" and name and attributes.get("type") == "hidden":
            self.fields[name] = attributes.get("value") or ""


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden inputs of a page, the CSRF token among them."""
    parser = _HiddenInputs()
    parser.feed(page)
    return parser.fields


def make_room(clients: int) -> None:
    """Raise this process's limit of open files to hold so many sockets; servers started later inherit it.

    Raises:
        CannotRun: the machine does not allow as many.
    """
    needed = clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise CannotRun(
            f"{clients:,} clients need {needed:,} open files and this machine allows {hard:,}: "
            f"raise it (ulimit -Hn), or pass --clients {max(2, hard - SPARE_FILES)}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def burst(page: Expected, clients: int, answered: Callable[[int], None]) -> list[Answer]:
    """Ask for a page from many connections at once; `answered` hears how many have been answered so far.

    An answer that is wrong, or does not come, is an Answer all the same.

    Raises:
        CannotRun: the connections could not even be opened.
    """
    address = urlsplit(page.url)
    connections = await _open_all(str(address.hostname), address.port or 80, clients)
    # Every connection is open, so the first turn of the loop sends all requests.
    loop = asyncio.get_running_loop()
    released = loop.time()
    arrived = 0

    async def ask(connection: Connection) -> tuple[float, bytes]:
        nonlocal arrived
        received = await _exchange(connection, _request(page.url), released + ANSWER_SECONDS)
        seconds = loop.time() - released
        arrived += 1
        answered(arrived)
        return seconds, received

    try:
        received = await asyncio.gather(*map(ask, connections))
    finally:
        _close(connections)
    # Judged when all is over: the crowd shares the cores with the server it measures.
    return [Answer(seconds, _failure(page, message)) for seconds, message in received]


async def _open_all(host: str, port: int, clients: int) -> list[Connection]:
    turnstile = asyncio.Semaphore(AT_ONCE)

    async def connect() -> Connection:
        async with turnstile, asyncio.timeout(OPEN_SECONDS):
            return await asyncio.open_connection(host, port)

    opened = await asyncio.gather(*(connect() for _ in range(clients)), return_exceptions=True)
    connections = [connection for connection in opened if not isinstance(connection, BaseException)]
    refusal = next((error for error in opened if isinstance(error, BaseException)), None)
    if refusal is not None:
        _close(connections)
        raise CannotRun(
            f"only {len(connections):,} of {clients:,} connections could be opened ({refusal!r}): pass fewer --clients"
        ) from refusal
    return connections


def _close(connections: list[Connection]) -> None:
    for _, writer in connections:
        writer.transport.abort()


async def _exchange(connection: Connection, request: bytes, deadline: float) -> bytes:
    """All bytes up to the end of the connection; what is missing shows when they are judged."""
    reader, writer = connection
    received = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            writer.write(request)
            while chunk := await reader.read(65536):
                received += chunk
    except (OSError, TimeoutError):
        pass
    finally:
        # At once: gunicorn lingers on a connection until its client has hung up as well.
        writer.transport.abort()
    return bytes(received)


def _request(url: str) -> bytes:
    address = urlsplit(url)
    target = urljoin("/", url.removeprefix(f"{address.scheme}://{address.netloc}"))
    headers = f"Host: {address.netloc}\r\nAccept: text/html\r\nConnection: close\r\n"
    return f"GET {target} HTTP/1.1\r\n{headers}\r\n".encode()


def _failure(page: Expected, message: bytes) -> str:
    status, body = 0, bytearray()
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("Host", "demo")]))
    try:
        parser.receive_data(message)
        parser.receive_data(b"")
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, (h11.ConnectionClosed, type(h11.NEED_DATA))):
                return "no answer"
    except h11.RemoteProtocolError:
        return "an answer that was cut short" if message else "no answer"
    return page.failure_of(status, body.decode(errors="replace"))
