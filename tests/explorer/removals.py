"""Every check, and how it is taken out: without it the search must find a broken promise, or the check is idle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from cachefence_web.core import flight, leading, plans, tags, writing
from cachefence_web.core.effects import Clear, Filed, Fill, Invalidate, Outcome
from cachefence_web.core.flight import Again, Served, Status
from cachefence_web.core.recording import Recording
from cachefence_web.errors import StoreUnavailable
from cachefence_web.runtime.flights import Flight
from cachefence_web.stores import dates, ledger
from tests.explorer import driver, mishaps
from tests.explorer.processes import passer
from tests.explorer.scenarios import Actor, Scenario, ask, reader
from tests.explorer.scopes import COLD, PAIR, SCOPES, STRICT, TOGETHER, WRITER, fixed
from tests.explorer.writers import transaction


@dataclass(frozen=True, slots=True)
class Removal:
    """A check that is a function of a module or class, what stands in for it, and where that must be noticed."""

    where: object
    check: str
    instead: Callable[..., Any]
    scope: Scenario
    breaks: str = "stale"


def always(answer: Any) -> Callable[..., Any]:
    """A check that does not look."""
    return lambda *_, **__: answer


ONE = {"r1": reader("p1"), "w": WRITER}
JOINED = SCOPES["cold, aboard one flight"]
DELETED = SCOPES["deleted"]
UNFENCED = Actor("w", transaction("w", "a", fenced=False))


def _lift_without_invalidating(self: dates.Dates, tags: Any, token: str, _: Outcome, *rest: Any) -> None:
    _lift(self, tags, token, Outcome.ROLLED_BACK, *rest)


_lift = dates.Dates.lift


def _deaf_inherit(self: Recording, landing: Any) -> None:
    if isinstance(landing, Served) and landing.status is Status.STALE:
        self.storable = False


def _trusting_inherit(self: Recording, landing: Any) -> None:
    self.depend(landing.tags)


def _counting_late(asked: Any, granted: Any, done: Any) -> Any:
    entry, life = writing.entry_of(asked.policy, done, granted.lease, granted.now)
    served = Served(done.value, done.tags, Status.UNSTORED, granted.covers)
    try:
        filed = yield from Fill(asked.key, granted.token, entry, life)
    except StoreUnavailable:
        return served
    if filed is not Filed.ADMITTED:
        return served
    return replace(served, status=Status.STORED, covers=(yield from flight.RollCall(asked.key)))


def granted_to_all(*args: Any, **kwargs: Any) -> Any:
    """A lease's compute, as if nobody could board too late for it."""
    granted = yield from _approach(*args, **kwargs)
    return replace(granted, covers=99) if isinstance(granted, flight.Granted) else granted


_approach = leading.approach


def _seated_for_all(self: Flight, seat: int) -> Any:
    return self.landing if not isinstance(self.landing, Again) or seat == 0 else Again()


