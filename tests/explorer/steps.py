"""The store's steps, and what each means for leases and promises."""

from __future__ import annotations

from typing import Any

from cachefence_web.core.effects import (
    Add,
    Claim,
    Claimed,
    Delete,
    Fence,
    Filed,
    Fill,
    Put,
    Release,
    StoreEffect,
    Swap,
    TakeInstant,
)
from cachefence_web.core.entry import Kind
from cachefence_web.core.policy import Consistency
from cachefence_web.core.tags import Standing, standing
from tests.explorer.processes import value_of
from tests.explorer.world import Promise, Task, Versions, Violation, World


def check(what: str, value: Versions, floor: Versions) -> None:
    """A value must be as new as was promised."""
    promised = dict(floor)
    for row, version in value:
        if version < promised.get(row, 0):
            raise Violation(f"stale: {what} {row} in version {version}, and {promised[row]} was promised")


def perform(world: World, task: Task, effect: StoreEffect[Any]) -> Any:
    """Have the store take a step, and note what it means for leases and promises."""
    answer = world.ledger.perform(effect, world.time, world.new_epoch)
    note(world, task, effect, answer)
    return answer


def claim_in_parts(world: World, task: Task, claim: Claim) -> Claimed | None:
    """Take the next part of a claim, as a pipeline does: lease, instant, look; None until the last."""
    if task.half is None:
        granted, holder = world.ledger.grant(claim, world.time)
        world.change(task.name, half=(granted, holder, None))
        return None
    granted, holder, lease = task.half
    if granted and lease is None:
        lease = world.ledger.perform(TakeInstant(), world.time, world.new_epoch)
        world.change(task.name, half=(granted, holder, lease))
        return None
    answer = Claimed(lease, holder, world.ledger.look(claim.key, world.time))
    world.change(task.name, half=None)
    held = world.ledger.leases.get(claim.key)
    if held is not None and held.token == claim.token:
        note(world, task, claim, answer)
    return answer


def note(world: World, task: Task, effect: StoreEffect[Any], answer: Any) -> None:
    """What a step of the store means for leases and promises."""
    match effect:
        case Claim() if answer.lease is not None:
            check_grant(effect, answer)
            world.live.pop(effect.takeover or "", None)
            world.live[effect.token] = effect.key, tuple(world.expired.items())
        case Fill(token=token) if answer is Filed.ADMITTED and token in world.live:
            if effect.entry.kind is Kind.VALUE:
                check(f"{task.name} stored", value_of(effect.entry.payload), world.live[token][1])
            del world.live[token]
        case Fill(token=token) | Release(token=token):
            world.live.pop(token, None)
        case Put(key=key) | Delete(key=key) if answer is not Filed.CONFLICT:
            revoke(world, key)
        case Add(key=key) | Swap(key=key) if answer:
            revoke(world, key)
        case Fence(tags=tags, token=token):
            world.promises[task.name] = Promise(answer, tags, token, tags)


def check_grant(claim: Claim, granted: Claimed) -> None:
    """Nobody computes what is there to be served, or what has just failed."""
    look = granted.look
    for entry, known in ((look.entry, claim.seen), (look.failure, claim.spent)):
        if entry is None or entry.lease == known or look.times.now >= entry.fresh_until:
            continue
        if standing(entry.lease, entry.tags, look.times, Consistency.COMMITTED) is Standing.VALID:
            raise Violation(f"{'P1' if entry is look.entry else 'P8'}: {claim.token} may compute {claim.key}, though"
                            f" an answer was there: {entry.payload!r}")


def revoke(world: World, key: str) -> None:
    """Nobody computes the key under a live lease any more."""
    for token in [token for token, (of, _) in world.live.items() if of == key]:
        del world.live[token]


