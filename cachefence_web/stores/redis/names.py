"""Where things stand in Redis: what belongs to one key shares a slot, and so do all metadata of a namespace."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """The names of one namespace.

    metadata: clock, epoch, recent, log, as every script that touches the clock is given them.
    """

    __slots__ = ("_entry", "_error", "_fences", "_lease", "_record", "_scratch", "_wake", "epoch", "metadata")

    def __init__(self, namespace: str) -> None:
        shared = f"{{{namespace}}}"
        self.metadata = [f"{shared}:clock", f"{shared}:epoch", f"{shared}:recent", f"{shared}:log"]
        self.epoch = self.metadata[1]
        self._record, self._fences = f"{shared}:t:", f"{shared}:f:"
        self._entry, self._lease, self._error = f"{namespace}:e:{{", f"{namespace}:l:{{", f"{namespace}:x:{{"
        self._scratch, self._wake = f"{namespace}:n:{{", f"{namespace}:w:{{"

    def entry(self, key: str) -> str:
        """What is stored under a key."""
        return self._entry + _escaped(key) + "}"

    def lease(self, key: str) -> str:
        """Who may compute it."""
        return self._lease + _escaped(key) + "}"

    def error(self, key: str) -> str:
        """What its last compute failed with."""
        return self._error + _escaped(key) + "}"

    def of_key(self, key: str) -> list[str]:
        """Entry, lease and error record, as the scripts are given them."""
        bare = _escaped(key) + "}"
        return [self._entry + bare, self._lease + bare, self._error + bare]

    def scratch(self, key: str) -> str:
        """Where a script has Redis add in 64 bits; gone when the script ends."""
        return self._scratch + _escaped(key) + "}"

    def channel(self, key: str) -> str:
        """Where the end of a key's lease is told."""
        return self._wake + _escaped(key) + "}"

    def all_channels(self) -> str:
        """The pattern of every key's channel."""
        return _literal(self._wake) + "*"

    def record(self, tag: str) -> str:
        """What is known of a tag."""
        return self._record + tag

    def records(self, tags: Iterable[str]) -> list[str]:
        """The records of tags."""
        prefix = self._record
        return [prefix + tag for tag in tags]

    def pairs(self, tags: Iterable[str]) -> list[str]:
        """Record and fences of each tag, as the scripts are given them."""
        return [prefix + tag for tag in tags for prefix in (self._record, self._fences)]

    def entries(self, front: str) -> str:
        """A glob over all entries whose key begins so."""
        return _literal(self._entry + _escaped(front)) + "*"

    def key_of(self, entry: bytes) -> str:
        """The user's key from the name of its entry."""
        bare = entry.decode("utf-8", "surrogatepass")[len(self._entry):-1]
        return bare.replace("%7D", "}").replace("%7B", "{").replace("%25", "%")


def _escaped(key: str) -> str:
    """A brace of the user's would move the key to another slot."""
    if "%" in key or "{" in key or "}" in key:
        return key.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return key


def _literal(text: str) -> str:
    return "".join(["\\" + char if char in "*?[]\\^" else char for char in text])
