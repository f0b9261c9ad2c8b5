"""From one list of commands to what each node is told, and back to one list of replies; decides, and sends nothing.

A node keeps the order of what it is told; between nodes there is none. What a node refuses it has not done: it is told
to whom it belongs, again where it was read behind that. What the metadata say was read before a node was met is read
once more: the node may be another than the one they speak of, and have begun a new epoch.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from cachefence_web.stores.redis.cluster.slots import Node, Slots
from cachefence_web.stores.redis.scripts import Command, Replies

AT_ONCE = 3
"""Redirections that are followed before one pauses: two nodes may disagree for a moment."""

_BROKEN_OFF = "non local key"
"""What a script is told that made a key vanish, and used it again, while its slot was on the way to another node."""

GREETINGS: Command = ("GREETINGS",)
"""Told to nobody: answered with how many nodes had ever been greeted before anything was told, and after all of it was.

Where the numbers of two steps differ, the one may have stood on what another node, or its own older self, knew.
"""

PAUSE = 0.02
"""Seconds until what a node cannot do yet is asked of it again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A node gave no answer.

    sent: it may have done what it was told; idle: only the connection may have been lost, while it lay idle.
    """

    error: Exception
    sent: bool
    idle: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Tell each node its commands, side by side; answered with a Sent."""

    pipelines: Mapping[Node, list[Command]]


@dataclass(frozen=True, slots=True)
class Sent:
    """What each node answered; before, after: how many nodes had ever been greeted when it was told, and answered."""

    answers: Mapping[Node, Replies | Lost]
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Learn:
    """Ask who serves which slot, not those that were lost; answered with whether anybody told."""

    lost: frozenset[Node]


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; answered with False if the deadline does not allow it."""

    seconds: float


Turn: TypeAlias = Send | Learn | Pause
Routing: TypeAlias = Generator[Turn, Any, Replies]


class Part:
    """A command, or the part of an MGET that one node has, and what came of it.

    index, places: which command it belongs to, and where in its reply; None for all of it. asking: whom to ask just
    this once. again: to be sent, or sent anew. greeted: how many nodes had been when it was last told.
    """

    __slots__ = ("again", "asking", "command", "greeted", "index", "places", "reply", "retried", "slot")

    def __init__(self, command: Command, slot: int, index: int, places: list[int] | None = None) -> None:
        self.command = command
        self.slot = slot
        self.index = index
        self.places = places
        self.asking: Node | None = None
        self.again = True
        self.retried = False
        self.greeted = 0
        self.reply: Any = None


def route(commands: Sequence[Command], slots: Slots, *, repeat: bool) -> Routing:
    """Have every command done by whom it belongs to; a refusal that stands, or a node's absence, is a reply.

    repeat: whether what may have been done already may be sent anew.
    """
    parts = [part for index, command in enumerate(commands) for part in split(command, index, slots)]
    rounds = before = after = 0
    if slots.outdated():
        yield Learn(frozenset())
    while True:
        todo = [part for part in parts if part.again]
        pipelines, asked = _pipelines(todo, slots)
        if not pipelines:
            break
        sent: Sent = yield Send(pipelines)
        lost, late = _take(asked, sent, slots, repeat=repeat)
        before, after = before if rounds else sent.before, sent.after
        _note_age(todo, parts, sent, slots)
        if lost:
            yield from _reconsider(lost, slots)
        rounds += 1
        if not any(part.again for part in parts):
            break
        if (late or rounds > AT_ONCE) and not (yield Pause(PAUSE)):
            _give_up(parts)
            break
    return _merged(commands, parts, (before, after))


def split(command: Command, index: int, slots: Slots) -> list[Part]:
    """The parts of a command: of an MGET the metadata are one, and each other name is one by itself.

    While a slot moves, only a command of one name finds it in either place.
    """
    verb = command[0]
    if command is GREETINGS:
        return []
    if verb != "MGET":
        at = 1 if verb not in {"EVALSHA", "EVAL"} else 3 if command[2] else None
        return [Part(command, slots.home if at is None else slots.slot(command[at]), index)]
    parts, home, places = [], [], []
    for place, name in enumerate(command[1:]):
        slot = slots.slot(name)
        if slot == slots.home:
            home.append(name)
            places.append(place)
        else:
            parts.append(Part(("MGET", name), slot, index, [place]))
    if home:
        parts.append(Part(("MGET", *home), slots.home, index, places))
    return parts


Asked: TypeAlias = dict[Node, list[Part | None]]
"""For each reply that a node owes: whose it is, or nobody's."""


