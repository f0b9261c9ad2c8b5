"""The Lua scripts as others meet them: forgotten by the server, called by any program, told in the log."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import redis

from cachefence_web.core.effects import (
    ANY,
    Add,
    Clear,
    Delete,
    Expire,
    Fence,
    Filed,
    Fill,
    Invalidate,
    Lift,
    Outcome,
    Put,
    Read,
    TakeInstant,
)
from cachefence_web.core.entry import Kind
from cachefence_web.stores.redis import RedisStore, open_async_store, open_store
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, servable

MINUTE = 60.0


@pytest.fixture
def client(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


@pytest.mark.parametrize("asynchronous", [False, True])
def test_scripts_survive_being_forgotten(redis_url: str, namespace: str, client: Any, asynchronous: bool) -> None:
    store: Any = (Blocking(open_async_store(redis_url, namespace, timeout=PATIENT)) if asynchronous
                  else open_store(redis_url, namespace, timeout=PATIENT))
    for _ in range(2):
        client.script_flush()
        lease = granted(store, "k")
        client.script_flush()
        first, put, last = store.perform_all([
            TakeInstant(), Put("k", entry_of(lease, "a"), MINUTE, ANY), TakeInstant()])
        assert put is Filed.ADMITTED
        assert first.instant != last.instant
        assert servable(store.perform(Read("k")))
        client.script_flush()
        assert store.perform(Delete("k"))
    store.close()


def test_what_follows_a_forgotten_script_is_not_done_twice(redis_store: RedisStore, client: Any) -> None:
    lease = redis_store.perform(TakeInstant())
    redis_store.perform(Put("n", entry_of(lease, payload=b"1", kind=Kind.NUMBER), MINUTE, ANY))
    client.script_flush()
    assert redis_store.perform(Add("n", lease, 1)) == 2
    assert redis_store.perform_all([TakeInstant(), Add("n", lease, 1)])[1] == 3
    assert redis_store.perform(Add("n", lease, 1)) == 4


def published(*names: str) -> str:
    folder = files("cachefence_web.stores.redis")
    return "\n".join((folder / f"{name}.lua").read_text() for name in names)


def test_p2_a_program_without_this_library_invalidates(redis_store: RedisStore, client: Any, namespace: str) -> None:
    fill(redis_store, "k", "book:42", "other")
    lease = granted(redis_store, "new")
    metadata = [f"{{{namespace}}}:{name}" for name in ("clock", "epoch", "recent", "log")]
    keys = [*metadata, f"{{{namespace}}}:t:book:42", f"{{{namespace}}}:t:unread"]
    instant, epoch, time = client.eval(published("clock", "invalidate"), len(keys), *keys, "0123456789abcdef")
    assert not servable(redis_store.perform(Read("k")))
    assert redis_store.perform(Fill("new", "t", entry_of(lease, "unread"), MINUTE)) is Filed.INVALIDATED
    assert (int(epoch, 16), int(instant) > lease.instant) == (lease.epoch, True)
    assert abs(int(time) - int(instant)) < MINUTE * 1_000_000


def test_p3_a_program_without_this_library_fences(redis_store: RedisStore, client: Any, namespace: str) -> None:
    fill(redis_store, "k", "a")
    metadata = [f"{{{namespace}}}:{name}" for name in ("clock", "epoch", "recent", "log")]
    keys = [*metadata, f"{{{namespace}}}:t:a", f"{{{namespace}}}:f:a"]
    fenced = client.eval(published("clock", "records", "fence"), 6, *keys, "0123456789abcdef", "w", 60_000_000)
    look = redis_store.perform(Read("k"))
    assert servable(look)
    assert look.times.records["a"].latest == int(fenced[3])
    client.eval(published("clock", "records", "lift"), 6, *keys, "0123456789abcdef", "w", "committed")
    assert not servable(redis_store.perform(Read("k")))


def test_every_change_is_told_in_the_log_and_counted(redis_store: RedisStore, client: Any, namespace: str) -> None:
    store = redis_store
    fill(store, "k", "a")
    store.perform(Invalidate(("a", "b")))
    store.perform(Expire(("a",)))
    store.perform(Fence(("a",), "w", MINUTE))
    store.perform(Lift(("a",), "w", Outcome.ROLLED_BACK))
    store.perform(Lift(("b",), "w", Outcome.UNKNOWN))
    store.perform(Put("k", entry_of(store.perform(TakeInstant())), MINUTE, ANY))
    store.perform(Delete("k"))
    store.perform(Clear())
    log = [fields for _, fields in client.xrange(f"{{{namespace}}}:log")]
    told = [(fields[b"kind"].decode(), fields[b"what"].decode()) for fields in log if fields[b"kind"] != b"epoch"]
    assert told == [("invalidate", "a b"), ("expire", "a"), ("fence", "a"), ("lift", "a"), ("invalidate", "b"),
                    ("key", "k"), ("key", "k")]
    epochs = [fields[b"what"] for fields in log if fields[b"kind"] == b"epoch"]
    assert epochs[-1] == client.get(f"{{{namespace}}}:epoch")
    assert int(client.hget(f"{{{namespace}}}:clock", "count")) == len(log)


def test_invalidating_leaves_nothing_behind_for_tags_that_nobody_reads(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    redis_store.perform(Invalidate(tuple(f"row:{number}" for number in range(2000))))
    assert not list(client.scan_iter(f"*{namespace}*:t:*"))
    assert client.zcard(f"{{{namespace}}}:recent") == 2001


def test_p3_one_step_fences_and_lifts_more_tags_than_one_command_takes(redis_store: RedisStore) -> None:
    tags = tuple([f"row:{number}" for number in range(2_500)])
    read = (tags[0], tags[999], tags[1_000], tags[-1])
    for round_ in range(2):
        for tag in read:
            fill(redis_store, f"page of {tag}", tag)
        redis_store.perform(Fence(tags, f"w{round_}", MINUTE))
        redis_store.perform(Fence((tags[0],), "another", MINUTE))
        records = [redis_store.perform(Read(f"page of {tag}")).times.records[tag] for tag in read]
        assert [record.pending for record in records] == [2, 1, 1, 1]
        assert len({record.soonest for record in records}) == 1
        redis_store.perform(Lift((tags[0],), "another", Outcome.ROLLED_BACK))
        redis_store.perform(Lift(tags, f"w{round_}", Outcome.COMMITTED))
        looks = {tag: redis_store.perform(Read(f"page of {tag}")) for tag in read}
        assert not any(servable(look) for look in looks.values())
        assert [look.times.records[tag].pending for tag, look in looks.items()] == [0] * 4


def test_p3_a_tag_that_is_named_twice_is_fenced_once_and_lifted(
    redis_store: RedisStore, client: Any, namespace: str
) -> None:
    fill(redis_store, "k", "a")
    keys = [f"{{{namespace}}}:{name}" for name in ("clock", "epoch", "recent", "log", *["t:a", "f:a"] * 2)]
    client.eval(published("clock", "records", "fence"), 8, *keys, "0123456789abcdef", "w", 60_000_000)
    assert redis_store.perform(Read("k")).times.records["a"].pending == 1
    client.eval(published("clock", "records", "lift"), 8, *keys, "0123456789abcdef", "w", "rolled_back")
    look = redis_store.perform(Read("k"))
    assert (servable(look), look.times.records["a"].pending) == (True, 0)
