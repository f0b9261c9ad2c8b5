"""A writer that is stopped between its fence and its COMMIT, for as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cachefence_web.following import Committing

PATIENCE = 120.0
"""Seconds, more than any machine needs."""


@contextmanager
def stopped_before_its_commit(monkeypatch: pytest.MonkeyPatch, write: Callable[[], object]) -> Iterator[None]:
    """`write` runs in a thread of its own: within the block its fence is up, after it its commit is told."""
    fenced, on = threading.Event(), threading.Event()
    before = Committing.before
    failed: list[BaseException] = []

    def stop(self: Committing, *, made: bool = False) -> None:
        before(self, made=made)
        fenced.set()
        assert on.wait(PATIENCE)

    def run() -> None:
        try:
            write()
        except BaseException as error:
            failed.append(error)
            fenced.set()

    writer = threading.Thread(target=run)
    with monkeypatch.context() as patched:
        patched.setattr(Committing, "before", stop)
        writer.start()
        try:
            assert fenced.wait(PATIENCE)
            yield
        finally:
            on.set()
            writer.join(PATIENCE)
    assert not failed, failed
    assert not writer.is_alive()
