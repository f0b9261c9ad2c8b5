"""The scopes that are searched: small enough to be exhausted, and together all that the promises speak of."""

from __future__ import annotations

from itertools import chain, combinations

from cachefence_web.core.effects import Clear, Delete, Expire, Invalidate
from cachefence_web.core.policy import Consistency, Policy
from tests.explorer.processes import NUMBER, caller, many, passer, quitter, refuser, responder, uses
from tests.explorer.scenarios import PLAIN, Actor, Scenario, ask, reader
from tests.explorer.writers import adder, changer, correction, counter, setter, tally, transaction, waverer

STRICT = PLAIN.but({"consistency": Consistency.STRICT})
STALE = Policy(ttl=60, stale_for=1e6, early=0, lease=1e8, wait=1e7)
SOFT = STALE.but({"soft_timeout": 1})
LAST_GOOD = Policy(ttl=60, stale_if_error=1e6, early=0, lease=1e8, wait=1e7)
EARLY = Policy(ttl=60, early=100, lease=1e8, wait=1e7)

WRITER = Actor("w", transaction("w", "a"))
COLD = (caller(ask()),)
"""What warms the cache: one reader who came and went."""

PAIR = {"r1": reader("p1"), "r2": reader("p2"), "w": WRITER}
TOGETHER = {"r1": reader("p1"), "r2": reader("p1"), "w": WRITER}
METADATA = ("record:a", "fences:a", "recent", "clock", "epoch")


MANY = Actor("p1", many(ask("k"), ask("l")))
"""Two keys of one row."""


def losses(*keys: str, most: int = 9) -> dict[str, int]:
    """Every combination of keys, to be lost at once."""
    sets = chain.from_iterable(combinations(keys, size) for size in range(1, min(most, len(keys)) + 1))
    return {"lose " + "+".join(names): 1 for names in sets}


EVERYTHING = {"lose " + "+".join((*METADATA, "entry:k", "lease:k", "failure:k")): 1}


def fixed(change: object) -> Actor:
    """A writer without a fence, who says so afterwards."""
    return Actor("w", correction(change, "a"))  # type: ignore[arg-type]


def nested(policy: Policy = PLAIN, inner: Policy = PLAIN) -> object:
    """A key whose compute uses the cached key `k`, and reads row `b`."""
    return ask("outer", policy=policy, compute=uses(ask(policy=inner), "b"))


