"""The store in the process: its bounds, its waking, its sharing; the laws of its steps are in the contract's tests."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from time import monotonic

import pytest

from cachefence_web.core.effects import (
    ANY,
    Add,
    Amend,
    Claim,
    Clear,
    Delete,
    Fence,
    Filed,
    Fill,
    Invalidate,
    Lift,
    Outcome,
    Put,
    Read,
    Release,
    Settle,
    TakeInstant,
    Wait,
)
from cachefence_web.core.entry import NEVER, Entry, Kind
from cachefence_web.core.tags import Instant, Lease
from cachefence_web.stores.ledger import Stored
from cachefence_web.stores.memory import AsyncMemoryStore, MemoryStore, glob, open_memory

SECOND = 1_000_000


class Clock:
    """A time that passes when told to."""

    def __init__(self) -> None:
        self.time = 10**12

    def __call__(self) -> int:
        return self.time


def store_of(clock: Callable[[], int] | None = None, *, entries: int = 100) -> MemoryStore:
    epochs = iter(range(1, 1000))
    return MemoryStore("memory:test", entries=entries, clock=clock or Clock(), new_epoch=lambda: next(epochs))


def entry_of(lease: Lease, *tags: str, payload: bytes = b"v", kind: Kind = Kind.VALUE) -> Entry:
    return Entry(lease, NEVER, NEVER, NEVER, 0, tags, payload, kind)


def fill(store: MemoryStore, key: str, *tags: str, life: float | None = None) -> Filed:
    lease = store.perform(Claim(key, "t", 10.0)).lease
    assert lease is not None
    return store.perform(Fill(key, "t", entry_of(lease, *tags), life))


def test_the_first_fill_of_a_new_store_is_admitted() -> None:
    assert fill(store_of(), "k", "a") is Filed.ADMITTED


def test_the_least_recently_used_entries_go_first() -> None:
    store = store_of(entries=3)
    for key in "abc":
        fill(store, key)
    store.perform(Read("a"))
    fill(store, "d")
    kept = [key for key in "abcd" if store.perform(Read(key)).entry is not None]
    assert kept == ["a", "c", "d"]


def test_an_entry_ends_with_its_life() -> None:
    clock = Clock()
    store = store_of(clock)
    fill(store, "k", life=5.0)
    clock.time += 5 * SECOND - 1
    assert store.perform(Read("k")).entry is not None
    clock.time += 1
    assert store.perform(Read("k")).entry is None


def test_what_has_ended_is_freed_without_being_asked_for() -> None:
    clock = Clock()
    store = store_of(clock, entries=10_000)
    for number in range(500):
        fill(store, f"k{number}", f"t{number}", life=1.0)
    clock.time += 700 * SECOND
    for _ in range(5000):
        store.perform(TakeInstant())
    assert store._ledger.size() == 0


def test_metadata_are_bounded_and_a_dropped_record_is_a_miss_not_a_stale_read() -> None:
    store = store_of(entries=10)
    fill(store, "first", "first")
    for number in range(200):
        fill(store, f"k{number}", f"t{number}")
    assert len(store._ledger.dates.records) <= 80
    assert store.perform(Read("first")).times.records.get("first") is None


def test_p12_damaged_bytes_are_a_miss() -> None:
    store = store_of()
    fill(store, "k")
    store._entries["k"] = Stored(b"\xcf\x01damaged", Entry.decode(b"\xcf\x01damaged"), None)
    assert store.perform(Read("k")).entry is None
    assert store.perform(Claim("k", "t", 10.0)).lease is not None


def test_a_clear_outdates_everything() -> None:
    store = store_of()
    fill(store, "k")
    before = store.perform(Read("k"))
    store.perform(Clear())
    after = store.perform(Read("k"))
    assert before.entry is not None
    assert before.entry.lease.epoch == before.times.epoch != after.times.epoch


def test_p9_the_clock_goes_on_when_the_time_goes_back() -> None:
    clock = Clock()
    store = store_of(clock)
    before = store.perform(TakeInstant())
    clock.time -= 3600 * SECOND
    after = store.perform(TakeInstant())
    clock.time += 5 * SECOND
    later = store.perform(TakeInstant())
    assert before.instant < after.instant
    assert later.instant == after.instant + 5 * SECOND
    assert before.epoch == later.epoch


def test_p5_records_from_before_a_lost_clock_do_not_keep_the_tag_from_being_stored() -> None:
    clock = Clock()
    store = store_of(clock)
    fill(store, "k", "a")
    store.perform(Invalidate(("a",)))
    store._ledger.dates.last = None
    clock.time -= 3600 * SECOND
    assert fill(store, "other", "a") is Filed.INVALIDATED
    assert fill(store, "other", "a") is Filed.ADMITTED


def test_p5_lost_fences_leave_nothing_standing_until_the_last_of_their_deadlines() -> None:
    clock = Clock()
    store = store_of(clock)
    fill(store, "k", "a")
    last = store.perform(Fence(("a",), "w1", 30.0))
    store.perform(Fence(("a",), "w2", 20.0))
    store._ledger.dates.fences.clear()
    store.perform(Fence(("a",), "w3", 5.0))
    store.perform(Lift(("a",), "w3", Outcome.ROLLED_BACK))
    clock.time += 25 * SECOND
    record = store.perform(Settle(("a",))).records["a"]
    assert record is not None
    assert record.invalidated == last
    assert fill(store, "new", "a") is Filed.INVALIDATED
    clock.time += 6 * SECOND
    assert fill(store, "newer", "a") is Filed.ADMITTED


def test_a_number_is_added_to_in_place_and_refuses_to_overflow() -> None:
    store = store_of()
    lease = store.perform(TakeInstant())
    store.perform(Put("n", entry_of(lease, payload=b"41", kind=Kind.NUMBER), None, ANY))
    assert store.perform(Add("n", lease, 1)) == 42
    assert store.perform(Add("n", Lease(Instant(1), 1), 1)) is None
    with pytest.raises(OverflowError):
        store.perform(Add("n", lease, 2**63 - 42))
    assert store.perform(Add("n", lease, 2**63 - 43)) == 2**63 - 1


def test_an_amended_entry_has_new_dates_and_records_that_outlive_it() -> None:
    clock = Clock()
    store = store_of(clock)
    fill(store, "k", "a", life=1.0)
    entry = store.perform(Read("k")).entry
    assert entry is not None
    later = Instant(clock.time + 1000 * SECOND)
    assert store.perform(Amend("k", entry.lease, later, later, later, 1000.0))
    clock.time += 900 * SECOND
    for _ in range(2000):
        store.perform(TakeInstant())
    look = store.perform(Read("k"))
    assert look.entry is not None
    assert look.entry.fresh_until == later
    assert look.times.records["a"] is not None


def wake_by(step: str, store: MemoryStore) -> None:
    match step:
        case "release":
            store.perform(Release("k", "t"))
        case "delete":
            store.perform(Delete("k"))
        case "put":
            store.perform(Put("k", entry_of(store.perform(TakeInstant())), None, ANY))
        case "takeover":
            store.perform(Claim("k", "u", 10.0, takeover="t"))


@pytest.mark.parametrize("step", ["release", "delete", "put", "takeover"])
def test_a_thread_that_waits_is_woken_by_the_end_of_the_lease(step: str) -> None:
    store = MemoryStore("memory:test")
    store.perform(Claim("k", "t", 60.0))
    waited: list[float] = []
    thread = threading.Thread(target=lambda: waited.append(store.perform(Wait("k", "t", 60.0))))
    thread.start()
    while not store.watches:
        threading.Event().wait(0.001)
    wake_by(step, store)
    thread.join(10)
    assert waited
    assert waited[0] < 10
    assert not store.watches


@pytest.mark.parametrize("step", ["release", "delete", "put", "takeover"])
async def test_a_coroutine_that_waits_is_woken_from_another_thread(step: str) -> None:
    store = MemoryStore("memory:test")
    store.perform(Claim("k", "t", 60.0))
    waiting = asyncio.ensure_future(AsyncMemoryStore(store).perform(Wait("k", "t", 60.0)))
    await asyncio.sleep(0)
    assert store.watches
    await asyncio.to_thread(wake_by, step, store)
    assert await asyncio.wait_for(waiting, 10) < 10
    assert not store.watches


async def test_waiting_ends_with_the_lease_and_with_patience() -> None:
    store = MemoryStore("memory:test")
    began = monotonic()
    store.perform(Claim("k", "t", 0.02))
    assert await AsyncMemoryStore(store).perform(Wait("k", "t", 60.0)) < 10
    assert monotonic() - began > 0.01
    store.perform(Claim("k", "t", 60.0))
    assert 0.01 < store.perform(Wait("k", "t", 0.02)) < 10
    assert store.perform(Wait("k", "somebody else", 60.0)) < 10


async def test_p7_a_cancelled_waiter_leaves_nothing_behind() -> None:
    store = MemoryStore("memory:test")
    store.perform(Claim("k", "t", 60.0))
    waiting = asyncio.ensure_future(AsyncMemoryStore(store).perform(Wait("k", "t", 60.0)))
    await asyncio.sleep(0)
    assert store.watches
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not store.watches


def test_p10_a_waiter_whose_loop_has_ended_harms_nobody() -> None:
    store = MemoryStore("memory:test")
    store.perform(Claim("k", "t", 60.0))
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(AsyncMemoryStore(store).perform(Wait("k", "t", 60.0)))
    loop.run_until_complete(asyncio.sleep(0))
    watch = store.watches["k"][0]
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    loop.close()
    watch.wake()
    store.perform(Release("k", "t"))


def test_p10_a_forked_child_goes_on_with_a_copy() -> None:
    store = MemoryStore("memory:test")
    fill(store, "k")
    child = os.fork()
    if child == 0:
        there = store.perform(Read("k")).entry is not None
        fill(store, "only here")
        os._exit(0 if there else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert store.perform(Read("only here")).entry is None


def test_a_name_is_shared_and_no_name_is_private() -> None:
    shared = open_memory("shop-of-this-test", "ns")
    assert open_memory("shop-of-this-test", "ns") is shared
    assert open_memory("shop-of-this-test", "other").identity != shared.identity
    assert open_memory().identity != open_memory().identity
    assert AsyncMemoryStore(shared).identity == shared.identity


async def test_scan_hands_out_matching_keys_in_batches() -> None:
    store = store_of(entries=2000)
    for number in range(1100):
        fill(store, f"user:{number}")
    fill(store, "book:1")
    batches = list(store.scan("user:*"))
    assert [len(batch) for batch in batches] == [500, 500, 100]
    assert [batch async for batch in AsyncMemoryStore(store).scan("book:?")] == [["book:1"]]


@pytest.mark.parametrize(("pattern", "matching", "other"), [
    ("a*c", "abbc\n-c", "ab"),
    ("a?c", "abc", "ac"),
    ("[abc]x", "bx", "dx"),
    ("[^abc]x", "dx", "ax"),
    ("[a-c]x", "bx", "dx"),
    ("[c-a]x", "bx", "dx"),
    (r"a\*", "a*", "ab"),
    ("a.c", "a.c", "abc"),
    ("a[", "a[", "a"),
    ("(a)", "(a)", "a"),
])
def test_a_glob_matches_as_redis_matches(pattern: str, matching: str, other: str) -> None:
    assert glob(pattern).fullmatch(matching)
    assert not glob(pattern).fullmatch(other)


def test_p10_threads_share_a_store() -> None:
    store = MemoryStore("memory:test", entries=50)
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(300):
                lease = store.perform(Claim(f"{number % 70}", name, 10.0)).lease
                if lease is not None:
                    store.perform(Fill(f"{number % 70}", name, entry_of(lease, "a"), 1.0))
                store.perform(Invalidate(("a",)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
