"""Which node of a Cluster serves which slot, as far as this process has heard; any thread may ask, any may learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AuthenticationError, ClusterDownError, ResponseError

from cachefence_web.chance import chance
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.refusals import twin

Remap: TypeAlias = Callable[[tuple[str, int]], tuple[str, int]]
"""From the host and port that nodes tell of one to those at which it is reached."""

PACE = 1.0
"""Seconds from what was learnt until all is asked anew only because a node was lost, which may still be replaced."""

_MOST_SHARES = 4
"""Into how many shares, at most, the time left is divided among those still to be asked who serves what."""


_REFUSED = (ResponseError, AuthenticationError, StoreUnavailable)


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Slots:
    """home: the slot of the namespace's metadata.

    stale: whether to ask anew: nobody was asked yet, or a node told of a move, and others may have moved too.
    version: grows whenever the whole was learnt anew.
    clock: seconds, from any moment on.
    remap: what a user says about addresses that nodes tell.
    """

    __slots__ = ("_at_home", "_clock", "_doubted", "_lack", "_learnt_at", "_others", "_owners", "_suspects", "home",
                 "nodes", "remap", "stale", "version")

    def __init__(self, names: Names, clock: Callable[[], float] = monotonic) -> None:
        self.home = slot_of(names.epoch)
        self._at_home = names.epoch.removesuffix("epoch")
        self._owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._others: tuple[Node, ...] = ()
        self._clock = clock
        self._doubted = False
        self._suspects: set[Node] = set()
        self._learnt_at = 0.0
        self._lack: Exception | None = None
        self.nodes: tuple[Node, ...] = ()
        self.remap: Remap | None = None
        self.stale = True
        self.version = 0

    def slot(self, name: str) -> int:
        """The slot of what bears a name."""
        return self.home if name.startswith(self._at_home) else slot_of(name)

    def owner(self, slot: int) -> Node | None:
        """The primary that serves a slot; None if nobody is known to."""
        return self._owners[slot]

    def moved(self, slot: int, node: Node) -> None:
        """A node said that another serves the slot from now on."""
        self._owners[slot] = node
        self.stale = True

    def outdated(self) -> bool:
        """Whether to ask anew before anything is told: silence alone leads nobody to the node that took over."""
        return self.stale or (self._doubted and self._clock() >= self._learnt_at + PACE)

    def lost(self, node: Node) -> None:
        """A node gave no answer to what only it could do: another may do that by now."""
        self._doubted = True
        self._suspects.add(node)

    def suspect(self, node: Node) -> None:
        """A node did not tell who serves what: others are asked before it."""
        self._suspects.add(node)

    def answered(self, node: Node) -> None:
        """A node is there."""
        self._suspects.discard(node)

    def candidates(self, seeds: Iterable[Node]) -> list[Node]:
        """Whom to ask for the slots.

        Those that are known in any order, a node that the user named behind the first: all that are known may be gone.
        Last those that were silent when they were last asked for anything.
        """
        known = [*self.nodes, *self._others]
        chance.shuffle(known)
        named = [node for node in seeds if node not in known]
        ordered = dict.fromkeys([*known[:1], *named[:1], *known[1:], *named[1:]])
        return self.trusted_first(ordered)

    def trusted_first(self, nodes: Iterable[Node]) -> list[Node]:
        """The nodes in their order, but last those that were silent when they were last asked for anything."""
        return sorted(nodes, key=self._suspects.__contains__)

    def unserved(self, slot: int) -> Exception:
        """Why a slot has no owner."""
        if self.version:
            return ClusterDownError(f"no node serves slot {slot}: see CLUSTER INFO")
        if self._lack is None:
            return TimeoutError("no node told by the deadline who serves what")
        return twin(self._lack)

    def untold(self, errors: Sequence[Exception]) -> None:
        """Nobody told who serves what; a refusal says more of the reason than a silence."""
        refusals = [error for error in errors if isinstance(error, _REFUSED)]
        self._lack = next(iter([*refusals, *errors]), self._lack)

    def learn(self, reply: Any, asked: Node) -> None:
        """Take the reply of a node to CLUSTER SLOTS.

        Raises:
            ClusterDownError: if it knows of none.
        """
        owners: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        primaries: dict[Node, None] = {}
        others: dict[Node, None] = {}
        for first, last, primary, *replicas in reply:
            owner = self._told(primary, asked)
            owners[first:last + 1] = [owner] * (last + 1 - first)
            primaries[owner] = None
            others.update(dict.fromkeys([self._told(replica, asked) for replica in replicas]))
        if not primaries:
            raise ClusterDownError(f"no node serves any slot, says {asked}: form the cluster first, see CLUSTER INFO")
        self._owners, self.nodes, self._others = owners, tuple(primaries), tuple(others)
        self._doubted, self._learnt_at, self._lack = False, self._clock(), None
        self._suspects.intersection_update({*primaries, *others})
        self.answered(asked)
        self.version += 1

    def node(self, host: str, port: int, asked: Node) -> Node:
        """A node by the address that another tells, which leaves out a host it does not know, or that is its own."""
        address = (host if host not in {"", "?"} else asked.host), port
        return Node(*(address if self.remap is None else self.remap(address)))

    def _told(self, told: Any, asked: Node) -> Node:
        return self.node((told[0] or b"").decode(), int(told[1]), asked)


def share_of(seconds: float, candidates: int) -> float:
    """Of the seconds left, those for the first of so many candidates: enough for an answer, and some for each other."""
    return seconds / min(candidates, _MOST_SHARES)


def slot_of(name: str) -> int:
    """The slot that a name hashes to."""
    return key_slot(name.encode("utf-8", "surrogatepass"))
