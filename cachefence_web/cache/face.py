"""What the faces of both colours check and decide alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar

from cachefence_web.asking import Counters, OnOutage, Terms, terms_for
from cachefence_web.core import writing
from cachefence_web.core.effects import (
    Filed,
    Plan,
)
from cachefence_web.core.entry import Kind
from cachefence_web.core.flight import Again, Ask, Computed, Failed, Served
from cachefence_web.core.journal import Owed
from cachefence_web.core.keys import check_key
from cachefence_web.core.policy import Policy
from cachefence_web.core.tags import Lease, check_tags
from cachefence_web.errors import ConfigurationError, StoreUnavailable
from cachefence_web.runtime.batches import check_batch
from cachefence_web.runtime.engine import log
from cachefence_web.runtime.recording import inherit
from cachefence_web.serializers import Serializer
from cachefence_web.stores.opening import MOST_CONNECTIONS

T = TypeVar("T")
V = TypeVar("V")

FENCING = "fencing"


class Face:
    """What both colours check and decide alike."""

    def __init__(
        self,
        url: Any = "memory://",
        *,
        namespace: str = "cachefence",
        policy: Policy | None = None,
        policies: Mapping[str, Policy] | None = None,
        serializer: str | Serializer = "msgpack",
        secret: str | bytes | None = None,
        timeout: float = 1.0,
        on_outage: OnOutage = "journal",
        fence_life: float = 10.0,
        max_connections: int = MOST_CONNECTIONS,
        replicas: Sequence[Any] = (),
        debug_header: bool = False,
    ) -> None:
        """A cache. Nothing is connected before it is first used.

        url: redis://host:6379/0, rediss://, unix:///path, redis+sentinel://host:26379,host2:26379/service/0, or
            memory:// (a store within the process; memory://name is shared by name); or a redis-py client, whose
            connection settings are then used.
        namespace: what sets this cache's keys apart from others on the same server.
        policy: what applies where a call says nothing; policies: the same by name, for `policy="name"`.
        serializer: "msgpack", "json", "pickle" (needs `secret`), or a Serializer.
        timeout: seconds, the deadline of each store operation, connecting included.
        on_outage: what a write does when the store cannot be reached. "journal": what it makes untrue (tags, keys,
            the keys of values that were set) is kept in this process and told to the store once that is back; until
            then the process neither reads from the store nor fills it. The call returns as if there had been nothing
            to change: None, False or 0. "outbox": the same, but a commit of Django's or SQLAlchemy's that the cache
            cannot be told to expect takes a row along in its own transaction, so that what it makes untrue is told
            even if this process is killed. "refuse": the same as "journal", but such a commit, and a block of
            `fencing`, is refused with StoreUnavailable. "raise": so is every other write. "log": it is logged and
            forgotten. Reads compute instead, always.
        fence_life: seconds after which a writer under `fencing` that has not come back counts as dead.
        max_connections: how many a process opens for its threads; an event loop needs one.
        replicas: URLs of the primary's replicas. They answer what is asked with `consistency="eventual"`, and may be
            behind; all else, and whatever is asked within a compute, goes to the primary.
        debug_header: whether responses of cached views say in X-CacheFence-Depends which rows and tables they depend
            on, and by which statements. It shows SQL to whoever asks: for development.

        Raises:
            ConfigurationError: for any argument that cannot work.
        """
        self._adopt(terms_for(
            url, namespace=namespace, policy=policy, policies=policies, serializer=serializer, secret=secret,
            timeout=timeout, on_outage=on_outage, fence_life=fence_life, max_connections=max_connections,
            replicas=replicas, debug_header=debug_header))

    @classmethod
    def _of(cls, terms: Terms) -> Self:
        face = cls.__new__(cls)
        face._adopt(terms)
        return face

    def _adopt(self, terms: Terms) -> None:
        self._terms = terms

    @property
    def namespace(self) -> str:
        """What sets this cache's keys apart."""
        return self._terms.namespace

    @property
    def policy(self) -> Policy:
        """What applies where a call says nothing."""
        return self._terms.policy

    def stats(self) -> Counters:
        """How this process's callers were answered so far."""
        return replace(self._terms.engine.counters, journaled=self._terms.engine.outage.outstanding)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._terms.namespace!r} on {self._terms.store.identity}>"

    def _put(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, since: Lease | None,
        options: Mapping[str, Any], *, raw: bool = False,
    ) -> Plan[Filed]:
        if since is not None and not isinstance(since, Lease):
            raise ConfigurationError(f"since is what instant() has given, not {since!r:.60}")
        payload, kind, ask = self._payload(key, value, tags, policy, options, raw=raw)
        return writing.put(ask.key, Computed(value, payload, ask.tags, kind=kind), ask.policy, since)

    def _put_all(
        self, values: Mapping[str, Any], tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any]
    ) -> Plan[None]:
        shared = check_tags(tags)
        made = []
        for key, value in values.items():
            payload, kind, ask = self._payload(key, value, shared, policy, options)
            made.append((ask.key, Computed(value, payload, ask.tags, kind=kind), ask.policy))
        return writing.put_all(made)

    def _add(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any]
    ) -> Plan[bool]:
        payload, kind, ask = self._payload(key, value, tags, policy, options)
        return writing.add(ask.key, Computed(value, payload, ask.tags, kind=kind), ask.policy)

    def _replace(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any]
    ) -> Plan[bool]:
        payload, kind, ask = self._payload(key, value, tags, policy, options)
        return writing.replace(ask.key, Computed(value, payload, ask.tags, kind=kind), ask.policy)

    def _modify(
        self, key: str, change: Any, initial: Any, policy: str | Policy | None,
        options: Mapping[str, Any],
    ) -> Plan[Computed | None]:
        if not callable(change) or asyncio.iscoroutinefunction(change):
            raise ConfigurationError(
                f"modify takes a plain function from the old value to the new, not {change!r:.60}: lambda value: ...")
        ask = self._terms.ask(key, None, (), policy, options)

        def changed(value: Any) -> Computed:
            made = change(value)
            payload, kind = self._terms.engine.encode(made)
            return Computed(made, payload, (), kind=kind)

        return writing.modify(ask.key, changed, ask.policy, None if initial is ... else partial(changed, initial))

    def _payload(
        self, key: str, value: Any, tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any], *,
        raw: bool = False,
    ) -> tuple[bytes, Kind, Ask]:
        ask = self._terms.ask(key, None, tags, policy, options)
        if raw and not isinstance(value, bytes):
            raise ConfigurationError(f"raw=True stores bytes as they are, not {value!r:.60}")
        payload, kind = (value, Kind.RAW) if raw else self._terms.engine.encode(value)
        return payload, kind, ask

    def _asks(
        self, keys: Iterable[str], tags: Iterable[str], policy: str | Policy | None, options: Mapping[str, Any],
        load_many: Callable[[list[str]], Any],
    ) -> list[Ask]:
        if not callable(load_many):
            raise ConfigurationError(
                f"get_or_set_many takes the function that loads the values, not {load_many!r:.60}: lambda keys: ...")
        shared = check_tags(tags)
        return [self._terms.ask(key, _one_of(load_many, key), shared, policy, options)
                for key in dict.fromkeys(names_of(keys))]

    def _collect(self, asks: list[Ask], landings: list[Served | Failed | Again]) -> dict[str, Any]:
        values = {}
        for ask, landing in zip(asks, landings, strict=True):
            left_out = isinstance(landing, Again) and isinstance(landing.because, _Omitted | None)
            if not left_out:
                values[ask.key] = self._terms.settle(landing)
        return values

    @staticmethod
    def _loaded(asks: list[Ask], values: Any) -> dict[str, Any]:
        """What a batch function has answered, asked past the cache."""
        checked = check_batch(values)
        return {ask.key: checked[ask.key] for ask in asks if ask.key in checked}

    def _hit(self, served: Served | None, default: T) -> Any | T:
        if served is None:
            return default
        inherit(served)
        self._terms.engine.counters.count(served)
        return served.value

    def _hits(self, keys: list[str], found: list[Served | StoreUnavailable | None]) -> dict[str, Any]:
        away = [served for served in found if isinstance(served, StoreUnavailable)]
        if 0 < len(away) < len(keys):  # in an outage from the start nothing is found, as by `get`
            log.error("get_many could not look up %d of %d keys in the store of %r, and leaves them out: %s",
                      len(away), len(keys), self._terms.namespace, away[0])
        return {key: self._hit(served, None) for key, served in zip(keys, found, strict=True)
                if isinstance(served, Served)}

    def _outage(
        self, what: str, error: StoreUnavailable, owed: Owed | None = None, on_outage: OnOutage | None = None
    ) -> None:
        """A write has not reached the store; owed: what it makes untrue, if that can be made good later."""
        chosen = on_outage or self._terms.on_outage
        if chosen == "raise" or (chosen == "refuse" and what == FENCING):
            raise error
        if chosen != "log" and owed is not None:
            self._terms.engine.outage.owe(owed, self._terms.store, what, error, unfenced=what == FENCING)
        else:
            log.error("%s did not reach the store of %r: %s", what, self._terms.namespace, error)

    def _tags(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        if not tags:
            raise ConfigurationError("name at least one tag, such as 'book:42'; invalidate_all() drops everything")
        return check_tags(tags)


class _Omitted(BaseException):
    """A batch function was asked for one key and left it out: no failure, and nobody else's answer."""


def names_of(keys: Iterable[str]) -> list[str]:
    if isinstance(keys, str):
        raise ConfigurationError(f"keys is a list of keys, not one text: write [{keys!r}]")
    return [check_key(key) for key in keys]


def integer(delta: object) -> int:
    if isinstance(delta, bool) or not isinstance(delta, int) or not -(2**63) <= delta < 2**63:
        raise ConfigurationError(f"incr() adds an integer of 64 bits, not {delta!r}")
    return delta


def _one_of(load_many: Callable[[list[str]], Any], key: str) -> Callable[[], Any]:
    """The batch function as the compute of one key, of whichever colour it is."""

    def pick(values: Any) -> Any:
        if key not in values:
            raise _Omitted(key)
        return values[key]

    if asyncio.iscoroutinefunction(load_many):
        async def load_async() -> Any:
            return pick(await load_many([key]))

        return load_async
    return lambda: pick(load_many([key]))
