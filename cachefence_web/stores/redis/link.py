"""A connection for threads that keeps to a deadline: whatever is sent and received on it ends by then."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from socket import SHUT_RDWR
from ssl import SSLWantReadError
from time import monotonic
from typing import Any

from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError, RedisError, ResponseError

from cachefence_web.stores.redis.opening import Opening
from cachefence_web.stores.redis.packing import hiredis, pack
from cachefence_web.stores.redis.refusals import BROKEN
from cachefence_web.stores.redis.scripts import Command, Replies, Steps
from cachefence_web.stores.redis.sentinel import Punctual

_BUFFER = 65536
_TO_READ = 0.05
"""Seconds for which what has arrived is read after the deadline."""

_SLACK = 0.02
"""Seconds by which a socket's timeout may differ from what is left: setting it costs a system call."""


class BoundedSocket:
    """A socket whose every call is given what is left until one deadline; None for no end.

    What has arrived by then is taken in after it too: a process that stood still has not found Redis silent.
    """

    __slots__ = ("_late", "_limit", "_socket", "deadline")

    def __init__(self, socket: Any, deadline: float) -> None:
        self._socket = socket
        self._late = (0.0, 0.0)  # the deadline that was over, and until when what has arrived is read nevertheless
        self._limit: float | None = -1.0
        self.deadline: float | None = deadline

    def sendall(self, data: Any) -> None:
        """As a socket's."""
        left = self._left()
        if left is not None:
            if left <= 0:
                raise TimeoutError("the deadline of the operation is over")
            self._tighten(left)
        self._socket.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        """As a socket's."""
        received: int = self._receive(self._socket.recv_into, buffer)
        return received

    def recv(self, *arguments: Any) -> bytes:
        """As a socket's."""
        received: bytes = self._receive(self._socket.recv, *arguments)
        return received

    def settimeout(self, limit: float | None) -> None:
        """As a socket's; where there is a deadline, that decides."""
        self._limit = limit
        self._socket.settimeout(limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def _receive(self, receive: Callable[..., Any], *arguments: Any) -> Any:
        left = self._left()
        if left is None or self.deadline is None:
            return receive(*arguments)
        if left > 0:
            self._tighten(left)
            return receive(*arguments)
        now = monotonic()
        if self._late[0] != self.deadline:
            self._late = self.deadline, now + _TO_READ
        elif now > self._late[1]:
            raise TimeoutError("the deadline of the operation is over")
        limit = self._socket.gettimeout()
        self._socket.settimeout(0)
        try:
            return receive(*arguments)
        except (BlockingIOError, SSLWantReadError) as silent:
            raise TimeoutError("the deadline of the operation is over") from silent
        finally:
            self._socket.settimeout(limit)

    def _left(self) -> float | None:
        return None if self.deadline is None else self.deadline - monotonic()

    def _tighten(self, left: float) -> None:
        if self._limit is None or abs(self._limit - left) > _SLACK:
            self.settimeout(left)


class Bounded(Punctual):
    """Mixed into redis-py's own connections, in front of them: their socket is a bounded one."""

    bounds: BoundedSocket

    def _connect(self) -> BoundedSocket:
        self.bounds = BoundedSocket(super()._connect(), self.deadline)  # type: ignore[misc]
        return self.bounds


def bounded(way: Opening) -> Opening:
    """The same connections with bounded sockets; a stand-in for Redis has none to bound."""
    if way.kind.__module__.startswith("fakeredis"):
        return way
    return replace(way, kind=type(f"Bounded{way.kind.__name__}", (Bounded, way.kind), {}))


class Link:
    """One connection, used by one thread at a time; once it broke it stays `broken`.

    met: the replication id of the server that was greeted on it.

    Raises, from every method that talks: a RedisError or OSError when it breaks.
    """

    __slots__ = ("_bounds", "_connection", "broken", "met", "used")

    def __init__(self, way: Opening, deadline: float) -> None:
        self.broken = False
        self.used = False
        self.met = ""
        self._connection = connection = way.kind(**way.settings)
        left = max(0.001, deadline - monotonic())
        connection.socket_connect_timeout = connection.socket_timeout = left
        connection.deadline = deadline
        try:
            connection.connect()
        except BaseException:
            self.close()
            raise
        self._bounds: BoundedSocket | None = getattr(connection, "bounds", None)

    def run(self, steps: Steps, deadline: float) -> Any:
        """Take the steps to their answer."""
        try:
            commands = next(steps)
            while True:
                commands = steps.send(self.exchange(commands, deadline))
        except StopIteration as done:
            return done.value

    def exchange(self, commands: list[Command], deadline: float | None) -> Replies:
        """One pipeline there and back; what the server refuses is a reply."""
        bounds = self._bounds
        if bounds is not None:
            bounds.deadline = deadline
        replies: Replies = []
        whole = False
        try:
            self._send(commands)
            for _ in commands:
                replies.append(self._reply())
            whole = True
        finally:
            if not whole:
                self.close()
        return replies

    def tell(self, commands: list[Command], deadline: float) -> None:
        """The first half of an exchange, with a link that stands for one of several."""
        if self._bounds is not None:
            self._bounds.deadline = deadline
        self._send(commands)

    def take_in(self, count: int, deadline: float) -> Replies:
        """The second half; when either half breaks, the caller closes."""
        if self._bounds is not None:
            self._bounds.deadline = deadline
        return [self._reply() for _ in range(count)]

    def send(self, command: Command) -> None:
        """Send a command whose replies come at their own time; from now on there is no deadline."""
        if self._bounds is not None:
            self._bounds.deadline = None
        self._send([command])

    def hear(self, patience: float) -> Any:
        """The next message, or None if none came within so many seconds."""
        return self._reply() if self._connection.can_read(patience) else None

    def is_lost(self) -> bool:
        """Whether the server closed it while it lay idle; nothing else could have arrived."""
        if self._bounds is not None:
            self._bounds.deadline = None
        try:
            return bool(self._connection.can_read(0))
        except BROKEN:
            return True

    def close(self) -> None:
        """Disconnect."""
        self.broken = True
        self._connection.disconnect()

    def hang_up(self) -> None:
        """End the talk from another thread: the one that listens hears the end, and closes."""
        bounds = self._bounds
        if bounds is not None:
            with suppress(OSError):
                bounds.shutdown(SHUT_RDWR)

    def _send(self, commands: list[Command]) -> None:
        self._connection.send_packed_command([pack(commands)], check_health=False)

    def _reply(self) -> Any:
        try:
            return self._connection.read_response(disconnect_on_error=False)
        except ReadOnlyError as refused:
            self.broken = True
            return refused
        except ResponseError as refused:
            return refused


class SwiftLink(Link):
    """A link that talks past redis-py once that has connected: with hiredis, on the same socket, at half the cost."""

    __slots__ = ("_buffer", "_reader")

    def __init__(self, way: Opening, deadline: float) -> None:
        super().__init__(way, deadline)
        self._buffer = bytearray(_BUFFER)
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error)

    def _send(self, commands: list[Command]) -> None:
        assert self._bounds is not None
        self._bounds.sendall(pack(commands))

    def _reply(self) -> Any:
        reader, bounds = self._reader, self._bounds
        assert bounds is not None
        reply = reader.gets()
        while reply is False:
            received = bounds.recv_into(self._buffer)
            if not received:
                raise RedisConnectionError("the server closed the connection")
            reader.feed(self._buffer, 0, received)
            reply = reader.gets()
        if isinstance(reply, RedisError):
            if not isinstance(reply, ResponseError):
                raise reply
            if isinstance(reply, ReadOnlyError):
                self.broken = True
        return reply


def link(way: Opening, deadline: float) -> Link:
    """A connected link, of the swift kind where it can be."""
    return SwiftLink(way, deadline) if hiredis is not None and issubclass(way.kind, Bounded) else Link(way, deadline)