SCOPES: dict[str, Scenario] = {
    "cold": Scenario(PAIR),
    "warm": Scenario(PAIR, COLD),
    "cold, aboard one flight": Scenario(TOGETHER, split=True),
    "cold, three readers": Scenario({**TOGETHER, "r3": reader("p2")}, split=True),
    "claims in parts": Scenario(PAIR, COLD, {"expiry": 1}, torn=True),
    "claims in parts, aboard one flight": Scenario(TOGETHER, split=True, torn=True),
    "claims in parts, deleted": Scenario({**PAIR, "w": fixed(Delete("k"))}, (), {"expiry": 1}, torn=True),
    "claims in parts, set": Scenario({**PAIR, "w": Actor("w", setter("k", PLAIN, "a"))}, torn=True),
    "claims in parts, failing": Scenario(PAIR, (), {"failing": 1}, torn=True),
    "warm, killed": Scenario(PAIR, COLD, {"crash": 1, "hours": 1}),
    "cold, killed": Scenario(PAIR, (), {"crash": 1, "hours": 1}),
    "cold, killed twice": Scenario({"r1": reader("p1"), "w": WRITER}, (), {"crash": 2, "hours": 1, "expiry": 1}),
    "aboard one flight, killed": Scenario(TOGETHER, (), {"crash": 1, "hours": 1}, split=True),
    "lease ends under its holder": Scenario(PAIR, (), {"expiry": 1}),
    "impatience": Scenario(PAIR, (), {"impatience": 2}),
    "impatience aboard one flight": Scenario(TOGETHER, (), {"impatience": 2}),
    "failing": Scenario(PAIR, (), {"failing": 1, "hours": 1}),
    "failing aboard one flight": Scenario(TOGETHER, (), {"failing": 2}, split=True),
    "rollback": Scenario(PAIR, COLD, {"rollback": 1, "hours": 1}),
    "unknown commit": Scenario(PAIR, COLD, {"unknown": 1, "hours": 1, "crash": 1}),
    "unknown commit, cold": Scenario(PAIR, (), {"unknown": 1, "hours": 1}),
    "outage": Scenario(PAIR, (), {"outage": 1, "hours": 1}),
    "outage, warm": Scenario(PAIR, COLD, {"outage": 2, "hours": 1}),
    "outage aboard one flight": Scenario(TOGETHER, (), {"outage": 1, "hours": 1}, split=True),
    "any metadata lost": Scenario(PAIR, COLD, losses(*METADATA)),
    "any metadata lost, cold": Scenario({"r1": reader("p1"), "w": WRITER}, (), losses(*METADATA)),
    "any metadata lost, and killed": Scenario(
        {"r1": reader("p1"), "w": WRITER}, COLD, {**losses(*METADATA), "crash": 1, "hours": 1}),
    "any key lost": Scenario(PAIR, COLD, losses("entry:k", "lease:k", "record:a")),
    "everything lost": Scenario(PAIR, COLD, EVERYTHING | {"crash": 1, "hours": 1}),
    "everything lost, cold": Scenario(TOGETHER, (), EVERYTHING),
    "failover": Scenario({"r1": reader("p1"), "w": WRITER}, COLD, {"failover": 1, "crash": 1, "hours": 1}),
    "failover, cold": Scenario(PAIR, (), {"failover": 1}),
    "clock goes back": Scenario(PAIR, COLD, {"backwards": 1, "crash": 1, "hours": 1}),
    "clock goes back and is lost": Scenario(PAIR, COLD, {"backwards": 1, **losses("clock", "recent", "record:a")}),
    "strict": Scenario({"r1": reader("p1", ask(policy=STRICT)), "r2": reader("p2", ask(policy=STRICT)), "w": WRITER},
                       COLD, {"crash": 1, "hours": 1}),
    "strict aboard one flight": Scenario(
        {"r1": reader("p1", ask(policy=STRICT)), "r2": reader("p1", ask(policy=STRICT)), "w": WRITER}, split=True),
    "strict beside another": Scenario(
        {"r1": reader("p1"), "r2": reader("p1", ask(policy=STRICT)), "w": WRITER}, split=True),
    "invalidated": Scenario({**TOGETHER, "w": fixed(Invalidate(("a",)))}, COLD, split=True),
    "invalidated, cold": Scenario({**PAIR, "w": fixed(Invalidate(("a",)))}, (), {"expiry": 1}),
    "invalidated, recent lost": Scenario({**PAIR, "w": fixed(Invalidate(("a",)))}, (), losses("recent", "record:a")),
    "deleted": Scenario({**TOGETHER, "w": fixed(Delete("k"))}, (), {"expiry": 1}, split=True),
    "deleted, two processes": Scenario({**PAIR, "w": fixed(Delete("k"))}, COLD, {"expiry": 1}),
    "deleted, cold": Scenario({**PAIR, "w": fixed(Delete("k"))}, (), {"expiry": 1}),
    "all invalidated": Scenario({**TOGETHER, "w": fixed(Clear())}, (), {"expiry": 1}, split=True),
    "set": Scenario({**PAIR, "w": Actor("w", setter("k", PLAIN, "a"))}, COLD),
    "set twice, delayed": Scenario({"r1": reader("p1"), "w": Actor("w", setter("k", PLAIN, "a", times=2))}, COLD,
                                   {"delay": 1}),
    "set as of an instant": Scenario(
        {"r1": reader("p1"), "s": Actor("s", setter("k", PLAIN, "a", since=True)), "w": WRITER}),
    "expired": Scenario({**PAIR, "w": fixed(Expire(("a",)))}, COLD),
    "expired, stale allowed": Scenario(
        {"r1": reader("p1", ask(policy=STALE)), "r2": reader("p1", ask(policy=STALE)), "w": fixed(Expire(("a",)))},
        (caller(ask(policy=STALE)),)),
    "stale": Scenario({"r1": reader("p1", ask(policy=STALE)), "r2": reader("p1", ask(policy=STALE)), "w": WRITER},
                      (caller(ask(policy=STALE)),), {"hours": 2, "failing": 1}),
    "stale, soft timeout": Scenario(
        {"r1": reader("p1", ask(policy=SOFT)), "r2": reader("p2", ask(policy=SOFT)), "w": WRITER},
        (caller(ask(policy=SOFT)),), {"hours": 1, "impatience": 1}),
    "early": Scenario({"r1": reader("p1", ask(policy=EARLY)), "r2": reader("p1", ask(policy=EARLY)), "w": WRITER},
                      (caller(ask(policy=EARLY)),), {"outage": 1}),
    "changed, early": Scenario(
        {"r1": reader("p1", ask(policy=EARLY)), "r2": reader("p2", ask(policy=EARLY)),
         "w": Actor("w", changer("k", EARLY, "a"))}, (caller(ask(policy=EARLY)),), split=True),
    "changed, cold": Scenario({**PAIR, "w": Actor("w", changer("k", PLAIN, "a"))}),
    "added to, early": Scenario(
        {"r1": reader("p1", ask(NUMBER, "a", policy=EARLY)), "r2": reader("p2", ask(NUMBER, "a", policy=EARLY)),
         "w": Actor("w", tally(EARLY))}, (caller(ask(NUMBER, "a", policy=EARLY)),), split=True),
    "added to, cold": Scenario(
        {"r1": reader("p1", ask(NUMBER, "a")), "r2": reader("p2", ask(NUMBER, "a")), "w": Actor("w", tally(PLAIN))},
        (), {"expiry": 1}),
    "last good": Scenario(
        {"r1": reader("p1", ask(policy=LAST_GOOD)), "r2": reader("p2", ask(policy=LAST_GOOD)), "w": WRITER},
        (caller(ask(policy=LAST_GOOD)),), {"hours": 1, "failing": 1}),
    "a value used in another": Scenario(
        {"r1": Actor("p1", caller(nested())), "r2": reader("p1"), "w": WRITER},  # type: ignore[arg-type]
        rows=("a", "b")),
    "a value used in another, warm": Scenario(
        {"r1": Actor("p1", caller(nested())), "r2": Actor("p2", caller(nested())), "w": WRITER},  # type: ignore[arg-type]
        COLD, rows=("a", "b")),
    "a stale value used in another": Scenario(
        {"r1": Actor("p1", caller(nested(inner=STALE))), "w": fixed(Expire(("a",)))},  # type: ignore[arg-type]
        (caller(ask(policy=STALE)),), rows=("a", "b")),
    "what cannot be stored": Scenario(
        {"r1": reader("p1", ask("unstorable")), "r2": reader("p1", ask("unstorable")), "w": WRITER}, split=True),
    "two rows": Scenario({"r1": reader("p1", ask("k", "a", "b")), "r2": reader("p1", ask("k", "a", "b")),
                          "w": Actor("w", transaction("w", "a", "b"))}, rows=("a", "b")),
    "requests": Scenario({"r1": Actor("p1", responder(ask())), "r2": Actor("p1", responder(ask())), "w": WRITER},
                         (), {"failing": 1, "expiry": 1}),
    "requests of two processes": Scenario(
        {"r1": Actor("p1", responder(ask())), "r2": Actor("p2", responder(ask())), "w": WRITER}, (), {"crash": 1}),
    "a request given up": Scenario({"r1": Actor("p1", quitter(ask())), "r2": Actor("p1", responder(ask())),
                                    "r3": Actor("p2", responder(ask()))}),
    "requests, stale": Scenario(
        {"r1": Actor("p1", responder(ask(policy=STALE))), "r2": Actor("p1", responder(ask(policy=STALE))),
         "w": WRITER}, (caller(ask(policy=STALE)),), {"hours": 1}),
    "requests, strict": Scenario(
        {"r1": Actor("p1", responder(ask(policy=STRICT)), strict=True),
         "r2": Actor("p2", responder(ask(policy=STRICT)), strict=True), "w": WRITER}, COLD),
    "requests that refuse what there is": Scenario(
        {"r1": Actor("p1", refuser(ask())), "r2": Actor("p2", refuser(ask())), "w": WRITER}, COLD,
        {"failing": 1, "expiry": 1}),
    "requests that refuse what there is, of one process": Scenario(
        {"r1": Actor("p1", refuser(ask())), "r2": Actor("p1", refuser(ask())), "w": WRITER}, COLD,
        {"impatience": 1, "expiry": 1}),
    "a request that refuses what others take": Scenario(
        {"r1": reader("p1"), "r2": Actor("p1", refuser(ask())), "r3": reader("p2"), "w": WRITER}),
    "a request that refuses what is old": Scenario(
        {"r1": Actor("p1", refuser(ask(policy=STALE))), "r2": Actor("p1", responder(ask(policy=STALE))),
         "w": WRITER}, (caller(ask(policy=STALE)),), {"hours": 1}),
    "a request that refuses what is last good": Scenario(
        {"r1": Actor("p1", refuser(ask(policy=LAST_GOOD))), "r2": reader("p1", ask(policy=LAST_GOOD)), "w": WRITER},
        (caller(ask(policy=LAST_GOOD)),), {"hours": 1, "failing": 1}),
    "passed by, and stored all the same": Scenario(
        {"r1": Actor("p1", passer(ask())), "r2": Actor("p1", passer(ask())), "r3": reader("p2"), "w": WRITER}),
    "counting": Scenario({name: Actor(name, counter("k", PLAIN)) for name in ("c1", "c2", "c3")}),
    "adding": Scenario({name: Actor(name, adder("k", PLAIN)) for name in ("a1", "a2", "a3")}),
    "many": Scenario({"r1": MANY, "r2": reader("p2", ask("l")), "w": fixed(Invalidate(("a",)))}, (), {"crash": 1}),
    "many, aboard each other's flights": Scenario(
        {"r1": MANY, "r2": Actor("p1", many(ask("l"), ask("k"))), "w": fixed(Invalidate(("a",)))}, split=True),
    "many, killed": Scenario({"r1": MANY, "w": WRITER}, (), {"crash": 1, "hours": 1}),
    "two writers": Scenario({"r1": reader("p1"), "w": WRITER, "v": Actor("v", transaction("v", "a"))}, COLD,
                            {"crash": 1, "hours": 2}),
    "two writers, fences lost": Scenario(
        {"r1": reader("p1"), "w": WRITER, "v": Actor("v", waverer("v", "a"))}, COLD,
        {"lose fences:a": 1, "crash": 1, "hours": 1}),
}