def _pipelines(todo: Sequence[Part], slots: Slots) -> tuple[dict[Node, list[Command]], Asked]:
    pipelines: dict[Node, list[Command]] = {}
    asked: Asked = {}
    for part in todo:
        node = part.asking or slots.owner(part.slot)
        part.again = False
        if node is None:
            part.reply = slots.unserved(part.slot)
            continue
        commands, replies = pipelines.setdefault(node, []), asked.setdefault(node, [])
        if part.asking is not None:
            commands.append(("ASKING",))
            replies.append(None)
            part.asking = None
        commands.append(part.command)
        replies.append(part)
    return pipelines, asked


def _take(asked: Asked, sent: Sent, slots: Slots, *, repeat: bool) -> tuple[dict[Part, tuple[Node, Lost]], bool]:
    """Note what came of it: the parts that were lost but may be sent anew, and whether to pause before any is."""
    lost: dict[Part, tuple[Node, Lost]] = {}
    late = False
    for node, parts in asked.items():
        answer = sent.answers[node]
        if isinstance(answer, Lost):
            if not answer.idle:
                slots.lost(node)
            for part in parts:
                if part is not None:
                    part.reply = answer.error
                    if repeat or not answer.sent:
                        lost[part] = node, answer
            continue
        slots.answered(node)
        refused: set[int] = set()
        for part, reply in zip(parts, answer, strict=True):
            if part is None:
                continue
            part.reply = reply
            if isinstance(reply, ResponseError) and (
                    _refused(part, reply, node, slots) or (repeat and _BROKEN_OFF in str(reply))):
                late |= part.asking is None and not isinstance(reply, MovedError)
                refused.add(part.slot)
                part.again = True
            elif part.slot in refused:
                # It was read before what stands in front of it is done.
                part.again = part.command[0] == "MGET"
    return lost, late


def _note_age(told: Sequence[Part], parts: Sequence[Part], sent: Sent, slots: Slots) -> None:
    """Have read again what the metadata said before a node was met, in this turn or since they were read."""
    for part in told:
        part.greeted = sent.before
    for part in parts:
        part.again |= part.slot == slots.home and part.command[0] == "MGET" and part.greeted != sent.after


def _refused(part: Part, reply: ResponseError, node: Node, slots: Slots) -> bool:
    """Whether the node left it undone, for another or for a later moment."""
    if not isinstance(reply, AskError | TryAgainError | ClusterDownError):
        return False
    if isinstance(reply, MovedError):
        slots.moved(part.slot, slots.node(reply.host, reply.port, node))
    elif isinstance(reply, AskError):
        part.asking = slots.node(reply.host, reply.port, node)
    if not isinstance(reply, ClusterDownError):
        part.reply = ResponseError(f"slot {part.slot} is being moved to another node, and was not there by the"
                                   f" deadline; raise `timeout`, or move fewer keys at a time: {reply}")
    return True


def _reconsider(lost: Mapping[Part, tuple[Node, Lost]], slots: Slots) -> Generator[Learn, bool, None]:
    """Ask who serves the slots of nodes that are away: another, since then, or still the same."""
    if not all(answer.idle for _, answer in lost.values()):
        yield Learn(frozenset(node for node, _ in lost.values()))
    for part, (node, answer) in lost.items():
        part.again = slots.owner(part.slot) not in {node, None} or (answer.idle and not part.retried)
        part.retried |= answer.idle


def _give_up(parts: Sequence[Part]) -> None:
    """What was read, but would have had to be read again, was not read."""
    for part in parts:
        if part.again and not isinstance(part.reply, Exception):
            part.reply = TimeoutError("the nodes of the cluster changed until the deadline was over")


def _merged(commands: Sequence[Command], parts: Sequence[Part], greetings: tuple[int, int]) -> Replies:
    replies: Replies = [greetings if command is GREETINGS else None for command in commands]
    for part in parts:
        if part.places is None:
            replies[part.index] = part.reply
            continue
        whole = replies[part.index]
        if whole is None:
            whole = replies[part.index] = [None] * (len(commands[part.index]) - 1)
        if isinstance(part.reply, Exception):
            replies[part.index] = part.reply
        elif not isinstance(whole, Exception):
            for place, value in zip(part.places, part.reply, strict=True):
                whole[place] = value
    return replies
