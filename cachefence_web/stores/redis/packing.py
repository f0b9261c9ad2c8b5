"""Commands as the bytes that Redis reads: by hiredis where it is installed, else by hand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cachefence_web.stores.redis.scripts import Command

hiredis: Any
try:
    import hiredis
except ImportError:
    hiredis = None


def pack(commands: Iterable[Command]) -> bytes:
    """One buffer for a pipeline; an argument is text, bytes or an integer."""
    return b"".join(map(_pack_one if hiredis is None else hiredis.pack_command, commands))


def _pack_one(command: Command) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        raw = argument if isinstance(argument, bytes) else str(argument).encode("utf-8", "surrogatepass")
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)
