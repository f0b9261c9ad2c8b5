"""The steps of effects where the metadata are on one node and the key on another.

What a script does at once elsewhere is two steps here. A fill is admitted where the metadata are, then stored by token
where the key is: an invalidation between the two is found by whoever reads, since it is dated after the lease.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from redis.exceptions import AuthenticationError, ResponseError

from cachefence_web.core.effects import (
    Amend,
    Claim,
    Claimed,
    Clear,
    Expire,
    Fence,
    Filed,
    Fill,
    Invalidate,
    Lift,
    Look,
    Put,
    Read,
    Settle,
    StoreEffect,
)
from cachefence_web.core.entry import Entry, Kind
from cachefence_web.core.tags import in_epoch
from cachefence_web.errors import StoreUnavailable
from cachefence_web.stores.redis.cluster.routing import GREETINGS
from cachefence_web.stores.redis.cluster.slots import Node, Slots
from cachefence_web.stores.redis.commands import Commands, OnRestart, life_of
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.reading import Reading
from cachefence_web.stores.redis.refusals import checked, twin
from cachefence_web.stores.redis.scripts import Command, Replies, Steps, asked, call, inquiry, lessons, together
from cachefence_web.stores.redis.storetime import StoreTime, local_clock


@dataclass(frozen=True, slots=True)
class Met:
    """What a node says of itself: its id, which it keeps, and its replication id, which a restart or failover ends."""

    identity: str
    replication: str


class ClusterReading(Reading):
    """Looks that fail one by one: a node that is away takes with it its own keys alone.

    Entry and dates come from two nodes, in any order. Dates from before an entry may lack what began with it, its
    epoch or the record of a tag. Where they do they are asked for once more: who replaces, by comparison, what does not
    stand must not replace what does.
    """

    __slots__ = ("_slots",)

    def __init__(self, names: Names, time: StoreTime, slots: Slots) -> None:
        super().__init__(names, time)
        self._slots = slots

    def one(self, key: str) -> Steps:
        """The look at a key."""
        look = yield from super().one(key)
        return (yield from self.redated({key: look}))[key]

    def many(self, keys: Sequence[str]) -> Steps:
        """The looks at many keys, by key; among them the errors of those whose node is away."""
        slots, names = self._slots, self.names
        there: dict[Node | None, list[str]] = {}
        for key in keys:
            there.setdefault(slots.owner(slots.slot(names.entry(key))), []).append(key)
        if len(there) < 2:
            return (yield from self._on_a_node(keys))
        looks: dict[str, Look | Exception] = {}
        answers = yield from together([self._on_a_node(some) for some in there.values()])
        for some, answer in zip(there.values(), answers, strict=True):
            looks.update({key: twin(answer) for key in some} if isinstance(answer, Exception) else answer)
        return looks

    def redated(self, looks: Mapping[str, Look]) -> Generator[list[Command], Replies, dict[str, Look]]:
        """The looks by key, some with newer dates."""
        doubtful = {key: _tags(look) for key, look in looks.items() if not _is_conclusive(look)}
        if not doubtful:
            return dict(looks)
        tags = list(dict.fromkeys([tag for some in doubtful.values() for tag in some]))
        (reply,) = yield [("MGET", self.names.epoch, *self.names.records(tags))]
        epoch, *records = checked(reply)
        found = dict(zip(tags, records, strict=True))
        return {**looks, **{
            key: replace(looks[key], times=self.times(epoch, some, [found[tag] for tag in some]))
            for key, some in doubtful.items()}}

    def _on_a_node(self, keys: Sequence[str]) -> Steps:
        return (yield from self.redated((yield from super().many(keys))))


def _tags(look: Look) -> list[str]:
    return list(dict.fromkeys([tag for found in (look.entry, look.failure) if found is not None for tag in found.tags]))


def _is_conclusive(look: Look) -> bool:
    """Whether nothing began with what was found that its dates know nothing of."""
    times = look.times
    return all(in_epoch(found.lease, times.epoch) for found in (look.entry, look.failure) if found is not None) and all(
        times.records.get(tag) is not None for tag in _tags(look))


class ClusterCommands(Commands):
    """The commands of one namespace in a Cluster; `slots` is what all its connections share."""

    __slots__ = ("slots",)

    def __init__(
        self, namespace: str, deadline: float, on_restart: OnRestart = "new_epoch",
        clock: Callable[[], int] = local_clock,
    ) -> None:
        super().__init__(namespace, deadline, on_restart, clock)
        self.slots = Slots(self.names)
        self.reading: ClusterReading = ClusterReading(self.names, self._time, self.slots)

    def all(self, effects: Sequence[StoreEffect[Any]]) -> Steps:
        """Several effects; side by side, but for those whose order counts."""
        answers: list[Any] = []
        for some in _side_by_side(effects):
            answers += yield from super().all(some)
        return answers

    def greet_node(self, node: Node) -> Steps:
        """On a new connection to a node: who it is, as a Met; it learns the scripts.

        Raises:
            StoreUnavailable: from a replica, which is of no use until it is promoted, and then is another.
        """
        (info,) = yield [("INFO", "replication")]
        if isinstance(info, AuthenticationError):
            checked(info)
        if isinstance(info, bytes) and b"\nrole:slave" in info:
            raise StoreUnavailable("this node is a replica now: repeat the call, which looks for its primary")
        identity, scripts = yield [("CLUSTER", "MYID"), inquiry()]
        lacking = lessons(scripts)
        if lacking:
            yield lacking
        # A user may be forbidden to ask for the id; then an address has to do.
        known = identity.decode() if isinstance(identity, bytes) else str(node)
        return Met(known, self._identified(info) if self._on_restart == "new_epoch" else "")

    def adopt(self, met: Met) -> Steps:
        """A new epoch if a node is another than the one last met, or was never met."""
        return self._nothing("adopt", (), met.replication, f"server:{met.identity}")

    def each(self, command: Command) -> Steps:
        """The values of an MGET; None for those whose node is away, which is for others to find out."""
        replies = yield [("MGET", name) for name in command[1:]]
        return [None if isinstance(reply, Exception) else reply[0] for reply in replies]

    def _claim(self, effect: Claim) -> Steps:
        claimed: Claimed = yield from super()._claim(effect)
        if claimed.lease is not None:
            return claimed
        looks = yield from self.reading.redated({effect.key: claimed.look})
        return replace(claimed, look=looks[effect.key])

    def _fill(self, effect: Fill) -> Steps:
        entry, key = effect.entry, effect.key
        where = "error" if entry.kind in {Kind.FAILURE, Kind.PASS} else "entry"
        verdict, (before, _) = yield from self._admitted(entry, effect.life, GREETINGS)
        filed, (_, after) = yield from asked([call("file", self.names.of_key(key), [
            verdict, entry.encode(), life_of(effect.life), self.names.channel(key), effect.token, where]), GREETINGS])
        if checked(filed) == b"admitted" and before != after:
            # The key's node may be a promoted one, which knows the lease but not that it was revoked.
            (filed,) = yield from self._admitted(entry, effect.life)
        return self._filed(key, entry, filed, remember=where == "entry")

    def _lay(self, effect: Put, expected: str | bytes) -> Generator[list[Command], Replies, Filed]:
        entry, key, names = effect.entry, effect.key, self.names
        began = self._time.clock()
        while True:
            sent = self._time.clock()
            dated, stamp = yield from asked([
                self._admission(entry, effect.life), call("time", [names.entry(key)], ())])
            self._time.learn(checked(dated), sent)
            time, node = checked(stamp)
            (laid,) = yield from asked([call("lay", names.of_key(key), [
                dated[3], entry.encode(), life_of(effect.life), names.channel(key), expected,
                int(time) + self._deadline - (sent - began), node])])
            if checked(laid) != b"moved":
                break
        filed = self._filed(key, entry, laid, remember=True)
        if filed in {Filed.ADMITTED, Filed.INVALIDATED}:
            yield from asked([self._note(key)])
        return filed

    def _admission(self, entry: Entry, life: float | None) -> Command:
        return self._on_clock("admission", self.names.pairs(entry.tags), [
            entry.lease.instant, f"{entry.lease.epoch:016x}", life_of(life)])

    def _admitted(
        self, entry: Entry, life: float | None, *beside: Command
    ) -> Generator[list[Command], Replies, Replies]:
        """The verdict, and the replies to what is asked beside it."""
        sent = self._time.clock()
        reply, *others = yield from asked([self._admission(entry, life), *beside])
        dated = checked(reply)
        self._time.learn(dated, sent)
        return [dated[3], *others]

    def _filed(self, key: str, entry: Entry, verdict: bytes, *, remember: bool) -> Filed:
        filed = Filed(verdict.decode())
        if filed is Filed.ADMITTED and remember:
            self.reading.remember(key, entry.tags)
        return filed

    def _change(self, key: str, *commands: Command) -> Generator[list[Command], Replies, Replies]:
        # Not side by side: who is told of a change before it is made reads, and keeps, what was there before.
        replies = yield from asked([*commands])
        if not all(isinstance(reply, ResponseError) for reply in replies):
            yield from asked([self._note(key)])
        return replies


def _side_by_side(effects: Sequence[StoreEffect[Any]]) -> list[list[StoreEffect[Any]]]:
    """The effects in their order, together as long as none may come before one that it depends on.

    What touches a key that was changed waits for that, and what dates a tag waits for what is stored under tags.
    """
    groups: list[list[StoreEffect[Any]]] = [[]]
    changed: set[str] = set()
    storing = False
    for effect in effects:
        key = getattr(effect, "key", None)
        dates = isinstance(effect, Invalidate | Expire | Fence | Lift | Settle | Clear)
        if key in changed or (storing and dates):
            groups.append([])
            changed.clear()
            storing = False
        groups[-1].append(effect)
        if key is not None and not isinstance(effect, Read):
            changed.add(key)
        storing |= isinstance(effect, Fill | Put | Amend | Claim)
    return groups if effects else []
