"""Which node of a Cluster is told what, and when it is told again: the turns that a list of commands takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest
from redis.exceptions import AskError, MovedError, ResponseError, TryAgainError

from cachefence_web.core.effects import Claim, Filed, Fill, Read, StoreEffect
from cachefence_web.core.tags import Instant, Lease, TagRecord
from cachefence_web.stores.redis.cluster.commands import ClusterCommands
from cachefence_web.stores.redis.cluster.routing import GREETINGS, PAUSE, Learn, Lost, Pause, Send, Sent, route
from cachefence_web.stores.redis.cluster.slots import PACE, Node, Slots, share_of, slot_of
from cachefence_web.stores.redis.names import Names
from cachefence_web.stores.redis.refusals import unavailable
from cachefence_web.stores.redis.scripts import Command, scripts
from tests.stores.build import entry_of, servable

HERE, THERE, NEW = Node("h", 1), Node("t", 2), Node("n", 3)
NAMES = Names("ns")
ENTRY, LEASE = NAMES.entry("k"), NAMES.lease("k")


def known(clock: Callable[[], float] = monotonic) -> Slots:
    """The metadata are here, all else is there."""
    slots = Slots(NAMES, clock)
    ranges = [(0, slots.home - 1, THERE), (slots.home, slots.home, HERE), (slots.home + 1, 16383, THERE)]
    slots.learn([[first, last, [node.host.encode(), node.port]] for first, last, node in ranges], THERE)
    slots.stale = False
    return slots


def routed(commands: list[Command], turns: list[tuple[Any, Any]], *, repeat: bool = True) -> list[Any]:
    """The replies, after exactly these turns were taken and answered."""
    routing = route(commands, known(), repeat=repeat)
    answer: Any = None
    for expected, told in turns:
        turn = routing.send(answer)
        assert (turn.pipelines if isinstance(turn, Send) else turn) == expected
        answer = told
    with pytest.raises(StopIteration) as ended:
        routing.send(answer)
    replies: list[Any] = ended.value.value
    return replies


def sent(before: int = 0, after: int = 0, **answers: Any) -> Sent:
    return Sent({{"here": HERE, "there": THERE, "new": NEW}[node]: answer for node, answer in answers.items()},
                before, after)


READ: Command = ("MGET", ENTRY, NAMES.epoch, NAMES.record("a"))
METADATA: Command = ("MGET", NAMES.epoch, NAMES.record("a"))
CLAIM: Command = ("EVALSHA", "claim", 2, ENTRY, LEASE, "token")
LOOK: Command = ("MGET", ENTRY)
MOVED, ASKED = MovedError(f"{slot_of(ENTRY)} n:3"), AskError(f"{slot_of(ENTRY)} n:3")


def test_a_read_is_split_between_nodes_and_put_together_again() -> None:
    assert routed([READ, CLAIM], [
        ({THERE: [LOOK, CLAIM], HERE: [METADATA]}, sent(there=[["e"], "granted"], here=[["era", "r"]]))],
    ) == [["e", "era", "r"], "granted"]


def test_what_a_node_no_longer_serves_goes_where_it_says() -> None:
    assert routed([READ], [
        ({THERE: [LOOK], HERE: [METADATA]}, sent(there=[MOVED], here=[["era", "r"]])),
        ({NEW: [LOOK]}, sent(new=[["e"]]))]) == [["e", "era", "r"]]
    assert routed([READ], [
        ({THERE: [LOOK], HERE: [METADATA]}, sent(there=[ASKED], here=[["era", "r"]])),
        ({NEW: [("ASKING",), LOOK]}, sent(new=[b"OK", ["e"]]))]) == [["e", "era", "r"]]


def test_p1_what_was_read_behind_a_refused_claim_is_read_again() -> None:
    assert routed([CLAIM, LOOK], [
        ({THERE: [CLAIM, LOOK]}, sent(there=[TryAgainError("TRYAGAIN"), ["too early"]])),
        (Pause(PAUSE), True),
        ({THERE: [CLAIM, LOOK]}, sent(there=["granted", ["e"]]))]) == ["granted", ["e"]]
    claimed, looked = routed([CLAIM, LOOK], [
        ({THERE: [CLAIM, LOOK]}, sent(there=[TryAgainError("TRYAGAIN"), ["too early"]])), (Pause(PAUSE), False)])
    assert isinstance(claimed, ResponseError)
    assert isinstance(looked, TimeoutError)


@pytest.mark.parametrize("where", ["while told", "while learning", "on a redirection", "by another, in a pause"])
def test_p5_metadata_read_before_a_node_was_met_are_read_again(where: str) -> None:
    lost = Lost(ConnectionError("refused"), sent=False)
    old = ["old era", "r"]
    first = ({THERE: [LOOK], HERE: [METADATA]})
    match where:
        case "while told":
            turns: list[tuple[Any, Any]] = [(first, sent(0, 1, there=[["e"]], here=[old]))]
        case "while learning":
            idle = Lost(ConnectionError("reset"), sent=True, idle=True)
            turns = [(first, sent(there=idle, here=[old])), ({THERE: [LOOK]}, sent(1, 1, there=[["e"]]))]
        case "on a redirection":
            turns = [(first, sent(there=[MOVED], here=[old])), ({NEW: [LOOK]}, sent(0, 1, new=[["e"]]))]
        case _:
            turns = [(first, sent(there=[TryAgainError("TRYAGAIN")], here=[old])), (Pause(PAUSE), True),
                     ({THERE: [LOOK]}, sent(1, 1, there=[["e"]]))]
    turns.append(({HERE: [METADATA]}, sent(1, 1, here=[["new era", "r"]])))
    assert routed([READ], turns) == [["e", "new era", "r"]]
    assert routed([READ], [
        (first, sent(there=lost, here=[["old era", "r"]])), (Learn(frozenset({THERE})), True)]) == [lost.error]


@pytest.mark.parametrize(("lost", "asks"), [
    (Lost(TimeoutError(), sent=True), True),
    (Lost(ConnectionError("refused"), sent=False), True),
    (Lost(ConnectionError("reset"), sent=True, idle=True), False),
], ids=["silent", "away", "only the connection"])
def test_p6_who_met_silence_asks_who_took_over_but_not_without_pause(lost: Lost, asks: bool) -> None:
    now = [0.0]
    slots = known(lambda: now[0])

    def first_turn() -> Any:
        routing = route([CLAIM], slots, repeat=False)
        turn = next(routing)
        if isinstance(turn, Send):
            with suppress(StopIteration):
                routing.send(sent(there=lost))
        return turn

    now[0] = PACE * 10
    assert isinstance(first_turn(), Send)
    assert isinstance(first_turn(), Learn) is asks
    slots.learn([[0, 16383, [b"t", 2]]], HERE)
    slots.stale = False
    assert isinstance(first_turn(), Send)
    assert isinstance(first_turn(), Send)
    now[0] += PACE
    assert isinstance(first_turn(), Learn) is asks


def test_p6_the_silent_are_asked_last_and_an_address_of_the_user_s_before_all_that_are_known() -> None:
    slots, seeds = known(), [HERE, NEW, Node("far", 4)]
    assert {slots.candidates(seeds)[0] for _ in range(100)} == {HERE, THERE}
    assert slots.candidates(seeds)[1] == NEW
    slots.lost(HERE)
    slots.suspect(NEW)
    assert slots.candidates(seeds) in ([THERE, seeds[2], HERE, NEW], [seeds[2], THERE, HERE, NEW],
                                       [THERE, seeds[2], NEW, HERE], [seeds[2], THERE, NEW, HERE])
    slots.answered(HERE)
    slots.answered(NEW)
    assert slots.candidates(seeds)[1] == NEW


@pytest.mark.parametrize("many", [1, 2, 3, 5, 12])
def test_p6_whoever_is_asked_leaves_time_to_the_last(many: int) -> None:
    left, shares = 1.0, []
    for number in range(many):
        shares.append(share_of(left, many - number))
        left -= shares[-1]
    assert left == pytest.approx(0)
    assert min(shares) > 0.02


def test_p6_the_advice_on_an_error_is_given_once() -> None:
    first = unavailable(TimeoutError("silent"))
    again = unavailable(first)
    assert str(again) == str(first)
    assert again is not first
    assert again.__cause__ is first.__cause__


def test_p6_what_may_have_been_done_is_not_told_again() -> None:
    cut = Lost(ConnectionError("reset"), sent=True, idle=True)
    assert routed([CLAIM], [({THERE: [CLAIM]}, sent(there=cut))], repeat=False) == [cut.error]
    assert routed([CLAIM], [
        ({THERE: [CLAIM]}, sent(there=cut)), ({THERE: [CLAIM]}, sent(there=["granted"]))]) == ["granted"]


@pytest.mark.parametrize(("turns", "counts"), [
    ([sent(2, 2, there=["done"])], (2, 2)),
    ([sent(2, 3, there=["done"])], (2, 3)),
    ([sent(2, 2, there=[MOVED]), sent(3, 4, new=["done"])], (2, 4)),
], ids=["nobody", "while told", "elsewhere"])
def test_who_asks_is_told_how_many_nodes_were_greeted_before_and_after(
    turns: list[Sent], counts: tuple[int, int]
) -> None:
    nodes = [THERE, NEW]
    assert routed([CLAIM, GREETINGS], [({nodes[at]: [CLAIM]}, answer) for at, answer in enumerate(turns)]) == [
        "done", counts]


# Steps: what is asked for once more.

OLD, ERA = Lease(Instant(50), 1), Lease(Instant(100), 2)
WRITTEN = TagRecord(Instant(20)).encode()
DATED = [b"100", f"{ERA.epoch:016x}".encode(), b"100", b"admitted"]


def dates(lease: Lease, record: bytes | None) -> list[bytes | None]:
    return [f"{lease.epoch:016x}".encode(), record]


def taken(effect: StoreEffect[Any], turns: Sequence[tuple[list[str], list[Any]]]) -> Any:
    """What an effect is answered, after exactly these commands were asked for and answered."""
    commands = ClusterCommands("ns", 1.0, clock=lambda: 0)
    commands.reading.time.learn(DATED, 0)
    commands.reading.remember("k", ("a",))
    steps = commands.steps(effect)
    replies: Any = None
    for expected, told in turns:
        asked = steps.send(replies)
        assert [named(command) for command in asked] == expected
        replies = told
    with pytest.raises(StopIteration) as ended:
        steps.send(replies)
    return ended.value.value


def named(command: Command) -> str:
    """A script by its name, any other command by its words, in short."""
    if command[0] == "EVALSHA":
        return next(name for name, script in scripts().items() if script.digest == command[1])
    return " ".join([command[0], *map(SHORT.__getitem__, command[1:])])


SHORT: dict[str, str] = {ENTRY: "entry", NAMES.error("k"): "error", NAMES.epoch: "epoch", NAMES.record("a"): "t:a"}
ALL, DATES = "MGET entry epoch t:a", "MGET epoch t:a"


@pytest.mark.parametrize("before", [dates(OLD, WRITTEN), dates(ERA, None)], ids=["of its epoch", "of its tag"])
def test_p2_dates_from_before_an_entry_do_not_condemn_it(before: list[bytes | None]) -> None:
    entry = entry_of(ERA, "a").encode()
    assert servable(taken(Read("k"), [([ALL], [[entry, *before]]), ([DATES], [dates(ERA, WRITTEN)])]))
    for granted in ([b"present"], [b"held", b"other"]):
        claimed = taken(Claim("k", "t", 1.0), [
            (["claim", "instant", "MGET entry error epoch t:a"], [granted, DATED, [entry, None, *before]]),
            ([DATES], [dates(ERA, WRITTEN)])])
        assert servable(claimed.look)


def test_dates_that_speak_of_an_entry_are_asked_for_once() -> None:
    entry = entry_of(ERA, "a").encode()
    gone = TagRecord(Instant(200)).encode()
    assert servable(taken(Read("k"), [([ALL], [[entry, *dates(ERA, WRITTEN)]])]))
    assert not servable(taken(Read("k"), [([ALL], [[entry, *dates(ERA, gone)]])]))
    assert taken(Read("k"), [([ALL], [[None, *dates(OLD, None)]])]).entry is None


@pytest.mark.parametrize(("first", "then"), [((0, 1), (1, 1)), ((0, 0), (0, 1)), ((0, 0), (1, 1))],
                         ids=["by the admission", "when it was stored", "in between"])
@pytest.mark.parametrize("verdict", [Filed.ADMITTED, Filed.INVALIDATED], ids=lambda filed: filed.value)
def test_p5_an_admission_from_before_a_node_was_met_is_asked_for_anew(
    first: tuple[int, int], then: tuple[int, int], verdict: Filed
) -> None:
    assert taken(Fill("k", "t", entry_of(ERA, "a"), 60.0), [
        (["admission", "GREETINGS"], [DATED, first]), (["file", "GREETINGS"], [b"admitted", then]),
        (["admission"], [[*DATED[:3], verdict.value.encode()]])]) is verdict


@pytest.mark.parametrize("filed", [Filed.ADMITTED, Filed.REVOKED, Filed.INVALIDATED], ids=lambda filed: filed.value)
def test_an_admission_is_asked_for_once_where_nobody_was_met(filed: Filed) -> None:
    met = 1, 1
    assert taken(Fill("k", "t", entry_of(ERA, "a"), 60.0), [
        (["admission", "GREETINGS"], [DATED, met]), (["file", "GREETINGS"], [filed.value.encode(), met])]) is filed
