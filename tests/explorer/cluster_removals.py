"""The rules of a cluster, and how each is taken out: what may be asked before what, and what must be asked anew."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cachefence_web.core import leading
from cachefence_web.core.effects import Claim, Read, TakeInstant
from cachefence_web.core.tags import Times
from cachefence_web.stores import dates, ledger
from tests.explorer import cluster
from tests.explorer.cluster_scopes import CLUSTER
from tests.explorer.removals import Removal, always, granted_to_all
from tests.explorer.world import World

WARM = CLUSTER["warm"]
JOINED = CLUSTER["invalidated, aboard one flight"]


_AT_FIRST = WARM.world().ledger.dates


def _remembered(world: World) -> Times:
    """Dates that the process read once, and kept."""
    return _AT_FIRST.times(_AT_FIRST.records, world.time)


def _dated_when_done(asked: Any, granted: Any, done: Any) -> Any:
    return (yield from _store(asked, replace(granted, lease=(yield from TakeInstant())), done))


_store = leading._store


def _in_a_look_only(effect: object) -> bool:
    return isinstance(effect, Read | Claim)

CLUSTER_REMOVALS: dict[str, Removal] = {
    "cluster: a joiner's value was admitted": Removal(dates, "admitted_after", always(True), JOINED),
    "cluster: it is admitted in the epoch there is, not in the one that was": Removal(
        dates, "admitted_in_epoch", always(True), CLUSTER["all invalidated"]),
    "cluster: what was admitted is stored by token": Removal(
        ledger, "is_the_tokens", always(True), CLUSTER["deleted, aboard one flight"]),
    "cluster: a put revokes the lease": Removal(ledger, "revoke", always(None), CLUSTER["set"]),
    "cluster: a put that is admitted in time can be late": Removal(
        ledger, "arrived_late", always(False), CLUSTER["set twice, delayed"]),
    "cluster: what is put is still what was expected": Removal(
        ledger, "entry_is_the_one_expected", always(True), CLUSTER["counting"], "counted"),
    "cluster: the instant is taken before the compute": Removal(leading, "_store", _dated_when_done, CLUSTER["cold"]),
    "cluster: who boards before the claim is sent boards before its instant": Removal(
        leading, "approach", granted_to_all, JOINED),
    "cluster: dates are read with the entry, not remembered": Removal(cluster, "dates_now", _remembered, WARM),
    "cluster: dates from before an entry do not condemn it": Removal(
        cluster, "dates_suffice", always(True), CLUSTER["counting"], "counted"),
    "cluster: dates from before a connection are asked for anew": Removal(
        cluster, "reconnect", always(None), CLUSTER["failover of the keys"]),
    "cluster: an admission from before a connection is asked for anew": Removal(
        cluster, "stands_on_dates", _in_a_look_only, CLUSTER["failover of the keys, aboard one flight"]),
}
