"""A writer that dies between COMMIT and lift: the fence's deadline comes by itself, and the page is right."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from cachefence_web import CacheFence
from tests.following.outages import LONG
from tests.sqlalchemy_following.library import Book

ROOT = Path(__file__).parents[2]


def test_p4_after_a_kill_between_commit_and_lift_the_page_is_right_at_the_deadline(
    engine: Engine, redis_url: str, namespace: str, follow: Callable[..., Any],
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    with CacheFence(redis_url, namespace=namespace, timeout=LONG) as fence:
        follow(engine, fence)

        def title() -> str:
            with Session(engine) as session:
                return session.scalars(select(Book.title).where(Book.id == 1)).one()

        def page() -> str:
            return fence.get_or_set("page", title, ttl=3600)

        assert page() == "One"
        words = [sys.executable, "-m", "tests.sqlalchemy_following.dying", url, redis_url, namespace]
        died = subprocess.run(words, cwd=ROOT, check=False)
        assert died.returncode == -signal.SIGKILL
        assert title() == "Killed", "it was committed"
        deadline = time.monotonic() + LONG
        while page() != "Killed" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert page() == "Killed"
