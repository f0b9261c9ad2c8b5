"""From what callers write to what plans take: every argument is checked here, before anything is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from cachefence_web.core.flight import Again, Ask, Failed, Fitness, Served
from cachefence_web.core.keys import check_key, check_namespace
from cachefence_web.core.policy import Policy, seconds
from cachefence_web.core.tags import check_tags
from cachefence_web.errors import ConfigurationError
from cachefence_web.runtime.engine import Counters, Engine
from cachefence_web.runtime.flights import flights_of
from cachefence_web.runtime.journal import outage_of
from cachefence_web.runtime.recording import current, inherit
from cachefence_web.runtime.sweeping import Sweeper
from cachefence_web.serializers import Serializer, serializer_from
from cachefence_web.stores.base import AsyncStore, Store
from cachefence_web.stores.opening import MOST_CONNECTIONS, open_pair

V = TypeVar("V")
OnOutage = Literal["journal", "outbox", "refuse", "raise", "log"]


@dataclass(slots=True)
class Terms:
    """What the faces of one cache have in common: where it is, how values are written, what callers may ask.

    timeout: seconds, the deadline of each store operation, connecting included.
    on_outage: what a write or an invalidation does when the store cannot be reached.
    fence_life: seconds after which a writer that has not said how its commit ended counts as dead.
    debug_header: whether the responses of cached views say what they depend on.
    """

    store: Store
    async_store: AsyncStore
    engine: Engine
    namespace: str
    policy: Policy
    policies: Mapping[str, Policy]
    on_outage: OnOutage
    fence_life: float
    sweeper: Sweeper
    debug_header: bool = False

    def ask(
        self, key: str, compute: Callable[[], Any] | None, tags: Iterable[str], policy: str | Policy | None,
        options: Mapping[str, Any], fitness: Callable[[Served], Fitness] | None = None,
    ) -> Ask:
        """What a caller wants, checked."""
        if fitness is not None and not callable(fitness):
            raise ConfigurationError(f"fitness is a function from what was found to a Fitness, not {fitness!r:.60}")
        return Ask(
            check_key(key), self.policy_of(policy, options), check_tags(tags) if tags else (), compute, fitness)

    @staticmethod
    def loader(load: V) -> V:
        """The function that loads a value.

        Raises:
            ConfigurationError: if it is none.
        """
        if not callable(load):
            raise ConfigurationError(
                f"get_or_set takes the function that loads the value, not the value {load!r:.60}: write lambda: ...")
        return load

    def policy_of(self, policy: str | Policy | None, options: Mapping[str, Any]) -> Policy:
        """The policy of a call: the cache's, or one by name, with the call's options over it."""
        if policy is None:
            base = self.policy
        elif isinstance(policy, Policy):
            base = policy
        elif not isinstance(policy, str):
            raise ConfigurationError(f"policy is a Policy or the name of one, not {policy!r:.60}")
        elif policy in self.policies:
            base = self.policies[policy]
        else:
            known = ", ".join(map(repr, self.policies)) or "none: give them as policies={...}"
            raise ConfigurationError(f"no policy is named {policy!r}; there are {known}")
        return base.but(options) if options else base

    def settle(self, landing: Served | Failed | Again) -> Any:
        """The value for the caller, or the error; either way the compute around it inherits what it depends on."""
        if isinstance(landing, Again):
            assert landing.because is not None, "a plan ends with an answer, or with what interrupted it"
            raise landing.because
        self.engine.counters.count(landing)
        inherit(landing)
        if isinstance(landing, Failed):
            raise self.engine.error_of(landing)
        return landing.value


def terms_for(
    where: Any,
    *,
    namespace: str,
    policy: Policy | None,
    policies: Mapping[str, Policy] | None,
    serializer: str | Serializer,
    secret: str | bytes | None,
    timeout: float,
    on_outage: OnOutage,
    fence_life: float,
    max_connections: int = MOST_CONNECTIONS,
    replicas: Sequence[Any] = (),
    debug_header: bool = False,
) -> Terms:
    """The terms of a new cache.

    Raises:
        ConfigurationError: for any argument that cannot work; nothing has been connected or stored by then.
    """
    check_namespace(namespace)
    if policies is not None and not isinstance(policies, Mapping):
        raise ConfigurationError(f"policies is a dict of name to Policy, not {policies!r:.60}")
    for name, tier in (policies or {}).items():
        if not isinstance(tier, Policy):
            raise ConfigurationError(f"policies[{name!r}] is a Policy, not {tier!r}: write Policy(ttl=...)")
    if policy is not None and not isinstance(policy, Policy):
        raise ConfigurationError(f"policy is a Policy, not {policy!r}: write Policy(ttl=...)")
    check_on_outage(on_outage)
    written = serializer_from(serializer, secret=secret)
    if not isinstance(replicas, list | tuple):
        raise ConfigurationError(f"replicas is a list of URLs, not {type(replicas).__name__}: write [...] around it")
    store, async_store = open_pair(
        where, namespace, timeout=seconds("timeout", timeout), max_connections=check_connections(max_connections),
        replicas=replicas, computes=_in_a_compute)
    sweeper = Sweeper(store)
    for each in (store, async_store):
        each.on_leftovers(sweeper.want)
    return Terms(
        store, async_store, Engine(written, flights_of(store.identity), outage_of(store.identity)), namespace,
        policy or Policy(), dict(policies or {}), on_outage, seconds("fence_life", fence_life), sweeper,
        check_flag("debug_header", debug_header))


def check_on_outage(on_outage: object) -> None:
    """Raises: ConfigurationError if it is none of the five."""
    if on_outage not in get_args(OnOutage):
        raise ConfigurationError(
            f"on_outage is 'journal', 'outbox', 'refuse', 'raise' or 'log', not {on_outage!r}: a commit that the cache"
            " cannot be told to expect is made and told later, made with a row in its own transaction that tells it,"
            " refused, refused as all other writes are, or made and never told")


def check_flag(name: str, given: object) -> bool:
    """Raises: ConfigurationError if it is neither True nor False, such as the text of an environment variable."""
    if not isinstance(given, bool):
        raise ConfigurationError(f"{name} is True or False, not {given!r:.60}")
    return given


def check_connections(connections: object) -> int:
    """Raises: ConfigurationError if it is no number of connections."""
    if isinstance(connections, bool) or not isinstance(connections, int) or connections < 1:
        raise ConfigurationError(f"max_connections is how many a process may open, 1 or more, not {connections!r}")
    return connections


def _in_a_compute() -> bool:
    return current() is not None


__all__ = ["Counters", "OnOutage", "Terms", "terms_for"]
