"""For threads: connections to the nodes of a Cluster, used by one thread at a time; a wave of pipelines is one wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock
from time import monotonic, sleep
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.cluster.commands import ClusterCommands, Met
from cachefence_web.stores.redis.cluster.opening import ClusterOpening
from cachefence_web.stores.redis.cluster.routing import Learn, Lost, Pause, Send, Sent, route
from cachefence_web.stores.redis.cluster.slots import Node, share_of
from cachefence_web.stores.redis.link import Link, link
from cachefence_web.stores.redis.refusals import BROKEN, checked, unavailable
from cachefence_web.stores.redis.scripts import Command, Replies, Steps

_GRACE = 0.02
"""Seconds past the deadline in which what other nodes have answered already is still taken in."""

_SHARE = 0.5
"""Of the time left, what one node may take of it to be connected to, where others are to be told something too."""


IDLE = 5.0
"""Seconds of silence after which a node is greeted once more: it may have been demoted and promoted again, which closes
no connection. Two failovers that nobody hastens take longer.
"""


class Nodes:
    """What all links of a store share: how to connect, who serves what, and who was met."""

    __slots__ = ("adopted", "commands", "learning", "opening", "seen", "silent_at")

    def __init__(self, opening: ClusterOpening, commands: ClusterCommands) -> None:
        self.opening = opening
        self.commands = commands
        commands.slots.remap = opening.remap
        self.learning = Lock()
        self.adopted: dict[str, str] = {}
        self.seen: set[Node] = set()
        self.silent_at: dict[Node, float] = {}

    def is_adopted(self, met: Met) -> bool:
        """Whether this process knows that the namespace knows the node as it is; one that tells nothing is let be."""
        return not met.replication or self.adopted.get(met.identity) == met.replication

    def candidates(self, learn: Learn) -> list[Node]:
        """Whom to ask who serves what."""
        return [node for node in self.commands.slots.candidates(self.opening.seeds) if node not in learn.lost]

    def unseen(self) -> list[Node]:
        """The primaries that nobody here has tried to meet; from now on somebody has.

        All are met at once, for whoever is met later for the first time ever begins an epoch.
        """
        unseen = [node for node in self.commands.slots.nodes if node not in self.seen]
        self.seen.update(unseen)
        return unseen


class ClusterLink:
    """As a `Link`, but to all nodes: each is connected to, and greeted, when there is something to tell it."""

    __slots__ = ("_greetings", "_learning", "_links", "_nodes", "_told_at", "broken", "used")

    def __init__(self, nodes: Nodes) -> None:
        self.broken = False
        self.used = False
        self._nodes = nodes
        self._links: dict[Node, Link] = {}
        self._told_at: dict[Node, float] = {}
        self._greetings = 0
        self._learning = False

    def run(self, steps: Steps, deadline: float, *, repeat: bool = True, node: Node | None = None) -> Any:
        """Take the steps to their answer; all on one node, if it is named."""
        try:
            commands = next(steps)
            while True:
                commands = steps.send(
                    self._exchange(commands, deadline, repeat=repeat) if node is None
                    else self._tell(node, commands, deadline, repeat=repeat))
        except StopIteration as done:
            return done.value

    def nodes(self, deadline: float) -> tuple[Node, ...]:
        """The primaries."""
        slots = self._nodes.commands.slots
        if slots.outdated():
            self._learn(Learn(frozenset()), deadline)
        if not slots.nodes:
            raise unavailable(slots.unserved(slots.home))
        return slots.nodes

    def is_lost(self) -> bool:
        """Each link is looked at when it is used."""
        return False

    def close(self) -> None:
        """Disconnect."""
        self.broken = True
        while self._links:
            self._links.popitem()[1].close()

    def _exchange(self, commands: list[Command], deadline: float, *, repeat: bool) -> Replies:
        routing = route(commands, self._nodes.commands.slots, repeat=repeat)
        answer: Any = None
        try:
            while True:
                match routing.send(answer):
                    case Send(pipelines):
                        answer = self._send(pipelines, deadline, repeat=repeat)
                    case Learn() as learn:
                        answer = self._learn(learn, deadline)
                    case Pause(seconds):
                        answer = monotonic() + seconds < deadline
                        if answer:
                            sleep(seconds)
        except StopIteration as done:
            replies: Replies = done.value
            return replies

    def _tell(self, node: Node, commands: list[Command], deadline: float, *, repeat: bool) -> Replies:
        answer = self._send({node: commands}, deadline, repeat=repeat).answers[node]
        if isinstance(answer, Lost):
            self._nodes.commands.slots.lost(node)
            raise answer.error
        return answer

    def _send(self, pipelines: Mapping[Node, list[Command]], deadline: float, *, repeat: bool) -> Sent:
        """Everything is connected before anything is told, and told to all before any answer is waited for.

        One that cannot be connected to leaves half of the time to those behind it.
        """
        greetings = self._greetings
        answers: dict[Node, Replies | Lost] = {}
        told: dict[Node, tuple[Link, bool]] = {}
        for node in self._nodes.commands.slots.trusted_first(pipelines):
            patience = deadline if len(pipelines) == 1 else self._share(deadline)
            self._attempt(node, answers, told, sent=False,
                          act=partial(self._link, node, patience, check=not repeat))
        for node, (one, _) in list(told.items()):
            self._attempt(node, answers, told, sent=True,
                          act=partial(self._tell_one, node, one, pipelines[node], deadline))
        for node, (one, _) in list(told.items()):
            limit = max(deadline, monotonic() + _GRACE)
            self._attempt(node, answers, told, sent=True,
                          act=partial(one.take_in, len(pipelines[node]), limit))
        for node in left_by(answers):
            self._links.pop(node).close()
        return Sent(answers, greetings, self._greetings)

    def _attempt(
        self, node: Node, answers: dict[Node, Replies | Lost], told: dict[Node, tuple[Link, bool]], *, sent: bool,
        act: Callable[[], Any],
    ) -> None:
        """Go one step further with a node; once it is lost it is told no more."""
        idle = sent and told[node][1]
        try:
            got = act()
        except (StoreUnavailable, *BROKEN) as error:
            late = isinstance(error, (TimeoutError, RedisTimeoutError))
            answers[node] = Lost(cause_of(error), sent, idle and not late)
            if sent and late:
                self._nodes.silent_at[node] = monotonic()
            told.pop(node, None)
            broken = self._links.pop(node, None)
            if broken is not None:
                broken.close()
        else:
            if isinstance(got, Link):
                told[node] = got, got.used
            elif got is not None:
                told[node][0].used = True
                answers[node] = got

    def _tell_one(self, node: Node, one: Link, commands: list[Command], deadline: float) -> None:
        if self._links.get(node) is not one:
            # redis-py would connect a closed one anew, and nobody would greet whoever is there.
            raise RedisConnectionError("the connection was lost while another node was greeted")
        one.tell(commands, deadline)

    def _link(self, node: Node, deadline: float, *, check: bool) -> Link:
        """The link to a node. check: look first whether it was closed, for what is told may not be told twice.

        A link from before the node was silent on another may lead nowhere, and nothing would say so.
        """
        made = self._links.get(node)
        if made is not None and (self._told_at[node] < self._nodes.silent_at.get(node, 0.0)
                                 or (made.used and check and made.is_lost())):
            self._links.pop(node).close()
            made = None
        now = monotonic()
        if made is None or now - self._told_at[node] > IDLE:
            made = self._links.pop(node, None) or link(self._nodes.opening.to(node), deadline)
            try:
                self._greet(node, made, deadline)
            except BaseException:
                made.close()
                raise
            self._links[node] = made
        self._told_at[node] = now
        return made

    def _greet(self, node: Node, made: Link, deadline: float) -> None:
        nodes, commands = self._nodes, self._nodes.commands
        met: Met = made.run(commands.greet_node(node), deadline)
        if not nodes.is_adopted(met):
            if commands.slots.owner(commands.slots.home) == node:
                made.run(commands.adopt(met), deadline)
            else:
                self.run(commands.adopt(met), deadline)
            nodes.adopted[met.identity] = met.replication
        self._greetings += 1

    def _learn(self, learn: Learn, deadline: float) -> bool:
        """Ask node after node who serves what, unless another thread has just done so; then meet whom nobody met."""
        nodes, slots = self._nodes, self._nodes.commands.slots
        version = slots.version
        left = deadline - monotonic()
        if self._learning or left <= 0 or not nodes.learning.acquire(timeout=left):
            return False
        self._learning = True
        try:
            if slots.version == version and not self._ask_around(learn, deadline):
                return False
            for node in nodes.unseen():
                with suppress(StoreUnavailable, *BROKEN):
                    self._link(node, self._share(deadline), check=True)
            slots.stale = False
        finally:
            self._learning = False
            nodes.learning.release()
        return True

    def _ask_around(self, learn: Learn, deadline: float) -> bool:
        candidates = self._nodes.candidates(learn)
        errors: list[Exception] = []
        for asked, node in enumerate(candidates):
            now = monotonic()
            if now >= deadline:
                break
            try:
                self._ask(node, now + share_of(deadline - now, len(candidates) - asked))
            except (StoreUnavailable, *BROKEN) as error:
                errors.append(cause_of(error))
                self._nodes.commands.slots.suspect(node)
            else:
                return True
        self._nodes.commands.slots.untold(errors)
        return False

    def _ask(self, node: Node, deadline: float) -> None:
        asked = link(self._nodes.opening.to(node), deadline)
        try:
            self._nodes.commands.slots.learn(asked.run(slots_asked(), deadline), node)
        finally:
            asked.close()

    def _share(self, deadline: float) -> float:
        now = monotonic()
        return now + (deadline - now) * _SHARE


def slots_asked() -> Steps:
    """Ask a node who serves what.

    Raises:
        StoreUnavailable: if it refuses.
    """
    (reply,) = yield [("CLUSTER", "SLOTS")]
    if isinstance(reply, ResponseError) and "support disabled" in str(reply):
        raise StoreUnavailable(f"this server is no Redis Cluster: write redis:// or rediss:// in the URL: {reply}")
    return checked(reply)


def left_by(answers: Mapping[Node, Replies | Lost]) -> list[Node]:
    """The nodes that gave a slot away: should one get it back, it shall be met anew."""
    return [node for node, answer in answers.items()
            if not isinstance(answer, Lost) and any(isinstance(reply, MovedError) for reply in answer)]


def cause_of(error: Exception) -> Exception:
    """What Redis or the system said, which is put into our words only once."""
    cause = error.__cause__
    return cause if isinstance(error, StoreUnavailable) and isinstance(cause, RedisError | OSError) else error
