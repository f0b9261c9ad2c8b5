"""Processes forked from one that has connected to nothing: how they begin, are counted, are told to end."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

PLAYERS = 64


class Tally:
    """What all readers have read, in memory they share: each has a place of its own."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * PLAYERS)
        self._alone = threading.Lock()

    def add(self, place: int, many: int) -> None:
        """Count some more; no two processes share a place, though threads of one may."""
        with self._alone:
            (before,) = struct.unpack_from("q", self._memory, 8 * place)
            struct.pack_into("q", self._memory, 8 * place, before + many)

    def total(self) -> int:
        """Of all."""
        return sum(struct.unpack(f"{PLAYERS}q", self._memory[:]))


@dataclass(slots=True)
class Life:
    """A process, from its fork to its end.

    number: no other life of the run has it.
    place: in the tally.
    """

    number: int
    place: int
    over: threading.Event = field(default_factory=threading.Event)

    def goes_on(self) -> bool:
        """Whether it was not told to end."""
        return not self.over.is_set()


def fork(work: Callable[[Life], None], life: Life) -> int:
    """The id of a process that does this, and ends at SIGTERM when its step is done."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        _die_with_parent()
        signal.signal(signal.SIGTERM, lambda *_: life.over.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        work(life)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _die_with_parent() -> None:
    """Even if this process is frozen: where it is not Linux, it is not played."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def ended(pid: int) -> int | None:
    """How a process ended, as subprocess tells it, if it has."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
