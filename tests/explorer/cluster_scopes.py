"""The scopes of a cluster: what needs dates and keys is taken in parts, in every order, with others between them."""

from __future__ import annotations

from functools import partial

from cachefence_web.core.effects import Clear, Delete, Invalidate
from tests.explorer import scenarios
from tests.explorer.processes import caller
from tests.explorer.scenarios import PLAIN, Actor, ask, reader
from tests.explorer.scopes import (
    ANY_MISHAP,
    COLD,
    EARLY,
    METADATA,
    PAIR,
    STALE,
    STRICT,
    TOGETHER,
    WRITER,
    fixed,
    losses,
    nested,
)
from tests.explorer.writers import adder, changer, counter, setter

Scenario = partial(scenarios.Scenario, cluster=True)

INVALIDATED, DELETED, CLEARED = fixed(Invalidate(("a",))), fixed(Delete("k")), fixed(Clear())
SETTER = Actor("w", setter("k", PLAIN, "a"))

CLUSTER: dict[str, scenarios.Scenario] = {
    "cold": Scenario(PAIR),
    "warm": Scenario(PAIR, COLD),
    "cold, aboard one flight": Scenario(TOGETHER, split=True),
    "invalidated": Scenario({**PAIR, "w": INVALIDATED}),
    "invalidated, aboard one flight": Scenario({**TOGETHER, "w": INVALIDATED}, split=True),
    "invalidated, in as many parts as there are commands": Scenario(
        {**TOGETHER, "w": INVALIDATED}, split=True, torn=True),
    "deleted": Scenario({**PAIR, "w": DELETED}),
    "deleted, warm": Scenario({**PAIR, "w": DELETED}, COLD),
    "deleted, aboard one flight": Scenario({**TOGETHER, "w": DELETED}, (), {"expiry": 1}, split=True, torn=True),
    "set": Scenario({**PAIR, "w": SETTER}),
    "set, aboard one flight": Scenario({**TOGETHER, "w": SETTER}, split=True, torn=True),
    "set twice, delayed": Scenario({"r1": reader("p1"), "w": Actor("w", setter("k", PLAIN, "a", times=2))}, COLD,
                                   {"delay": 1}),
    "set as of an instant": Scenario(
        {"r1": reader("p1"), "s": Actor("s", setter("k", PLAIN, "a", since=True)), "w": WRITER}),
    "changed, early": Scenario(
        {"r1": reader("p1", ask(policy=EARLY)), "w": Actor("w", changer("k", EARLY, "a"))},
        (caller(ask(policy=EARLY)),), split=True, torn=True),
    "all invalidated": Scenario({**TOGETHER, "w": CLEARED}, split=True),
    "killed": Scenario({"r1": reader("p1"), "w": WRITER}, (), {"crash": 2, "hours": 1, "expiry": 1}),
    "aboard one flight, killed": Scenario(TOGETHER, (), {"crash": 1, "hours": 1}),
    "any metadata lost": Scenario({"r1": reader("p1"), "w": WRITER}, COLD, losses(*METADATA)),
    "any key lost": Scenario(
        {**TOGETHER, "w": INVALIDATED}, (), losses("record:a", "recent", "lease:k", "entry:k", most=1)),
    "outage": Scenario({**TOGETHER, "w": DELETED}, (), {"outage": 1, "delay": 1}),
    "failover": Scenario({"r1": reader("p1"), "w": WRITER}, COLD, {"failover": 1, "crash": 1, "hours": 1}),
    "failover of the keys": Scenario({"r1": reader("p1"), "w": DELETED}, COLD, {"failover of keys": 1}),
    "failover of the keys, aboard one flight": Scenario(
        {**TOGETHER, "w": DELETED}, (), {"failover of keys": 1}, split=True),
    "failover of the dates": Scenario({"r1": reader("p1"), "w": INVALIDATED}, COLD, {"failover of dates": 1}),
    "failover of the dates, aboard one flight": Scenario(
        {**TOGETHER, "w": INVALIDATED}, (), {"failover of dates": 1}),
    "strict": Scenario({"r1": reader("p1", ask(policy=STRICT)), "r2": reader("p2", ask(policy=STRICT)), "w": WRITER},
                       COLD),
    "strict aboard one flight": Scenario(
        {"r1": reader("p1", ask(policy=STRICT)), "r2": reader("p1", ask(policy=STRICT)), "w": WRITER}, split=True),
    "stale": Scenario({"r1": reader("p1", ask(policy=STALE)), "r2": reader("p1", ask(policy=STALE)), "w": WRITER},
                      (caller(ask(policy=STALE)),), {"hours": 1}),
    "failing": Scenario(TOGETHER, (), {"failing": 1}, split=True),
    "a value used in another": Scenario(
        {"r1": Actor("p1", caller(nested())), "w": INVALIDATED}, COLD, rows=("a", "b")),  # type: ignore[arg-type]
    "counting": Scenario({name: Actor(name, counter("k", PLAIN)) for name in ("c1", "c2")}),
    "adding": Scenario({name: Actor(name, adder("k", PLAIN)) for name in ("a1", "a2", "a3")}),
}

WIDE_CLUSTER: dict[str, scenarios.Scenario] = {
    "a cluster, two readers, one writer, any two mishaps": Scenario(
        PAIR, COLD, ANY_MISHAP | {"failover of keys": 1, "failover of dates": 1, "delay": 1, "any": 2}),
    "a cluster, two readers of one process, one writer, any two mishaps": Scenario(
        TOGETHER, (), ANY_MISHAP | {"failover of keys": 1, "failover of dates": 1, "delay": 1, "any": 2},
        split=True, torn=True),
}
"""Too wide for a test."""