REMOVALS: dict[str, Removal] = {
    "an entry of another epoch": Removal(tags, "in_epoch", always(True), SCOPES["failover"]),
    "a lost record counts as invalidated": Removal(
        tags, "lost_counts_as_invalidated", always(False), Scenario(ONE, COLD, {"lose record:a": 1})),
    "the lease is after the invalidation": Removal(tags, "after_invalidation", always(True), Scenario(ONE, COLD)),
    "a passed deadline invalidates": Removal(
        tags, "deadline_passed", always(False), Scenario(ONE, COLD, {"crash": 1, "hours": 1})),
    "a strict read refuses what is pending": Removal(
        tags, "refuses_pending", always(False), Scenario({"r1": reader("p1", ask(policy=STRICT)), "w": WRITER}, COLD)),
    "admission: the lease is after the invalidation": Removal(dates, "admitted_after", always(True), JOINED),
    "admission: the epoch is the lease's": Removal(
        dates, "admitted_in_epoch", always(True), Scenario({**TOGETHER, "w": fixed(Clear())}, split=True)),
    "admission: a passed deadline invalidates": Removal(
        dates, "deadline_has_passed", always(False), SCOPES["aboard one flight, killed"]),
    "birth: recent remembers": Removal(dates, "remembered", always(0), SCOPES["invalidated, cold"]),
    "birth: what recent forgot counts": Removal(
        dates, "forgotten", always(0), SCOPES["invalidated, recent lost"]),
    "birth: a new recent remembers nothing": Removal(
        dates, "floor_at_birth", always(0), SCOPES["invalidated, recent lost"]),
    "birth: fences are known to a new record": Removal(
        dates, "fences_at_birth", always({}),
        Scenario(PAIR, (), {"crash": 1, "hours": 1, "lose record:a": 1})),
    "the clock never goes back": Removal(
        dates, "at_least", always(0), Scenario(ONE, COLD, {"backwards": 1})),
    "a lost clock ends the epoch": Removal(
        dates, "lost_clock_ends_the_epoch", always(False), Scenario(ONE, COLD, {"backwards": 1, "lose clock": 1})),
    "lost fences come back": Removal(dates, "fences_were_lost", always(False), SCOPES["two writers, fences lost"]),
    "a fence is counted in a record": Removal(
        dates, "counted_in_a_record", always(False), Scenario(PAIR, (), {"lose fences:a": 1, "crash": 1, "hours": 1})),
    "an unknown commit keeps its fence": Removal(
        dates, "stays_until_its_deadline", always(False), Scenario(PAIR, COLD, {"unknown": 1, "hours": 1})),
    "a lift invalidates": Removal(dates.Dates, "lift", _lift_without_invalidating, Scenario(ONE, COLD)),
    "a server with another memory is a new epoch": Removal(mishaps, "adopt", always(None), SCOPES["failover"]),
    "one lease at a time": Removal(ledger, "stands_in_the_way", always(False), Scenario(PAIR), "P1"),
    "the second look": Removal(ledger, "entry_is_the_one_seen", always(True), Scenario(PAIR), "P1"),
    "a failure gates the next try": Removal(
        ledger, "failure_is_the_one_spent", always(True), Scenario(PAIR, (), {"failing": 1}), "P8"),
    "a fill needs the lease": Removal(
        ledger, "is_the_tokens", always(True), SCOPES["deleted, cold"]),
    "a delete revokes the lease": Removal(ledger, "revoke", always(None), DELETED),
    "a change revokes the lease": Removal(ledger, "revoke", always(None), SCOPES["changed, early"]),
    "an addition revokes the lease": Removal(ledger, "revoke", always(None), SCOPES["added to, early"]),
    "what is put is still what was expected": Removal(
        ledger, "entry_is_the_one_expected", always(True), SCOPES["counting"], "counted"),
    "a put that comes late": Removal(ledger, "arrived_late", always(False), SCOPES["set twice, delayed"]),
    "the value is theirs who came before its lease": Removal(leading, "approach", granted_to_all, JOINED),
    "the count is taken before the fill is sent": Removal(leading, "_store", _counting_late, JOINED),
    "a landing is theirs whom it covers": Removal(Flight, "answer", _seated_for_all, JOINED),
    "a strict caller came before the lease": Removal(
        leading, "_covered", lambda *args: args[2], SCOPES["strict aboard one flight"]),
    "strict callers fly by themselves": Removal(
        driver, "name_of", lambda asked, alone=False: (asked.key, alone), SCOPES["strict beside another"]),
    "tags are inherited": Removal(
        Recording, "inherit", _deaf_inherit, SCOPES["a value used in another, warm"]),
    "a stale part spoils the whole": Removal(
        Recording, "inherit", _trusting_inherit, SCOPES["a stale value used in another"]),
}

REMOVALS |= {
    "many: the value is theirs who came before its lease": Removal(
        leading, "approach", granted_to_all, SCOPES["many, aboard each other's flights"]),
    "what was refused is not found again": Removal(
        leading, "unless_refused", lambda found, _: found, SCOPES["requests that refuse what there is"], "refused"),
    "what was refused is not landed": Removal(
        plans, "is_refused", always(False), SCOPES["a request that refuses what others take"], "refused"),
}

BY_SCOPE: dict[str, Scenario] = {
    "a fence goes out before the commit": Scenario({**ONE, "w": UNFENCED}, COLD, {"crash": 1, "hours": 1}),
    "a strict read needs the fence": Scenario({"r1": reader("p1", ask(policy=STRICT)), "w": UNFENCED}, COLD),
    "what is made alone is dated before": Scenario(
        {"r1": Actor("p1", passer(ask(), late=True)), "r2": Actor("p1", passer(ask(), late=True)),
         "r3": reader("p2"), "w": WRITER}),
    "a correction is said": Scenario({**ONE, "w": fixed(Invalidate(("b",)))}, COLD),
}
"""Checks that are a step of a plan: scopes in which the step is missing."""
