"""P1, P4, P7, P8 where they count: four processes, 500 callers, one cold key on a real Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from cachefence_web import CacheFence
from tests.faces.places import Compute
from tests.runtime.fleet import Fleet, computes
from tests.runtime.worker import Burst
from tests.servers import RedisServer

SPREADS = [0.0, 0.01, 0.02, 0.03, 0.05, 0.1]


@pytest.fixture(scope="module")
def fleet_namespace() -> str:
    """The namespace of this module's processes."""
    return "bursts"


@pytest.fixture(scope="module")
def fleet(redis_server: RedisServer, fleet_namespace: str) -> Iterator[Fleet]:
    """Four processes that stay for all tests here."""
    with Fleet(redis_server.url, fleet_namespace) as started:
        yield started


@pytest.fixture
def fence(redis_server: RedisServer, fleet_namespace: str) -> Iterator[CacheFence]:
    """The same cache in the process of the test."""
    with CacheFence(redis_server.url, namespace=fleet_namespace, timeout=5.0) as made:
        yield made


@pytest.fixture
def burst(tmp_path: Path, namespace: str) -> Callable[..., Burst]:
    """Bursts on keys that nobody has asked for."""

    def make(name: object = "", **terms: object) -> Burst:
        return Burst(key=f"{namespace}:{name}", marks=str(tmp_path / f"marks{name}"), **terms)

    return make


def together(answers: list[Counter[str]]) -> Counter[str]:
    """The answers of all processes."""
    return sum(answers, Counter())


@pytest.mark.parametrize("spread", SPREADS)
def test_p1_five_hundred_tasks_in_four_processes_are_one_compute_in_each_of_five_bursts(
    fleet: Fleet, burst: Callable[..., Burst], spread: float
) -> None:
    for number in range(5):
        cold = burst(number, spread=spread)
        assert together(fleet.run(cold)) == {"value 1": 500}
        assert computes(cold) == 1


@pytest.mark.parametrize("spread", SPREADS[::3])
def test_p1_five_hundred_threads_in_four_processes_are_one_compute(
    fleet: Fleet, burst: Callable[..., Burst], spread: float
) -> None:
    for number in range(2):
        cold = burst(number, colour="threads", spread=spread)
        assert together(fleet.run(cold)) == {"value 1": 500}
        assert computes(cold) == 1


@pytest.mark.parametrize("colour", ["tasks", "threads"])
@pytest.mark.parametrize("spread", [0.0, 0.04])
def test_p8_a_leader_that_raises_raises_for_all_and_gates_the_next_try(
    fleet: Fleet, burst: Callable[..., Burst], colour: str, spread: float
) -> None:
    failing = burst(colour=colour, first="raises", spread=spread)
    answers = fleet.run(failing)
    assert computes(failing) == 1
    assert together(answers).keys() <= {"Broken", "ComputeFailed"}
    assert sorted(process["Broken"] for process in answers) == [0, 0, 0, 125], "the error itself where it was raised"
    assert together(fleet.run(failing)).keys() <= {"Broken", "ComputeFailed"}
    assert computes(failing) == 1


@pytest.mark.parametrize("spread", [0.0, 0.04])
def test_p7_a_leader_s_process_that_gives_up_is_taken_over_once(
    fleet: Fleet, burst: Callable[..., Burst], spread: float
) -> None:
    cancelled = burst(first="is cancelled", spread=spread, lasts=0.05)
    answers = fleet.run(cancelled)
    assert computes(cancelled) == 2
    assert together(answers) == {"CancelledError": 125, "value 2": 375}


@pytest.mark.parametrize("colour", ["tasks", "threads"])
def test_p4_a_killed_leader_is_taken_over_once_within_its_lease(
    fleet: Fleet, burst: Callable[..., Burst], colour: str
) -> None:
    for number in range(2):
        killed = burst(number, colour=colour, first="is killed")
        assert together(fleet.run(killed)) == {"value 2": 375}
        assert computes(killed) == 2


@pytest.mark.parametrize("colour", ["tasks", "threads"])
def test_p4_a_leader_that_outlives_its_lease_is_taken_over_once_and_stores_nothing(
    fleet: Fleet, fence: CacheFence, burst: Callable[..., Burst], colour: str
) -> None:
    stopped = burst(colour=colour, first="is stopped")
    answers = together(fleet.run(stopped))
    assert computes(stopped) == 2
    assert answers.keys() <= {"value 1", "value 2"}
    assert answers["value 2"] >= 375
    assert answers.total() == 500
    assert fence.get(stopped.key) == "value 2"


def test_p4_a_leader_that_hangs_with_its_lease_is_replaced_by_one(fleet: Fleet, burst: Callable[..., Burst]) -> None:
    """It renews its lease for as long as it likes: `wait` ends the waiting, and one of the waiters is elected."""
    hung = burst(first="hangs", wait=2.5, spread=0.05)
    answers = together(fleet.run(hung))
    assert computes(hung) == 2
    assert answers == {"value 1": 1, "value 2": 499}, "only who runs the compute itself has nothing else to wait for"


def test_under_a_hundred_commands_while_five_hundred_wait(
    new_redis: Callable[..., RedisServer], burst: Callable[..., Burst]
) -> None:
    server = new_redis()
    with Fleet(server.url, "waiting") as fleet, redis.Redis.from_url(server.url) as client:
        fleet.run(burst("warm"))
        before = commands(client)
        waiting = burst("waiting", lasts=1.0)
        assert together(fleet.run(waiting)) == {"value 1": 500}
        sent = commands(client) - before
    assert computes(waiting) == 1
    assert sent.total() < 100, sent


def commands(client: redis.Redis) -> Counter[str]:
    """How often each command was sent to the server, its own questions and what scripts call apart."""
    stats = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): said["calls"] for name, said in stats.items() if "info" not in name})


def test_many_keys_are_read_in_one_round_trip(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    with CacheFence(server.url, timeout=5.0) as fence, redis.Redis.from_url(server.url) as client:
        fence.set_many({f"key:{number}": number for number in range(100)}, tags=["row:1", "row:2"])
        keys = [f"key:{number}" for number in range(100)]
        fence.get_many(keys)
        before = commands(client)
        assert fence.get_many(keys) == {f"key:{number}": number for number in range(100)}
        sent = commands(client) - before
    assert set(sent) <= {"mget"}, sent


def test_a_hit_is_one_command_and_runs_no_script(new_redis: Callable[..., RedisServer]) -> None:
    server = new_redis()
    with CacheFence(server.url, timeout=5.0) as fence, redis.Redis.from_url(server.url) as client:
        fence.set("book", "value", tags=["row:1", "row:2"])
        fence.get("book")
        before = commands(client)
        for _ in range(10):
            assert fence.get_or_set("book", Compute("never")) == "value"
        assert commands(client) - before == {"mget": 10}
