"""P5: whatever Redis loses costs a recompute, and never brings back what was invalidated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from cachefence_web.core.effects import (
    Claim,
    Expire,
    Fence,
    Filed,
    Fill,
    Invalidate,
    Lift,
    Outcome,
    Read,
    Settle,
    TakeInstant,
)
from cachefence_web.stores.redis import RedisStore, open_async_store, open_store
from tests.servers import RedisServer
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, servable

MINUTE = 60.0


@pytest.fixture
def client(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def lose(client: Any, namespace: str, what: str) -> None:
    """Delete one key, or all that match."""
    names = list(client.scan_iter(f"*{namespace}*{what}*" if what else f"*{namespace}*", 10_000))
    assert names
    client.delete(*names)


@pytest.mark.parametrize("what", [":clock", ":epoch", ":recent", ":log", ":t:a", ":l:", ":e:", ""])
def test_p5_after_any_loss_nothing_begun_before_an_invalidation_is_stored(
    redis_store: RedisStore, client: Any, namespace: str, what: str
) -> None:
    store = redis_store
    fill(store, "k", "a")
    store.perform(Fence(("a",), "w", MINUTE))
    lease = granted(store, "other")
    store.perform(Invalidate(("a",)))
    lose(client, namespace, what)
    for _ in range(2):
        assert not servable(store.perform(Read("k")))
    assert store.perform(Fill("other", "t", entry_of(lease, "a"), MINUTE)) is not Filed.ADMITTED
    store.perform(Invalidate(("a",)))
    assert not servable(store.perform(Read("k")))
    fill(store, "k", "a")
    assert fill(store, "k", "a") is Filed.ADMITTED
    assert servable(store.perform(Read("k")))


@pytest.mark.parametrize("what", [":clock", ":epoch", ":t:a", ":e:", ""])
def test_p5_what_was_valid_may_be_lost_but_is_never_mistaken(
    redis_store: RedisStore, client: Any, namespace: str, what: str
) -> None:
    fill(redis_store, "k", "a")
    lose(client, namespace, what)
    redis_store.perform(TakeInstant())
    assert not servable(redis_store.perform(Read("k")))


def test_p5_a_record_lost_with_an_expiry_calls_older_entries_gone(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    fill(redis_store, "k", "a")
    lease = granted(redis_store, "other")
    redis_store.perform(Expire(("a",)))
    lose(client, namespace, ":t:a")
    assert redis_store.perform(Fill("other", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED


def test_p5_lost_fences_hold_until_the_last_of_their_deadlines(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    store = redis_store
    fill(store, "k", "a")
    store.perform(Fence(("a",), "w1", MINUTE))
    last = store.perform(Fence(("a",), "w2", 2 * MINUTE))
    lose(client, namespace, ":f:a")
    record = store.perform(Settle(("a",))).records["a"]
    assert record.invalidated == last
    assert fill(store, "k", "a") is Filed.INVALIDATED
    store.perform(Fence(("a",), "w3", MINUTE))
    store.perform(Lift(("a",), "w3", Outcome.ROLLED_BACK))
    assert fill(store, "k", "a") is Filed.INVALIDATED


def test_p5_a_fence_whose_record_was_lost_still_has_its_deadline(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    fill(redis_store, "k", "a")
    lease = granted(redis_store, "other")
    redis_store.perform(Fence(("a",), "dead", 0.0))
    lose(client, namespace, ":t:a")
    assert redis_store.perform(Fill("other", "t", entry_of(lease, "a"), MINUTE)) is Filed.INVALIDATED


def test_p5_records_outlive_the_entries_that_carry_their_tag(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    record = f"{{{namespace}}}:t:a"
    fill(redis_store, "k", "a", life=1000.0)
    long = client.pttl(record)
    assert long > 1_000_000
    fill(redis_store, "other", "a", life=1.0)
    assert client.pttl(record) > long - 60_000
    fill(redis_store, "for ever", "a", life=None)
    longest = client.pttl(record)
    assert longest > 29 * 86_400_000, "a walk each day begins it anew"
    fill(redis_store, "k", "a", life=1.0)
    assert client.pttl(record) > longest - 60_000


def test_p9_the_clock_goes_on_from_a_date_ahead(redis_store: RedisStore, client: Any, namespace: str) -> None:
    """As after TIME went back by a day: offset and last say where the clock was."""
    before = redis_store.perform(TakeInstant())
    ahead = before.instant + 86_400_000_000
    client.hset(f"{{{namespace}}}:clock", "last", ahead)
    after = redis_store.perform(TakeInstant())
    assert (after.epoch, after.instant > ahead) == (before.epoch, True)
    assert redis_store.perform(TakeInstant()).instant - after.instant > 1, "it passes as time does, and does not crawl"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_p9_a_reader_whose_sample_is_behind_asks_again(
    redis_store: RedisStore, redis_url: str, client: Any, namespace: str, asynchronous: bool
) -> None:
    reader: Any = (Blocking(open_async_store(redis_url, namespace, timeout=PATIENT)) if asynchronous
                   else open_store(redis_url, namespace, timeout=PATIENT))
    reader.perform(TakeInstant())
    ahead = reader.perform(Read("k")).times.now + 86_400_000_000
    client.hset(f"{{{namespace}}}:clock", "last", ahead)
    fill(redis_store, "k", "a")
    look = reader.perform(Read("k"))
    assert look.times.now >= look.entry.lease.instant > ahead
    reader.close()


def test_p5_records_from_before_a_lost_clock_do_not_keep_a_tag_from_being_stored(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    clock = f"{{{namespace}}}:clock"
    client.hset(clock, "last", redis_store.perform(TakeInstant()).instant + 86_400_000_000)
    fill(redis_store, "k", "a")
    redis_store.perform(Invalidate(("a",)))
    client.delete(clock)
    assert fill(redis_store, "k", "a") is Filed.INVALIDATED
    assert fill(redis_store, "k", "a") is Filed.ADMITTED
    assert servable(redis_store.perform(Read("k")))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_p5_a_restart_from_an_old_snapshot_resurrects_nothing(
    new_redis: Callable[..., RedisServer], namespace: str, asynchronous: bool, ending: str
) -> None:
    server = new_redis()
    store: Any = (Blocking(open_async_store(server.url, namespace, timeout=PATIENT)) if asynchronous
                  else open_store(server.url, namespace, timeout=PATIENT))
    fill(store, "k", "a")
    with redis.Redis.from_url(server.url) as client:
        client.save()
    store.perform(Invalidate(("a",)))
    server.kill() if ending == "kill" else server.stop()
    server.start()
    assert store.perform(Read("k")).entry is not None, "the snapshot has it"
    assert not servable(store.perform(Read("k")))
    newcomer = open_store(server.url, namespace, timeout=PATIENT)
    assert not servable(newcomer.perform(Read("k")))
    assert fill(newcomer, "k", "a") is Filed.ADMITTED
    assert servable(store.perform(Read("k"))), "the second to meet the server begins no epoch"
    newcomer.close()
    store.close()


def test_a_restart_may_be_told_to_keep_everything(new_redis: Callable[..., RedisServer], namespace: str) -> None:
    server = new_redis()
    store = open_store(server.url, namespace, timeout=PATIENT, on_restart="keep")
    fill(store, "k", "a")
    with redis.Redis.from_url(server.url) as client:
        client.save()
    server.restart()
    assert servable(store.perform(Read("k")))
    store.close()


def test_what_is_remembered_of_a_key_s_tags_may_be_wrong(
    redis_url: str, redis_store: RedisStore, namespace: str
) -> None:
    other = open_store(redis_url, namespace, timeout=PATIENT)
    for tags in (("a", "b"), ("b", "c"), (), ("d",), ("a", "b")):
        fill(other, "k", *tags)
        look = redis_store.perform(Read("k"))
        assert set(look.times.records) == set(tags)
        assert servable(look)
        other.perform(Claim("k", "t", MINUTE, look.entry.lease))
        assert set(tags) <= set(redis_store.perform(Claim("k", "u", MINUTE)).look.times.records)
        assert other.perform(Fill("k", "t", entry_of(other.perform(TakeInstant()), *tags), MINUTE)) is Filed.ADMITTED
    other.close()
