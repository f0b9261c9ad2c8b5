"""Child processes start, say why when they do not, and never stay."""

from __future__ import annotations

import fcntl
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cachefence_web.demo import servers
from cachefence_web.demo.scenario import CannotRun
from cachefence_web.demo.servers import Launch, check_store, serving, shown
from tests.servers import free_port


def launch(repository: Path, store: str | None = "memory://") -> Launch:
    data = repository / "data"
    data.mkdir()
    return Launch(repository / "example_projects" / "django_shop", data, store, 1, "/health")


def gone(pid: int) -> bool:
    """Whether no process, not even a dead one that nobody has waited for, has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_project_answers_while_it_is_wanted_and_is_gone_after(standins: Callable[[str], Path]) -> None:
    wanted = launch(standins("good"))
    with serving(wanted) as running:
        assert running.queries() == 0
        assert httpx.get(f"{running.origin}/").text == "<h1>Old Title</h1>"
        assert running.queries() == 1
        pid = int((wanted.project / "pid.txt").read_text())
    assert gone(pid)


def test_a_project_is_gone_after_an_error_too(standins: Callable[[str], Path]) -> None:
    wanted = launch(standins("good"))
    with pytest.raises(KeyboardInterrupt), serving(wanted):
        raise KeyboardInterrupt
    assert gone(int((wanted.project / "pid.txt").read_text()))


def test_a_server_deaf_to_sigterm_is_killed_with_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "STOP_SECONDS", 0.05)
    project = tmp_path / "project"
    project.mkdir()
    program = """
        import fcntl, http.server, os, signal, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        held = open(sys.argv[4] + "/lock", "w")
        fcntl.flock(held, fcntl.LOCK_EX)
        if not os.fork():
            signal.pause()
        server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), http.server.SimpleHTTPRequestHandler)
        server.serve_forever()
    """
    (project / "run.py").write_text(textwrap.dedent(program))
    data = tmp_path / "data"
    data.mkdir()
    with serving(Launch(project, data, None, 1, "/")), (data / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (data / "lock").open() as lock:
        # The lock is free once the last process that shares it has died.
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_a_project_that_ends_says_why(standins: Callable[[str], Path]) -> None:
    with pytest.raises(CannotRun, match=r"django_shop/run.py ended with status 1. It said:\nthe till is empty"):
        serving(launch(standins("quits"))).__enter__()


def test_a_silent_project_is_given_up_and_stopped(
    standins: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "READY_SECONDS", 0.5)
    wanted = launch(standins("silent"))
    with pytest.raises(CannotRun, match="gave no answer"):
        serving(wanted).__enter__()
    written = wanted.project / "pid.txt"
    pid = written.read_text() if written.exists() else ""  # it may have been ended before it wrote
    assert not pid or gone(int(pid))


def test_children_are_told_every_choice() -> None:
    memory = Launch(Path("/p"), Path("/d"), "memory://", 1, "/")
    common = [sys.executable, "/p/run.py", "--port", "8000", "--data", "/d", "--workers", "1"]
    assert memory.command(8000) == common
    assert Launch(Path("/p"), Path("/d"), None, 1, "/").command(8000) == [*common, "--no-cache"]
    shared = Launch(Path("/p"), Path("/d"), "redis://h/0", 1, "/")
    assert shared.command(8000) == [*common, "--redis", "redis://h/0"]


def test_a_redis_that_refuses_is_named_with_the_remedy_and_without_its_password() -> None:
    with pytest.raises(CannotRun, match=r"redis://u:\*\*\*@.*Start it \(redis-server\)") as caught:
        check_store(f"redis://u:secret@127.0.0.1:{free_port()}/0")
    assert "secret" not in str(caught.value)
    with pytest.raises(CannotRun, match="redis://localhost:6379/0"):
        check_store("nonsense://x")


def test_a_redis_that_answers_will_do(redis_url: str) -> None:
    check_store(redis_url)
    check_store("memory://")


def test_a_url_without_a_password_is_shown_as_it_is() -> None:
    assert shown("redis://localhost:6379/0") == "redis://localhost:6379/0"
    assert shown("redis://:pw@localhost") == "redis://:***@localhost"