ANY_MISHAP = {
    "crash": 1, "hours": 1, "expiry": 1, "failing": 1, "rollback": 1, "unknown": 1, "outage": 1, "impatience": 1,
    **losses(*METADATA, most=1),
}

SCOPES |= {
    "any mishap": Scenario(PAIR, COLD, ANY_MISHAP | {"any": 1}),
    "any mishap, cold": Scenario(PAIR, (), ANY_MISHAP | {"any": 1}),
    "any two mishaps, one reader": Scenario({"r1": reader("p1"), "w": WRITER}, COLD, ANY_MISHAP | {"any": 2}),
}

TWO_BY_TWO = {**PAIR, "v": Actor("v", transaction("v", "a"))}

WIDE: dict[str, Scenario] = {
    "two readers, one writer, any two mishaps": Scenario(PAIR, (), ANY_MISHAP | {"any": 2}, torn=True),
    "two readers of one process, one writer, any two mishaps": Scenario(
        TOGETHER, (), ANY_MISHAP | {"any": 2}, split=True),
    "two readers, two writers, killed": Scenario(TWO_BY_TWO, COLD, {"crash": 1, "hours": 2}),
    "two readers, two writers, cold": Scenario(TWO_BY_TWO, (), {"crash": 1, "hours": 2}),
    "four readers of two processes, two writers": Scenario(
        {**TWO_BY_TWO, "r3": reader("p1"), "r4": reader("p2", ask(policy=STRICT))}, COLD,
        ANY_MISHAP | losses(*METADATA, most=2) | {"hours": 3, "backwards": 1, "failover": 1},
        split=True, torn=True),
}
"""Scopes too wide for a test: searched for as long as there is time, then walked at random."""
