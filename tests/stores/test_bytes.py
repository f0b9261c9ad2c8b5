"""P12: whatever bytes stand under our keys, they are an entry of ours or a miss, and never in the way."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Claim,
    Delete,
    Filed,
    Fill,
    Put,
    Read,
    Renew,
    Swap,
    TakeInstant,
)
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.tags import Instant, Lease
from cachefence_web.stores.redis import RedisStore, open_async_store
from cachefence_web.stores.redis.packing import pack
from tests.stores.build import PATIENT, Blocking, entry_of, fill, granted, servable

MINUTE = 60.0
GOOD = Entry(Lease(Instant(7), 9), NEVER, NEVER, NEVER, 1, ("a", "book:1"), b"payload").encode()


@pytest.fixture
def client(redis_url: str) -> Any:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def damaged(good: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that are nearly an entry."""
    flipped = st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)).map(
        lambda change: good[:change[0]] + bytes([change[1]]) + good[change[0] + 1:])
    cut = st.integers(0, len(good)).map(lambda size: good[:size])
    return st.one_of(flipped, cut, st.binary(max_size=80), st.binary(max_size=30).map(lambda tail: good + tail))


UNREADABLE = [
    b"", b"\xcf", b"\xcf\x01", b"\xcf\x02" + GOOD[2:], b"foreign", b"42", GOOD[:53], GOOD[:60],
    GOOD[:2] + b"\xff" + GOOD[3:], GOOD[:3] + b"\x01" + GOOD[4:], GOOD.replace(b"book", b"\xff\xff\xff\xff"),
]


@pytest.mark.parametrize("raw", UNREADABLE)
@pytest.mark.parametrize("place", ["e", "x"])
def test_p12_what_is_no_entry_is_a_miss_and_not_in_the_way(
    redis_store: RedisStore, client: Any, namespace: str, raw: bytes, place: str
) -> None:
    client.set(f"{namespace}:{place}:{{k}}", raw)
    assert redis_store.perform(Read("k")).entry is None
    claimed = redis_store.perform(Claim("k", "t", MINUTE))
    assert claimed.lease is not None
    assert claimed.look.entry is claimed.look.failure is None
    redis_store.perform(Delete("k"))
    client.set(f"{namespace}:{place}:{{k}}", raw)
    put = entry_of(redis_store.perform(TakeInstant()))
    assert redis_store.perform(Put("k", put, MINUTE, None)) is Filed.ADMITTED
    assert redis_store.perform(Read("k")).entry == put


def keep_another_type(client: Any, name: str, kind: str) -> None:
    """Have a list or hash stand under a name."""
    client.delete(name)
    if kind == "list":
        client.rpush(name, "x")
    else:
        client.hset(name, "x", "y")


@pytest.mark.parametrize("kind", ["list", "hash"])
def test_what_somebody_keeps_in_redis_under_a_key_is_a_miss_and_only_a_set_or_a_delete_removes_it(
    redis_store: RedisStore, client: Any, namespace: str, kind: str
) -> None:
    name = f"{namespace}:e:{{k}}"
    keep_another_type(client, name, kind)
    assert redis_store.perform(Read("k")).entry is None
    assert fill(redis_store, "k", "a") is Filed.OCCUPIED
    assert fill(redis_store, "k", "a") is Filed.OCCUPIED, "the lease was ended"
    put = entry_of(redis_store.perform(TakeInstant()))
    assert redis_store.perform(Put("k", put, MINUTE, None)) is Filed.OCCUPIED
    assert redis_store.perform(Put("k", put, MINUTE, put.lease)) is Filed.CONFLICT
    assert not redis_store.perform(Amend("k", put.lease, NEVER, NEVER, NEVER, MINUTE))
    assert redis_store.perform(Add("k", put.lease, 1)) is None
    assert not redis_store.perform(Swap("k", put, b"", Kind.VALUE))
    failure = entry_of(granted(redis_store, "k"), kind=Kind.FAILURE)
    assert redis_store.perform(Fill("k", "t", failure, MINUTE)) is Filed.ADMITTED
    assert client.type(name) == kind.encode()
    assert redis_store.perform(Put("k", put, MINUTE, ANY)) is Filed.ADMITTED
    assert redis_store.perform(Read("k")).entry == put
    keep_another_type(client, name, kind)
    assert redis_store.perform(Delete("k"))
    assert fill(redis_store, "k", "a") is Filed.ADMITTED


@pytest.mark.parametrize("place", ["x", "l"])
@pytest.mark.parametrize("kind", ["list", "hash"])
def test_p12_a_value_of_another_type_is_a_miss_and_not_in_the_way(
    redis_store: RedisStore, client: Any, namespace: str, place: str, kind: str
) -> None:
    name = f"{namespace}:{place}:{{k}}"
    for _ in range(2):
        keep_another_type(client, name, kind)
        assert redis_store.perform(Read("k")).entry is None
        lease = Lease(Instant(1), 2)
        assert not redis_store.perform(Renew("k", "t", MINUTE))
        assert not redis_store.perform(Amend("k", lease, NEVER, NEVER, NEVER, MINUTE))
        assert redis_store.perform(Add("k", lease, 1)) is None
        assert fill(redis_store, "k", "a") is Filed.ADMITTED
        assert servable(redis_store.perform(Read("k")))
        redis_store.perform(Delete("k"))


@pytest.mark.parametrize("record", [b"", b"x" * 70, b"9" * 70, b"0" * 69, b"0" * 71])
def test_p12_a_damaged_record_counts_as_lost(
    redis_store: RedisStore, client: Any, namespace: str, record: bytes
) -> None:
    fill(redis_store, "k", "a")
    client.set(f"{{{namespace}}}:t:a", record)
    look = redis_store.perform(Read("k"))
    assert look.times.records["a"] is None or look.times.records["a"].invalidated > look.entry.lease.instant
    fill(redis_store, "k", "a")
    assert fill(redis_store, "k", "a") is Filed.ADMITTED
    assert servable(redis_store.perform(Read("k")))


def test_p12_ten_thousand_strange_entries_are_entries_or_misses(redis_url: str, namespace: str, client: Any) -> None:
    store = Blocking(open_async_store(redis_url, namespace, timeout=PATIENT))
    seen = 0

    @given(st.lists(damaged(GOOD), min_size=46, max_size=60))
    @settings(max_examples=220, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def strange(values: list[bytes]) -> None:
        nonlocal seen
        seen += len(values)
        client.mset({f"{namespace}:e:{{{number}}}": raw for number, raw in enumerate(values)})
        looks = store.perform_all([Read(str(number)) for number in range(len(values))])
        assert [look.entry for look in looks] == [Entry.decode(raw) for raw in values]

    strange()
    store.close()
    assert seen >= 10_000


def test_a_number_of_somebody_else_is_not_added_to(redis_store: RedisStore, client: Any, namespace: str) -> None:
    lease = redis_store.perform(TakeInstant())
    for payload in (b"", b"1.5", b"many"):
        redis_store.perform(Put("n", entry_of(lease, payload=payload, kind=Kind.NUMBER), MINUTE, ANY))
        assert redis_store.perform(Add("n", lease, 1)) is None
    assert not client.exists(f"{namespace}:n:{{n}}")


def test_commands_are_packed_alike_with_and_without_hiredis(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[Any, ...]] = [("GET", "é", b"\x00\r\n", 12), ("PING",), ("SET", "", b"")]
    with_it = pack(commands)
    monkeypatch.setattr("cachefence_web.stores.redis.packing.hiredis", None)
    assert pack(commands) == with_it
