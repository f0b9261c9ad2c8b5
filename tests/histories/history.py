"""What is written down of a run: who saw what and when, what became of each commit, and what went wrong.

All dates are nanoseconds of CLOCK_MONOTONIC, which the processes of one machine share. A line that a killed process
left unfinished counts for nothing: a read nobody heard the answer of, or a commit nobody learnt the outcome of.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

Seen: TypeAlias = tuple[str, int, int | None]
"""A thing, its version, and the token of who wrote that; None where a page tells the version only."""

TOKENS = 10_000_000
"""A token is the number of the writer's life times this, plus its own count: each attempt has one of its own."""


class Outcome(enum.StrEnum):
    """What a writer knows of an attempt."""

    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    FAILED = "failed"        # the database refused it: serialization, deadlock
    UNKNOWN = "unknown"      # the connection was lost


class Read(Struct, frozen=True, array_like=True):
    """One answer.

    start: before it was asked, or, for one within a snapshot, before that was taken.
    total: of the balances, if all of them were seen.
    partial: that there is such a version is all that it says.
    strict: it was asked with consistency="strict".
    """

    reader: str
    page: str
    start: int
    end: int
    seen: list[Seen]
    hit: bool = False
    total: int | None = None
    partial: bool = False
    strict: bool = False


class Told(Struct, frozen=True, array_like=True):
    """An attempt to write, as its writer tells of it once it is over."""

    token: int
    at: int
    outcome: Outcome
    kind: str = ""
    journaled: bool = False


class Committed(Struct, frozen=True, array_like=True):
    """What the database has, of one thing: it writes that down by itself, within the same transaction."""

    thing: str
    version: int
    token: int


class History(Struct):
    """A whole run.

    deaths: when writers were found dead, by the number of their life.
    losses: from when to when the cache lost all it had, or all its connections: records and fences may be gone, or
        never have come to be.
    pauses: when a process was frozen, or let go on.
    life: nanoseconds of a fence's life.
    """

    reads: list[Read]
    told: list[Told]
    committed: list[Committed]
    deaths: dict[int, int]
    losses: list[tuple[int, int]]
    pauses: list[int]
    life: int


class Pen:
    """Appends to the file of one process; `buffered` lines are lost with it, if it is killed."""

    def __init__(self, file: Path, buffered: int = 0) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._encoder = msgspec.json.Encoder()
        self._buffered = buffered
        self._lines: list[bytes] = []

    def write(self, record: Struct) -> None:
        """Add a line."""
        self._lines.append(self._encoder.encode(record) + b"\n")
        if len(self._lines) > self._buffered:
            self.flush()

    def flush(self) -> None:
        """Give what is buffered to the system, which outlives the process."""
        lines, self._lines = self._lines, []
        os.write(self._file, b"".join(lines))


def reads_in(folder: Path) -> Iterator[Read]:
    """All reads, each reader's in their order."""
    decoder = msgspec.json.Decoder(Read)
    for file in sorted(folder.glob("reads-*")):
        yield from map(decoder.decode, _lines(file))


def told_in(folder: Path) -> Iterator[Told]:
    """What all writers told."""
    decoder = msgspec.json.Decoder(Told)
    for file in sorted(folder.glob("told-*")):
        yield from map(decoder.decode, _lines(file))


def _lines(file: Path) -> list[bytes]:
    return file.read_bytes().split(b"\n")[:-1]
