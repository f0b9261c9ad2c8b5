"""The Lua scripts: read from their files once, called by their digest, and sent whole to a server that forgot them."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, TypeAlias

from redis.exceptions import NoScriptError

from cachefence_web.errors import StoreUnavailable

Command: TypeAlias = tuple[Any, ...]
Replies: TypeAlias = list[Any]
Steps: TypeAlias = Generator[list[Command], Replies, Any]
"""Yields one pipeline at a time, is sent its replies, returns an answer; refusals are exceptions among the replies."""


@dataclass(frozen=True, slots=True)
class Script:
    """What stands in some Lua files, one behind the other."""

    source: str
    digest: str


_CLOCK, _RECORDS, _SLOT = ("clock",), ("clock", "records"), ("slot",)
_ADMISSION = ("clock", "records", "lasting", "admit", "slot", "filing")
_IN_FRONT = {
    "peek": _CLOCK, "instant": _CLOCK, "adopt": _CLOCK, "clear": _CLOCK, "invalidate": _CLOCK,
    "expire": _RECORDS, "settle": _RECORDS, "fence": _RECORDS, "lift": _RECORDS,
    "fill": _ADMISSION, "put": _ADMISSION,
    "claim": _SLOT, "renew": _SLOT, "release": _SLOT, "delete": _SLOT, "amend": _SLOT, "add": _SLOT,
    "swap": _SLOT, "glance": _SLOT, "sweep": _SLOT, "swept": ("clock", "lasting"),
    "admission": ("clock", "records", "lasting", "admit"), "file": ("slot", "filing"), "time": ("node",),
    "lay": ("slot", "filing", "node"),
    "prolong": ("lasting",), "note": (),
}


@cache
def scripts() -> dict[str, Script]:
    """Every script by its name: its file, with those of `_IN_FRONT` in front of it."""
    folder = files("cachefence_web.stores.redis")
    made = {}
    for name, front in _IN_FRONT.items():
        source = "\n".join([(folder / f"{part}.lua").read_text(encoding="utf-8") for part in (*front, name)])
        made[name] = Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())
    return made


@cache
def _sources() -> dict[str, str]:
    return {script.digest: script.source for script in scripts().values()}


def call(name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Command:
    """The command that runs a script."""
    return ("EVALSHA", scripts()[name].digest, len(keys), *keys, *arguments)


def inquiry() -> Command:
    """The command that asks which scripts the server knows."""
    return ("SCRIPT", "EXISTS", *[script.digest for script in scripts().values()])


def lessons(reply: Any) -> list[Command]:
    """The commands that teach it the others. One that forbids even to ask is told each when it is needed."""
    if isinstance(reply, Exception):
        return []
    return [("SCRIPT", "LOAD", script.source) for script, there in zip(scripts().values(), reply, strict=True)
            if not there]


def asked(commands: list[Command]) -> Generator[list[Command], Replies, Replies]:
    """One pipeline; from the first script that the server has forgotten on it is sent once more, with scripts whole.

    What came behind that script may have read what it was to change; none of it does harm when repeated.
    """
    replies = yield commands
    for index, reply in enumerate(replies):
        if isinstance(reply, NoScriptError):
            rest = yield [_whole(command) for command in commands[index:]]
            return [*replies[:index], *rest]
    return replies


def _whole(command: Command) -> Command:
    return ("EVAL", _sources()[command[1]], *command[2:]) if command[0] == "EVALSHA" else command


def just(command: Command) -> Steps:
    """One command as it is, and its reply."""
    (reply,) = yield [command]
    return reply


def together(jobs: Sequence[Steps]) -> Steps:
    """Several effects side by side, one pipeline a turn: their answers, among them what would have been raised.

    In their order, but for one whose script the server has forgotten: to repeat those behind it could count them twice.
    """
    answers: list[Any] = [None] * len(jobs)
    waiting: dict[int, Replies | None] = dict.fromkeys(range(len(jobs)))
    while waiting:
        asking: dict[int, list[Command]] = {}
        for index, replies in waiting.items():
            try:
                asking[index] = jobs[index].send(replies)  # type: ignore[arg-type]
            except StopIteration as done:
                answers[index] = done.value
            except (StoreUnavailable, OverflowError) as error:
                answers[index] = error
        if asking:
            got = iter((yield [command for commands in asking.values() for command in commands]))
            waiting = {index: list(islice(got, len(commands))) for index, commands in asking.items()}
        else:
            waiting = {}
    return answers
