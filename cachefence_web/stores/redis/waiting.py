"""Who waits for which lease, and what they are told: the part of waiting that has no colour.

A listener hears of every lease that ends while somebody waits for it, and now and then asks for all of them at once,
in case it was not told. So a process that waits sends a few commands a second, however many wait in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cachefence_web.chance import chance
from cachefence_web.core.effects import Wait
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.refusals import checked
from cachefence_web.stores.redis.scripts import Command

LINGER = 5.0
"""Seconds that a listener stays after the last who waited, lest each wait open a connection of its own."""

RETRY = 1.0
"""Seconds between two tries to listen."""

REFUSED = 60.0
"""Seconds after which one tries again who is not allowed to listen."""

_REMEMBERED = 10_000


def pause(*, listening: bool) -> float:
    """Seconds until the leases are asked for again; sooner where nobody tells. Jittered: processes shall not march."""
    return chance.uniform(0.3, 0.6) if listening else chance.uniform(0.11, 0.19)


class Watch:
    """One who waits: `wake` is called at most once, when the lease is no longer the holder's."""

    __slots__ = ("holder", "key", "wake")

    def __init__(self, effect: Wait, wake: Callable[[], None]) -> None:
        self.key = effect.key
        self.holder = effect.holder
        self.wake = wake


class Watches:
    """All who wait in one process, or one event loop; the caller sees to it that one thread is in here at a time."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._by_holder: dict[str, dict[Watch, None]] = {}
        self._ended: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._by_holder)

    def add(self, watch: Watch) -> bool:
        """Note who waits; False if the lease was heard to end before they came."""
        if watch.holder in self._ended:
            return False
        self._by_holder.setdefault(watch.holder, {})[watch] = None
        return True

    def remove(self, watch: Watch) -> None:
        """Forget who does not wait any longer."""
        watches = self._by_holder.get(watch.holder, {})
        watches.pop(watch, None)
        if not watches:
            self._by_holder.pop(watch.holder, None)

    def subscription(self) -> Command:
        """What to say to be told: the pattern of all channels, for one of each key would cost as many commands."""
        return ("PSUBSCRIBE", self._names.all_channels())

    def hear(self, message: Sequence[Any]) -> bool:
        """Wake those whom a message concerns; True if it says that from now on all will be told."""
        if message[0] == b"pmessage":
            holder = message[3].decode("ascii", "replace")
            self._ended[holder] = None
            if len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]
            self._wake(holder)
        return bool(message[0] == b"psubscribe")

    def question(self) -> tuple[list[tuple[str, str]], Command]:
        """Each lease that is waited for, with its holder, and the command that asks who holds them."""
        asked = list(dict.fromkeys([(watch.key, holder) for holder, watches in self._by_holder.items()
                                    for watch in watches]))
        return asked, ("MGET", *[self._names.lease(key) for key, _ in asked])

    def answer(self, asked: Sequence[tuple[str, str]], reply: Any) -> None:
        """Wake those whose lease has ended."""
        for (_, holder), token in zip(asked, checked(reply), strict=True):
            if (token or b"").removesuffix(b"!") != holder.encode():
                self._wake(holder)

    def wake_all(self) -> None:
        """Let everybody look for themselves: the store is out of reach, or is being closed."""
        for holder in list(self._by_holder):
            self._wake(holder)

    def _wake(self, holder: str) -> None:
        for watch in self._by_holder.pop(holder, ()):
            watch.wake()
