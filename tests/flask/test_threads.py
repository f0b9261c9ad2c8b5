"""P10: what is done behind answers has threads while there is something to do, and nothing is left of them after."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable

import pytest

from cachefence_web.flask.threads import Threads
from cachefence_web.runtime.background import MOST, WORKERS
from tests.flask.behind import running, until_idle

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def exit_thread() -> None:
    raise SystemExit


@pytest.fixture(autouse=True)
def idle() -> None:
    """Threads are counted here: none is another test's."""
    until_idle()


def test_p10_threads_end_with_the_last_of_the_work_and_come_back_for_more() -> None:
    threads = Threads()
    for _ in range(3):
        done = threading.Semaphore(0)
        assert all(threads.offer(done.release) for _ in range(20))
        for _ in range(20):
            assert done.acquire(timeout=60)
        until_idle()


def test_p10_the_work_is_bounded_unless_nobody_else_would_do_it() -> None:
    threads, gate, begun, done = Threads(), threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        gate.wait(60)
        done.release()

    for _ in range(WORKERS):
        assert threads.offer(work)
        assert begun.acquire(timeout=60)
    assert all(threads.offer(done.release) for _ in range(MOST))
    assert not threads.offer(done.release)
    assert threads.submit(done.release)
    assert len(running()) == WORKERS
    gate.set()
    for _ in range(WORKERS + MOST + 1):
        assert done.acquire(timeout=60)
    until_idle()


@pytest.mark.parametrize("fail", [lambda: 1 // 0, exit_thread], ids=["raises", "asks for the end"])
def test_p10_what_fails_takes_no_other_work_with_it(fail: Callable[[], object]) -> None:
    threads, done = Threads(), threading.Semaphore(0)
    for work in [fail, done.release] * WORKERS:
        assert threads.offer(work)
    for _ in range(WORKERS):
        assert done.acquire(timeout=60)
    until_idle()


@pytest.mark.parametrize(("ask", "seen"), [(Threads.offer, "blue"), (Threads.submit, "none")],
                         ids=["offered by a request", "left by one that is gone"])
def test_p10_work_sees_the_context_of_the_request_that_left_it_and_no_other(
    ask: Callable[[Threads, Callable[[], object]], bool], seen: str,
) -> None:
    found: list[str] = []

    def ask_in_blue() -> None:
        colour.set("blue")
        ask(Threads(), lambda: found.append(colour.get()))

    contextvars.copy_context().run(ask_in_blue)
    until_idle()
    assert found == [seen]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_p10_a_child_forked_beside_a_refresh_has_threads_of_its_own() -> None:
    threads, gate, begun = Threads(), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        gate.wait(60)

    for _ in range(WORKERS):
        threads.offer(work)
        assert begun.acquire(timeout=60)
    child = os.fork()
    if not child:
        done = threading.Event()
        os._exit(0 if threads.offer(done.set) and done.wait(60) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.set()
    until_idle()
