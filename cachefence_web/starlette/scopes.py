"""What an ASGI scope says of a request, in neutral form; nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from starlette.requests import HTTPConnection
from starlette.requests import Request as Asked
from starlette.types import Message, Receive, Scope

from cachefence_web.http import Headers, Request, wire_path
from cachefence_web.http.message import lines

_SPOKE = "cachefence_web.spoke"
"""Set in the scope of a request whose body was read, and was not empty: no key tells of that."""

_CONDITIONS = frozenset({b"if-none-match", b"if-modified-since"})


def request_of(scope: Scope) -> Request:
    """The request as it was on the wire."""
    headers = tuple([(name, value) for name, value in scope["headers"]])
    hosts = lines(headers, b"host")
    host = hosts[0].decode("latin-1") if hosts else _address(scope)
    return Request(scope["method"], scope.get("scheme", "http"), host, raw_path(scope), scope.get("query_string", b""),
                   headers)


def raw_path(scope: Scope) -> bytes:
    """The whole path, its percent-encoding kept, in front of it the root path where the server left that out.

    `raw_path` counts only while it says the same as `path`, by which the request is routed: middleware may have
    rewritten that. It holds no query, though some test clients put one there.
    """
    path, root = scope["path"], scope.get("root_path", "")
    wire = (scope.get("raw_path") or b"").partition(b"?")[0]
    if unquote(wire.decode("latin-1")) != path:
        wire = wire_path(path.encode("utf-8", "surrogatepass"))
    if root and not _is_under(path, root):
        wire = wire_path(root.encode("utf-8", "surrogatepass")) + wire
    return wire


def route_path(scope: Scope) -> str:
    """The decoded path below the root path: what routes are matched against."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root):] if root and _is_under(path, root) else path


def listening(scope: Scope, receive: Receive) -> Receive:
    """Hear whether the application reads a body of a request whose fields have announced none, as in HTTP/2."""

    async def hear() -> Message:
        message = await receive()
        if message.get("body"):
            scope[_SPOKE] = True
        return message

    return hear


def listen(connection: HTTPConnection) -> None:
    """The same for a request that is on its way to its endpoint, and may have been read already."""
    if isinstance(connection, Asked) and connection.method in ("GET", "HEAD"):
        if getattr(connection, "_body", b"") or getattr(connection, "_form", None):
            connection.scope[_SPOKE] = True
        # There is no official door: requests read from this attribute.
        connection._receive = listening(connection.scope, connection._receive)


def personal(scope: Scope) -> bool:
    """Whether the session holds or was given anything, somebody is logged in, or the request has more to say."""
    if scope.get(_SPOKE, False):
        return True
    session = scope.get("session")
    if session or getattr(session, "modified", False):
        return True
    return bool(getattr(scope.get("user"), "is_authenticated", False))


@contextmanager
def unconditional(scope: Scope, conditions: Headers = ()) -> Iterator[None]:
    """Run a block in which the request does not say what its client has already, but what the cache has.

    What is made for everybody must be whole. In place, because requests keep their headers as this very list.
    """
    said = list(scope["headers"])
    if not isinstance(scope["headers"], list):
        scope["headers"] = list(said)
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    headers[:] = [*[line for line in said if line[0].lower() not in _CONDITIONS], *conditions]
    try:
        yield
    finally:
        headers[:] = said


def _is_under(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _address(scope: Scope) -> str:
    server = scope.get("server")
    return f"{server[0]}:{server[1]}" if server else ""
